"""Opening, creating and the faults people meet, each in one line."""

import pickle

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from zsds.core.errors import BadInput
from zsds.db import Database, create_database, open_database
from zsds.db import database as opening
from zsds.db.schema import REVISION, REVISIONS, coverage_cells, frames, metadata, objects


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
    with pytest.raises(sa.exc.IntegrityError), database.write() as connection:
        connection.execute(coverage_cells.insert().values(coverage_id=7, cell=1, jd=1))


def test_survives_pickling(database):
    copy = pickle.loads(pickle.dumps(database))
    with copy.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(frames)) == 0
    copy.close()


def test_newer_version(database, url):
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for opener in (open_database, create_database):
        with pytest.raises(BadInput, match="newer zsds") as error:
            opener(url)
        one_line(error)


def test_older_version(database, url, monkeypatch):
    monkeypatch.setattr(opening, "REVISION", "next")
    with pytest.raises(BadInput, match="zsds init --upgrade"):
        open_database(url)


@pytest.mark.parametrize("bad", ["nonsense", "oracle://host/x", "sqlite:////no/such/folder/x.sqlite"])
def test_urls_that_lead_nowhere(bad):
    with pytest.raises(BadInput) as error:
        create_database(bad)
    one_line(error)


def test_passwords_stay_out_of_messages():
    assert "secret" not in Database("postgresql+psycopg://me:secret@host/x").name


def test_an_archive_keeps_no_password():
    with pytest.raises(BadInput, match="pgpass") as error:
        create_database("postgresql+psycopg://me:secret@127.0.0.1:9/x")
    assert "secret" not in one_line(error)
