"""What a whole night of the camera costs the one command that runs it: units planned, recorded, looked at."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from zsds.workflows import night as nightly
from zsds.workflows.bookkeeping import Chain, Claims, run_chains

from benchmarks.timing.camera import EXPOSURES, INTERVAL_S
from benchmarks.timing.scheduling import MB_PER_GB, do_nothing
from benchmarks.timing.stopwatch import resident_memory_gb
from zsds.core.ids import file_time, reference_id
from zsds.db import create_database, ledger, versions
from zsds.db.ledger import Frame
from zsds.db.versions import ReferenceRow
from zsds.io.store import Store
from zsds.pipeline.settings import Settings
from zsds.products import CalibrationId, ReferenceId
from zsds.runner import status
from zsds.runner.archive import Archive, open_archive
from zsds.runner.situation import look
from zsds.service.page import status_page

NIGHT = "20260115"
MJD = 61055.1
BAND, BAND_ID, CCDS = "zr", 2, 16
N_FIELDS = 20
SECONDS_A_DAY = 86400


@dataclass(frozen=True)
class Instant:
    """Workers that do nothing, at once, in this process."""

    address: str = "nowhere"
    is_here: bool = True

    def run(
        self, function: Callable[..., Any], units: Sequence[Chain], together: Any = None, **known: Any
    ) -> Iterator[Any]:
        """What `Distributed.run` gives, of units that all go well."""
        del function, together
        for chain in units:
            yield do_nothing(chain, **known)


def night_cost(database: str | None = None, n_exposures: int = EXPOSURES) -> dict[str, Any]:
    """Seconds and core-seconds of the command for each stage of a night whose units do nothing.

    Parameters
    ----------
    database : str, optional
        URL of an empty database; SQLite by default.
    n_exposures : int

    Returns
    -------
    dict
        ``units``; of each stage ``wall_s`` and ``core_s``; ``memory_mb`` that planning took more.
    """
    with TemporaryDirectory(prefix="zsds-night-") as folder:
        store = Store.create(Path(folder) / "archive", "ztf", database)
        create_database(store.database_url).close()
        archive = open_archive(store.root)
        make_known(archive)
        stages: dict[str, dict[str, float]] = {}
        frames = night_frames(n_exposures)
        with archive.database.write() as connection:
            _timed(stages, "register frames", lambda: ledger.register_frames(connection, frames))
        memory = resident_memory_gb()
        with Claims(archive, Settings()) as claims, mock.patch.object(nightly, "run_naming", _no_naming):
            chains = _timed(stages, "plan", lambda: nightly.plan_night(archive, NIGHT, claims))
            memory = resident_memory_gb() - memory
            _timed(stages, "record science and difference", lambda: _run(chains, claims))
            packets = _timed(stages, "plan packets", lambda: nightly.plan_packets(archive, NIGHT, claims))
            _timed(stages, "record packets", lambda: _run(packets, claims))
        _look(archive, stages)
        archive.database.close()
    n_units = sum(len(chain) for chain in (*chains, *packets))
    return {"units": n_units, "stages": stages, "memory_mb": MB_PER_GB * memory}


def _no_naming(*_: Any) -> list[Any]:
    return []  # measured apart, see `benchmarks.timing.database`


def _run(chains: Sequence[Chain], claims: Claims) -> None:
    run_chains(Instant(), chains, claims, lambda: None)


def _look(archive: Archive, stages: dict[str, dict[str, float]]) -> None:
    _timed(stages, "zsds status", lambda: _status(archive))
    _timed(stages, "zsds serve, a page", lambda: status_page(look(archive, 7)))
    with Claims(archive, Settings()) as claims:
        _timed(stages, "plan again, nothing to do", lambda: nightly.plan_night(archive, NIGHT, claims))


def _status(archive: Archive) -> None:
    """All that the command prints."""
    nights = status.newest_nights(archive, status.NIGHTS_SHOWN)
    status.unit_counts(archive, nights)
    status.failures(archive, nights)
    status.latency_line(archive, nights)
    status.notes(archive, nights)


def _timed(stages: dict[str, dict[str, float]], name: str, work: Callable[[], Any]) -> Any:
    wall, core = time.perf_counter(), time.process_time()
    result = work()
    stages[name] = {"wall_s": time.perf_counter() - wall, "core_s": time.process_time() - core}
    return result


def make_known(archive: Archive) -> None:
    """Flats of every quadrant and references of every field."""
    with archive.database.write() as connection:
        for ccd in range(1, CCDS + 1):
            for quadrant in range(1, 5):
                flat = CalibrationId(NIGHT, BAND, ccd, quadrant)
                versions.add_calibration(connection, "flat", flat, 20, {})
                for field in range(600, 600 + N_FIELDS):
                    identifier = ReferenceId(field, BAND, ccd, quadrant)
                    rfid = reference_id(field, BAND_ID, archive.camera.channel(ccd, quadrant))
                    row = ReferenceRow(identifier, rfid, 15, MJD - 400, MJD - 100)
                    versions.add_reference(connection, row)


def night_frames(n_exposures: int) -> list[Frame]:
    """Raw frames of a night, one a CCD."""
    frames = []
    for n in range(n_exposures):
        mjd = MJD + n * INTERVAL_S / SECONDS_A_DAY
        when, field = file_time(mjd), 600 + n % N_FIELDS
        for ccd in range(1, CCDS + 1):
            name = f"ztf_{when}_{field:06d}_{BAND}_c{ccd:02d}_o.fits.fz"
            path = f"/data/survey/raw/{when[:4]}/{when[4:8]}/{when[8:]}/{name}"
            digest = f"{n:032x}{ccd:032x}"
            frames.append(
                Frame(
                    path, 30_000_000, digest, "science", when, mjd, 30.0, field, BAND, BAND_ID, ccd, when[:8]
                )
            )
    return frames
