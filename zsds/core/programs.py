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
    found = {_program(row) for row in _epochs(record)}
    return frozenset(int(program) for program in found if program is not None)


def is_public(record: Mapping[str, Any]) -> bool:
    """Whether everybody may see an alert record, by what it says itself."""
    return programs_in(record) == {PUBLIC_PROGRAM}


def pids_in(record: Mapping[str, Any]) -> frozenset[int]:
    """Processing ids of all quadrants that an alert record shows."""
    found = {row.get("pid") for row in _epochs(record)}
    return frozenset(int(pid) for pid in found if pid is not None)


def _epochs(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    own = record.get("exposure") or record["candidate"]
    return [own, *(row for name in _HISTORIES for row in record.get(name) or ())]


def _program(row: Mapping[str, Any]) -> Any:
    return row["program_id"] if "program_id" in row else row.get("programid")
