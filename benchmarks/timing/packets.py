"""Packets a core-second: three cutouts, a record with its history, schema 4.02, in several framings."""

import gzip
import io
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Any

import fastavro
import numpy as np
from astropy.io import fits
from astropy.nddata import Cutout2D
from isal import isal_zlib
from numpy.typing import NDArray

from benchmarks.timing.quadrant import Prepared
from zsds.alerts import Stamps, build_packet, candidate_records, cut_stamps
from zsds.core.alert_schema import alert_schema, schema_text
from zsds.core.ids import QuadrantId
from zsds.core.packet import AlertPacket
from zsds.io.avro import encode_long
from zsds.io.packets import MAGIC, encode_packet, encode_schemaless
from zsds.runner.archive import open_archive

SIDE, MIDDLE = 63, 100.0
GAIN = 6.2
RAW_DEFLATE = -15  # zlib's code for a stream without head and checksum, as Avro has it
MARK = bytes(16)  # that ends each block of a container
SCHEMA_ID = 4_002  # of a registry, in the Confluent framing


@dataclass(frozen=True)
class PacketWork:
    """What the packets of one candidate are made from, again and again.

    Parameters
    ----------
    record : mapping
        The candidate's.
    history : list of mapping
    images : tuple of ndarray
        Science, template and difference.
    """

    record: Mapping[str, Any]
    history: list[Mapping[str, Any]]
    images: tuple[NDArray[np.float32], ...]

    def packet(self) -> AlertPacket:
        """Three cutouts, and a packet of them and the history."""
        return self.with_stamps(cut_stamps(self.images, MIDDLE, MIDDLE, GAIN, True))

    def with_stamps(self, stamps: Stamps) -> AlertPacket:
        """A packet of the history and these cutouts."""
        return build_packet(self.record, "ZTF19aaaaaaa", self.history, None, stamps)


def packet_work(prepared: Prepared, identifier: QuadrantId, n_history: int = 30) -> PacketWork:
    """A candidate of the quadrant with a full history; stamps hold noise, which compresses least."""
    store = open_archive(prepared.archive).store
    facts = store.load_json("difference_metrics", identifier)["facts"]
    found = store.load_table("candidates", identifier, "candidates")
    record = candidate_records(found[:1], facts)[0]
    history = [{**record, "jd": record["jd"] - 0.9 * (k + 1)} for k in range(n_history)]
    rng = np.random.default_rng(3)
    images = tuple(rng.normal(0, 30, (200, 200)).astype(np.float32) for _ in range(3))
    return PacketWork(record, history, images)


def embedded(work: PacketWork) -> bytes:
    """As zsds writes packets: an Avro container with its schema."""
    return encode_packet(work.packet())


def deflated(work: PacketWork) -> bytes:
    """The same container with its block deflated (zsds does not write it; most of a packet is compressed)."""
    packer = isal_zlib.compressobj(1, isal_zlib.DEFLATED, RAW_DEFLATE)
    packet = work.packet()
    body = packer.compress(encode_schemaless(packet)) + packer.flush()
    return b"".join(
        (_deflate_head(packet.schema_version), encode_long(1), encode_long(len(body)), body, MARK)
    )


def confluent(work: PacketWork) -> bytes:
    """A bare record behind the five bytes that name its schema in a registry."""
    return struct.pack(">bI", 0, SCHEMA_ID) + encode_schemaless(work.packet())


def by_public_parts(work: PacketWork) -> bytes:
    """The same packet by astropy, gzip and fastavro as their manuals have it."""
    stamps = Stamps(*(_stamp_by_astropy(image) for image in work.images))
    out = io.BytesIO()
    packet = work.with_stamps(stamps)
    fastavro.writer(out, alert_schema(packet.schema_version), [packet.record])
    return out.getvalue()


FRAMINGS: dict[str, Callable[[PacketWork], bytes]] = {
    "embedded schema": embedded,
    "embedded schema, deflate": deflated,
    "Confluent framing": confluent,
    "peer: astropy, gzip, fastavro": by_public_parts,
}


def packet_rates(work: PacketWork, n_packets: int = 300, rounds: int = 3) -> dict[str, float]:
    """Packets a core-second of each framing, the median of some rounds that take turns; no disk."""
    rates: dict[str, list[float]] = {name: [] for name in FRAMINGS}
    for framing in FRAMINGS.values():
        framing(work)
    for _ in range(rounds):
        for name, framing in FRAMINGS.items():
            start = time.process_time()
            for _ in range(n_packets):
                framing(work)
            rates[name].append(n_packets / (time.process_time() - start))
    return {name: median(each) for name, each in rates.items()}


@cache
def _deflate_head(version: str) -> bytes:
    metadata = {"avro.codec": b"deflate", "avro.schema": schema_text(version).encode()}
    head = io.BytesIO()
    fastavro.schemaless_writer(head, {"type": "map", "values": "bytes"}, metadata)
    return MAGIC + head.getvalue() + MARK


def _stamp_by_astropy(image: NDArray[np.float32]) -> bytes:
    out = io.BytesIO()
    cutout = Cutout2D(image, (MIDDLE, MIDDLE), SIDE, mode="partial", fill_value=np.nan)
    fits.PrimaryHDU(cutout.data / np.float32(GAIN)).writeto(out)
    return gzip.compress(out.getvalue())
