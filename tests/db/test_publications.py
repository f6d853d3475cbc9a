"""One sender a topic, and what it has in hand; the outbox under a publisher's feet."""

from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from outbox import FIRST, JD, NAME, NIGHT, add_quadrant, finish_quadrant, new_archive

from zsds.core.errors import BadInput
from zsds.core.programs import programs_shown
from zsds.core.stream import SCHEMAS, Stream
from zsds.db import create_database, figures, ledger, publications
from zsds.db.ledger import LeaseLostError
from zsds.db.objects import add_packets, as_shown, objects_named, packets_from, packets_of, withdraw_packets
from zsds.db.schema import detections

STREAM = Stream("ztf", NIGHT, 1)


@pytest.fixture
def archive(tmp_path, url):
    archive = new_archive(tmp_path / "archive", url)
    yield archive
    archive.database.close()


def take(archive, owner="a", dead=False, lease_s=60.0):
    with archive.database.write() as connection:
        return publications.take(connection, STREAM, owner, lambda _: dead, lease_s)


def published(archive):
    with archive.database.read() as connection:
        return [row["candid"] for row in packets_of(connection, NIGHT) if row["published"]]


def test_one_sender_at_a_time(archive):
    first = take(archive)
    with pytest.raises(BadInput, match=r"another publisher \(a\)"):
        take(archive, "b")
    with archive.database.write() as connection:
        publications.give_back(connection, first)
    take(archive, "b")
    late = take(archive, "c", dead=True)
    assert late.attempt == 3
    with archive.database.write() as connection:
        publications.give_back(connection, first)  # changes nothing: it is another's
    with pytest.raises(BadInput, match="another publisher"):
        take(archive, "d")
    take(archive, "c", lease_s=0)
    assert take(archive, "e").attempt == 5


def test_who_lost_the_topic_can_take_nothing(archive):
    candids = add_quadrant(archive, range(FIRST, FIRST + 3))
    first = take(archive, lease_s=0)
    take(archive, "b")
    for call in (
        lambda c: publications.take_packets(c, first, candids),
        lambda c: publications.settle(c, first, (), candids, "x", {0: 1}),
        lambda c: publications.renew(c, first),
        lambda c: publications.forget(c, first),
    ):
        with pytest.raises(LeaseLostError), archive.database.write() as connection:
            call(connection)
    assert published(archive) == []


def test_only_finished_packets_of_the_program_are_sent(archive):
    candids = add_quadrant(archive, range(FIRST, FIRST + 3))
    add_quadrant(archive, range(FIRST + 100, FIRST + 102), program=2)
    add_quadrant(archive, range(FIRST + 200, FIRST + 202), done=False)
    add_quadrant(archive, range(FIRST + 300, FIRST + 302), night="20190111")
    held = take(archive)
    with archive.database.write() as connection:
        assert publications.ready_packets(connection, held, 100) == candids
        assert publications.ready_packets(connection, held, 2) == candids[:2]
        assert list(publications.take_packets(connection, held, range(FIRST, FIRST + 400))) == candids
        assert publications.ready_packets(connection, held, 100) == []
        assert publications.count_packets(connection, NIGHT) == {(1, True): 3, (1, False): 2, (2, False): 2}
        made = [row["candid"] for row in publications.made_packets(connection, STREAM)]
    assert made == candids
    finish_quadrant(archive, FIRST, "running")
    with archive.database.read() as connection:
        assert [row["candid"] for row in publications.made_packets(connection, STREAM)] == candids


def test_what_was_in_flight_is_settled_by_the_topic(archive):
    candids = add_quadrant(archive, range(FIRST, FIRST + 4))
    held = take(archive)
    with archive.database.write() as connection:
        publications.take_packets(connection, held, candids[:3])
    later = take(archive, "b", dead=True)
    assert later.in_flight == candids[:3]
    assert published(archive) == candids[:3]
    with archive.database.write() as connection:
        new = publications.settle(
            connection, later, later.in_flight, [candids[1], candids[3], 77], "c", {0: 9, 3: 4}
        )
    assert new == 1
    assert published(archive) == [candids[1], candids[3]]
    last = take(archive, "b")
    assert (last.cluster, last.offsets, last.in_flight) == ("c", {0: 9, 3: 4}, [])
    with archive.database.write() as connection:
        publications.forget(connection, last)
    assert published(archive) == []
    assert take(archive, "b").offsets == {}


def test_nothing_under_way_is_withdrawn_or_unmarked(archive):
    candids = add_quadrant(archive, range(FIRST, FIRST + 3))
    held = take(archive)
    with archive.database.write() as connection:
        rows = [dict(row) for row in packets_of(connection, NIGHT)]
        publications.take_packets(connection, held, candids[:2])
        for row in rows:
            row.pop("published")
        add_packets(connection, rows)
        withdraw_packets(connection, [FIRST], {})
        assert [row["candid"] for row in packets_of(connection, NIGHT)] == candids[:2]
    assert published(archive) == candids[:2]


def test_packets_of_each_schema_go_out_and_are_withdrawn_by_themselves(archive):
    candids = add_quadrant(archive, range(FIRST, FIRST + 4), schemas=SCHEMAS)
    ztf = take(archive)
    with archive.database.write() as connection:
        own = publications.take(connection, replace(STREAM, schema="zsds"), "b", lambda _: False)
        publications.take_packets(connection, ztf, candids[:2])
        paths = publications.take_packets(connection, own, candids[1:3])
    assert list(paths) == candids[1:3]
    assert all(path.startswith("alerts_zsds/") for path in paths.values())
    assert published(archive) == candids[:2]
    with archive.database.write() as connection:
        assert publications.ready_packets(connection, own, 9) == [candids[0], candids[3]]
        assert publications.count_packets(connection, NIGHT, "zsds") == {(1, True): 2, (1, False): 2}
        assert publications.settle(connection, own, paths, [candids[1]], "x", {}) == 0
        assert publications.ready_packets(connection, own, 9) == [candids[0], *candids[2:]]
        assert figures.alert_counts(connection, NIGHT) == (4, 2)
        assert figures.sent_packets(connection, NIGHT) == {f"quadrant_{FIRST}": 2}
        withdraw_packets(connection, [FIRST], {"zsds": candids[3:]})
        left = {(row.candid, row.schema) for row in packets_from(connection, [FIRST])}
    assert left == {*((c, "ztf") for c in candids[:2]), (candids[1], "zsds"), (candids[3], "zsds")}


def test_an_object_begins_with_the_first_packet_that_a_program_may_see(archive):
    for n, program in enumerate((2, 3, 1, 1)):
        add_quadrant(archive, range(FIRST + 100 * n, FIRST + 100 * n + 2), program)
        with archive.database.write() as connection:
            of = detections.c.pid == FIRST + 100 * n
            connection.execute(detections.update().where(of).values(jd=JD + n))
    with archive.database.read() as connection:
        objects = objects_named(connection, [NAME])
        firsts = {p: as_shown(connection, objects, programs_shown(p))["first_jd"][0] - JD for p in (1, 2, 3)}
    assert firsts == pytest.approx({1: 2, 2: 0, 3: 1}, abs=1e-6)


def test_looking_for_what_is_ready_asks_an_index(sqlite_url, tmp_path):
    archive = new_archive(tmp_path / "archive", sqlite_url)
    plan = []
    sa.event.listen(archive.database.engine, "before_cursor_execute", lambda *given: plan.append(given[2:4]))
    held = take(archive)
    with archive.database.read() as connection:
        publications.ready_packets(connection, held, 9)
        query, values = plan[-1]
        steps = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", values)]
    index = (
        "ix_packets_night_schema_program_id_published (night=? AND schema=? AND program_id=? AND published=?)"
    )
    assert any(f"INDEX {index}" in step for step in steps), steps
    archive.database.close()


def test_an_older_database_is_brought_up_to_date(archive, url):
    candids = add_quadrant(archive, range(FIRST, FIRST + 2), schemas=SCHEMAS)
    settings = Config()
    settings.set_main_option("script_location", "zsds.db:migrations")
    with archive.database.write() as connection:
        before = ledger.units_of(connection)
        settings.attributes["connection"] = connection
        command.downgrade(settings, "0001")
        assert "version" not in {column["name"] for column in sa.inspect(connection).get_columns("units")}
    create_database(url).close()
    held = take(archive)
    with archive.database.read() as connection:
        assert publications.ready_packets(connection, held, 9) == candids
        assert publications.count_packets(connection, NIGHT, "zsds") == {}  # that version had none
        assert ledger.units_of(connection) == before
