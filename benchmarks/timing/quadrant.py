"""An archive with calibrations, a reference and a past, and one quadrant of it taken from raw to packets."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from zsds.alerts import candidate_records
from zsds.core.camera_file import load_camera
from zsds.core.errors import ZsdsError
from zsds.core.ids import QuadrantId, file_time
from zsds.core.tables import new_table
from zsds.db import create_database
from zsds.db.history import Coverage, save_coverage, save_detections
from zsds.db.ledger import State
from zsds.io.raw import read_raw_headers
from zsds.io.store import Store
from zsds.pipeline.settings import Settings
from zsds.products import CalibrationId, ReferenceId
from zsds.runner import Finished, Task, science
from zsds.runner.archive import Archive, open_archive
from zsds.runner.frames import digest_of
from zsds.runner.naming import run_naming
from zsds.runner.run import run_chain
from zsds.sim import NightSettings, NightSummary, SkySettings, simulate_night

BAND = "zr"
MEMO = "prepared.json"
HISTORY_EXPOSURES = 200
RECENT_EXPOSURES = 30  # of them in the last 30 days


@dataclass(frozen=True)
class QuadrantPlan:
    """The quadrant to measure.

    Parameters
    ----------
    camera : str
        Name or file.
    ccd, quadrant : int
    n_stars, n_galaxies, n_transients : int
        On the quadrant.
    n_epochs : int
        In the reference; fewer than a survey takes, since what comes after does not see the difference.
    n_calibration : int
        Bias and flat frames each.
    n_history : int
        Detections in the database.
    """

    camera: str = "ztf"
    ccd: int = 6
    quadrant: int = 1
    n_stars: int = 8000
    n_galaxies: int = 1000
    n_transients: int = 100
    n_epochs: int = 4
    n_calibration: int = 5
    n_history: int = 100_000


CROWDED = QuadrantPlan(n_stars=40_000)


@dataclass(frozen=True)
class Prepared:
    """An archive ready for its night: one frame to warm up, one to measure."""

    archive: Path
    plan: QuadrantPlan
    calibration: Mapping[str, Any]
    reference: Mapping[str, Any]
    frames: tuple[Path, ...]

    def save(self) -> None:
        """Write it beside the archive, for `prepared_before`."""
        folder = self.archive.parent
        frames = [str(path.relative_to(folder)) for path in self.frames]
        memo = {**asdict(self), "archive": self.archive.name, "frames": frames}
        (folder / MEMO).write_text(json.dumps(memo), encoding="utf-8")


def prepared_before(folder: Path, plan: QuadrantPlan) -> Prepared | None:
    """What an earlier run of the same plan left in the folder, if it did; the folder may have been moved."""
    folder = folder.absolute()
    if not (folder / MEMO).is_file():
        return None
    memo = json.loads((folder / MEMO).read_text(encoding="utf-8"))
    if memo["plan"] != asdict(plan):
        return None
    frames = tuple(folder / path for path in memo["frames"])
    return Prepared(folder / memo["archive"], plan, memo["calibration"], memo["reference"], frames)


def few_epochs(settings: Settings, n_epochs: int) -> Settings:
    """Settings that make a reference of so few epochs."""
    pipeline = settings.reference
    select = replace(pipeline.select, min_epochs=n_epochs, max_fwhm_ratio=9.0, max_depth_loss=9.0)
    return replace(settings, reference=replace(pipeline, select=select))


def prepare(folder: Path, plan: QuadrantPlan) -> Prepared:
    """Simulate the frames, then make calibrations and reference as a night would."""
    folder = folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    made = simulate_night(folder / "sky", load_camera(plan.camera), 1, survey(plan))
    archive = _new_archive(folder / "archive", plan.camera, made)
    settings = few_epochs(Settings(), plan.n_epochs)
    identifier = _calibrate(archive, plan, made, settings)
    reference = asdict(ReferenceId(600, BAND, plan.ccd, plan.quadrant))
    epochs = [
        _science(archive, plan, path, identifier, settings)
        for path in made.raw
        if _night_of(path) != made.night
    ]
    _done(archive, [Task("reference", "r", {"reference": reference, "rfid": 1, "epochs": epochs})], settings)
    frames = tuple(path for path in made.raw if _night_of(path) == made.night)
    prepared = Prepared(archive, plan, identifier, reference, frames)
    prepared.save()
    return prepared


def survey(plan: QuadrantPlan) -> NightSettings:
    """What to simulate: counts on the quadrant become densities on the sky."""
    camera = load_camera(plan.camera)
    nx, ny = camera.nominal_wcs(plan.ccd, plan.quadrant, 150.0, 20.0).pixel_shape
    area = nx * ny * (camera.pixel_scale_arcsec / 3600) ** 2
    sky = SkySettings(
        stars_per_sq_deg=plan.n_stars / area,
        galaxies_per_sq_deg=plan.n_galaxies / area,
        faintest_mag=20.5,
        galaxy_faintest_mag=20.5,
    )
    return NightSettings(
        bands=(BAND,),
        ccds=(plan.ccd,),
        quadrants=(plan.quadrant,),
        n_reference=plan.n_epochs,
        reference_nights=1,
        n_science=2,
        n_bias=plan.n_calibration,
        n_flat=plan.n_calibration,
        n_dark=0,
        transients_per_sq_deg=plan.n_transients / area,
        snr_range=(6.0, 100.0),
        sky=sky,
    )


def run_quadrant(prepared: Prepared, frame: Path) -> QuadrantId:
    """Raw frame on disk to packets on disk, all products written."""
    science._read_ccd.cache_clear()
    archive, settings = open_archive(prepared.archive), Settings()
    key = _key(archive, prepared.plan, frame)
    difference = {"reference": prepared.reference, "rfid": 1, "science_attempt": 1}
    chain = [
        _science_task(key, frame, prepared.calibration),
        Task("difference", key, difference),
    ]
    _done(prepared.archive, chain, settings)
    _check(run_naming(archive, [QuadrantId.parse(key)]))
    _done(prepared.archive, [Task("packets", key)], settings)
    return QuadrantId.parse(key)


def fill_history(prepared: Prepared, identifier: QuadrantId) -> None:
    """Detections and coverage of earlier exposures of the quadrant, like those of one that is done."""
    archive = open_archive(prepared.archive)
    facts = archive.store.load_json("difference_metrics", identifier)["facts"]
    corners = np.array(archive.store.load_json("science_metrics", identifier)["corners"])
    found = archive.store.load_table("candidates", identifier, "candidates")
    record = candidate_records(found[:1], facts)[0]
    rng = np.random.default_rng(7)
    ages = np.r_[
        np.linspace(0.5, 29, RECENT_EXPOSURES), np.linspace(40, 600, HISTORY_EXPOSURES - RECENT_EXPOSURES)
    ]
    each = prepared.plan.n_history // HISTORY_EXPOSURES
    for k, age in enumerate(ages):
        pid = 10**9 + k
        past = {**facts, "pid": pid, "jd": facts["jd"] - age}
        table = _earlier(past, corners, each, rng)
        records = [{**record, **past, "candid": int(candid)} for candid in table["candid"]]
        with archive.database.write() as connection:
            save_detections(connection, pid, table, records)
            save_coverage(connection, _coverage(past, corners))


def _earlier(facts: Mapping[str, Any], corners: np.ndarray, n: int, rng: np.random.Generator) -> Any:
    table = new_table("detections", n)
    table["candid"] = facts["pid"] * 10_000 + np.arange(n)
    for ours, theirs in (("pid", "pid"), ("jd", "jd"), ("band_id", "fid"), ("field", "field")):
        table[ours][:] = facts[theirs]
    table["channel"][:], table["program_id"][:] = facts["rcid"], facts["programid"]
    table["positive"][:], table["snr"][:] = True, 6.0
    low, high = corners.min(axis=0), corners.max(axis=0)
    table["ra"][:], table["dec"][:] = rng.uniform(low[0], high[0], n), rng.uniform(low[1], high[1], n)
    return table


def _coverage(facts: Mapping[str, Any], corners: np.ndarray) -> Coverage:
    return Coverage(
        pid=facts["pid"],
        unit=f"benchmark-{facts['pid']}",
        jd=facts["jd"],
        band_id=facts["fid"],
        field=facts["field"],
        channel=facts["rcid"],
        program_id=facts["programid"],
        diffmaglim=facts["diffmaglim"],
        corners=[(float(ra), float(dec)) for ra, dec in corners],
        record=dict(facts),
    )


def _new_archive(folder: Path, camera: str, made: NightSummary) -> Path:
    store = Store.create(folder, camera)
    create_database(store.database_url).close()
    catalogs = open_archive(folder).catalogs
    for kind in ("gaia", "ps1", "orbits"):
        catalogs.import_table(kind, getattr(made, kind))
    return folder


def _calibrate(archive: Path, plan: QuadrantPlan, made: NightSummary, settings: Settings) -> dict[str, Any]:
    camera = load_camera(plan.camera)
    digests: dict[str, dict[str, str]] = {"bias": {}, "dark": {}, "flat": {}}
    for path in made.calibration:
        if _night_of(path) == made.night:
            digests[read_raw_headers(path, camera)[0].frame_type][str(path)] = digest_of(path)
    identifier = asdict(CalibrationId(made.night, BAND, plan.ccd, plan.quadrant))
    _done(archive, [Task("calibration", "c", {"calibration": identifier, **digests})], settings)
    return identifier


def _science(
    archive: Path, plan: QuadrantPlan, frame: Path, calibration: Mapping[str, Any], settings: Settings
) -> str:
    key = _key(open_archive(archive), plan, frame)
    _done(archive, [_science_task(key, frame, calibration)], settings)
    return key


def _science_task(key: str, frame: Path, calibration: Mapping[str, Any]) -> Task:
    return Task("science", key, {"raw": str(frame), "digest": digest_of(frame), "calibration": calibration})


def _key(archive: Archive, plan: QuadrantPlan, frame: Path) -> str:
    header = read_raw_headers(frame, archive.camera)[0]
    return str(
        QuadrantId(
            file_time(header.start_mjd), header.field, BAND, plan.ccd, plan.quadrant, archive.camera.prefix
        )
    )


def _night_of(frame: Path) -> str:
    return frame.parts[-4] + frame.parts[-3]  # raw/YYYY/MMDD/ffffff/name


def _done(archive: Path, chain: list[Task], settings: Settings) -> None:
    _check(run_chain(chain, archive, settings))


def _check(done: Sequence[Finished]) -> None:
    for one in done:
        if one.outcome.state is not State.DONE:
            raise ZsdsError(f"{one.task.kind} {one.task.key}: {one.outcome.reason}")
