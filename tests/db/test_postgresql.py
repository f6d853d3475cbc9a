"""Faults of a PostgreSQL server, each in one line and without the password; what its planner does."""

import threading

import psycopg
import pytest
import sqlalchemy as sa
from postgres import running_server

from zsds.core.errors import BadInput
from zsds.db import Database, create_database, ledger, open_database
from zsds.db.database import Unreachable
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


def test_a_server_that_crashed_may_come_back():
    """Whatever it says until it is there again."""
    with running_server() as server:
        url = server.new_database()
        create_database(url).close()
        server.stop()
        starting = threading.Thread(target=server.start)
        starting.start()
        refusals = 0
        while starting.is_alive():
            try:
                open_database(url).close()
            except Unreachable:
                refusals += 1
        starting.join()
        assert refusals > 0
        open_database(url).close()


@pytest.mark.parametrize(
    "words",
    [
        "FATAL:  the database system is not yet accepting connections\nDETAIL:  Consistent recovery",
        "FATAL:  the database system is in recovery mode",
        "FATAL:  the database system is starting up",
        "could not receive data from server: Connection reset by peer",
        "connection timeout expired",
        "could not connect to server: No route to host",
        "could not connect to server: Network is unreachable",
    ],
)
def test_what_a_server_says_that_may_come_back(postgres, monkeypatch, words):
    def refuse(*_args, **_kwargs):
        raise psycopg.OperationalError(words)

    monkeypatch.setattr(psycopg, "connect", refuse)
    with pytest.raises(Unreachable, match="does not answer"):
        open_database(postgres.url("postgres"))


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
