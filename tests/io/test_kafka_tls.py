"""Kafka over TLS: a broker behind a door with a certificate of its own."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
import threading

import pytest
from kafka_broker import running_broker

from zsds.core.errors import BadInput
from zsds.io.kafka import KafkaOptions, Topic, Unreachable

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, file = folder / "key.pem", folder / "certificate.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", file]
    subprocess.run(["openssl", *words], check=True, capture_output=True)
    return file, key


async def _pass_on(reader, writer):
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while content := await reader.read(65536):
            writer.write(content)
            await writer.drain()
    writer.close()


@contextlib.contextmanager
def door(broker, certificate):
    """Address of a TLS door to a broker, which sends its clients there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    port = int(broker.address.rpartition(":")[2])

    async def enter(reader, writer):
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass_on(reader, inner_writer), _pass_on(inner_reader, writer))

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(enter, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    outside = server.sockets[0].getsockname()[1]
    broker.tell("at", "127.0.0.1", outside)
    try:
        yield f"127.0.0.1:{outside}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0.1))
        loop.close()


def test_only_with_the_right_certificate(certificate, monkeypatch):
    with running_broker() as broker:
        broker.tell("topic", "t", 2)
        with door(broker, certificate) as address:
            secure = {"bootstrap.servers": address, "security.protocol": "SSL"}
            with Topic("t", KafkaOptions({**secure, "ssl.ca.location": str(certificate[0])})) as topic:
                assert topic.n_partitions == 2
            with (
                pytest.raises(BadInput, match="no secure connection") as error,
                Topic("t", KafkaOptions(secure)),
            ):
                pass
            assert not isinstance(error.value, Unreachable)
            monkeypatch.setattr("zsds.io.kafka.BATCH_S", 2.0)
            with (
                pytest.raises(BadInput, match="no answer from Kafka"),
                Topic("t", KafkaOptions({"bootstrap.servers": address})),
            ):
                pass
