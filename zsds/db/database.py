"""Opening the operations database: SQLite by default, PostgreSQL for a cluster; every fault in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, OperationalError

from zsds.core.errors import BadInput
from zsds.db.schema import REVISION, REVISIONS

BUSY_S = 60.0  # how long one process waits for another's transaction
WRITES = "zsds_writes"
AWAY = (  # what a driver says of a server that may come back
    "refused",
    "closed the connection",
    "terminating connection",
    "connection is closed",
    "connection is lost",
    "starting up",
    "shutting down",
    "recovery mode",
    "not yet accepting connections",
    "reset by peer",
    "timed out",
    "timeout expired",
    "unreachable",
    "no route to host",
)
DISK = {  # what a driver says when it cannot write
    "disk is full": "the disk is full",
    "no space left": "the disk is full",
    "disk i/o error": "its disk gives an error, as full ones do",
}
MIGRATION_LOCK = 0x7A736473  # "zsds"; any number that no other program on the server locks


class Unreachable(BadInput):
    """A database that does not answer now, and may do so later."""


class Database:
    """An open database; survives pickling, so that workers open it for themselves.

    Parameters
    ----------
    url : str
        SQLAlchemy URL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)

    def __reduce__(self) -> tuple[type["Database"], tuple[str]]:
        return Database, (self.url,)

    @property
    def name(self) -> str:
        """The URL without its password, for messages."""
        return make_url(self.url).render_as_string(hide_password=True)

    @property
    def is_server(self) -> bool:
        """Whether processes of other machines may open it too; a file is safe on one only."""
        return not make_url(self.url).drivername.startswith("sqlite")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading; sees one consistent state."""
        with _faults_named(self.name), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed when the block ends well and undone when it fails.

        SQLite takes its write lock at once, so two writers take turns and none fails half-way.
        """
        writing = self.engine.execution_options(**{WRITES: True})
        with _faults_named(self.name), writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def create_database(url: str) -> Database:
    """Create the tables, or bring an older database up to date.

    Raises
    ------
    BadInput
        If the database cannot be reached, is damaged, was made by a newer version of zsds, or the URL holds
        a password, which an archive must not keep.
    """
    from alembic import command  # noqa: PLC0415 - slow to import, and only new archives need it
    from alembic.config import Config  # noqa: PLC0415

    _refuse_password(url)
    with _closed_on_failure(Database(url)) as database, database.write() as connection:
        if connection.dialect.name == "postgresql":  # one process at a time makes tables
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        _known_revision(database, connection)
        settings = Config()
        settings.set_main_option("script_location", "zsds.db:migrations")
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
    return database


def open_database(url: str) -> Database:
    """Open an existing, up-to-date database.

    Raises
    ------
    BadInput
        If it is missing, damaged, locked for too long, older or newer than this version of zsds.
    """
    file = _parsed(url).database if _parsed(url).drivername.startswith("sqlite") else None
    if file and file != ":memory:" and not Path(file).is_file():
        raise BadInput(file, "there is no such database", "make the archive with: zsds init")
    with _closed_on_failure(Database(url)) as database:
        with database.read() as connection:
            revision = _known_revision(database, connection)
        if revision is None:
            raise BadInput(database.name, "holds no tables of zsds", "make them with: zsds init")
        if revision != REVISION:
            problem = f"has the tables of version {revision}"
            raise BadInput(database.name, problem, "update them with: zsds init --upgrade")
    return database


@contextmanager
def _closed_on_failure(database: Database) -> Iterator[Database]:
    try:
        yield database
    except BaseException:
        database.close()
        raise


def _known_revision(database: Database, connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    if revision is not None and revision not in REVISIONS:
        raise BadInput(database.name, f"was made by a newer zsds (tables {revision})", "upgrade zsds")
    return revision


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        remedy = "write sqlite:///FILE or postgresql+psycopg://HOST/NAME"
        raise BadInput(url, "is not the URL of a database", remedy) from error


def _refuse_password(url: str) -> None:
    if _parsed(url).password is not None:
        name = _parsed(url).render_as_string(hide_password=True)
        remedy = "leave it out; the server's client finds it in ~/.pgpass or PGPASSWORD"
        raise BadInput(name, "holds a password, which others could read in the archive", remedy)


def _engine(url: str) -> Engine:
    parsed = _parsed(url)
    try:
        if not parsed.drivername.startswith("sqlite"):
            return sa.create_engine(parsed, poolclass=sa.NullPool)  # hundreds of workers hold no connection
        engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_S})
    except (ImportError, ArgumentError) as error:
        name = parsed.render_as_string(hide_password=True)
        raise BadInput(
            name, f"no driver for it ({error})", "install the driver, or use sqlite:///FILE"
        ) from error
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin in _begin_sqlite, not behind our back
    for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _faults_named(name: str) -> Iterator[None]:
    """Turn what a driver raises for reasons outside the program into one line with a remedy."""
    try:
        yield
    except (OperationalError, DatabaseError) as error:
        away, problem, remedy = _fault(error)
        if problem is None:
            raise
        raise (Unreachable if away else BadInput)(name, problem, remedy) from error


def _fault(error: DBAPIError) -> tuple[bool, str | None, str]:
    """Whether it may pass by itself, what it is, and the remedy."""
    text = str(error.orig).lower()
    if "locked" in text:
        return True, "is locked by another process", "wait for it, or stop it, and run again"
    for sign, problem in DISK.items():
        if sign in text:
            return True, problem, "free some space and run again"
    for sign in AWAY:
        if sign in text:
            return True, "does not answer", "start the database server, or check the URL"
    faults = {
        "not a database": ("is not a database", "check the file, or restore it from a backup"),
        "malformed": ("is damaged", "restore it from a backup"),
        "unable to open": ("cannot be opened", "check that its folder exists and may be written"),
        "readonly": ("may not be written", "check its permissions"),
        "could not translate": ("host is not known", "check the URL"),
        "authentication": ("refuses the user or password", "check the URL"),
        "does not exist": ("does not exist", "create the database, or check the URL"),
    }
    for sign, (problem, remedy) in faults.items():
        if sign in text and (sign != "does not exist" or isinstance(error, OperationalError)):
            return False, problem, remedy
    return False, None, ""
