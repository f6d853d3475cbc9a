"""Part of some nights done again from one of its steps on: new versions, beside those that are superseded."""

from collections.abc import Sequence
from pathlib import Path

from zsds.workflows.bookkeeping import Claims
from zsds.workflows.calibrate import run_calibrations
from zsds.workflows.night import Progress, run_nights

from zsds.core.scope import Scope
from zsds.pipeline.settings import Settings
from zsds.runner.archive import open_archive
from zsds.runner.reprocess import calibrated_nights


def reprocess_nights(
    folder: Path,
    nights: Sequence[str],
    settings: Settings,
    progress: Progress,
    cluster: str,
    n_workers: int | None,
    scope: Scope,
) -> None:
    """Do the units of a scope again; arguments as for `zsds.workflows.night.run_nights`.

    Nights that have no calibrations of their own go on using those of a night before.

    Raises
    ------
    BadInput
        As `run_nights`.
    """
    archive = open_archive(folder)
    with Claims(archive, settings) as claims:
        claims.require_idle(nights)  # before any calibration is made
    if scope.makes("calibration"):
        for night in calibrated_nights(archive, nights):
            run_calibrations(folder, night, settings, progress, cluster, n_workers, scope)
    run_nights(folder, nights, settings, progress, cluster, n_workers, scope)
