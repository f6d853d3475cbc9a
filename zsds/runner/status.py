"""What the ledger says of a night, as rows to print."""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

import numpy as np

from zsds.core.errors import BadInput
from zsds.core.ids import QuadrantId
from zsds.db import figures, ledger
from zsds.runner.archive import Archive

KINDS = ("calibration", "science", "reference", "difference", "packets")  # in the order of their work
UNFINISHED = (ledger.State.PENDING, ledger.State.RUNNING)


def _units(
    connection: Any, nights: Sequence[str], kind: str | None = None, state: ledger.State | None = None
) -> Iterator[ledger.Unit]:
    """Units of some nights, or of all when none is named."""
    for night in nights or (None,):
        yield from ledger.units_of(connection, night, kind, state)


def unit_counts(
    archive: Archive, nights: Sequence[str], kinds: Collection[str] = KINDS
) -> list[dict[str, Any]]:
    """Per night and kind of unit: the number in each state, alerts, and the median time of one unit."""
    rows: dict[tuple[str, int], list[ledger.Unit]] = {}
    with archive.database.read() as connection:
        before = _units(connection, nights, state=ledger.State.SUPERSEDED)
        for unit in (*_units(connection, nights), *before):
            if unit.kind in kinds:
                rows.setdefault((unit.night, KINDS.index(unit.kind)), []).append(unit)
    found = {unit.state for units in rows.values() for unit in units}
    states = [state for state in ledger.State if state in found]
    return [
        {
            "night": when,
            "kind": KINDS[kind],
            **{str(state): sum(unit.state is state for unit in units) for state in states},
            "alerts": _alerts(units) if KINDS[kind] == "packets" else None,
            "median_s": _median_seconds(units),
        }
        for (when, kind), units in sorted(rows.items())
    ]


def _alerts(units: Sequence[ledger.Unit]) -> int:
    newest = (unit for unit in units if unit.state is not ledger.State.SUPERSEDED)
    return sum((unit.metrics or {}).get("n_packets", 0) for unit in newest)


def _median_seconds(units: Sequence[ledger.Unit]) -> float | None:
    newest = (unit for unit in units if unit.state is not ledger.State.SUPERSEDED)
    times = [unit.seconds for unit in newest if unit.seconds is not None]
    return round(median(times), 2) if times else None


def latencies(archive: Archive, nights: Sequence[str]) -> tuple[float, float, float] | None:
    """Median, 95th percentile and largest seconds from raw frame to packets, where frames were followed."""
    with archive.database.read() as connection:
        units = list(_units(connection, nights, "packets", ledger.State.DONE))
    found = [unit.metrics["latency_s"] for unit in units if "latency_s" in (unit.metrics or {})]
    if not found:
        return None
    middle, high, largest = (float(value) for value in np.percentile(found, [50, 95, 100]))
    return middle, high, largest


def latency_line(archive: Archive, nights: Sequence[str]) -> str:
    """The same in words; nothing where no frames were followed."""
    if (found := latencies(archive, nights)) is None:
        return ""
    middle, high, largest = found
    return f"from frame to packets: {middle:.1f} s (median), {high:.1f} s (95 %), {largest:.1f} s (largest)"


def oldest(archive: Archive, nights: Sequence[str]) -> tuple[str, float] | None:
    """The quadrant exposed first of those that are pending or running, and the seconds since then."""
    with archive.database.read() as connection:
        first = [figures.first_unit(connection, night, UNFINISHED) for night in nights or (None,)]
    keys = [key for key in first if key is not None]
    if not keys:
        return None
    when = QuadrantId.parse(min(keys)).time
    day = datetime.strptime(when[:8], "%Y%m%d").replace(tzinfo=UTC)
    exposed = day.timestamp() + 86400 * float(f"0.{when[8:]}")
    return min(keys), max(0.0, time.time() - exposed)


def oldest_line(archive: Archive, nights: Sequence[str]) -> str:
    """The same in words; nothing where nothing is pending or running."""
    if (found := oldest(archive, nights)) is None:
        return ""
    key, seconds = found
    return f"oldest quadrant to do: {key}, exposed {age(seconds)} ago"


def age(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def failures(archive: Archive, nights: Sequence[str], kinds: Collection[str] = KINDS) -> list[dict[str, Any]]:
    """Rejected and failed units grouped by kind and reason, most frequent first, with one example."""
    groups: dict[tuple[str, str, str], list[ledger.Unit]] = {}
    with archive.database.read() as connection:
        for state in (ledger.State.REJECTED, ledger.State.FAILED):
            for unit in _units(connection, nights, state=state):
                if unit.kind in kinds:
                    groups.setdefault((unit.kind, str(unit.state), _common(unit)), []).append(unit)
    ranked = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {
            "kind": kind,
            "state": state,
            "units": len(units),
            "reason": reason if state == ledger.State.REJECTED else units[0].reason,
            "for example": units[0].key,
        }
        for (kind, state, reason), units in ranked
    ]


def _common(unit: ledger.Unit) -> str:
    """A reason without its numbers or its file, so that a thousand of a kind make one group."""
    reason = unit.reason or ""
    if unit.state is ledger.State.REJECTED:
        return reason.partition(" (")[0]
    return reason.partition(": ")[2] if reason.startswith("/") else reason


def notes(archive: Archive, nights: Sequence[str]) -> list[str]:
    """What a user should know of results that are there."""
    with archive.database.read() as connection:
        found = [
            unit.night for unit in _units(connection, nights) if (unit.metrics or {}).get("n_own_epochs")
        ]
    return [
        f"{night}: the reference of {count} differences holds epochs of that same night and takes part of "
        "every new source away; build another from earlier nights with: zsds references --again --night NIGHT"
        for night, count in sorted(Counter(found).items())
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
