"""The tiny survey on a real PostgreSQL server gives what it gives on SQLite."""

import re

import pytest
from survey import (
    NIGHT,
    REFERENCE_OPTIONS,
    Survey,
    database_rows,
    expect,
    make_archive,
    product_hashes,
    zsds,
)

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def on_postgresql(done_survey, postgres, tmp_path_factory):
    survey = Survey(tmp_path_factory.mktemp("pg") / "archive", done_survey.sky, done_survey.reference_night)
    make_archive(survey.archive, survey.sky, postgres.new_database())
    where, workers = ("--archive", survey.archive), ("--cluster", "local", "--workers", 2)
    expect(zsds("calibrate", *where, "--night", survey.reference_night, *workers))
    expect(zsds("night", *where, survey.reference_night, *workers))
    expect(zsds("references", *where, *workers, *REFERENCE_OPTIONS))
    expect(zsds("calibrate", *where, "--night", NIGHT, *workers))
    expect(zsds("night", *where, NIGHT, *workers))
    return survey


def test_products_and_rows_are_those_of_sqlite(on_postgresql, done_survey):
    made, other = product_hashes(on_postgresql.archive), product_hashes(done_survey.archive)
    packets = {name for name in other if name.endswith(".avro")}
    assert len(packets) > 10
    assert {name: made.get(name) for name in packets} == {name: other[name] for name in packets}
    rows, others = database_rows(on_postgresql.archive), database_rows(done_survey.archive)
    for table in ("objects", "detections", "packets", "coverage"):
        assert len(rows[table]) > 0
        assert rows[table] == others[table], table


def test_a_second_run_changes_nothing(on_postgresql):
    files, rows = product_hashes(on_postgresql.archive), database_rows(on_postgresql.archive)
    expect(zsds("night", "--archive", on_postgresql.archive, NIGHT, "--cluster", "serial"))
    assert product_hashes(on_postgresql.archive) == files
    assert database_rows(on_postgresql.archive) == rows


def test_the_password_is_shown_nowhere(on_postgresql, postgres):
    where = ("--archive", on_postgresql.archive)
    for command in (("doctor",), ("status",), ("status", "--json"), ("status", "--night", NIGHT)):
        called = zsds(*command, *where)
        assert postgres.password not in called.out + called.err, command
    expect(zsds("report", *where, NIGHT))
    for path in on_postgresql.archive.rglob("*"):
        assert path.is_dir() or postgres.password.encode() not in path.read_bytes(), path


def test_a_lost_server_is_one_line(on_postgresql, tmp_path):
    lost = on_postgresql.copied(tmp_path / "archive")
    settings = lost.archive / "zsds.yaml"
    settings.write_text(re.sub(r"127.0.0.1:\d+", "127.0.0.1:9", settings.read_text()))
    called = zsds("night", "--archive", lost.archive, NIGHT, "--cluster", "serial")
    assert called.status != 0
    assert len(called.err.strip().splitlines()) == 1
    assert "does not answer" in called.err
