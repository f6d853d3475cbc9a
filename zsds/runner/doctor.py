"""Is this machine, and this archive, fit to run? Each finding says how to mend what is wrong."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from zsds import __version__
from zsds.core.errors import BadInput, ZsdsError
from zsds.runner.space import wanted_in

CORE = ("numpy", "scipy", "astropy", "sep", "numba", "fastavro", "dask", "pyarrow", "SQLAlchemy")
EXTRAS = {
    "fetch": ("pyvo",),
    "kafka": ("confluent-kafka",),
    "postgresql": ("psycopg",),
    "service": ("fastapi", "uvicorn", "prometheus-client"),
    "cluster": ("dask-jobqueue", "dask-kubernetes", "cryptography"),
}
CATALOGS = ("gaia", "ps1", "orbits")


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    ok: bool
    found: str
    remedy: str = ""


def examine(archive: Path | None) -> list[Finding]:
    """Look at the installation, the machine and, if given, an archive."""
    findings = [
        Finding(
            "python", sys.version_info >= (3, 11), sys.version.split()[0], "install Python 3.11 or newer"
        ),
        Finding("zsds", True, __version__),
        *(_package(name) for name in CORE),
        *(_extra(extra, names) for extra, names in EXTRAS.items()),
        Finding("cores", True, str(os.cpu_count())),
        _disk(archive or Path.cwd(), wanted_in(archive)),
    ]
    return findings + (_archive(archive) if archive else [])


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", f"pip install {name}")


def _extra(extra: str, names: tuple[str, ...]) -> Finding:
    missing = [name for name in names if not _package(name).ok]
    found = f"optional, without {', '.join(missing)}" if missing else "installed"
    return Finding(f"[{extra}]", True, found, f"pip install 'zsds[{extra}]'" if missing else "")


def _disk(folder: Path, wanted: float) -> Finding:
    here = folder.absolute()
    while not here.exists():
        here = here.parent
    free = shutil.disk_usage(here).free
    remedy = f"make room, with zsds prune or otherwise: {wanted / 1e9:.0f} GB are what an hour may take"
    return Finding("disk", free >= wanted, f"{free / 1e9:.0f} GB free", remedy)


def _archive(folder: Path) -> list[Finding]:
    from zsds.db.health import health_of  # noqa: PLC0415 - heavy, and only needed here
    from zsds.runner.archive import open_archive  # noqa: PLC0415

    try:
        archive = open_archive(folder)
    except ZsdsError as error:
        return [Finding("archive", False, str(error), f"zsds init {folder}")]
    findings = [Finding("archive", True, f"{archive.store.root}, camera {archive.camera.name}")]
    try:
        health = health_of(archive.database)
        findings.append(Finding("database", not health.remedy, health.found, health.remedy))
    except BadInput as error:
        findings.append(Finding("database", False, f"{error.source}: {error.problem}", error.remedy))
    kinds = archive.catalogs.kinds()
    for kind in CATALOGS:
        known = kind in kinds
        found = f"{archive.catalogs.count(kind)} rows" if known else "not imported"
        findings.append(Finding(f"catalog {kind}", known, found, f"zsds catalogs import {kind} FILE"))
    return findings
