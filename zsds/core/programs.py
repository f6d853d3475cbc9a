"""Who may see what: program 1 is public, each other program sees the public data and its own."""

from collections.abc import Mapping
from typing import Any

PUBLIC_PROGRAM = 1
_HISTORIES = ("prv_candidates", "fp_hists", "previous_detections", "forced")  # of ZTF's schema and ours


def programs_shown(program_id: int) -> frozenset[int]:
    """Programs whose data a packet of this program may hold."""
    return frozenset({PUBLIC_PROGRAM, program_id})


def program_of(record: Mapping[str, Any]) -> int:
    """Program of an alert record of ZTF's schema or ours: that of its exposure.

    Raises
    ------
    KeyError, TypeError
        If the record does not say.
    """
    return int(_program(record.get("exposure") or record["candidate"]))


def programs_in(record: Mapping[str, Any]) -> frozenset[int]:
    """Programs of everything in an alert record: its exposure and each epoch of its history."""
    rows = [row for name in _HISTORIES for row in record.get(name) or ()]
    found = {_program(row) for row in (record.get("exposure") or record["candidate"], *rows)}
    return frozenset(int(program) for program in found if program is not None)


def _program(row: Mapping[str, Any]) -> Any:
    return row["program_id"] if "program_id" in row else row.get("programid")
