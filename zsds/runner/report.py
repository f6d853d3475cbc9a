"""Gathers what a night's report shows from the ledger and the products."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from astropy.table import Table, vstack

from zsds import __version__
from zsds.core.errors import BadInput
from zsds.core.ids import QuadrantId
from zsds.core.tables import new_table
from zsds.db import ledger
from zsds.db.figures import quadrant_alerts
from zsds.db.ledger import State
from zsds.db.objects import packets_of
from zsds.io.packets import read_packet
from zsds.report import NightRecord, empty_quadrants, focal_plane_of, score_rows
from zsds.runner.archive import Archive

MAX_ALERTS = 2000  # packets read; the strongest and the most doubtful of them are shown


def read_night(archive: Archive, night: str) -> NightRecord:
    """Everything the report of a night needs.

    Raises
    ------
    BadInput
        If nothing of that night was run.
    """
    with archive.database.read() as connection:
        units = {(unit.kind, unit.key): unit for unit in ledger.units_of(connection, night)}
        packets = packets_of(connection, night)[:MAX_ALERTS]
        n_alerts = quadrant_alerts(connection, night)
    keys = sorted(key for kind, key in units if kind == "science")
    if not keys:
        raise BadInput(night, "nothing of it was run in this archive", f"run it with: zsds night {night}")
    made = [key for key in keys if units["science", key].state is State.DONE]
    subtracted = [key for key in keys if _state(units, "difference", key) == "done"]
    paths = [archive.store.root / row["path"] for row in packets]
    residuals, no_residuals = _readable(archive, made, _residuals)
    scores, no_scores = _readable(archive, subtracted, _scores)
    return NightRecord(
        night=night,
        camera=archive.camera.name,
        software=__version__,
        quadrants=_quadrants(units, keys, n_alerts, no_residuals | no_scores),
        residuals=_stacked("residuals", residuals),
        score_histograms=_stacked("score_histograms", scores),
        alerts=[_alert(path) for path in paths],
        focal_plane=focal_plane_of(archive.camera),
        band_names={band.id: code for code, band in archive.camera.bands.items()},
    )


def _readable(
    archive: Archive, keys: list[str], load: Callable[[Archive, str], Table]
) -> tuple[list[Table], dict[str, str]]:
    """What can be loaded, and by quadrant why the rest cannot; a lost file must not cost the report."""
    found, faults = [], {}
    for key in keys:
        try:
            found.append(load(archive, key))
        except BadInput as error:
            faults[key] = f"{error.source}: {error.problem}"
    return found, faults


def _alert(path: Path) -> dict[str, Any]:
    """A packet's record; an empty one, which the report counts as unreadable, when it cannot be read."""
    try:
        return dict(read_packet(path).record)
    except BadInput:
        return {}


def _state(units: dict[tuple[str, str], ledger.Unit], kind: str, key: str) -> str:
    unit = units.get((kind, key))
    return "" if unit is None else str(unit.state)


def _quadrants(
    units: dict[tuple[str, str], ledger.Unit],
    keys: list[str],
    n_alerts: dict[str, int],
    faults: dict[str, str],
) -> Table:
    table = empty_quadrants(len(keys))
    for row, key in zip(table, keys, strict=True):
        science, difference = units["science", key], units.get(("difference", key))
        values: dict[str, Any] = dict(science.metrics or {})
        values |= {} if difference is None else dict(difference.metrics or {})
        identifier = QuadrantId.parse(key)
        values |= {
            "id": key,
            "field": identifier.field,
            "band": identifier.band,
            "ccd": identifier.ccd,
            "quadrant": identifier.quadrant,
            "science_state": str(science.state),
            "difference_state": _state(units, "difference", key),
            "reason": science.reason or (difference.reason if difference else None) or faults.get(key, ""),
            "seconds": sum(unit.seconds or 0.0 for unit in (science, difference) if unit),
            "n_alerts": n_alerts.get(key, 0 if _state(units, "difference", key) == "done" else None),
            "peak_memory_mb": max(unit.peak_memory_mb or 0.0 for unit in (science, difference) if unit),
        }
        for name in table.colnames:
            if values.get(name) is not None:
                row[name] = values[name]
    return table


def _residuals(archive: Archive, key: str) -> Table:
    matches = archive.store.load_table("residuals", QuadrantId.parse(key), "astrometry_matches")
    table = new_table("residuals", len(matches))
    table["id"][:] = key
    for ours in ("x", "y", "mag"):
        table[ours][:] = matches[ours]
    table["dra_arcsec"][:], table["ddec_arcsec"][:] = matches["residual_ra"], matches["residual_dec"]
    return table


def _scores(archive: Archive, key: str) -> Table:
    counts = archive.store.load_json("difference_metrics", QuadrantId.parse(key))["score_counts"]
    return score_rows(key, counts)


def _stacked(name: str, tables: list[Table]) -> Table:
    return vstack(tables, metadata_conflicts="silent") if tables else new_table(name)
