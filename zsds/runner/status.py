"""What the ledger says of a night, as rows to print."""

import time
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from zsds.core.errors import BadInput
from zsds.core.ids import QuadrantId
from zsds.core.scope import KINDS, QUADRANT_STEPS
from zsds.db import figures, ledger
from zsds.db.schema import units as unit_table
from zsds.runner.archive import Archive

UNFINISHED = (ledger.State.PENDING, ledger.State.RUNNING)
PACKETS = "packets"
NIGHTS_SHOWN = 7  # where nobody names any


def newest_nights(archive: Archive, n: int | None = None) -> list[str]:
    """The newest nights of which anything was run, or all of them; oldest first."""
    with archive.database.read() as connection:
        return figures.last_nights(connection, n, unit_table)[::-1]


def unit_counts(
    archive: Archive, nights: Sequence[str], kinds: Collection[str] = KINDS
) -> list[dict[str, Any]]:
    """Per night and kind of unit: the number in each state, alerts, and the median time of one unit.

    For alerts see `zsds.db.figures.alert_counts`; they stand beside the packets' units.
    """
    with archive.database.read() as connection:
        counts = {night: figures.state_counts(connection, night, kinds) for night in sorted(set(nights))}
        found = {state for of_night in counts.values() for of_kind in of_night.values() for state in of_kind}
        states = [state for state in ledger.State if state in found]
        return [
            {
                "night": night,
                "kind": kind,
                **{str(state): of_night[kind].get(state, 0) for state in states},
                "alerts": figures.alert_counts(connection, night)[0] if kind == PACKETS else None,
                "median_s": _rounded(figures.median_seconds(connection, night, kind)),
            }
            for night, of_night in counts.items()
            for kind in KINDS
            if kind in of_night
        ]


def full_counts(
    archive: Archive, nights: Sequence[str], kinds: Collection[str] = KINDS
) -> list[dict[str, Any]]:
    """The same for programs, and what people are told below it.

    Returns
    -------
    list of dict
        Besides: ``published`` (alerts), ``latency_s`` (`latencies`), ``oldest`` and ``oldest_s`` (`oldest`,
        of this kind), ``troubles`` (`failures`); None where there is none.
    """
    rows = unit_counts(archive, nights, kinds)
    return [{**row, **_details(archive, row["night"], row["kind"])} for row in rows]


def _details(archive: Archive, night: str, kind: str) -> dict[str, Any]:
    first, waited_s = oldest(archive, [night], [kind]) or (None, None)
    return {
        "published": _published(archive, night) if kind == PACKETS else None,
        "latency_s": latencies(archive, [night]) if kind == PACKETS else None,
        "oldest": first,
        "oldest_s": _rounded(waited_s),
        "troubles": failures(archive, [night], [kind]),
    }


def _published(archive: Archive, night: str) -> int:
    with archive.database.read() as connection:
        return figures.alert_counts(connection, night)[1]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def latencies(archive: Archive, nights: Sequence[str]) -> tuple[float, float, float] | None:
    """Median, 95th percentile and largest seconds from raw frame to packets, where frames were followed."""
    with archive.database.read() as connection:
        found = [
            value
            for night in nights
            for value in figures.metric_values(connection, night, PACKETS, "latency_s")
        ]
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


def oldest(
    archive: Archive, nights: Sequence[str], kinds: Collection[str] = QUADRANT_STEPS
) -> tuple[str, float] | None:
    """The quadrant exposed first of those that are pending or running, and the seconds since then."""
    of_quadrants = [kind for kind in kinds if kind in QUADRANT_STEPS]
    with archive.database.read() as connection:
        first = [figures.first_unit(connection, night, UNFINISHED, of_quadrants) for night in nights]
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
    groups: dict[tuple[str, str, str], list[Any]] = {}
    with archive.database.read() as connection:
        for night in nights:
            for unit in figures.failed_units(connection, night, kinds):
                groups.setdefault((unit.kind, unit.state, _common(unit)), []).append(unit)
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


def _common(unit: Any) -> str:
    """A reason without its numbers or its file, so that a thousand of a kind make one group."""
    reason = str(unit.reason or "")
    if unit.state == ledger.State.REJECTED:
        return reason.partition(" (")[0]
    return reason.partition(": ")[2] if reason.startswith("/") else reason


def notes(archive: Archive, nights: Sequence[str]) -> list[str]:
    """What a user should know of results that are there."""
    with archive.database.read() as connection:
        counts = {
            night: figures.metric_count(connection, night, "difference", "n_own_epochs")
            for night in sorted(set(nights))
        }
    return [
        f"{night}: the reference of {count} differences holds epochs of that same night and takes part of "
        "every new source away; build another from earlier nights with: zsds references --again --night NIGHT"
        for night, count in counts.items()
        if count
    ]


def require_night(archive: Archive, night: str) -> None:
    """Make sure that a night was run.

    Raises
    ------
    BadInput
        If the ledger has nothing of it.
    """
    with archive.database.read() as connection:
        if not figures.is_known(connection, night):
            raise BadInput(night, "nothing of it was run in this archive", f"run it with: zsds night {night}")
