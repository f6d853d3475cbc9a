"""A night is planned in parts, between which others write."""

import pytest
import sqlalchemy as sa
from zsds.workflows import night as nightly
from zsds.workflows.bookkeeping import Claims

from benchmarks.timing import night as simulated
from zsds.db import create_database, ledger, open_database
from zsds.db.ledger import State
from zsds.db.schema import frames
from zsds.io.store import Store
from zsds.pipeline.settings import Settings
from zsds.runner.archive import open_archive


@pytest.fixture
def archive(tmp_path):
    store = Store.create(tmp_path / "archive", "ztf")
    create_database(store.database_url).close()
    archive = open_archive(store.root)
    simulated.make_known(archive)
    with archive.database.write() as connection:
        ledger.register_frames(connection, simulated.night_frames(2))
    yield archive
    archive.database.close()


def test_others_write_while_a_night_is_planned(archive, monkeypatch):
    other = open_database(archive.store.database_url)
    planned = []

    def between(_claims):
        with other.write() as connection:  # waits for a minute and fails if the plan is one transaction
            connection.execute(frames.update().values(size=frames.c.size + 1))
            planned.append(connection.scalar(sa.select(sa.func.count()).select_from(ledger.unit_table)))

    monkeypatch.setattr(nightly, "PART", 8)
    monkeypatch.setattr(Claims, "renew", between)
    with Claims(archive, Settings()) as claims:
        chains = nightly.plan_night(archive, simulated.NIGHT, claims)
        with archive.database.read() as connection:
            states = ledger.states_of(connection, simulated.NIGHT, "difference")
    other.close()
    assert planned == [64, 128, 192, 256]  # science and difference of 8 frames of 4 quadrants each
    assert [chain[0].key for chain in chains] == sorted(states)
    assert set(states.values()) == {State.RUNNING}
    with archive.database.read() as connection:
        assert set(ledger.states_of(connection, simulated.NIGHT, "science").values()) == {State.PENDING}


def test_a_whole_night_of_units_that_do_nothing():
    cost = simulated.night_cost(n_exposures=1)
    assert cost["units"] == 3 * 64
    assert all(stage["core_s"] > 0 for stage in cost["stages"].values())
