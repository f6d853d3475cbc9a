"""Removing what an archive can do without, by its age."""

import time
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from zsds import products
from zsds.core.errors import SettingsError
from zsds.core.ids import JD_MINUS_MJD, QuadrantId, mjd_at
from zsds.core.retention import RetentionSettings
from zsds.core.scope import QUADRANT_STEPS
from zsds.db import ledger
from zsds.db.forced import count_forced, forget_forced
from zsds.db.ledger import FINISHED, State
from zsds.runner.archive import Archive

DAY_S = 86400.0
MOST_DAYS = 36500.0  # longer than any archive lives
SPARE = (  # products that no other is made from; forced photometry leaves out a difference that is gone
    "aperture_catalog",
    "residuals",
    "difference",
    "difference_uncertainty",
    "difference_mask",
    "difference_psf",
    "difference_flux_error",
    "score",
)


def prune(
    archive: Archive, settings: RetentionSettings, dry_run: bool = False, now: float | None = None
) -> list[dict[str, Any]]:
    """Remove what is older than the policy keeps it.

    Parameters
    ----------
    archive : Archive
    settings : RetentionSettings
    dry_run : bool
        Only tell.
    now : float, optional
        Seconds of the Unix clock; that of the machine by default.

    Returns
    -------
    list of dict
        Per sort: what, how many, and MB; rows of the database have no MB.

    Raises
    ------
    SettingsError
        For a time that is none, or a product that is none of a quadrant's or that others are made from.
    """
    _check(settings)
    now = time.time() if now is None else now
    found = {
        "superseded versions": _versions(archive, now - settings.superseded_days * DAY_S),
        **{name: _products(archive, name, now - settings.product_days * DAY_S) for name in settings.products},
        "logs": _logs(archive, now - settings.log_days * DAY_S),
    }
    rows = [{"what": what, "number": len(paths), "mb": _megabytes(paths)} for what, paths in found.items()]
    if not dry_run:
        for paths in found.values():
            archive.store.remove(paths)
    jd = mjd_at(now) - settings.forced_days + JD_MINUS_MJD
    with archive.database.write() as connection:
        n_fluxes = count_forced(connection, jd) if dry_run else forget_forced(connection, jd)
    return [*rows, {"what": "forced fluxes in the database", "number": n_fluxes, "mb": None}]


def _check(settings: RetentionSettings) -> None:
    for name, value in asdict(settings).items():
        if name.endswith("_days") and not 0 <= value <= MOST_DAYS:
            raise SettingsError(f"retention.{name} must be 0 to {MOST_DAYS:.0f} days, not {value:g}")
    for name in settings.products:
        if name not in SPARE:
            raise SettingsError(f"retention.products: {name!r} cannot be pruned; known: {', '.join(SPARE)}")


def _versions(archive: Archive, before: float) -> list[Path]:
    """Folders of versions superseded before a time by one that is finished."""
    with archive.database.read() as connection:
        superseded = ledger.units_of(connection, state=State.SUPERSEDED)
        old = [unit for unit in superseded if unit.kind in QUADRANT_STEPS]
        nights = sorted({unit.night for unit in old})
        finished = {
            (unit.kind, unit.key)
            for night in nights
            for unit in ledger.units_of(connection, night)
            if unit.state in FINISHED
        }
    folders = [
        archive.store.root / products.superseded_path(unit.kind, QuadrantId.parse(unit.key), unit.version)
        for unit in old
        if (unit.superseded or before) < before and (unit.kind, unit.key) in finished
    ]
    return [folder for folder in folders if folder.is_dir()]


def _products(archive: Archive, name: str, before: float) -> list[Path]:
    """Files of a product of nights that ended before a time."""
    last = f"{datetime.fromtimestamp(before - DAY_S, UTC):%Y%m%d}"
    with archive.database.read() as connection:
        nights = [night for night in ledger.nights(connection) if night <= last]
        units = [unit for night in nights for unit in ledger.units_of(connection, night, "science")]
    paths = (archive.store.path(name, QuadrantId.parse(unit.key)) for unit in units)
    return [path for path in paths if path.is_file()]


def _logs(archive: Archive, before: float) -> list[Path]:
    files = (path for path in (archive.store.root / "logs").rglob("*") if path.is_file())
    return sorted(path for path in files if path.stat().st_mtime < before)


def _megabytes(paths: Iterable[Path]) -> float:
    """Room on the disk; files that have another place too take none."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    sizes = (file.stat() for file in files if file.is_file())
    return round(sum(about.st_size for about in sizes if about.st_nlink == 1) / 1e6, 1)
