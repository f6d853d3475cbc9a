"""A door to a broker, as surveys have it: TLS, and users with passwords (SASL; Kafka's KIP-43 and KIP-152).

Until somebody has given the right password, the door answers by itself and nothing reaches the broker.
"""

import asyncio
import contextlib
import queue
import ssl
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from kafka_broker import Broker
from scramp import ScramException, ScramMechanism

SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
UNSUPPORTED_SASL_MECHANISM, SASL_AUTHENTICATION_FAILED = 33, 58
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class Certificate:
    """A certificate that signs itself, for 127.0.0.1, made by openssl in a folder."""

    def __init__(self, folder: Path) -> None:
        self.key, self.file = folder / "key.pem", folder / "certificate.pem"
        words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
        words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.key, "-out", self.file]
        subprocess.run(["openssl", *words], check=True, capture_output=True)

    def context(self) -> ssl.SSLContext:
        """What the side needs that shows it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key)
        return context


@contextlib.contextmanager
def door(
    broker: Broker, certificate: Certificate | None = None, users: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Address of a door to a broker, which sends its clients there.

    ``users``, names and passwords, are asked for if given.
    """
    port = int(broker.address.rpartition(":")[2])
    context = certificate.context() if certificate else None
    loop, ports, end = asyncio.new_event_loop(), queue.Queue(), asyncio.Event()

    async def enter(reader, writer):
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            if users is None or await _let_in(reader, writer, inner_reader, inner_writer, users):
                await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()
            inner_writer.close()

    async def stay():
        async with await asyncio.start_server(enter, "127.0.0.1", 0, ssl=context) as server:
            ports.put(server.sockets[0].getsockname()[1])
            await end.wait()
        guests = asyncio.all_tasks() - {asyncio.current_task()}
        for guest in guests:
            guest.cancel()
        await asyncio.gather(*guests, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(stay(),))
    thread.start()
    outside = ports.get()
    broker.tell("at", "127.0.0.1", outside)
    try:
        yield f"127.0.0.1:{outside}"
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.run_until_complete(asyncio.sleep(0.1))
        loop.close()


async def _pass_on(reader, writer):
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while content := await reader.read(65536):
            writer.write(content)
            await writer.drain()
    writer.close()


async def _let_in(reader, writer, inner_reader, inner_writer, users):
    """Whether the client gave a user's password; whoever asks for anything else before is shown out."""
    talk = None
    while True:
        request = await _frame(reader)
        api, version, number, n_name = struct.unpack_from(">hhih", request)
        body = request[10 + max(n_name, 0) :]
        if api == API_VERSIONS:
            _send(inner_writer, request)
            _send(writer, _with_sasl(await _frame(inner_reader), version))
        elif api == SASL_HANDSHAKE:
            mechanism = body[2:].decode()
            known = mechanism in MECHANISMS
            if known:
                talk = _conversation(mechanism, users)
                next(talk)
            names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in MECHANISMS)
            error = 0 if known else UNSUPPORTED_SASL_MECHANISM
            _send(writer, struct.pack(">ihi", number, error, len(MECHANISMS)) + names)
        elif api == SASL_AUTHENTICATE and talk is not None:
            try:
                answer, done = talk.send(body[4:])
            except (KeyError, ValueError, ScramException):
                _send(writer, _sasl_reply(number, version, SASL_AUTHENTICATION_FAILED))
                return False
            _send(writer, _sasl_reply(number, version, 0, answer))
            if done:
                return True
        else:
            return False


def _conversation(mechanism, users):
    """Takes what the client says, gives the answer and whether that was all."""
    if mechanism == "PLAIN":
        _, user, password = (yield).split(b"\0")
        if users[user.decode()] != password.decode():
            raise ValueError("wrong password")
        yield b"", True
        return
    scram = ScramMechanism(mechanism)
    server = scram.make_server(lambda user: scram.make_auth_info(users[user]))
    server.set_client_first((yield).decode())
    server.set_client_final((yield server.get_server_first().encode(), False).decode())
    yield server.get_server_final().encode(), True


def _sasl_reply(number, version, error, answer=b""):
    lifetime = struct.pack(">q", 0) if version else b""
    return struct.pack(">ihhi", number, error, -1, len(answer)) + answer + lifetime


async def _frame(reader):
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)


def _send(writer, content):
    writer.write(struct.pack(">i", len(content)) + content)


def _with_sasl(reply, version):
    """The broker's list of what it can do (ApiVersions), and what the door can.

    Our broker gives it in version 0 alone; a client that asks for a later one is told so, and asks again.
    """
    if version > 0:
        return reply
    number, error, n_entries = struct.unpack_from(">ihi", reply)
    ours = b"".join(struct.pack(">hhh", api, 0, 1) for api in (SASL_HANDSHAKE, SASL_AUTHENTICATE))
    return struct.pack(">ihi", number, error, n_entries + 2) + reply[10:] + ours
