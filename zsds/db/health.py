"""What there is to say of a database before a night depends on it."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, make_url

from zsds.core.errors import BadInput
from zsds.db.database import Database
from zsds.db.schema import units

OLDEST_POSTGRESQL = 15
SHARED_FILESYSTEMS = {
    "nfs",
    "nfs4",
    "lustre",
    "gpfs",
    "beegfs",
    "ceph",
    "cifs",
    "smb3",
    "glusterfs",
    "9p",
    "fuse.sshfs",
}
MOUNTS = Path("/proc/mounts")


@dataclass(frozen=True)
class Health:
    """What a database is, and what is wrong with it and how to mend that, if anything is."""

    found: str
    remedy: str = ""


def health_of(database: Database) -> Health:
    """Version of the server or place of the file, and whether it can be written.

    Raises
    ------
    BadInput
        If it cannot be reached or read.
    """
    try:
        with database.write() as connection:
            connection.execute(
                sa.update(units).where(sa.false()).values(attempt=0)
            )  # needs the right to write
            if database.is_server:
                return _server(database, connection)
    except sa.exc.ProgrammingError as error:
        told = str(error.orig).splitlines()[0]
        raise BadInput(
            database.name, f"cannot be written ({told})", "grant its user all on the tables"
        ) from error
    file = Path(make_url(database.url).database or "")
    kind = filesystem_of(file.parent)
    if kind in SHARED_FILESYSTEMS:
        remedy = "keep it on a local disk, or use PostgreSQL (docs/database.md): locks of SQLite fail there"
        return Health(f"SQLite on {kind}", remedy)
    return Health(f"{database.name}, SQLite {connection.dialect.dbapi.sqlite_version}")


def _server(database: Database, connection: Connection) -> Health:
    version = connection.dialect.server_version_info or (0,)
    found = f"{database.name}, PostgreSQL {'.'.join(map(str, version))}"
    old = version[0] < OLDEST_POSTGRESQL
    return Health(found, f"upgrade it to PostgreSQL {OLDEST_POSTGRESQL} or newer" if old else "")


def filesystem_of(folder: Path, mounts: Path = MOUNTS) -> str:
    """Kind of the file system that a folder lies on; empty where the system does not tell."""
    try:
        lines = [line.split() for line in mounts.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    folder = folder.resolve()
    found = [(len(place), kind) for _, place, kind, *_ in lines if folder.is_relative_to(place)]
    return max(found)[1] if found else ""
