"""Who may see what: program 1 is public, each other program sees the public data and its own."""

from collections.abc import Mapping
from typing import Any

PUBLIC_PROGRAM = 1
_HISTORIES = ("prv_candidates", "fp_hists")


def programs_shown(program_id: int) -> frozenset[int]:
    """Programs whose data a packet of this program may hold."""
    return frozenset({PUBLIC_PROGRAM, program_id})


def programs_in(record: Mapping[str, Any]) -> frozenset[int]:
    """Programs of everything in an alert record: the candidate and each epoch of its history."""
    rows = [row for name in _HISTORIES for row in record.get(name) or ()]
    found = {row.get("programid") for row in (record["candidate"], *rows)}
    return frozenset(int(program) for program in found if program is not None)


def topic_name(prefix: str, night: str, program_id: int) -> str:
    """Kafka topic of a night ``YYYYMMDD`` and a program, as in ``ztf_20260115_programid1``."""
    return f"{prefix}_{night}_programid{program_id}"
