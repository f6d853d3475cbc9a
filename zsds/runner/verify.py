"""A night as it was sent, beside the archive: what is missing, twice, or should not be there."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zsds.core.errors import BadInput
from zsds.core.packet import AlertPacket
from zsds.core.programs import PUBLIC_PROGRAM
from zsds.core.stream import Stream
from zsds.db import publications
from zsds.io.kafka_options import KafkaOptions
from zsds.io.kafka_reader import read_topic
from zsds.io.messages import container_of, decode_message
from zsds.io.packets import encode_packet, read_packets
from zsds.io.registry import Registry
from zsds.products import TAR_OF
from zsds.runner.archive import Archive
from zsds.runner.embargo import Embargo
from zsds.runner.publish import registry_of

Content = tuple[AlertPacket | None, bytes]


def verify_night(archive: Archive, stream: Stream, options: KafkaOptions) -> list[dict[str, Any]]:
    """Compare a topic, and for the public program the tar, with outbox and files.

    Returns
    -------
    list of dict
        For the topic and the tar: ``alerts``, ``missing`` (published, or for the tar made, but not there),
        ``twice``, ``foreign`` (not of this night and program, or with data that are others' now),
        ``changed`` (made again since) and ``unsent``.
    """
    with archive.database.read() as connection:
        made = {row["candid"]: row for row in publications.made_packets(connection, stream)}
    published = {candid for candid, row in made.items() if row["published"]}
    files = {candid: archive.store.root / row["path"] for candid, row in made.items()}
    topic, program_id = stream.topic, stream.program_id
    registry = registry_of(archive, options.publish.registry)
    embargo = Embargo(archive, program_id)
    rows = [_compared(topic, _sent(options, topic, registry), published, files, embargo)]
    tar = archive.store.path(TAR_OF[stream.schema], stream.night, stream.prefix)
    if program_id == PUBLIC_PROGRAM and tar.is_file():
        packed = ((packet, encode_packet(packet)) for packet in read_packets(tar))
        rows.append(_compared(tar.name, packed, set(made), files, embargo))
    return rows


def _sent(options: KafkaOptions, topic: str, registry: Registry) -> Iterable[Content]:
    for message in read_topic(options, topic):
        key, value = message.key(), message.value() or b""
        try:
            packet = decode_message(key, value, registry)
            yield packet, container_of(packet, key, value, registry)
        except BadInput:
            yield None, value


def _compared(
    where: str, contents: Iterable[Content], expected: set[int], files: dict[int, Path], embargo: Embargo
) -> dict[str, Any]:
    found: Counter[int] = Counter()
    foreign = changed = 0
    for packet, content in contents:
        if packet is None or packet.candid not in files or not embargo.allows(packet.record):
            foreign += 1
            continue
        found[packet.candid] += 1
        file = files[packet.candid]
        changed += not file.is_file() or file.read_bytes() != content
    return {
        "where": where,
        "alerts": found.total(),
        "missing": len(expected - set(found)),
        "twice": sum(n > 1 for n in found.values()),
        "foreign": foreign,
        "changed": changed,
        "unsent": len(set(files) - set(found) - expected),
    }
