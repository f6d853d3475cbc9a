"""What the ledger says of a night, as rows to print."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from zsds.core.errors import BadInput
from zsds.db import ledger
from zsds.runner.archive import Archive


def _units(connection: Any, nights: Sequence[str]) -> Iterator[ledger.Unit]:
    """Units of some nights, or of all when none is named."""
    for night in nights or (None,):
        yield from ledger.units_of(connection, night=night)


def unit_counts(archive: Archive, nights: Sequence[str]) -> list[dict[str, Any]]:
    """Per night and kind of unit, with the number in each state."""
    rows: dict[tuple[str, str], Counter[str]] = {}
    with archive.database.read() as connection:
        for unit in _units(connection, nights):
            rows.setdefault((unit.night, unit.kind), Counter())[str(unit.state)] += 1
    states = [str(s) for s in ledger.State if any(str(s) in counts for counts in rows.values())]
    return [
        {"night": when, "kind": kind, **{state: counts[state] for state in states}}
        for (when, kind), counts in sorted(rows.items())
    ]


def failures(archive: Archive, nights: Sequence[str]) -> list[dict[str, Any]]:
    """Rejected and failed units grouped by kind and reason, most frequent first, with one example."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    with archive.database.read() as connection:
        for unit in _units(connection, nights):
            if unit.state in (ledger.State.REJECTED, ledger.State.FAILED):
                reason = unit.reason or ""
                if unit.state is ledger.State.REJECTED:  # without its numbers, so that many make one group
                    reason = reason.partition(" (")[0]
                groups.setdefault((unit.kind, str(unit.state), reason), []).append(unit.key)
    ranked = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {"kind": kind, "state": state, "units": len(keys), "reason": reason, "for example": keys[0]}
        for (kind, state, reason), keys in ranked
    ]


def require_night(archive: Archive, night: str) -> None:
    """Make sure that a night was run.

    Raises
    ------
    BadInput
        If the ledger has nothing of it.
    """
    with archive.database.read() as connection:
        if not ledger.units_of(connection, night):
            raise BadInput(night, "nothing of it was run in this archive", f"run it with: zsds night {night}")
