"""Faults and habits of SQLite files, each fault in one line."""

import sqlite3
import threading

import pytest
import sqlalchemy as sa

from zsds.core.errors import BadInput
from zsds.db import Database, create_database, open_database
from zsds.db import database as opening
from zsds.db.schema import objects


@pytest.fixture
def database(sqlite_url):
    database = create_database(sqlite_url)
    yield database
    database.close()


def one_line(error):
    assert "\n" not in str(error.value)
    assert error.value.remedy
    return str(error.value)


def test_writers_do_not_block_readers(database):
    with database.read() as connection:
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"


def test_missing(sqlite_url):
    with pytest.raises(BadInput) as error:
        open_database(sqlite_url)
    assert "zsds init" in one_line(error)


def test_empty_database(sqlite_url, tmp_path):
    sqlite3.connect(tmp_path / "zsds.sqlite").close()
    with pytest.raises(BadInput, match="holds no tables"):
        open_database(sqlite_url)


def test_not_a_database(sqlite_url, tmp_path):
    (tmp_path / "zsds.sqlite").write_text("these are my notes " * 100)
    for opener in (open_database, create_database):
        with pytest.raises(BadInput, match="is not a database") as error:
            opener(sqlite_url)
        one_line(error)


def test_locked(database, sqlite_url, monkeypatch):
    monkeypatch.setattr(opening, "BUSY_S", 0.1)
    impatient = Database(sqlite_url)
    with (
        database.write(),
        pytest.raises(BadInput, match="locked by another process") as error,
        impatient.write(),
    ):
        pass
    one_line(error)
    impatient.close()


def test_writers_wait_for_each_other(database, sqlite_url):
    def work():
        mine = Database(sqlite_url)
        for _ in range(20):
            with mine.write() as connection:
                n = connection.scalar(sa.select(sa.func.count()).select_from(objects))
                connection.execute(
                    objects.insert().values(id=f"{n}", ra=1, dec=2, first_candid=1, first_jd=1)
                )
        mine.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(objects)) == 60


@pytest.mark.parametrize(
    "told", ["database or disk is full", "could not extend file: No space left on device", "disk I/O error"]
)
def test_a_disk_that_takes_no_more_may_pass(database, told):
    with pytest.raises(opening.Unreachable, match="free some space and run again") as error:  # noqa: SIM117
        with database.write():
            raise sa.exc.OperationalError("INSERT", {}, sqlite3.OperationalError(told))
    one_line(error)
