"""Alert packets: records, stamps, and looking at them."""

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
    "Past",
    "ReferenceFacts",
    "Stamps",
    "build_packet",
    "candidate_records",
    "cut_stamp",
    "cut_stamps",
    "exposure_facts",
    "open_stamp",
]
