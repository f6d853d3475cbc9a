"""History: detections, non-detections and counts, against a list kept by hand."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from zsds.associate.history import Epoch
from zsds.core.tables import new_table
from zsds.db.history import Coverage, histories_of, save_coverage, save_detections
from zsds.db.objects import add_objects, add_packets, packets_of
from zsds.db.schema import coverage_cells, detections, packets
from zsds.db.schema import packets as packet_table
from zsds.db.sky import cone_ranges, healpix_index, rows_in_ranges

ARCSEC = 1 / 3600
JD = 2460695.5
RA, DEC = 359.9999, 35.0


def history_of(connection, ra, dec, epoch, **options):
    return histories_of(connection, [ra], [dec], epoch, **options)[0]


def square(ra=RA, dec=DEC, half=0.4):
    east = half / np.cos(np.radians(dec))
    return [((ra + a * east) % 360, dec + b * half) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


COVERAGE = Coverage(1, "q1", JD, 1, 249, 32, 1, 20.5, square())


def make(pid, jd, dec, ra=RA, snr=10.0, field=249, channel=32, program_id=1):
    table = new_table("detections", len(dec))
    table["candid"] = pid * 1000 + np.arange(len(dec))
    for column, value in {
        "pid": pid,
        "jd": jd,
        "ra": ra,
        "dec": dec,
        "snr": snr,
        "field": field,
        "channel": channel,
        "program_id": program_id,
    }.items():
        table[column] = value
    table["band_id"] = 1
    return table


@pytest.fixture
def night(database):
    """Six epochs, one (-5) of another field; the source is seen at -40, -10 and 0, and faint at -2."""
    epochs = [
        (-40, 249, 10.0),
        (-20, 249, None),
        (-10, 249, 10.0),
        (-5, 700, None),
        (-2, 249, 3.5),
        (0, 249, 10.0),
    ]
    with database.write() as connection:
        for pid, (day, field, snr) in enumerate(epochs, start=1):
            cover = replace(COVERAGE, pid=pid, jd=JD + day, field=field, diffmaglim=20 + pid / 10)
            save_coverage(connection, cover)
            if snr is not None:
                rows = make(pid, JD + day, [DEC + 0.5 * ARCSEC, DEC + 10 * ARCSEC], snr=snr)
                save_detections(connection, pid, rows, [{"fwhm": 2.5, "rb": float("nan")}] * 2)
        elsewhere = replace(COVERAGE, pid=90, jd=JD - 1, corners=square(ra=2.0))
        save_coverage(connection, elsewhere)
    return database


NOW = Epoch(JD, 249, 32)


def test_history_of_a_source(night):
    with night.read() as connection:
        history = history_of(connection, RA, DEC, NOW)
    assert [(round(row["jd"] - JD), row["candid"]) for row in history.previous] == [
        (-20, None),
        (-10, 3000),
        (-5, None),
        (-2, None),
    ]
    assert history.previous[0]["diffmaglim"] == pytest.approx(20.2)
    assert history.previous[1]["record"] == {"fwhm": 2.5, "rb": None}
    assert history.n_detections == 4
    assert history.n_covered == 6
    assert (history.first_jd, history.last_jd) == (JD - 40, JD)


def test_history_of_an_earlier_epoch_knows_nothing_later(night):
    with night.read() as connection:
        history = history_of(connection, RA, DEC, Epoch(JD - 10, 249, 32))
    assert [round(row["jd"] - JD) for row in history.previous] == [-40, -20]
    assert (history.n_detections, history.n_covered) == (2, 3)


@pytest.mark.parametrize(("days", "expected"), [(9.9, 2), (10.0, 3), (100.0, 5)])
def test_the_window_includes_its_edge(night, days, expected):
    with night.read() as connection:
        assert len(history_of(connection, RA, DEC, NOW, days=days).previous) == expected


@pytest.mark.parametrize(("distance", "expected"), [(1.49, 4), (1.51, 0)])
def test_the_radius(night, distance, expected):
    with night.read() as connection:
        history = history_of(connection, RA, DEC + (0.5 - distance) * ARCSEC, NOW)
    assert history.n_detections == expected


def test_other_field_or_channel_counts_no_detection_but_coverage(night):
    with night.read() as connection:
        for epoch in (Epoch(JD, 700, 32), Epoch(JD, 249, 31)):
            history = history_of(connection, RA, DEC, epoch)
            assert history.n_detections == 0
            assert np.isnan(history.first_jd)
            assert history.n_covered == 6


def test_only_what_a_program_may_show(night):
    with night.write() as connection:
        save_coverage(connection, replace(COVERAGE, pid=50, jd=JD - 3, program_id=2))
        save_detections(connection, 50, make(50, JD - 3, [DEC], program_id=2))
        private = history_of(connection, RA, DEC, NOW)
        public = history_of(connection, RA, DEC, NOW, program_ids=[1])
    assert private.n_detections == public.n_detections + 1
    assert all(row["program_id"] == 1 for row in public.previous)


def test_many_positions_are_looked_up_together(night):
    ra, dec = np.array([RA, RA, 1.9, 180.0]), np.array([DEC, DEC + 10 * ARCSEC, DEC, -40.0])
    with night.read() as connection:
        several = histories_of(connection, ra, dec, NOW)
        single = [history_of(connection, r, d, NOW) for r, d in zip(ra, dec, strict=True)]
        assert histories_of(connection, [], [], NOW) == []
    assert [h.previous for h in several] == [h.previous for h in single]
    assert [h.n_covered for h in several] == [6, 6, 1, 0]


def test_saving_again_replaces(night):
    with night.write() as connection:
        save_detections(connection, 3, make(3, JD - 10, [DEC + 0.2 * ARCSEC]))
        save_coverage(connection, replace(COVERAGE, pid=3, jd=JD - 10, corners=square(ra=100.0)))
        history = history_of(connection, RA, DEC, NOW)
        cells = connection.scalar(sa.select(sa.func.count()).select_from(coverage_cells))
        save_coverage(connection, replace(COVERAGE, pid=3, jd=JD - 10, corners=square(ra=100.0)))
        assert connection.scalar(sa.select(sa.func.count()).select_from(coverage_cells)) == cells
    assert history.n_detections == 4
    assert history.n_covered == 5


def test_detections_with_packets_stay(database):
    with database.write() as connection:
        add_objects(
            connection,
            [{"id": "a", "ra": RA, "dec": DEC, "first_candid": 1000, "first_jd": JD, "designation": None}],
        )
        save_detections(connection, 1, make(1, JD, [DEC, DEC + 1]))
        row = {
            "candid": 1001,
            "schema": "ztf",
            "object_id": "a",
            "night": "20250120",
            "program_id": 1,
            "path": "alerts/1001.avro",
        }
        add_packets(connection, [row])
        connection.execute(packet_table.update().where(packet_table.c.candid == 1001).values(published=True))
        add_packets(connection, [row])
        save_detections(connection, 1, make(1, JD, []))
        assert list(connection.scalars(sa.select(detections.c.candid))) == [1001]
        (row,) = packets_of(connection, "20250120")
        assert (row["candid"], row["published"]) == (1001, True)
        assert connection.scalar(sa.select(packets.c.published))


def test_detections_of_another_quadrant_are_refused(database):
    with pytest.raises(ValueError, match="other quadrants"), database.write() as connection:
        save_detections(connection, 2, make(1, JD, [DEC]))


def fill(connection, n):
    rng = np.random.default_rng(n)
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    fixed = {
        "jd": JD - 3,
        "band_id": 1,
        "field": 249,
        "channel": 32,
        "program_id": 1,
        "positive": True,
        "snr": 9.0,
    }
    columns = zip(range(n), ra.tolist(), dec.tolist(), healpix_index(ra, dec).tolist(), strict=True)
    rows = [{**fixed, "candid": i, "pid": i, "ra": r, "dec": d, "ipix": p} for i, r, d, p in columns]
    connection.execute(detections.insert(), rows)
    connection.execute(sa.text("ANALYZE"))  # as servers do by themselves now and then
    return ra, dec


def test_cost_does_not_grow_with_what_is_stored(database):
    seconds = []
    for n in (1000, 40000):
        with database.write() as connection:
            connection.execute(detections.delete())
            ra, dec = fill(connection, n)
        with database.read() as connection:
            best = np.inf
            for _ in range(5):
                begin = time.perf_counter()
                found = histories_of(connection, ra[:300], dec[:300], NOW)
                best = min(best, time.perf_counter() - begin)
            assert all(history.n_detections == 1 for history in found)
            seconds.append(best)
    assert seconds[1] < 4 * seconds[0]


EXPLAIN = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}


def plans_of_look_ups(connection):
    """What the database says it will do for each query of a history."""
    plans = []

    def explain(conn, cursor, statement, parameters, context, executemany):
        if statement.startswith("SELECT"):
            own = conn.connection.dbapi_connection
            plan = own.execute(f"{EXPLAIN[conn.dialect.name]} {statement}", parameters)
            plans.append(" ".join(str(row[-1]) for row in plan))

    sa.event.listen(connection, "before_cursor_execute", explain)
    rows_in_ranges(connection, detections, cone_ranges([1.0], [2.0], 1.5), detections.c.jd > 5)
    history_of(connection, RA, DEC, NOW)
    sa.event.remove(connection, "before_cursor_execute", explain)
    return plans


def test_look_ups_use_the_index(database):
    with database.write() as connection:
        fill(connection, 20000)
    with database.read() as connection:
        plans = plans_of_look_ups(connection)
    assert len(plans) > 2
    for plan in plans:
        assert not re.search(r"(SCAN|Seq Scan on) detections", plan), plan
        assert "SCAN coverage" not in plan
