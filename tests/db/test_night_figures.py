"""What is counted of a night by the database is what Python counts, and costs no row of it."""

from statistics import median

import numpy as np
import sqlalchemy as sa

from zsds.db import figures, ledger
from zsds.db.ledger import State
from zsds.db.schema import units

NIGHTS = ("20190110", "20190111", "20190113")
STATES = (State.DONE, State.DONE, State.REJECTED, State.FAILED, State.PENDING)


def fill(database, n=60):
    """Units of three nights with random outcomes; some of a kind took no time that is known."""
    dice, rows = np.random.default_rng(2), []
    for k in range(n):
        kind, state = ("science", "packets")[k % 2], STATES[dice.integers(len(STATES))]
        metrics = {"n_own_epochs": int(k % 3 == 0)}
        metrics |= {"latency_s": float(dice.uniform(10, 90))} if k % 4 == 1 else {}
        rows.append(
            {
                "kind": kind, "key": f"unit{k:03d}", "version": 1, "night": NIGHTS[k % 3],
                "state": state.value, "attempt": 1,
                "seconds": None if k % 7 == 0 else float(dice.uniform(1, 9)),
                "reason": f"reason {k % 2}", "metrics": metrics if state is State.DONE else None,
            }
        )  # fmt: skip
    with database.write() as connection:
        connection.execute(units.insert(), rows)
        return [ledger.units_of(connection, night) for night in NIGHTS]


def test_counts_are_those_of_the_units(database):
    nights = fill(database)
    with database.read() as connection:
        assert figures.last_nights(connection, 2, units) == ["20190113", "20190111"]
        assert figures.last_nights(connection, None, units) == sorted(NIGHTS, reverse=True)
        assert figures.last_nights(connection, 2) == []  # no frames
        assert figures.is_known(connection, "20190111")
        assert not figures.is_known(connection, "20190112")
        for night, of_night in zip(NIGHTS, nights, strict=True):
            for kind in ("science", "packets"):
                here = [unit for unit in of_night if unit.kind == kind]
                done = [unit for unit in here if unit.state is State.DONE]
                counts = figures.state_counts(connection, night, [kind])
                assert counts == {kind: {s: sum(u.state is s for u in here) for s in {u.state for u in here}}}
                above = figures.metric_count(connection, night, kind, "n_own_epochs")
                assert above == sum(unit.metrics["n_own_epochs"] > 0 for unit in done)
                values = figures.metric_values(connection, night, kind, "latency_s")
                known = [unit.metrics["latency_s"] for unit in done if "latency_s" in unit.metrics]
                assert sorted(values) == sorted(known)
                times = [u.seconds for u in here if u.seconds is not None and u.state is not State.PENDING]
                assert figures.median_seconds(connection, night, kind) == median(times)
            failed = figures.failed_units(connection, night, ["science", "packets"])
            wrong = [unit for unit in of_night if unit.state in (State.REJECTED, State.FAILED)]
            assert sorted(row.key for row in failed) == sorted(unit.key for unit in wrong)
        assert figures.median_seconds(connection, "20190112", "science") is None


def test_what_a_process_holds_is_found_without_reading_the_ledger(database):
    fill(database, 600)
    with database.write() as connection:
        connection.execute(sa.text("ANALYZE"))
        held = sa.and_(units.c.owner == "someone", units.c.state == State.RUNNING.value)
        query = sa.select(units.c.id).where(held).compile(connection, compile_kwargs={"literal_binds": True})
        explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        plan = " ".join(str(row) for row in connection.execute(sa.text(f"{explain} {query}")))
    assert "ix_units_held" in plan
