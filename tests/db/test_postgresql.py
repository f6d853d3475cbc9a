"""Faults of a PostgreSQL server, each in one line and without the password; what its planner does."""

import threading

import pytest
import sqlalchemy as sa

from zsds.core.errors import BadInput
from zsds.db import Database, create_database, ledger, open_database
from zsds.db.ledger import Outcome, State
from zsds.db.objects import lock_names, new_names

pytestmark = pytest.mark.services


@pytest.fixture
def database(postgres):
    database = create_database(postgres.new_database())
    yield database
    database.close()


def refused(url):
    with pytest.raises(BadInput) as error:
        open_database(url)
    assert "\n" not in str(error.value)
    assert error.value.remedy
    return str(error.value)


def test_server_faults_are_one_line(postgres, monkeypatch):
    assert "does not exist" in refused(postgres.url("nowhere"))
    assert "does not answer" in refused("postgresql+psycopg://zsds@127.0.0.1:9/zsds")
    assert "holds no tables" in refused(postgres.new_database())
    monkeypatch.setenv("PGPASSWORD", "not-this-one")
    assert "refuses the user or password" in refused(postgres.url("postgres"))


def test_one_process_holds_a_unit(database):
    with database.write() as connection:
        ledger.add_units(connection, "science", "20190110", ["a"])
    claimed = []

    def work(owner):
        mine = Database(database.url)
        with mine.write() as connection:
            claimed.append(ledger.claim(connection, "science", "a", owner))
        mine.close()

    _together(work, 6)
    held = [unit for unit in claimed if unit is not None]
    assert len(claimed) == 6
    assert len(held) == 1
    with database.write() as connection:
        ledger.finish(connection, held[0], Outcome(State.DONE))
        assert ledger.claim(connection, "science", "a", "another") is None


def test_names_are_given_once(database):
    given = []

    def work(_owner):
        mine = Database(database.url)
        for _ in range(5):
            with mine.write() as connection:
                lock_names(connection, 2019)
                given.extend(new_names(connection, 2019, 3, "ZTF"))
        mine.close()

    _together(work, 4)
    assert len(set(given)) == len(given) == 60


def _together(work, n):
    threads = [threading.Thread(target=work, args=(f"worker {k}",)) for k in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_tables_are_made_once_by_two_at_a_time(postgres):
    url = postgres.new_database()
    made = []
    _together(lambda _owner: made.append(create_database(url)), 2)
    assert len(made) == 2
    with made[0].read() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM alembic_version")) == 1
    for database in made:
        database.close()
