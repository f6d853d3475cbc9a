"""Alert packets: records, stamps, and looking at them."""

from zsds.alerts.cutouts import cut_planes, open_cutout
from zsds.alerts.own import OwnFacts, build_own_packet, njy_of
from zsds.alerts.packet import (
    Past,
    ReferenceFacts,
    Stamps,
    build_packet,
    candidate_records,
    cut_stamps,
    exposure_facts,
)
from zsds.alerts.stamps import cut_stamp, open_stamp

__all__ = [
    "OwnFacts",
    "Past",
    "ReferenceFacts",
    "Stamps",
    "build_own_packet",
    "build_packet",
    "candidate_records",
    "cut_planes",
    "cut_stamp",
    "cut_stamps",
    "exposure_facts",
    "njy_of",
    "open_cutout",
    "open_stamp",
]
