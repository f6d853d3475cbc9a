"""Part of a night done again: new versions, the old ones kept, alerts with the numbers they had."""

import json
import os
import re
import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from survey import NIGHT, SERIAL, database_rows, expect, product_hashes, zsds

from zsds.core.ids import QuadrantId
from zsds.core.retention import RetentionSettings
from zsds.core.scope import Scope
from zsds.db import figures, ledger, schema
from zsds.db.ledger import State
from zsds.db.objects import packets_of
from zsds.db.schema import packets as packet_table
from zsds.runner.prune import DAY_S, prune
from zsds.runner.reprocess import calibrated_nights, preview
from zsds.runner.versions import find_version, keep_version
from zsds.service import create_app

DEEPER = ("--set", "difference.candidates.threshold=4.0")


@pytest.fixture
def survey(done_survey, tmp_path):
    return done_survey.copied(tmp_path / "archive")


def again(survey, *options):
    return zsds("reprocess", "--archive", survey.archive, *options, *SERIAL)


def candids(table):
    return {(round(row["x"]), round(row["y"]), bool(row["is_positive"])): int(row["candid"]) for row in table}


def superseded(survey):
    with survey.open().database.read() as connection:
        return ledger.units_of(connection, state=State.SUPERSEDED)


def test_one_quadrant_from_the_difference_on(survey):
    opened, before = survey.open(), product_hashes(survey.archive)
    with opened.database.write() as connection:
        connection.execute(packet_table.update().values(published=True))
        sent = {row["candid"]: row["object_id"] for row in packets_of(connection, NIGHT)}
    expect(again(survey, "--quadrant", 1, "--from", "difference", *DEEPER))
    after = product_hashes(survey.archive)
    changed = {
        name for name in after if before.get(name) != after[name] and not name.startswith("superseded")
    }
    assert changed
    assert all("_q1_" in name or "/00/" in name for name in changed)
    assert not any("sciimg" in name for name in changed)
    kept = {(unit.kind, unit.version) for unit in superseded(survey)}
    assert kept == {("difference", 1), ("packets", 1)}
    n_more = 0
    for unit in superseded(survey):
        identifier = QuadrantId.parse(unit.key)
        tree = find_version(opened.store, unit.kind, identifier, 1)
        files = {str(p.relative_to(tree.root)): p for p in tree.root.rglob("*") if p.is_file()}
        assert files
        assert all(p.stat().st_size and before[name] for name, p in files.items())
        if unit.kind == "difference":
            old = candids(tree.load_table("candidates", identifier, "candidates"))
            new = candids(opened.store.load_table("candidates", identifier, "candidates"))
            n_more += len(new) - len(old)
            assert {place: new.get(place) for place in old} == old
    assert n_more > 0
    with opened.database.read() as connection:
        rows = packets_of(connection, NIGHT)
    assert {row["candid"]: row["object_id"] for row in rows if row["published"]} == sent
    assert all((survey.archive / row["path"]).is_file() for row in rows)


def test_a_dry_run_tells_and_touches_nothing(survey):
    before = product_hashes(survey.archive), database_rows(survey.archive)
    called = expect(again(survey, "--night", NIGHT, "--ccd", 1, "--from", "science", "--dry-run", "--json"))
    rows = {row["kind"]: row for row in json.loads(called.out)}
    assert list(rows) == ["science", "difference", "packets"]
    assert {(row["units"], row["superseded"]) for row in rows.values()} == {(6, 6)}
    assert rows["packets"]["published"] == 0
    assert (product_hashes(survey.archive), database_rows(survey.archive)) == before


def test_from_calibration_makes_new_ones_and_all_that_follows(survey):
    expect(again(survey, "--night", NIGHT, "--quadrant", 2, "--from", "calibration"))
    with survey.open().database.read() as connection:
        science = ledger.units_of(connection, NIGHT, "science")
    assert {(u.key[-1], u.inputs["calibration"]["version"], u.version) for u in science} == {
        ("1", 1, 1),
        ("2", 2, 2),
    }
    counted = expect(zsds("status", "--archive", survey.archive, "--night", NIGHT, "--json"))
    found = {row["kind"]: row.get("superseded") for row in json.loads(counted.out)}
    assert found == {"calibration": 1, "science": 3, "difference": 3, "packets": 3}


def test_nights_without_calibrations_of_their_own_keep_those_they_use(survey):
    opened = survey.open()
    with opened.database.write() as connection:
        units, frames = schema.units.c, schema.frames.c
        of_night = units.night == NIGHT, units.kind == "calibration"
        connection.execute(schema.units.delete().where(*of_night))
        of_night = frames.night == NIGHT, frames.frame_type != "science"
        connection.execute(schema.frames.delete().where(*of_night))
    assert calibrated_nights(opened, [NIGHT, survey.reference_night]) == [survey.reference_night]
    expect(again(survey, "--ccd", 1, "--quadrant", 2, "--from", "calibration"))
    with opened.database.read() as connection:
        science = ledger.units_of(connection, NIGHT, "science")
    assert {(u.key[-1], u.version) for u in science} == {("1", 1), ("2", 2)}


class Killed(BaseException):
    """As kill -9 would, nobody catches it."""


def test_a_version_survives_an_attempt_killed_while_its_files_move(survey, monkeypatch):
    opened, before, moved = survey.open(), product_hashes(survey.archive), []
    replace = Path.replace

    def killed_at_the_fourth(path, target):
        if "-difference-" in str(path) and ".partial" not in str(target):
            moved.append(target)
            if len(moved) == 4:
                raise Killed
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed_at_the_fourth)
        with pytest.raises(Killed):
            again(survey, "--quadrant", 1, "--from", "difference", *DEEPER)
    expect(again(survey, "--quadrant", 1, "--from", "difference", *DEEPER))
    kept = [unit for unit in superseded(survey) if unit.kind == "difference"]
    assert [unit.version for unit in kept] == [1, 1, 1]
    for unit in kept:
        stored = product_hashes(find_version(opened.store, "difference", QuadrantId.parse(unit.key), 1).root)
        assert len(stored) > 5
        assert stored == {name: before[name] for name in stored}


def test_alerts_that_were_lost_and_found_again_are_not_sent_again(survey):
    opened = survey.open()
    rows = database_rows(survey.archive)
    with opened.database.write() as connection:
        connection.execute(packet_table.update().values(published=True))
    fewer = ("--set", "difference.candidates.threshold=30")
    expect(again(survey, "--quadrant", 1, "--night", NIGHT, "--from", "difference", *fewer))
    assert len(database_rows(survey.archive)["detections"]) < len(rows["detections"])
    expect(zsds("night", NIGHT, "--archive", survey.archive, *SERIAL))
    with opened.database.read() as connection:
        packets = packets_of(connection, NIGHT)
    assert all(row["published"] for row in packets)
    assert [row["candid"] for row in packets] == [row["candid"] for row in rows["packets"]]
    assert database_rows(survey.archive)["detections"] == rows["detections"]


def test_packets_that_are_gone_leave_the_folder_but_not_those_that_went_out(survey):
    opened = survey.open()
    with opened.database.write() as connection:
        first, second = packets_of(connection, NIGHT)[:2]
        connection.execute(
            packet_table.update().where(packet_table.c.candid == first["candid"]).values(published=True)
        )
    expect(
        again(
            survey, "--night", NIGHT, "--from", "difference", "--set", "difference.candidates.threshold=500"
        )
    )
    with opened.database.read() as connection:
        assert [row["candid"] for row in packets_of(connection, NIGHT)] == [first["candid"]]
    assert (survey.archive / first["path"]).is_file()
    assert not (survey.archive / second["path"]).exists()
    kept = [p.name for p in (survey.archive / "superseded" / "packets").rglob("*.avro")]
    assert f"{second['candid']}.avro" in kept


def figures_everywhere(survey):
    """Alerts and published ones as status, page, JSON, metrics and report have them (the report: 1)."""
    rows = json.loads(expect(zsds("status", "--archive", survey.archive, "--night", NIGHT, "--json")).out)
    client = TestClient(create_app(survey.archive))
    page = re.search(r"([\d,]+) alerts, ([\d,]+) of them published", client.get("/").text)
    night = client.get("/status.json").json()["nights"][0]
    metrics = client.get("/metrics").text
    measured = (
        re.search(rf'^{name}{{night="{NIGHT}"}} (\S+)', metrics, re.M)[1]
        for name in ("zsds_alerts", "zsds_alerts_published")
    )
    expect(zsds("report", "--archive", survey.archive, NIGHT))
    report = next((survey.archive / "reports").glob("*.html")).read_text()
    return [
        (rows[-1]["alerts"], rows[-1]["published"]),
        (int(page[1]), int(page[2])),
        (night["alerts"], night["published"]),
        tuple(int(float(value)) for value in measured),
        (int(re.search("<b>(\\d+)</b><small>alerts<", report)[1]), 1),
    ]


def test_alerts_of_an_image_that_is_rejected_now_are_withdrawn_but_not_those_that_went_out(survey):
    opened = survey.open()
    rows = database_rows(survey.archive)
    with opened.database.write() as connection:
        before = packets_of(connection, NIGHT)
        sent = before[0]["candid"]
        here = packet_table.c.candid == sent
        connection.execute(packet_table.update().where(here).values(published=True))
    expect(
        again(
            survey, "--night", NIGHT, "--from", "science", "--set", "science.quality.max_rms_arcsec=0.000001"
        )
    )
    with opened.database.read() as connection:
        assert [row["candid"] for row in packets_of(connection, NIGHT)] == [sent]
        states = ledger.states_of(connection, NIGHT, "packets")
    assert set(states.values()) == {State.REJECTED}
    assert figures_everywhere(survey) == [(1, 1)] * 5
    key = next(iter(states))
    called = zsds("where", "science", f"{key}_v2", "--archive", survey.archive)
    assert (called.status, called.out) == (1, "")
    assert "version 2 is rejected (" in called.err
    assert expect(zsds("where", "science", f"{key}_v1", "--archive", survey.archive)).out
    assert [p.name for p in (survey.archive / "alerts").rglob("*.avro")] == [f"{sent}.avro"]
    kept = {p.name for p in (survey.archive / "superseded" / "packets").rglob("*.avro")}
    assert kept == {f"{row['candid']}.avro" for row in before}
    of_night = {row["pid"] for row in rows["coverage"] if NIGHT in row["unit"]}
    left = database_rows(survey.archive)
    (kept,) = [row for row in left["detections"] if row["pid"] in of_night]
    assert kept["candid"] == sent
    assert [row["pid"] for row in left["coverage"] if row["pid"] in of_night] == [kept["pid"]]
    assert len(left["coverage"]) == len(rows["coverage"]) - len(of_night) + 1
    numbers = {row["id"] for row in left["coverage"]}
    assert {row["coverage_id"] for row in left["coverage_cells"]} == numbers
    expect(zsds("night", NIGHT, "--archive", survey.archive, *SERIAL))
    with opened.database.read() as connection:
        after = packets_of(connection, NIGHT)
    assert [(row["candid"], row["object_id"]) for row in after] == [
        (row["candid"], row["object_id"]) for row in before
    ]
    assert database_rows(survey.archive)["detections"] == rows["detections"]


def test_prune_removes_old_versions_and_products_and_no_more(survey):
    opened = survey.open()
    expect(again(survey, "--quadrant", 1, "--from", "difference", *DEEPER))
    before = product_hashes(survey.archive)
    policy = RetentionSettings(superseded_days=7, products=("score",), forced_days=36500)
    soon, later = time.time(), time.time() + 8 * DAY_S
    told = {row["what"]: row["number"] for row in prune(opened, policy, dry_run=True, now=later)}
    assert told == {"superseded versions": 6, "score": 11, "logs": 0, "forced fluxes in the database": 0}
    assert product_hashes(survey.archive) == before
    prune(opened, RetentionSettings(superseded_days=7), now=soon)
    assert product_hashes(survey.archive) == before
    assert {row["what"]: row["number"] for row in prune(opened, policy, now=later)} == told
    left = product_hashes(survey.archive)
    assert {n: d for n, d in before.items() if not n.startswith("superseded") and "scorrimg" not in n} == left
    assert not (survey.archive / "superseded").exists()
    assert len(superseded(survey)) == 6
    expect(again(survey, "--quadrant", 1, "--from", "packets"))


def test_prune_leaves_the_version_before_one_that_failed(survey):
    opened = survey.open()
    key = ledger_key(opened)
    with opened.database.write() as connection:
        unit = ledger.claim(connection, "difference", key, "me", again=True)
        ledger.finish(connection, unit, ledger.Outcome(State.FAILED, "why"))
    keep_version(opened.store, "difference", key, 1)
    rows = prune(opened, RetentionSettings(superseded_days=0), now=time.time() + DAY_S)
    assert rows[0] == {"what": "superseded versions", "number": 0, "mb": 0.0}


def ledger_key(opened):
    with opened.database.read() as connection:
        return ledger.units_of(connection, NIGHT, "difference")[0].key


@pytest.mark.parametrize(
    "setting",
    ["superseded_days=-1", "superseded_days=.nan", "log_days=-3", "forced_days=-1", "product_days=1.0e+9"],
)
def test_times_that_are_none_prune_nothing(survey, setting):
    before = product_hashes(survey.archive)
    called = zsds("prune", "--archive", survey.archive, "--set", f"retention.{setting}")
    assert called.status == 2
    (line,) = called.err.splitlines()
    assert f"retention.{setting.partition('=')[0]} must be 0 to 36500 days" in line
    assert product_hashes(survey.archive) == before


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--from", "nothing", "--night", NIGHT), 2, "nothing: is no step; one of: calibration, science"),
        (("--from", "science"), 2, "--night: is not given; name a night, field, CCD or quadrant"),
        (("--from", "science", "--field", 77), 1, "nothing of it was run in this archive"),
        (("--from", "science", "--night", "20200101"), 1, "20200101: nothing of it was run in this archive"),
        (
            ("--from", "science", "--night", NIGHT, "--night", "20200101"),
            1,
            "20200101: nothing of it was run",
        ),
    ],
)
def test_what_cannot_be_done_again(survey, options, status, words):
    called = again(survey, *options)
    assert called.status == status
    (line,) = called.err.splitlines()
    assert words in line


def test_where_a_superseded_version_lies(survey):
    key = ledger_key(survey.open())
    where = ("where", "difference", "--archive", survey.archive)
    newest = expect(zsds(*where, key)).out
    assert expect(zsds(*where, f"{key}_v1")).out == newest
    expect(again(survey, "--night", NIGHT, "--from", "difference"))
    old = expect(zsds(*where, f"{key}_v1")).out
    assert "/superseded/difference/" in old
    assert expect(zsds(*where, f"{key}_v2")).out == newest
    called = zsds(*where, f"{key}_v7")
    assert (called.status, called.out) == (1, "")
    assert "has no version 7; the newest difference that was done is version 2" in called.err
    prune(survey.open(), RetentionSettings(superseded_days=0), now=time.time() + DAY_S)
    called = zsds(*where, f"{key}_v1")
    assert (called.status, called.out) == (1, "")
    assert "version 1 is not kept any more; the newest difference that was done is version 2" in called.err


def test_the_preview_counts_alerts_that_went_out(survey):
    opened = survey.open()
    with opened.database.write() as connection:
        row = packets_of(connection, NIGHT)[0]
        connection.execute(
            packet_table.update().where(packet_table.c.candid == row["candid"]).values(published=True)
        )
    with opened.database.read() as connection:
        assert sum(figures.sent_packets(connection, NIGHT).values()) == 1
    assert preview(opened, [NIGHT], Scope())[-1]["published"] == 1


def test_a_night_that_is_held_is_left_alone_before_any_calibration_is_made(survey):
    opened = survey.open()
    with opened.database.write() as connection:
        ledger.claim(
            connection,
            "packets",
            packets_key(connection),
            f"{os.uname().nodename}:{os.getppid()}",
            again=True,
        )
    before = product_hashes(survey.archive)
    called = again(survey, "--night", NIGHT, "--from", "calibration")
    assert called.status == 1
    assert "another run" in called.err
    assert product_hashes(survey.archive) == before
    assert {unit.version for unit in survey.units("calibration")} == {1}


def packets_key(connection):
    return ledger.units_of(connection, NIGHT, "packets")[0].key
