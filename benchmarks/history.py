"""What the past of a quadrant's packets costs: look-ups beside what is stored, and forced photometry.

``python -m benchmarks.history --out bench`` fills an SQLite database (or that of ``--url``, an empty one of
PostgreSQL) up to 10^7 detections, in steps, and asks after each for the histories of 100 candidates. Then it
lays 30 full difference images into an archive and forces the fluxes of 100 objects in them.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import sqlalchemy as sa
import typer
from sqlalchemy.engine import Connection

from benchmarks.machine import machine_facts
from zsds.associate.history import Epoch
from zsds.astrometry.inverse import fit_sky_map
from zsds.core.camera_file import load_camera
from zsds.core.difference import Difference, Registration
from zsds.core.exposure import Exposure, Info
from zsds.core.ids import JD_MINUS_MJD, QuadrantId, file_time, processing_id
from zsds.core.psf import GaussianPsf
from zsds.core.tables import new_table
from zsds.db import Database, create_database
from zsds.db.history import Coverage, histories_of, save_coverage, save_detections
from zsds.db.objects import add_objects
from zsds.db.schema import detections, forced_fluxes
from zsds.db.sky import healpix_index
from zsds.io.store import Store
from zsds.io.windows import write_flux_error
from zsds.psf import PolynomialPsf
from zsds.runner.archive import Archive, open_archive
from zsds.runner.forced import forced_histories

SHAPE = (3080, 3072)
MJD = 60000.0
N_CANDIDATES = 100
OLD_DAYS, RECENT_DAYS = 700.0, 30.0
BATCH = 50_000
PROGRESS = typer.echo


@dataclass(frozen=True)
class Sky:
    """A quadrant with its candidates.

    Parameters
    ----------
    ra, dec : ndarray
        Of the candidates, degrees.
    corners : list
        Of the quadrant.
    """

    ra: np.ndarray
    dec: np.ndarray
    corners: list[list[float]]


def quadrant_sky() -> Sky:
    """Candidates all over a quadrant of ZTF."""
    rng, half = np.random.default_rng(5), 0.43
    ra0, dec0 = 150.0, 20.0
    wide = half / np.cos(np.radians(dec0))
    corners = [[ra0 + a * wide, dec0 + d * half] for a, d in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    ra = ra0 + rng.uniform(-0.9, 0.9, N_CANDIDATES) * wide
    return Sky(ra, dec0 + rng.uniform(-0.9, 0.9, N_CANDIDATES) * half, corners)


def local_past(connection: Connection, sky: Sky, n_old: int = 200, n_recent: int = 30) -> None:
    """The same past of the quadrant whatever is stored elsewhere: every exposure detects a third of all."""
    rng = np.random.default_rng(6)
    days = np.concatenate(
        [rng.uniform(RECENT_DAYS, OLD_DAYS, n_old), np.linspace(0.5, RECENT_DAYS - 0.5, n_recent)]
    )
    for n, age in enumerate(days.tolist()):
        mjd = MJD - age
        pid = processing_id(mjd, 32)
        facts = {
            "pid": pid,
            "jd": mjd + JD_MINUS_MJD,
            "fid": 1 + n % 2,
            "field": 600,
            "rcid": 32,
            "programid": 1,
        }
        record = {**facts, "magpsf": 19.0, "sigmapsf": 0.1, **{f"field{k}": 0.1 * k for k in range(90)}}
        save_coverage(
            connection,
            Coverage(pid, f"unit{n}", facts["jd"], facts["fid"], 600, 32, 1, 20.5, sky.corners, facts),
        )
        seen = np.flatnonzero(rng.uniform(size=N_CANDIDATES) < 1 / 3)
        table = new_table("detections", len(seen))
        for name, value in (
            ("candid", pid * 1000 + seen), ("pid", pid), ("jd", facts["jd"]), ("band_id", facts["fid"]),
            ("field", 600), ("channel", 32), ("program_id", 1), ("positive", True),
            ("ra", sky.ra[seen]), ("dec", sky.dec[seen]), ("snr", 9.0),
        ):  # fmt: skip
            table[name][:] = value
        save_detections(connection, pid, table, [record] * len(seen))


def store_elsewhere(database: Database, first: int, n: int) -> None:
    """Detections ``first`` to ``n`` of a sky full of others."""
    for start in range(first, n, BATCH):
        count = min(BATCH, n - start)
        rng = np.random.default_rng(start)
        ra, dec = rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
        jd = MJD + JD_MINUS_MJD - rng.uniform(0, OLD_DAYS, count)
        ipix = healpix_index(ra, dec)
        fixed = {"band_id": 1, "field": 1, "channel": 1, "program_id": 1, "positive": True, "snr": 9.0}
        rows = [
            {**fixed, "candid": start + i, "pid": (start + i) // 100, "jd": j, "ra": a, "dec": d, "ipix": p}
            for i, (j, a, d, p) in enumerate(
                zip(jd.tolist(), ra.tolist(), dec.tolist(), ipix.tolist(), strict=True)
            )
        ]
        with database.write() as connection:
            connection.execute(detections.insert(), rows)
    with database.write() as connection:
        connection.execute(sa.text("ANALYZE"))  # as servers do by themselves


def sizes_to(largest: int, first: int = 10_000) -> list[int]:
    """Numbers of detections stored, each ten times the one before."""
    return [n for n in (first * 10**k for k in range(10)) if n <= largest]


def lookup_costs(database: Database, sizes: Sequence[int], rounds: int = 15) -> list[dict[str, float]]:
    """Wall-clock and core milliseconds a candidate, the median of some rounds, for each number stored."""
    sky, epoch = quadrant_sky(), Epoch(MJD + JD_MINUS_MJD, 600, 32)
    with database.write() as connection:
        local_past(connection, sky)
    costs, stored = [], 0
    for n in sizes:
        begin = time.perf_counter()
        store_elsewhere(database, stored, n)
        filled, stored = time.perf_counter() - begin, n
        with database.read() as connection:
            times = _times(lambda: histories_of(connection, sky.ra, sky.dec, epoch), rounds)
            n_rows = sum(len(h.previous) for h in histories_of(connection, sky.ra, sky.dec, epoch))
        each = 1000 / N_CANDIDATES
        costs.append(
            {
                "stored": n,
                "wall_ms": each * median(t[0] for t in times),
                "core_ms": each * median(t[1] for t in times),
                "rows": n_rows / N_CANDIDATES,
                "fill_s": filled,
            }
        )
        PROGRESS(json.dumps(costs[-1]))
    return costs


def _times(work: Callable[[], Any], rounds: int) -> list[tuple[float, float]]:
    """Wall-clock and core seconds of some rounds, after one to warm up."""
    work()
    times = []
    for _ in range(rounds):
        wall, core = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - wall, time.process_time() - core))
    return times


def forced_costs(folder: Path, n_images: int = 30, n_new: int = 20, rounds: int = 5) -> dict[str, float]:
    """Core-seconds of the forced histories of 100 objects, some of them new, with every image on disk."""
    archive, images, objects = archive_of_images(folder, n_images)
    of_each = [images] * len(objects)
    every = _times(lambda: (_forget(archive), forced_histories(archive, objects, of_each)), 1)[0][1]
    costs = {"100 new": every}
    new = objects["id"][:n_new].tolist()
    latest = sorted(image["jd"] for image in images)[-3:]

    def a_night() -> None:
        forced_histories(archive, objects, of_each)

    times = []
    for _ in range(rounds + 1):
        _forget(archive, forced_fluxes.c.object_id.in_(new), forced_fluxes.c.jd >= latest[0])
        times += _times_once(a_night)
    costs[f"{n_new} new, the others for 3 images"] = min(times[1:])  # other work only adds
    costs["none new"] = min(core for _, core in _times(a_night, rounds))
    return costs


def _times_once(work: Callable[[], None]) -> Iterator[float]:
    core = time.process_time()
    work()
    yield time.process_time() - core


def _forget(archive: Archive, *conditions: sa.ColumnElement[bool]) -> None:
    """Forget fluxes for which any of the conditions holds; all without one."""
    with archive.database.write() as connection:
        gone = forced_fluxes.delete()
        connection.execute(gone.where(sa.or_(*conditions)) if conditions else gone)


def archive_of_images(folder: Path, n_images: int) -> tuple[Archive, list[dict[str, Any]], Any]:
    """An archive with full difference images of noise, their coverage, and 100 objects on them."""
    store = Store.create(folder, "ztf")
    create_database(store.database_url).close()
    archive = open_archive(folder)
    camera = load_camera("ztf")
    wcs = camera.nominal_wcs(9, 1, 150.0, 20.0)
    rng, images, first = np.random.default_rng(8), [], None
    psf = PolynomialPsf.from_model(GaussianPsf(2.2), SHAPE)
    errors = rng.normal(90, 0.3, SHAPE).astype(np.float32)
    for n in range(n_images):
        mjd = MJD - RECENT_DAYS * (n + 0.5) / n_images
        identifier = QuadrantId(file_time(mjd), 600, "zg", 9, 1)
        if first is None:
            first = identifier
            info = Info(identifier, mjd, 30.0, 1, camera.channel(9, 1), gain=6.2)
            data, variance = rng.normal(0, 30, SHAPE).astype(np.float32), np.full(SHAPE, 900, np.float32)
            exposure = Exposure(data, variance, np.zeros(SHAPE, np.uint32), info, wcs, psf)
            store.save_exposure("difference", identifier, exposure)
            difference = Difference(exposure, errors, errors, 1.0, 1, Registration())
            write_flux_error(store.path("difference_flux_error", identifier), difference)
        for product in ("difference", "difference_flux_error", "difference_psf"):
            target = store.path(product, identifier)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                os.link(store.path(product, first), target)
        facts = {
            "version": "1", "gain": 6.2, "own_noise": 1.0, "sky": fit_sky_map(wcs, SHAPE).to_values(),
            "reference": {"field": 600, "band": "zg", "ccd": 9, "quadrant": 1},
        }  # fmt: skip
        jd, pid = mjd + JD_MINUS_MJD, processing_id(mjd, 32)
        record = {"jd": jd, "pid": pid, "image": facts}
        images.append({"pid": pid, "unit": str(identifier), "jd": jd, "record": record})
    return archive, images, _objects(archive, wcs)


def _objects(archive: Archive, wcs: Any) -> Any:
    rng = np.random.default_rng(9)
    x, y = (rng.uniform(20, n - 20, N_CANDIDATES) for n in SHAPE[::-1])
    ra, dec = wcs.all_pix2world(x, y, 0)
    table = new_table("objects", N_CANDIDATES)
    table["id"] = [f"ZTF23aaaa{chr(97 + n // 26)}{chr(97 + n % 26)}a" for n in range(N_CANDIDATES)]
    table["ra"], table["dec"] = ra, dec
    table["designation"] = ""
    place = zip(table["id"].tolist(), ra.tolist(), dec.tolist(), strict=True)
    founded = {"first_candid": 1, "first_jd": MJD, "designation": None}
    rows = [{"id": name, "ra": a, "dec": d, **founded} for name, a, d in place]
    with archive.database.write() as connection:
        add_objects(connection, rows)
    return table


def main(
    out: Annotated[Path, typer.Option(help="Folder for history.json.")] = Path("bench"),
    url: Annotated[str, typer.Option(help="An empty database; default: SQLite.")] = "",
    largest: Annotated[int, typer.Option(help="Detections stored at last.")] = 10_000_000,
    forced: Annotated[bool, typer.Option(help="Forced photometry too.")] = True,
) -> None:
    """Measure what the past of packets costs."""
    sizes = sizes_to(largest)
    with tempfile.TemporaryDirectory(prefix="zsds-history-") as folder:
        database = create_database(url or f"sqlite:///{folder}/history.sqlite")
        name = database.engine.dialect.name
        result: dict[str, Any] = {"machine": machine_facts(), name: lookup_costs(database, sizes)}
        database.close()
        if forced:
            result["forced_core_s"] = forced_costs(Path(folder) / "archive")
            PROGRESS(json.dumps(result["forced_core_s"]))
    out.mkdir(parents=True, exist_ok=True)
    path = out / "history.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**known, **result}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
