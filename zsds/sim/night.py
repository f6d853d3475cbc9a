"""A whole simulated survey of one field, written as a camera would have: raw frames, catalogs and truth."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from astropy.table import Table, vstack

from zsds.core.camera import Camera
from zsds.core.errors import BadInput
from zsds.core.ids import file_time
from zsds.core.psf import FWHM_PER_SIGMA
from zsds.core.raw import RawCcd
from zsds.core.settings import settings_hash
from zsds.core.tables import new_table
from zsds.io.raw import raw_file_name, write_raw
from zsds.io.tables import write_table
from zsds.sim import asteroids, catalogs, frames
from zsds.sim.changes import reference_light
from zsds.sim.check import check_survey
from zsds.sim.frames import Survey
from zsds.sim.plan import (
    NightSettings,
    Plan,
    mags_of_snr,
    night_mjd,
    plan_exposures,
    selected,
    sky_region,
)
from zsds.sim.sky import Sky, make_sky, transient_light
from zsds.sim.transients import TransientSettings, with_transients

log = logging.getLogger(__name__)
TRUTH_TABLES = ("truth_exposures", "truth_changes", "truth_trails")


@dataclass(frozen=True)
class NightSummary:
    """What was written.

    Parameters
    ----------
    raw : tuple of Path
        Science frames of references and of the night, in time order.
    calibration : tuple of Path
        Bias, dark and flat frames.
    gaia, ps1, orbits : Path
        Reference catalogs, Parquet.
    truth : mapping of str to Path
        By table name.
    reference_nights : tuple of str
    night : str
    """

    raw: tuple[Path, ...]
    calibration: tuple[Path, ...]
    gaia: Path
    ps1: Path
    orbits: Path
    truth: dict[str, Path] = field(repr=False)
    reference_nights: tuple[str, ...]
    night: str
    n_transients: int
    n_stars: int


def simulate_night(
    root: Path,
    camera: Camera,
    seed: int = 1,
    settings: NightSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> NightSummary:
    """Write raw frames, calibration frames, reference catalogs and truth tables of a synthetic survey.

    Parameters
    ----------
    root : pathlib.Path
        Gets ``raw/YYYY/MMDD/ffffff/``, ``catalogs/``, ``truth/`` and ``manifest.json``.
    camera : Camera
    seed : int
        The same seed, camera and settings give the same pixels, whatever the number of processes.
    settings : NightSettings, optional
    progress : callable, optional
        Called with (frames done, frames in all).

    Returns
    -------
    NightSummary

    Raises
    ------
    SettingsError, BadInput
        If such a survey cannot be (see `zsds.sim.check`), or the folder holds frames of another one.
    """
    root, settings = Path(root), settings or NightSettings()
    check_survey(camera, seed, settings)
    if (root / "raw").exists():
        raise BadInput(str(root), "holds raw frames already", "remove the folder, or choose another one")
    survey = plan_survey(camera, seed, settings)
    tasks = _tasks(survey)
    done, truth = [], {name: [] for name in TRUTH_TABLES}
    for count, result in enumerate(_carried_out(survey, root, tasks), start=1):
        done.append(result)
        for name in TRUTH_TABLES:
            truth[name].append(result.truth.get(name, new_table(name)))
        if progress is not None:
            progress(count, len(tasks))
    tables = {name: vstack(parts, metadata_conflicts="silent") for name, parts in truth.items()}
    summary = _write_tables(root, survey, tables, done)
    _write_manifest(root, survey, summary, done)
    log.info("simulated %d frames in %s", len(done), root)
    return summary


def plan_survey(camera: Camera, seed: int, settings: NightSettings) -> Survey:
    """Everything that is true of the survey before a pixel is drawn."""
    plans = plan_exposures(camera, settings, seed)
    rng = np.random.default_rng([seed, 10])
    region = sky_region(camera, settings)
    sky = make_sky(region, rng, settings.sky)
    sky = _with_night_transients(sky, camera, settings, plans, np.random.default_rng([seed, 11]))
    moving = _asteroids(camera, settings, np.random.default_rng([seed, 12]))
    sky = replace(sky, orbits=moving)
    plans = [_with_asteroids(plan, camera, moving) for plan in plans]
    light = {
        band: reference_light(sky, [p for p in plans if p.role == "reference" and p.conditions.band == band])
        for band in settings.bands
    }
    return Survey(camera, seed, settings, sky, tuple(plans), light)


def _with_night_transients(
    sky: Sky, camera: Camera, settings: NightSettings, plans: list[Plan], rng: np.random.Generator
) -> Sky:
    """Supernovae that rise after the references were taken, and sources that faded since."""
    inner = sky_region(camera, settings, margin_arcsec=-25.0)
    n = rng.poisson(settings.transients_per_sq_deg * inner.area_sq_deg)
    low, high = np.log(settings.snr_range)
    snr = np.exp(rng.uniform(low, high, n))
    seeing = np.mean(settings.seeing_arcsec) / camera.pixel_scale_arcsec
    noise_pixels = 4 * np.pi * ((seeing / FWHM_PER_SIGMA) ** 2 + 1 / 12) * 1.5
    how = TransientSettings(faded_fraction=settings.faded_fraction)
    start = night_mjd(settings.night) - rng.uniform(2, 10, n)
    sky = with_transients(sky, inner, mags_of_snr(plans, snr, noise_pixels), 0.0, rng, how)
    table = sky.transients
    table["start_mjd"] = start
    now = transient_light(table, night_mjd(settings.night) + 0.25)
    rising = np.asarray(table["form"]) == "supernova"
    for band in ("g", "r", "i", "z"):
        table[band][rising] += 2.5 * np.log10(np.maximum(now[rising], 1e-3))
    return sky


def _asteroids(camera: Camera, settings: NightSettings, rng: np.random.Generator) -> Table:
    """Slow asteroids in the field during the night, and a few near ones that leave streaks."""
    region = sky_region(camera, settings, margin_arcsec=0.0)
    mjd = night_mjd(settings.night) + 0.2
    n = rng.poisson(settings.asteroids_per_sq_deg * region.area_sq_deg)
    slow = asteroids.draw_asteroids(
        *region.scatter(n, rng), rng.uniform(16.5, 20.8, n), mjd, camera.site, rng
    )
    n = settings.near_asteroids
    near = asteroids.draw_asteroids(
        *region.scatter(n, rng), rng.uniform(15.0, 17.5, n), mjd, camera.site, rng, near=True
    )
    both = vstack([slow, near], metadata_conflicts="silent")
    both["known"] = rng.random(len(both)) >= settings.unknown_fraction
    return both


def _with_asteroids(plan: Plan, camera: Camera, orbits: Table) -> Plan:
    """The plan with the asteroids' places at the start, middle and end of the exposure."""
    start, length = plan.conditions.start_mjd, plan.conditions.exposure_s / 86400
    middle = asteroids.apparent(orbits, start + length / 2, camera.site)
    first, last = (asteroids.apparent(orbits, start + k * length, camera.site) for k in (0, 1))
    table = Table(
        {
            "id": np.arange(len(orbits)),
            "name": np.asarray(orbits["name"]),
            "ra": middle["ra"],
            "dec": middle["dec"],
            "ra0": first["ra"],
            "dec0": first["dec"],
            "ra1": last["ra"],
            "dec1": last["dec"],
            "mag": middle["mag"],
        }
    )
    return replace(plan, asteroids=table)


@dataclass(frozen=True)
class Task:
    """One raw file to make.

    Parameters
    ----------
    frame_type : str
        ``science``, ``bias``, ``dark`` or ``flat``.
    ccd : int
    plan : int
        Of a science frame: number of its plan.
    band : str
        Of a flat.
    start_mjd : float
        Of a calibration frame.
    """

    frame_type: str
    ccd: int
    start_mjd: float
    plan: int = -1
    band: str = ""


@dataclass(frozen=True)
class Done:
    """One raw file made: where, a digest of its pixels, and the truth it adds."""

    task: Task
    path: Path
    digest: str
    truth: dict[str, Table] = field(repr=False)


def _tasks(survey: Survey) -> list[Task]:
    settings = survey.settings
    ccds = sorted({ccd for ccd, _ in selected(survey.camera, settings)})
    nights = sorted({int(p.conditions.start_mjd) for p in survey.plans})
    if not settings.calibrate_every_night:
        nights = sorted({nights[0], nights[-1]})
    n_dark = settings.n_dark if "dark" in survey.camera.frame_types.values() else 0
    tasks = []
    for night in nights:
        for ccd in ccds:
            tasks.extend(Task("bias", ccd, night + 0.02 + 0.0006 * k) for k in range(settings.n_bias))
            tasks.extend(Task("dark", ccd, night + 0.03 + 0.0006 * k) for k in range(n_dark))
            for b, band in enumerate(settings.bands):
                first = night + 0.04 + 0.012 * b
                tasks.extend(Task("flat", ccd, first + 0.0006 * k, band=band) for k in range(settings.n_flat))
    for plan in survey.plans:
        tasks.extend(Task("science", ccd, plan.conditions.start_mjd, plan.index) for ccd in ccds)
    return tasks


def _carried_out(survey: Survey, root: Path, tasks: list[Task]) -> Iterator[Done]:
    """Results in the order of the tasks."""
    if survey.settings.processes <= 1:
        yield from (_make(survey, root, task) for task in tasks)
        return
    pool = ProcessPoolExecutor(survey.settings.processes, initializer=_remember, initargs=(survey, root))
    with pool as workers:
        yield from workers.map(_make_remembered, tasks, chunksize=2)


_worker: dict[str, tuple[Survey, Path]] = {}


def _remember(survey: Survey, root: Path) -> None:
    _worker["survey"] = (survey, root)


def _make_remembered(task: Task) -> Done:
    return _make(*_worker["survey"], task)


def _make(survey: Survey, root: Path, task: Task) -> Done:
    if task.frame_type == "science":
        ccd, truth = frames.science_frame(survey, survey.plans[task.plan], task.ccd)
    else:
        ccd, truth = (
            frames.calibration_frame(survey, task.frame_type, task.ccd, task.start_mjd, task.band),
            {},
        )
    info = next(iter(ccd.quadrants.values())).info
    stamp = file_time(info.start_mjd)
    folder = root / "raw" / stamp[:4] / stamp[4:8] / stamp[8:]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / raw_file_name(info, task.frame_type, survey.camera)
    write_raw(path, ccd, survey.camera)
    return Done(task, path, _digest(ccd), truth)


def _digest(ccd: RawCcd) -> str:
    """SHA-256 of all pixels."""
    total = hashlib.sha256()
    for quadrant in sorted(ccd.quadrants):
        total.update(ccd.quadrants[quadrant].data.tobytes())
        total.update(ccd.quadrants[quadrant].overscan.tobytes())
    return total.hexdigest()


def _write_tables(root: Path, survey: Survey, tables: dict[str, Table], done: list[Done]) -> NightSummary:
    for name in ("catalogs", "truth"):
        (root / name).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([survey.seed, 20])
    made = {
        "gaia": catalogs.gaia_catalog(survey.sky, rng),
        "ps1": catalogs.ps1_catalog(survey.sky, rng),
        "orbits": catalogs.orbits_catalog(survey.sky.orbits, rng),
    }
    for name, table in made.items():
        pq.write_table(catalogs.arrow_table(table), root / "catalogs" / f"{name}.parquet", compression="zstd")
    tables = {
        **tables,
        "truth_stars": survey.sky.stars,
        "truth_galaxies": survey.sky.galaxies,
        "truth_transients": survey.sky.transients,
        "truth_asteroids": survey.sky.orbits,
    }
    paths = {name: root / "truth" / f"{name}.parquet" for name in tables}
    for name, table in tables.items():
        write_table(paths[name], table, name)
    nights = sorted({file_time(p.conditions.start_mjd)[:8] for p in survey.plans if p.role == "reference"})
    return NightSummary(
        raw=tuple(d.path for d in done if d.task.frame_type == "science"),
        calibration=tuple(d.path for d in done if d.task.frame_type != "science"),
        gaia=root / "catalogs" / "gaia.parquet",
        ps1=root / "catalogs" / "ps1.parquet",
        orbits=root / "catalogs" / "orbits.parquet",
        truth=paths,
        reference_nights=tuple(nights),
        night=survey.settings.night,
        n_transients=len(survey.sky.transients),
        n_stars=len(survey.sky.stars),
    )


def _write_manifest(root: Path, survey: Survey, summary: NightSummary, done: list[Done]) -> None:
    """What was simulated and a digest of every frame's pixels, as JSON."""
    settings = asdict(survey.settings)
    del settings["processes"]
    manifest = {
        "camera": survey.camera.name,
        "seed": survey.seed,
        "settings": settings,
        "settings_hash": settings_hash(replace(survey.settings, processes=1)),
        "night": summary.night,
        "reference_nights": summary.reference_nights,
        "frames": {str(d.path.relative_to(root)): d.digest for d in done},
    }
    (root / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
