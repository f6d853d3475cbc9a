"""What the operations database is asked to do for each exposure, beside what it holds already.

An exposure of 64 quadrants is named and saved, its packets' pasts are looked up, forced fluxes are read and
kept, and the packets are marked as published: by the functions that a night calls, with as many detections as
10^6 alerts a night give. What the ledger of units takes is measured in `benchmarks.timing.night`.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import sqlalchemy as sa

from benchmarks.history import store_elsewhere
from benchmarks.timing.camera import ALERTS, EXPOSURES, QUADRANTS
from benchmarks.timing.quadrant import Prepared
from zsds.associate.history import Epoch
from zsds.core.ids import JD_MINUS_MJD, QuadrantId, file_time, processing_id
from zsds.core.programs import PUBLIC_PROGRAM
from zsds.core.stream import Stream
from zsds.db import Database, create_database, ledger, publications
from zsds.db.forced import forced_of, save_forced
from zsds.db.history import Coverage, histories_of
from zsds.db.ledger import State
from zsds.db.objects import names_of, objects_named
from zsds.db.schema import units
from zsds.io.store import Store
from zsds.runner.archive import Archive, open_archive
from zsds.runner.naming import MIN_SNR, Found, name_found

DETECTIONS_PER_ALERT = 140 / 110  # of S/N 3 and more, as on the quadrant of `benchmarks.speed`
NEW_SHARE, ALL_IMAGES, NEW_IMAGES = (
    0.2,
    30,
    3,
)  # of the objects: new ones are forced in 30 images, others in 3
FIELDS = (600, 601)  # visited in turn, so that what was found is found again
POPULATION = 2.0  # sources of a quadrant, over those that one exposure detects
BAND, BAND_ID, CCDS = "zr", 2, 16
MJD = 61055.1
HOURS = 1 / 24
BATCH = 500  # packets sent together


@dataclass(frozen=True)
class Sample:
    """A quadrant that was really processed: its candidates, and what its products say of the exposure.

    Parameters
    ----------
    candidates : astropy.table.Table
    facts, image : mapping
    """

    candidates: Any
    facts: Mapping[str, Any]
    image: Mapping[str, Any]


def sample_of(prepared: Prepared, identifier: QuadrantId) -> Sample:
    """The sample that the prepared quadrant is, once it was run."""
    store = open_archive(prepared.archive).store
    found = store.load_table("candidates", identifier, "candidates")
    metrics = store.load_json("difference_metrics", identifier)
    kept = found[found["is_alert"] | (np.abs(found["snr"]) >= MIN_SNR)]
    return Sample(kept, metrics["facts"], metrics["image"])


@dataclass
class Costs:
    """Seconds of the clock, core-seconds of this process and of the server's, by operation."""

    database: Database
    spent: dict[str, np.ndarray] = field(default_factory=dict)

    @contextmanager
    def of(self, operation: str) -> Iterator[None]:
        """Charge the block to an operation."""
        before = self._now()
        yield
        self.spent[operation] = self.spent.get(operation, np.zeros(3)) + self._now() - before

    def _now(self) -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time(), server_core_s(self.database)])


def server_core_s(database: Database) -> float:
    """Core-seconds that a PostgreSQL on this machine has taken for all its clients; 0 for SQLite."""
    if not database.is_server:
        return 0.0
    with database.read() as connection:
        server = psutil.Process(connection.scalar(sa.text("SELECT pg_backend_pid()"))).parent()
        ended = server.cpu_times()
        times = [ended.children_user, ended.children_system]
        for process in server.children():
            with suppress(psutil.NoSuchProcess):  # it has ended, and counts as the server's
                times += process.cpu_times()[:2]
        return sum(times)


def database_costs(
    sample: Sample, url: str | None = None, sizes: Sequence[int] = (10_000, 1_000_000), n_exposures: int = 4
) -> dict[str, Any]:
    """Cost and growth for each exposure, with so many detections of elsewhere stored before.

    Parameters
    ----------
    sample : Sample
    url : str, optional
        An empty database; SQLite by default.
    sizes : sequence of int
        Rising.
    n_exposures : int
        Measured at each size, in fields of their own, so that each size finds as much of their past; as the
        first of a field find none of it, they are not measured.

    Returns
    -------
    dict
        Of each size: ``[wall_s, core_s, server_core_s]`` of an exposure by operation; ``bytes`` that the
        database grows for an exposure.
    """
    result: dict[str, Any] = {"sizes": {}}
    with TemporaryDirectory(prefix="zsds-database-") as folder:
        archive = _new_archive(Path(folder) / "archive", url)
        night = Exposures(archive, sample)
        grown = 0
        for before, size in zip((0, *sizes), sizes, strict=False):
            store_elsewhere(archive.database, before, size)
            for _ in range(2 * len(FIELDS)):
                night.expose(Costs(archive.database))
            costs, held = Costs(archive.database), _bytes(archive.database)
            for _ in range(n_exposures):
                night.expose(costs)
            grown = max(grown, _bytes(archive.database) - held)
            spent = {name: (each / n_exposures).tolist() for name, each in costs.spent.items()}
            result["sizes"][size] = spent
            night.move_on()
        archive.database.close()
    return {**result, "bytes": grown / n_exposures}


def _new_archive(folder: Path, url: str | None) -> Archive:
    store = Store.create(folder, "ztf", url)
    create_database(store.database_url).close()
    return open_archive(folder)


def _bytes(database: Database) -> int:
    with database.write() as connection:
        if database.is_server:
            return int(connection.scalar(sa.text("SELECT pg_database_size(current_database())")))
        pages = [connection.scalar(sa.text(f"PRAGMA {name}")) for name in ("page_count", "page_size")]
        return int(pages[0] * pages[1])


class Exposures:
    """Exposures of a camera, one after another, as far as the database sees them."""

    def __init__(self, archive: Archive, sample: Sample) -> None:
        self.archive, self.sample = archive, sample
        self.n, self.fields, self.dice = 0, FIELDS, np.random.default_rng(4)
        self.n_alerts = round(ALERTS / EXPOSURES / QUADRANTS)
        self.n_found = round(self.n_alerts * DETECTIONS_PER_ALERT)

    def move_on(self) -> None:
        """To fields where nobody has been."""
        self.fields = tuple(field + len(self.fields) for field in self.fields)

    def expose(self, costs: Costs) -> None:
        """Another exposure, from its candidates to its packets in the topic."""
        found = self._found()
        night = next(iter(found)).night
        with costs.of("naming, detections, coverage, outbox"):
            name_found(self.archive, found)
        for one in found.values():
            self._pasts(one, costs)
        keys = [str(identifier) for identifier in found]
        with self.archive.database.write() as connection:
            ledger.add_units(connection, "packets", night, keys)
            done = units.update().where(units.c.key.in_(keys))
            connection.execute(done.values(state=State.DONE.value))
        self._publish(night, costs)

    def _pasts(self, found: Found, costs: Costs) -> None:
        """What `zsds.runner.packets` asks and keeps for a quadrant."""
        alerts = found.candidates[found.candidates["is_alert"]]
        facts, database = found.facts, self.archive.database
        with costs.of("names and histories"), database.read() as connection:
            names = names_of(connection, alerts["candid"].tolist())
            epoch = Epoch(facts["jd"], facts["field"], facts["rcid"])
            histories_of(connection, alerts["ra"], alerts["dec"], epoch, program_ids=[PUBLIC_PROGRAM])
            objects = objects_named(connection, names.values())["id"].tolist()
        with costs.of("forced fluxes read"), database.read() as connection:
            forced_of(connection, objects, facts["jd"] - ALL_IMAGES)
        rows = [row for name in objects for row in self._fluxes(name, facts)]
        with costs.of("forced fluxes kept"), database.write() as connection:
            save_forced(connection, rows)

    def _fluxes(self, name: str, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        n_images = ALL_IMAGES if self.dice.random() < NEW_SHARE else NEW_IMAGES
        star = dict.fromkeys(("distnr", "ra", "dec", "mag", "mag_err", "chi", "sharp"), 1.23456789)
        for back in range(n_images):
            yield {
                "object_id": name, "jd": facts["jd"] - back, "pid": facts["pid"] - 1000 * back,
                "version": "0123456789ab", "flux": 123.456, "flux_err": 12.3456, "bad_fraction": 0.0,
                "status": 0, "nearest": star,
            }  # fmt: skip

    def _publish(self, night: str, costs: Costs) -> None:
        """What `zsds.runner.publish` asks and keeps for the packets of an exposure, without a broker."""
        database = self.archive.database
        with database.write() as connection:
            stream = Stream(self.archive.camera.prefix, night, PUBLIC_PROGRAM)
            held = publications.take(connection, stream, "benchmark", lambda _: True)
        with costs.of("publishing"):
            with database.read() as connection:
                ready = publications.ready_packets(connection, held, 20_000)
            for start in range(0, len(ready), BATCH):
                with database.write() as connection:
                    taken = publications.take_packets(connection, held, ready[start : start + BATCH])
                with database.write() as connection:
                    publications.settle(connection, held, taken, taken, "cluster", {0: start})

    def _found(self) -> dict[QuadrantId, Found]:
        mjd, place = MJD + self.n * HOURS, self.fields[self.n % len(self.fields)]
        self.n += 1
        channels = ((ccd, quadrant) for ccd in range(1, CCDS + 1) for quadrant in range(1, 5))
        identifiers = [QuadrantId(file_time(mjd), place, BAND, *channel) for channel in channels]
        return {identifier: self._quadrant(identifier, mjd) for identifier in identifiers}

    def _quadrant(self, identifier: QuadrantId, mjd: float) -> Found:
        """The sample's candidates at places of this quadrant's sky, some of which were seen before."""
        camera = self.archive.camera
        channel = camera.channel(identifier.ccd, identifier.quadrant)
        wcs = camera.nominal_wcs(
            identifier.ccd, identifier.quadrant, 150.0 + 9 * (identifier.field - 600), 20.0
        )
        nx, ny = wcs.pixel_shape
        fixed = np.random.default_rng([identifier.field, channel])
        n_all = round(POPULATION * self.n_found)
        chosen = self.dice.choice(n_all, self.n_found, replace=False)
        places = wcs.all_pix2world(fixed.uniform(20, [nx - 20, ny - 20], (n_all, 2)), 0)[chosen]
        corners = wcs.all_pix2world([[0, 0], [nx, 0], [nx, ny], [0, ny]], 0).tolist()
        pid, jd = processing_id(mjd, channel), mjd + JD_MINUS_MJD
        candidates = self.sample.candidates[np.arange(self.n_found) % len(self.sample.candidates)]
        candidates["candid"] = pid * 10**6 + np.arange(self.n_found)
        candidates["ra"], candidates["dec"] = places.T
        candidates["is_alert"] = np.arange(self.n_found) < self.n_alerts
        candidates["ssnamenr"] = ""
        facts = {**self.sample.facts, "pid": pid, "jd": jd, "field": identifier.field, "rcid": channel}
        coverage = Coverage(
            pid, str(identifier), jd, BAND_ID, identifier.field, channel, PUBLIC_PROGRAM,
            facts["diffmaglim"], corners, {**facts, "image": self.sample.image},
        )  # fmt: skip
        return Found(candidates, facts, coverage)
