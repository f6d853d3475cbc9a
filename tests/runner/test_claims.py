"""Units held by a run: given back, renewed, taken from the dead, never from the living."""

import os
import socket
import time

import pytest
from zsds.workflows import bookkeeping
from zsds.workflows.bookkeeping import Claims

from zsds.core.errors import BadInput
from zsds.db import ledger
from zsds.db.ledger import Outcome, State
from zsds.io.store import Store, this_process
from zsds.pipeline.settings import Settings
from zsds.runner import Finished, Task
from zsds.runner.archive import open_archive

KEYS = ("a", "b", "c")
DEAD = f"{socket.gethostname()}:{2**22 + 12345}"  # beyond the largest process id


@pytest.fixture
def archive(tmp_path):
    from zsds.db import create_database

    store = Store.create(tmp_path / "archive", "demo")
    create_database(store.database_url).close()
    opened = open_archive(store.root)
    with opened.database.write() as connection:
        ledger.add_units(connection, "science", "20260101", KEYS)
    return opened


def units(archive):
    with archive.database.read() as connection:
        return {unit.key: unit for unit in ledger.units_of(connection)}


def claim(archive, owner, key, lease_s=900.0):
    with archive.database.write() as connection:
        return ledger.claim(connection, "science", key, owner, lease_s=lease_s)


@pytest.mark.parametrize(
    "owner, taken",
    [
        (DEAD, True),
        (this_process(), True),  # of an earlier process of the same number
        (f"{socket.gethostname()}:{os.getppid()}", False),
        ("elsewhere:77777777", False),
    ],
    ids=["dead", "same number", "parent", "elsewhere"],
)
def test_only_what_the_dead_held_is_taken(archive, owner, taken):
    claim(archive, owner, "a")
    with Claims(archive, Settings()):
        assert (units(archive)["a"].state is State.PENDING) == taken


def test_what_is_not_finished_is_given_back(archive):
    task = Task("science", "a", {"raw": "x"})

    def interrupted():
        with Claims(archive, Settings()) as claims:
            with archive.database.write() as connection:
                claims.take(connection, task, Settings().science)
            assert units(archive)["a"].state is State.RUNNING
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert units(archive)["a"].state is State.PENDING
    assert units(archive)["a"].owner is None


def test_leases_are_renewed_when_part_of_them_has_passed(archive, monkeypatch):
    with Claims(archive, Settings()) as claims:
        claim(archive, claims.owner, "a", lease_s=5.0)
        claims.renew()
        assert units(archive)["a"].lease_until < time.time() + 10
        claims.renewed -= ledger.LEASE_S / 6 + 1
        claims.renew()
        assert units(archive)["a"].lease_until > time.time() + 1000


def test_an_outcome_after_a_lost_lease_is_left_to_the_new_holder(archive, caplog):
    task = Task("science", "a")
    with Claims(archive, Settings()) as claims:
        with archive.database.write() as connection:
            claims.take(connection, task, Settings().science)
            ledger.release(connection, claims.owner)
            other = ledger.claim(connection, "science", "a", "elsewhere:1")
        claims.finish(Finished(task, Outcome(State.DONE)))
    assert "taken over" in caplog.text
    assert units(archive)["a"].owner == "elsewhere:1"
    assert units(archive)["a"].attempt == other.attempt


def test_what_a_living_run_holds_is_not_taken(archive):
    other = f"{socket.gethostname()}:{os.getppid()}"
    claim(archive, other, "b")
    with Claims(archive, Settings()) as claims, archive.database.write() as connection:
        claims.require_free([ledger.unit_of(connection, "science", "a")])
        with pytest.raises(BadInput, match=f"{other}.* works on 1 of its units; wait for it"):
            claims.take(connection, Task("science", "b"), Settings().science)
    claim(archive, "elsewhere:1", "c", lease_s=-1.0)  # whose lease is over
    with Claims(archive, Settings()) as claims, archive.database.write() as connection:
        assert claims.take(connection, Task("science", "c"), Settings().science) is not None


@pytest.mark.parametrize("state, left", [(State.REJECTED, State.REJECTED), (State.FAILED, State.PENDING)])
def test_what_a_chain_did_not_reach(state, left):
    chain = (Task("science", "a"), Task("difference", "a"))
    found = bookkeeping.with_unreached([Finished(chain[0], Outcome(state, "why"))], chain)
    assert [done.outcome.state for done in found] == [state, left]
    assert found[1].outcome.reason.startswith("its science unit")
