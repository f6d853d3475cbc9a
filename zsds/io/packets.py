"""Alert packets as Avro files, one a packet with its schema, and the public tar of a night."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import fastavro

from zsds.core.alert_schema import schema_text
from zsds.core.errors import BadInput
from zsds.core.packet import AlertPacket
from zsds.core.programs import PUBLIC_PROGRAM, is_public
from zsds.io.avro import encode_long, encode_record
from zsds.io.files import write_bytes, written_whole

MAGIC = b"Obj\x01"
FETCH_AGAIN = "fetch or make the file again"


@cache
def _container_head(schema: str) -> tuple[bytes, bytes]:
    """Header of every container of this schema, and the mark that ends each of its blocks."""
    mark = hashlib.md5(schema.encode(), usedforsecurity=False).digest()
    head = io.BytesIO()
    metadata = {"avro.codec": b"null", "avro.schema": schema.encode()}
    fastavro.schemaless_writer(head, {"type": "map", "values": "bytes"}, metadata)
    return MAGIC + head.getvalue() + mark, mark


def encode_schemaless(packet: AlertPacket) -> bytes:
    """Bare Avro record, for readers that know the schema already.

    Raises
    ------
    ValueError
        If a field is missing, or null or of a type where the schema forbids it.
    """
    return encode_record(packet.record, packet.schema_version)


def encode_packet(packet: AlertPacket) -> bytes:
    """Avro container of one record with its schema: a file, or a message of the stream."""
    return container(schema_text(packet.schema_version), encode_schemaless(packet))


def container(schema: str, body: bytes) -> bytes:
    """Avro container of one record that is encoded already."""
    head, mark = _container_head(schema)
    return b"".join((head, encode_long(1), encode_long(len(body)), body, mark))


def packet_name(packet: AlertPacket) -> str:
    """File name of a packet, ``<candid>.avro``."""
    return f"{packet.candid}.avro"


def write_packets(folder: Path, packets: Iterable[AlertPacket]) -> list[Path]:
    """Write each packet as ``<candid>.avro`` in place of those of an earlier run; returns the files.

    A file appears only when it is complete.
    """
    packets = list(packets)
    names = {packet_name(packet) for packet in packets}
    for old in folder.glob("*.avro"):
        if old.stem.lstrip("-").isdigit() and old.name not in names:
            old.unlink()
    paths = []
    for packet in packets:
        path = folder / packet_name(packet)
        write_bytes(path, encode_packet(packet))
        paths.append(path)
    return paths


def read_packet(path: Path) -> AlertPacket:
    """The one packet of an Avro file, of any version of ZTF's schema or of ours.

    Raises
    ------
    BadInput
        If the file is missing, is not an Avro container, is cut short, or holds no packet.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadInput(str(path), f"cannot be read ({error.strerror})", "check the path") from error
    return decode_packet(content, str(path))


def decode_packet(content: bytes, source: str = "packet") -> AlertPacket:
    """The first packet of an Avro container in memory; see `read_packet`."""
    if not content.startswith(MAGIC):
        raise BadInput(source, "is not an Avro container file", "give a packet such as <candid>.avro")
    try:
        reader = fastavro.reader(io.BytesIO(content))
        records = list(reader)  # to the end, so that a cut shows
    except (EOFError, ValueError, IndexError, KeyError, OverflowError, TypeError, MemoryError) as error:
        raise BadInput(source, "is cut short or damaged", FETCH_AGAIN) from error
    if not records:
        raise BadInput(source, "holds no packet", FETCH_AGAIN)
    record = records[0]
    if not isinstance(record, dict) or "candidate" not in record:
        raise BadInput(source, "is Avro, but not an alert packet", "give a packet such as <candid>.avro")
    schema = reader.writer_schema
    version = record.get("schemavsn") or (schema.get("version") if isinstance(schema, dict) else None)
    return AlertPacket(record, str(version or "1"))


def read_packets(path: Path) -> Iterator[AlertPacket]:
    """Packets of a file, of a folder of ``.avro`` files (by name), or of a night's tar.

    Raises
    ------
    BadInput
        As `read_packet`, or for a damaged tar.
    """
    path = Path(path)
    if path.is_dir():
        for name in sorted(path.glob("*.avro")):
            yield read_packet(name)
    elif path.name.endswith((".tar", ".tar.gz", ".tgz")):
        yield from _read_tar(path)
    else:
        yield read_packet(path)


def _read_tar(path: Path) -> Iterator[AlertPacket]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name.endswith(".avro") else None
                if file is not None:
                    yield decode_packet(file.read(), f"{path}:{member.name}")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadInput(str(path), f"is not a complete tar ({error})", FETCH_AGAIN) from error


@dataclass(frozen=True)
class NightTar:
    """What went into a night's tar.

    Parameters
    ----------
    path : Path
    n_packets : int
        Public packets inside.
    n_withheld : int
        Proprietary packets that were left out.
    """

    path: Path
    n_packets: int
    n_withheld: int


def tar_night(
    packets: Iterable[Path], target: Path, may_show: Callable[[Mapping[str, Any]], bool] = is_public
) -> NightTar:
    """Write the public packets as one tar; the same packets give the same bytes.

    Parameters
    ----------
    packets : iterable of Path
        Packet files, ``<candid>.avro``.
    target : Path
        The tar, ``ztf_public_<night>.tar.gz``.
    may_show : callable
        Whether everybody may see an alert record; by default as it says itself.

    Raises
    ------
    BadInput
        If a packet cannot be read, or a public one shows proprietary epochs; no tar is left behind.
    """
    counts = [0, 0]
    with (
        written_whole(target) as temporary,
        temporary.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path in sorted(packets, key=lambda path: (len(path.name), path.name)):
            counts[_add_public(archive, path, may_show)] += 1
    return NightTar(target, counts[True], counts[False])


def _add_public(archive: tarfile.TarFile, path: Path, may_show: Callable[[Mapping[str, Any]], bool]) -> bool:
    packet = read_packet(path)
    if packet.program_id != PUBLIC_PROGRAM:
        return False
    if not may_show(packet.record):
        raise BadInput(
            str(path), "shows proprietary epochs", "make it again with: zsds reprocess --from packets"
        )
    content = path.read_bytes()
    member = tarfile.TarInfo(packet_name(packet))
    member.size = len(content)
    file: IO[bytes] = io.BytesIO(content)
    archive.addfile(member, file)
    return True
