"""A survey so small that a test may run all of it: one CCD of two quadrants, from nothing to alerts."""

import contextlib
import hashlib
import io
import shutil
import sqlite3
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import sqlalchemy as sa
import yaml

from zsds.cli import main
from zsds.core.camera_file import load_camera
from zsds.db import create_database, ledger
from zsds.db.schema import metadata
from zsds.resources import resource
from zsds.runner.archive import open_archive
from zsds.sim import NightSettings, SkySettings, simulate_night

NX, NY = 340, 360
DATABASE = "zsds.sqlite"
NIGHT = "20190110"
REFERENCE_OPTIONS = ("--set", "reference.select.min_epochs=4", "--set", "reference.select.max_fwhm_ratio=2")
SERIAL = ("--cluster", "serial")
SETTINGS = NightSettings(
    night=NIGHT, n_reference=5, reference_nights=1, n_science=3, n_bias=3, n_flat=3,
    seeing_arcsec=(1.9, 2.4), transients_per_sq_deg=900.0, snr_range=(6.0, 80.0),
    asteroids_per_sq_deg=60.0, near_asteroids=0, satellites=0.0, pointing_arcsec=5.0, clouds_mag=0.03,
    sky=SkySettings(stars_per_sq_deg=26000.0, brightest_mag=13.0),
)  # fmt: skip
TIMINGS = {"started", "seconds", "peak_memory_mb", "owner", "lease_until"}
TIMING_METRICS = {"cpu_s", "wall_s"}


@dataclass(frozen=True)
class Called:
    """What a command printed, and its exit status."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Survey:
    """An archive after the night, and the sky it comes from."""

    archive: Path
    sky: Path
    reference_night: str

    @property
    def night(self) -> str:
        return NIGHT

    @property
    def frames(self) -> list[Path]:
        """Science frames of the night, in order of time."""
        return sorted((self.sky / "raw" / NIGHT[:4] / NIGHT[4:]).rglob("*_o.fits.fz"))

    def units(self, kind: str) -> list:
        """Units of the night as the ledger has them."""
        with self.open().database.read() as connection:
            return ledger.units_of(connection, NIGHT, kind)

    def open(self):
        return open_archive(self.archive)

    def copied(self, folder: Path) -> "Survey":
        """The same archive in another folder, to do things to; the raw frames stay where they are."""
        shutil.copytree(self.archive, folder, ignore=shutil.ignore_patterns(f"{DATABASE}*"))
        with (  # as a whole, whoever opens or closes it meanwhile
            contextlib.closing(sqlite3.connect(self.archive / DATABASE)) as ours,
            contextlib.closing(sqlite3.connect(folder / DATABASE)) as theirs,
        ):
            ours.backup(theirs)
        return replace(self, archive=folder)


def zsds(*arguments: object, env_archive: Path | None = None) -> Called:
    """Run the command in this process, as the shell would; ``env_archive`` sets ZSDS_ARCHIVE."""
    out, err = io.StringIO(), io.StringIO()
    status = 0
    words = ["zsds", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", words),
        mock.patch.dict("os.environ", {"ZSDS_ARCHIVE": str(env_archive)} if env_archive else {}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
    return Called(status, out.getvalue(), err.getvalue())


def expect(called: Called) -> Called:
    """The call, which must have gone well."""
    assert called.status == 0, called.err + called.out
    return called


def camera_file(path: Path, nx: int = NX, ny: int = NY) -> Path:
    """The demonstration camera with one CCD of two small quadrants, as a file."""
    camera = yaml.safe_load(resource("calib", "cameras", "demo.yaml").read_text(encoding="utf-8"))
    camera["name"] = "tiny"
    camera["amplifier_defaults"] |= {
        "size": [nx + 24, ny],
        "data": f"[1:{nx},1:{ny}]",
        "overscan": f"[{nx + 1}:{nx + 24},1:{ny}]",
    }
    scale = camera["pixel_scale_arcsec"]
    camera["amplifiers"] = {
        q: {**camera["amplifiers"][q], "crosstalk": {3 - q: 2e-4},
            "x_arcsec": (3 - 2 * q) * scale * (nx + 10) / 2, "y_arcsec": 0}
        for q in (1, 2)
    }  # fmt: skip
    camera["detectors"] = {1: {"amplifiers": {1: {"gain": 6.3, "bad_columns": [212]}}}}
    path.write_text(yaml.safe_dump(camera, sort_keys=False), encoding="utf-8")
    return path


def move_to_server(archive: Path, url: str) -> None:
    """Give an archive on SQLite an empty database on a server, with all its rows."""
    settings = archive / "zsds.yaml"
    with open_archive(archive).database.read() as connection:
        rows = {
            table: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
            for table in metadata.sorted_tables
        }
    database = create_database(url)
    with database.write() as connection:
        for table, found in rows.items():
            if found:
                connection.execute(table.insert(), found)
            if "id" in table.c and isinstance(table.c.id.type, sa.Integer):
                numbers = sa.func.pg_get_serial_sequence(table.name, "id")
                last = max((row["id"] for row in found), default=1)
                connection.execute(sa.select(sa.func.setval(numbers, last, bool(found))))
    database.close()
    told = yaml.safe_load(settings.read_text())
    settings.write_text(yaml.safe_dump({**told, "database": url}))


def simulate(folder: Path) -> str:
    """Raw frames, catalogs and truth below ``folder/sky``; returns the night of the references."""
    made = simulate_night(folder / "sky", load_camera(camera_file(folder / "tiny.yaml")), 4, SETTINGS)
    return made.reference_nights[0]


def make_archive(folder: Path, sky: Path, database: str | None = None) -> None:
    """An empty archive with catalogs and all frames."""
    where = ("--database", database) if database else ()
    expect(zsds("init", folder, "--camera", sky.parent / "tiny.yaml", *where))
    for kind in ("gaia", "ps1", "orbits"):
        expect(zsds("catalogs", "import", "--archive", folder, kind, sky / "catalogs" / f"{kind}.parquet"))
    expect(zsds("ingest", "--archive", folder, sky / "raw"))


def make_references(survey: Survey) -> None:
    """Calibrate the night of the references, run it, and build them."""
    where = ("--archive", survey.archive)
    night = survey.reference_night
    expect(zsds("calibrate", *where, "--night", night, *SERIAL))
    expect(zsds("night", *where, night, *SERIAL))
    expect(zsds("references", *where, *SERIAL, *REFERENCE_OPTIONS))


def make_ready(folder: Path) -> Survey:
    """The archive ``ready`` below a folder: before its night."""
    ready = Survey(folder / "ready", folder / "sky", simulate(folder))
    make_archive(ready.archive, ready.sky)
    make_references(ready)
    expect(zsds("calibrate", "--archive", ready.archive, "--night", NIGHT, *SERIAL))
    return ready


def make_surveys(folder: Path) -> str:
    """The archives ``ready`` (before the night) and ``archive`` (after it) below a folder; see `Survey`."""
    ready = make_ready(folder)
    done = ready.copied(folder / "archive")
    expect(run_night(done))
    expect(zsds("report", "--archive", done.archive, NIGHT))
    expect(zsds("alerts", "tar", "--archive", done.archive, NIGHT))
    return ready.reference_night


def run_night(survey: Survey, *options: object) -> Called:
    """Run the night on one process."""
    return zsds("night", "--archive", survey.archive, NIGHT, *SERIAL, *options)


def forget_frames(archive: Path, keep: Path | None = None) -> None:
    """Make the archive forget the science and calibration frames of the night, all but one."""
    table = metadata.tables["frames"]
    gone = sa.and_(table.c.night == NIGHT, table.c.path != str(keep))
    with open_archive(archive).database.write() as connection:
        connection.execute(sa.delete(table).where(gone))


def product_hashes(archive: Path) -> dict[str, str]:
    """SHA-256 of every file but the database and the logs."""
    files = [p for p in archive.rglob("*") if p.is_file() and not p.name.startswith("zsds.sqlite")]
    files = [p for p in files if p.relative_to(archive).parts[0] != "logs"]
    return {str(p.relative_to(archive)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def database_rows(archive: Path) -> dict[str, list[dict]]:
    """Every row of every table but what depends on the clock."""
    rows = {}
    with open_archive(archive).database.read() as connection:
        for name, table in metadata.tables.items():
            found = connection.execute(sa.select(table).order_by(*table.primary_key.columns)).mappings()
            rows[name] = [_without_timings(row) for row in found]
    return rows


def _without_timings(row) -> dict:
    kept = {key: value for key, value in row.items() if key not in TIMINGS}
    if isinstance(kept.get("metrics"), dict):
        kept["metrics"] = {k: v for k, v in kept["metrics"].items() if k not in TIMING_METRICS}
    return kept
