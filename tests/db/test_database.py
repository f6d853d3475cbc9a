"""Opening, creating and the faults people meet, each in one line."""

import pickle
import sqlite3
import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from zsds.core.errors import BadInput
from zsds.db import Database, create_database, open_database
from zsds.db import database as opening
from zsds.db.schema import REVISION, REVISIONS, frames, metadata, objects


def one_line(error):
    assert "\n" not in str(error.value)
    assert error.value.remedy
    return str(error.value)


def test_migrations_give_the_declared_tables(database):
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == REVISION
    assert REVISIONS[-1] == REVISION


def test_creating_twice_changes_nothing(database, url):
    with database.write() as connection:
        connection.execute(objects.insert().values(id="a", ra=1, dec=2, first_candid=1, first_jd=1))
    again = create_database(url)
    with again.read() as connection:
        assert connection.scalar(sa.select(objects.c.id)) == "a"
    again.close()


def test_foreign_keys_hold_and_failed_transactions_are_undone(database):
    with pytest.raises(RuntimeError), database.write() as connection:
        connection.execute(objects.insert().values(id="a", ra=1, dec=2, first_candid=1, first_jd=1))
        raise RuntimeError
    with database.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(objects)) == 0
        assert connection.scalar(sa.text("PRAGMA foreign_keys")) == 1
        assert connection.scalar(sa.text("PRAGMA journal_mode")) == "wal"


def test_survives_pickling(database):
    copy = pickle.loads(pickle.dumps(database))
    with copy.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(frames)) == 0
    copy.close()


def test_missing(url):
    with pytest.raises(BadInput) as error:
        open_database(url)
    assert "zsds init" in one_line(error)


def test_empty_database(url, tmp_path):
    sqlite3.connect(tmp_path / "zsds.sqlite").close()
    with pytest.raises(BadInput, match="holds no tables"):
        open_database(url)


def test_not_a_database(url, tmp_path):
    (tmp_path / "zsds.sqlite").write_text("these are my notes " * 100)
    for opener in (open_database, create_database):
        with pytest.raises(BadInput, match="is not a database") as error:
            opener(url)
        one_line(error)


def test_newer_version(database, url):
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for opener in (open_database, create_database):
        with pytest.raises(BadInput, match="newer zsds") as error:
            opener(url)
        one_line(error)


def test_older_version(database, url, monkeypatch):
    monkeypatch.setattr(opening, "REVISION", "0002")
    with pytest.raises(BadInput, match="zsds init --upgrade"):
        open_database(url)


def test_locked(database, url, monkeypatch):
    monkeypatch.setattr(opening, "BUSY_S", 0.1)
    impatient = Database(url)
    with (
        database.write(),
        pytest.raises(BadInput, match="locked by another process") as error,
        impatient.write(),
    ):
        pass
    one_line(error)
    impatient.close()


def test_writers_wait_for_each_other(database, url):
    def work():
        mine = Database(url)
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


@pytest.mark.parametrize("bad", ["nonsense", "oracle://host/x", "sqlite:////no/such/folder/x.sqlite"])
def test_urls_that_lead_nowhere(bad):
    with pytest.raises(BadInput) as error:
        create_database(bad)
    one_line(error)


def test_passwords_stay_out_of_messages():
    pytest.importorskip("psycopg")
    assert "secret" not in Database("postgresql+psycopg://me:secret@host/x").name
