"""What doing part of some nights again would touch."""

from collections.abc import Sequence
from typing import Any

from zsds.core.errors import BadInput
from zsds.core.ids import QuadrantId
from zsds.core.scope import STEPS, Scope
from zsds.db import ledger
from zsds.db.figures import sent_packets
from zsds.db.ledger import State
from zsds.products import CalibrationId
from zsds.runner.archive import Archive


def nights_in(archive: Archive, nights: Sequence[str], scope: Scope) -> list[str]:
    """The nights that hold something of a scope: those named, or any.

    Raises
    ------
    BadInput
        If a night that is named holds nothing of it, or none does.
    """
    with archive.database.read() as connection:
        units = {
            night: ledger.units_of(connection, night, "science")
            for night in (sorted(set(nights)) or ledger.nights(connection))
        }
    keys = {night: [QuadrantId.parse(unit.key) for unit in found] for night, found in units.items()}
    chosen = [night for night, quadrants in keys.items() if any(map(scope.has, quadrants))]
    empty = sorted(set(nights) - set(chosen))
    if empty or not chosen:
        raise BadInput(
            ", ".join(empty) or str(archive.store.root),
            "nothing of it was run in this archive",
            "see zsds status, and run it first with: zsds night",
        )
    return chosen


def calibrated_nights(archive: Archive, nights: Sequence[str]) -> list[str]:
    """Those of some nights that have calibrations of their own, in order of time."""
    with archive.database.read() as connection:
        return [n for n in sorted(set(nights)) if ledger.states_of(connection, n, "calibration")]


def preview(archive: Archive, nights: Sequence[str], scope: Scope) -> list[dict[str, Any]]:
    """Per night and step: units to be done, those of them that are done now, and packets that went out.

    Packets that went out keep their numbers and are not sent a second time.
    """
    rows = []
    with archive.database.read() as connection:
        for night in nights:
            sent = sent_packets(connection, night)
            for kind in filter(scope.makes, STEPS):
                units = [u for u in ledger.units_of(connection, night, kind) if _has(scope, kind, u.key)]
                done = {unit.key for unit in units if unit.state is State.DONE}
                is_last = kind == STEPS[-1]
                rows.append(
                    {
                        "night": night,
                        "kind": kind,
                        "units": len(units),
                        "superseded": len(done),
                        "published": sum(sent.get(key, 0) for key in done) if is_last else None,
                    }
                )
    return rows


def _has(scope: Scope, kind: str, key: str) -> bool:
    if kind == "calibration":
        place = CalibrationId.parse(key)
        return scope.has_channel(place.ccd, place.quadrant)
    return scope.has(QuadrantId.parse(key))
