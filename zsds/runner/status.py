"""What the ledger says of a night, as rows to print."""

from collections import Counter
from typing import Any

from zsds.db import ledger
from zsds.runner.archive import Archive


def unit_counts(archive: Archive, night: str | None) -> list[dict[str, Any]]:
    """One row for each night and kind of unit, with the number in each state."""
    rows: dict[tuple[str, str], Counter[str]] = {}
    with archive.database.read() as connection:
        for unit in ledger.units_of(connection, night=night):
            rows.setdefault((unit.night, unit.kind), Counter())[str(unit.state)] += 1
    states = [str(s) for s in ledger.State if any(str(s) in counts for counts in rows.values())]
    return [
        {"night": when, "kind": kind, **{state: counts[state] for state in states}}
        for (when, kind), counts in sorted(rows.items())
    ]


def failures(archive: Archive, night: str | None) -> list[dict[str, Any]]:
    """Rejected and failed units grouped by kind and reason, most frequent first, with one example."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    with archive.database.read() as connection:
        for state in (ledger.State.REJECTED, ledger.State.FAILED):
            for unit in ledger.units_of(connection, night=night, state=state):
                reason = (unit.reason or "").partition(" (")[0]
                groups.setdefault((unit.kind, str(state), reason), []).append(unit.key)
    ranked = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {"kind": kind, "state": state, "units": len(keys), "reason": reason, "for example": keys[0]}
        for (kind, state, reason), keys in ranked
    ]
