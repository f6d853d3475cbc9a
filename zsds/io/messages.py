"""Alert packets as messages of a stream, in three forms, and back.

============ ==================================== =======================================
form         value                                key
============ ==================================== =======================================
container    Avro container with its schema       ``objectId``
schemaless   bare Avro record                     the schema as JSON text
confluent    0, number of the schema, Avro record ``objectId``
============ ==================================== =======================================
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Any

from fastavro import parse_schema, schemaless_reader

from zsds.core.errors import BadInput
from zsds.core.packet import AlertPacket
from zsds.core.programs import pids_in, program_of, programs_in, programs_shown
from zsds.io.packets import FETCH_AGAIN, MAGIC, container, decode_packet
from zsds.io.registry import Registry

FORMS = ("container", "schemaless", "confluent")
FRAME = struct.Struct(">bI")  # Confluent's: a zero, and the number of the schema
_METADATA = {"type": "map", "values": "bytes"}
DAMAGED = (EOFError, ValueError, IndexError, KeyError, OverflowError, TypeError, MemoryError, struct.error)


@dataclass(frozen=True)
class Message:
    """A packet on its way.

    Parameters
    ----------
    candid : int
    object_id : str
        What keeps the alerts of an object in one partition, in order.
    pids : frozenset of int
        Processing ids of the quadrants that it shows.
    key, value : bytes
    """

    candid: int
    object_id: str
    pids: frozenset[int]
    key: bytes
    value: bytes


def encode_message(
    content: bytes, form: str, program_id: int, registry: Registry | None, source: str
) -> Message:
    """A packet's file as a message for those who may see one program.

    Parameters
    ----------
    content : bytes
        Of a file that zsds wrote.
    form : str
        One of `FORMS`.
    program_id : int
        Of the topic.
    registry : Registry, optional
        Where schemas have their numbers; for ``confluent``.
    source : str
        Name of the file, for messages.

    Raises
    ------
    BadInput
        If the file is damaged, or holds what the program may not see.
    """
    text, body = _split(content, source)
    try:
        record = schemaless_reader(BytesIO(body), _parsed(text), None)
        candid, object_id = int(record["candid"]), str(record["objectId"])
        own, shown, pids = program_of(record), programs_in(record), pids_in(record)
    except DAMAGED as error:
        raise BadInput(source, "is cut short or damaged", FETCH_AGAIN) from error
    if own != program_id or not shown <= programs_shown(program_id):
        told = ", ".join(str(number) for number in sorted(shown))
        problem = f"holds data of programs {told}, which program {program_id} may not see"
        raise BadInput(source, problem, "make it again with: zsds night --again")
    key = object_id.encode()
    if form == "schemaless":
        return Message(candid, object_id, pids, text.encode(), body)
    if form == "confluent" and registry is not None:
        return Message(candid, object_id, pids, key, FRAME.pack(0, registry.number(text)) + body)
    return Message(candid, object_id, pids, key, content)


def decode_message(
    key: bytes | None, value: bytes | None, registry: Registry | None = None, source: str = "message"
) -> AlertPacket:
    """The packet of a message in any of the forms.

    Raises
    ------
    BadInput
        If the message holds no packet, or its schema is not at hand.
    """
    value = value or b""
    if value.startswith(MAGIC):
        return decode_packet(value, source)
    text, body = _schema_and_body(key, value, registry, source)
    return decode_packet(container(text, body), source)


def container_of(packet: AlertPacket, key: bytes | None, value: bytes, registry: Registry | None) -> bytes:
    """The packet's message as a file, ``<candid>.avro``, whatever the form of the message."""
    if value.startswith(MAGIC):
        return value
    text, body = _schema_and_body(key, value, registry, f"packet {packet.candid}")
    return container(text, body)


def _schema_and_body(
    key: bytes | None, value: bytes, registry: Registry | None, source: str
) -> tuple[str, bytes]:
    if (key or b"").lstrip().startswith(b"{"):
        return (key or b"").decode(errors="replace"), value
    if len(value) > FRAME.size and value[0] == 0:
        number = FRAME.unpack_from(value)[1]
        if registry is None:
            problem = f"is framed with schema number {number}"
            raise BadInput(source, problem, "name the folder of the registry with --registry")
        return registry.schema(number).text, value[FRAME.size :]
    raise BadInput(source, "is no alert packet", "see docs/streaming.md for the forms of messages")


def _split(content: bytes, source: str) -> tuple[str, bytes]:
    """Schema and record of a container of one record, not compressed, as zsds writes it."""
    file = BytesIO(content[len(MAGIC) :])
    try:
        metadata: Any = schemaless_reader(file, _METADATA, None)
        mark = file.read(16)
        count, size = (int(str(schemaless_reader(file, "long", None))) for _ in range(2))
        body, end = file.read(size), file.read()
        whole = content.startswith(MAGIC) and count == 1 and len(mark) == 16 and end == mark
        if not whole or metadata.get("avro.codec", b"null") != b"null":
            raise ValueError(content[:4])
        return metadata["avro.schema"].decode(), body
    except DAMAGED as error:
        raise BadInput(source, "is cut short, damaged, or not of zsds", FETCH_AGAIN) from error


@lru_cache(maxsize=16)
def _parsed(text: str) -> Mapping[str, Any]:
    parsed: Mapping[str, Any] = parse_schema(json.loads(text))
    return parsed
