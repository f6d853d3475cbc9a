"""The command line: help with examples, JSON, exit statuses, one line per mistake."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
import typer
from survey import NIGHT, SERIAL, expect, zsds

from zsds.cli import alerts, archive, catalogs, demo, images, night, serve, stream  # noqa: F401
from zsds.cli.app import app, progress
from zsds.db.schema import units as unit_table
from zsds.runner.status import failures


def commands(group=None, words=()):
    group = typer.main.get_command(app) if group is None else group
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name)


COMMANDS = list(commands())


def test_all_commands_are_there():
    names = {" ".join(words) for words in COMMANDS}
    assert names >= {
        "doctor", "init", "simulate", "catalogs import", "catalogs fetch", "catalogs list", "ingest",
        "calibrate", "references", "night", "difference", "alerts list", "alerts show", "alerts tar",
        "alerts publish", "alerts consume", "alerts verify", "alerts schemas", "serve",
        "status", "where", "report", "demo",
    }  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_an_example_of_the_command(words):
    called = expect(zsds(*words, "--help"))
    text = " ".join(called.out.split())
    assert "Example: zsds " + " ".join(words) in text
    assert "Usage:" in text


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys, resource; sys.argv = ['zsds', '--help']\n"
        "from zsds.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime, *(m for m in ('numpy', 'astropy', 'dask', 'numba')"
        " if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cpu, *heavy = done.stdout.splitlines()[-1].split()
    assert float(cpu) < 1.0
    assert heavy == []


TABLES = [
    ("status",),
    ("status", "--night", NIGHT),
    ("catalogs", "list"),
    ("alerts", "list"),
    ("alerts", "list", "--night", NIGHT),
]


@pytest.mark.parametrize("words", TABLES, ids=" ".join)
def test_tables_are_json_on_demand(done_survey, words):
    plain = expect(zsds(*words, "--archive", done_survey.archive))
    found = json.loads(expect(zsds(*words, "--archive", done_survey.archive, "--json")).out)
    assert found
    assert isinstance(found, list)
    assert len(plain.out.splitlines()) > len(found)


def test_runs_print_json_too(done_survey, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    for words in (
        ("ingest", survey.sky / "raw"), ("night", NIGHT, *SERIAL), ("references", *SERIAL),
        ("calibrate", "--night", NIGHT, *SERIAL),
    ):  # fmt: skip
        called = expect(zsds(*words, "--archive", survey.archive, "--json"))
        assert isinstance(json.loads(called.out), list)


def test_the_closing_summary_counts_alerts_and_times(done_survey):
    rows = json.loads(
        expect(zsds("status", "--night", NIGHT, "--archive", done_survey.archive, "--json")).out
    )
    assert [row["kind"] for row in rows] == ["calibration", "science", "difference", "packets"]
    assert rows[-1]["alerts"] == len(list((done_survey.archive / "alerts" / NIGHT).rglob("*.avro")))
    assert all(row["median_s"] >= 0 for row in rows)


def test_failures_of_many_files_make_one_line(done_survey, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    units = survey.units("packets")
    with survey.open().database.write() as connection:
        for unit in units:
            reason = f"/data/{unit.key}.avro: the disk is full; free some space and run again"
            failed = sa.update(unit_table).where(unit_table.c.kind == "packets", unit_table.c.key == unit.key)
            connection.execute(failed.values(state="failed", reason=reason))
    (row,) = failures(survey.open(), [NIGHT])
    assert row["units"] == len(units)
    assert row["reason"].startswith(f"/data/{row['for example']}.avro: the disk is full")


def test_a_reference_of_the_night_itself_is_told(done_survey, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    assert "note:" not in expect(zsds("status", "--archive", survey.archive)).err
    with survey.open().database.write() as connection:
        differences = sa.update(unit_table).where(
            unit_table.c.kind == "difference", unit_table.c.night == NIGHT
        )
        connection.execute(differences.values(metrics={"n_own_epochs": 3}))
    told = expect(zsds("status", "--archive", survey.archive)).err
    assert told.startswith(f"note: {NIGHT}: the reference of {len(survey.units('difference'))} differences")
    expect(zsds("report", NIGHT, "--archive", survey.archive))
    page = next((survey.archive / "reports").glob("*.html")).read_text()
    assert re.search("own epochs[^<]*above 0", page)


def test_the_report_of_a_simulation_tells_completeness(done_survey, tmp_path):
    words = ("report", NIGHT, "--truth", done_survey.sky / "truth", "--out", tmp_path / "page.html")
    expect(zsds(*words, "--archive", done_survey.archive))
    assert "explained by the truth" in (tmp_path / "page.html").read_text()


def test_a_lost_file_costs_its_part_of_the_report_alone(done_survey, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    lost = sorted((survey.archive / "sci" / NIGHT[:4]).rglob("*_residuals.fits"))[0]
    lost.unlink()
    sorted((survey.archive / "alerts").rglob("*.avro"))[0].write_bytes(b"")
    expect(zsds("report", NIGHT, "--archive", survey.archive))
    page = next((survey.archive / "reports").glob("*.html")).read_text()
    assert lost.name in page
    assert "zsds night --again makes it anew" in page
    assert "1 could not be read" in page


def test_doctor(done_survey, tmp_path):
    called = zsds("doctor", "--archive", done_survey.archive, "--json")
    findings = {row["what"]: row for row in json.loads(called.out)}
    assert findings["archive"]["ok"]
    assert findings["database"]["ok"]
    assert findings["catalog gaia"]["ok"]
    wrong = [row for row in findings.values() if not row["ok"]]
    assert called.status == int(bool(wrong))
    assert all(row["remedy"] for row in wrong)
    expect(zsds("init", tmp_path / "new", "--camera", "demo"))
    called = zsds("doctor", "--archive", tmp_path / "new")
    assert called.status == 1
    assert "zsds catalogs import gaia FILE" in called.out
    called = zsds("doctor", "--archive", tmp_path / "new", "--cluster", "serial")
    assert "cluster serial" in called.out
    assert zsds("doctor", "--cluster", "nothing").status == 2
    called = zsds("doctor", "--archive", tmp_path / "nothing")
    assert called.status == 1
    assert "zsds init" in called.out


def test_where_knows_every_sort_of_name(done_survey):
    at = ("--archive", done_survey.archive)
    quadrant = sorted((done_survey.archive / "sci" / "2019").rglob("*_candidates.fits"))[0].name
    packet = sorted((done_survey.archive / "alerts").rglob("*.avro"))[0]
    for product, name in (
        ("candidates", quadrant.removesuffix("_candidates.fits")),
        ("packet", packet.stem),
        ("report", NIGHT),
        ("reference", "ztf_000600_zr_c01_q1"),
        ("reference", "ztf_000600_zr_c01_q1_v1"),
        ("flat", f"ztf_{NIGHT}_zr_c01_q2"),
    ):
        called = expect(zsds("where", product, name, *at))
        assert Path(called.out.strip()).is_file()
    assert "difference_mask" in expect(zsds("where", "list")).out.split()
    for product, name, words in (
        ("reference", "ztf_000600_zr_c01_q1_v2", "does not exist"),
        ("sky", NIGHT, "where list"),
        ("packet", "M31", "zsds status"),
    ):
        called = zsds("where", product, name, *at)
        assert called.status == 1
        assert words in called.err
        assert len(called.err.splitlines()) == 1


def test_alerts_can_be_shown(done_survey, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    packet = sorted((done_survey.archive / "alerts").rglob("*.avro"))[-1]
    called = expect(zsds("alerts", "show", packet.stem, "--archive", done_survey.archive))
    assert "objectId" in called.out
    assert (tmp_path / f"{packet.stem}.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads(expect(zsds("alerts", "show", packet, "--json", "--out", tmp_path / "a.png")).out)
    assert record["candid"] == int(packet.stem)
    (row,) = json.loads(expect(zsds("alerts", "list", packet, "--json")).out)
    assert row["mjd"] == pytest.approx(record["candidate"]["jd"] - 2400000.5)
    assert f"{row['ra']:.5f}  {row['dec']:.5f}" in expect(zsds("alerts", "list", packet)).out


WRONG_CALLS = [
    ("nonsense",),
    ("night", "--cluster"),
    ("night", "--no-such-option", NIGHT),
    ("catalogs", "fetch", "gaia", "--ra", "400", "--dec", "0", "--radius", "1"),
    ("catalogs", "fetch", "gaia", "--ra", "ten", "--dec", "0", "--radius", "1"),
    ("night", NIGHT, "--set", "difference.no_such=1"),
    ("night", NIGHT, "--set", "science.quality.max_rms_arcsec=wide"),
    ("night", NIGHT, "--set", "no equals sign"),
    ("references", "--set", "reference.select=3"),
    ("simulate", "sky", "--set", "n_moons=2"),
    ("night", NIGHT, "--set", "difference.candidates.threshold=["),
    ("night", NIGHT, "--set", "difference.candidates.threshold=-5"),
    ("night", NIGHT, "--set", "science.measure.extract.threshold=.nan"),
    ("alerts", "publish", NIGHT, "--program", "-1"),
    ("alerts", "verify", NIGHT, "--program", "99999999999999"),
    ("night", NIGHT, "--cluster", "cloud"),
    ("night", NIGHT, "--workers", "0"),
    ("night", "tonight"),
    ("calibrate", "--night", "20190230"),
    ("references", "--night", "2019011"),
    ("report", "../.."),
    ("status", "--night", "20191301"),
    ("alerts", "list", "--night", "../.."),
    ("alerts", "tar", "yesterday"),
]


@pytest.mark.parametrize("words", WRONG_CALLS, ids=" ".join)
def test_a_wrong_call_ends_with_2(done_survey, words):
    called = zsds(*words, env_archive=done_survey.archive)
    assert called.status == 2
    assert called.err.strip()
    assert "Traceback" not in called.err
    assert called.out == ""


MISTAKES = [
    (("status", "--archive", "/no/such/place"), "zsds init"),
    (("init", "new", "--camera", "no_such_camera"), "give a YAML file"),
    (("init", "new", "--camera", "demo", "--database", "nonsense"), "sqlite:///FILE"),
    (("night", "20010101"), "zsds ingest"),
    (("calibrate", "--night", "20010101"), "zsds ingest"),
    (("references", "--night", "20010101"), "zsds night"),
    (("report", "20010101"), "zsds night"),
    (("alerts", "show", "12345678901234567"), "zsds alerts list"),
    (("alerts", "show", 30 * "9"), "zsds alerts list"),
    (("where", "packet", 26 * "9"), "see zsds status"),
    (("alerts", "list", "--night", "20010101"), "zsds night"),
    (("alerts", "show", "no_such_file.avro"), "check"),
    (("alerts", "tar", "20010101"), "zsds night"),
    (("ingest", "no_such_folder"), "check the path"),
    (("ingest", "."), "name raw frames"),
    (("catalogs", "import", "gaia", "no_such_file"), "check"),
    (("catalogs", "import", "moons", "no_such_file"), "gaia"),
    (
        ("catalogs", "fetch", "orbits", "--ra", "1", "--dec", "-1", "--radius", "1"),
        "zsds catalogs import orbits FILE",
    ),
    (("status", "--night", "20010101"), "zsds night"),
    (("alerts", "list", "--night", "20010101"), "zsds night"),
    (("night", NIGHT, "--settings", "no_such.yaml"), "mend it"),
    (("difference", "no.fits", "none.fits", "--out", "result"), "check"),
    (("difference", "no.fits", "none.fits", "--out", "."), "choose another folder"),
    (("measure", "no.fits", "--out", "."), "choose another folder"),
    (("measure", ".", "--out", "result"), "is a folder"),
]


@pytest.mark.parametrize("words, remedy", MISTAKES, ids=lambda value: " ".join(value)[:40])
def test_a_mistake_is_one_line_with_a_remedy(done_survey, tmp_path, monkeypatch, words, remedy):
    monkeypatch.chdir(tmp_path)
    called = zsds(*words, env_archive=done_survey.archive)
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert line.startswith("zsds: ")
    assert remedy in line
    assert "Traceback" not in line


def test_a_failed_init_can_be_tried_again(tmp_path):
    assert zsds("init", tmp_path / "new", "--camera", "demo", "--database", "nonsense").status == 1
    expect(zsds("init", tmp_path / "new", "--camera", "demo"))
    again = zsds("init", tmp_path / "new", "--camera", "demo")
    assert again.status == 1
    assert "is an archive already" in again.err
    assert "up to date" in expect(zsds("init", tmp_path / "new", "--upgrade")).out


def test_a_bug_is_one_line_too(done_survey, monkeypatch):
    def broken(*_):
        raise KeyError("nobody\nexpects this")

    monkeypatch.setattr("zsds.runner.status.unit_counts", broken)
    called = zsds("status", "--archive", done_survey.archive)
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert "KeyError" in line
    assert "--verbose" in line


def test_fetch_takes_southern_declinations(done_survey, monkeypatch):
    asked = []

    def fetch(kind, ra, dec, radius, store, url, progress):
        asked.append((kind, ra, dec, radius, store.root.parent, url, progress))
        return 12

    monkeypatch.setattr("zsds.catalogs.fetch", fetch)
    words = ("catalogs", "fetch", "ps1", "--ra", 150.1, "--dec", -20.5, "--radius", 1.5)
    words = (*words, "--url", "http://127.0.0.1/tap")
    assert "12 new rows into ps1" in expect(zsds(*words, env_archive=done_survey.archive)).out
    assert asked == [("ps1", 150.1, -20.5, 1.5, done_survey.archive, "http://127.0.0.1/tap", None)]


def test_no_bar_where_there_is_no_terminal(capsys):
    with progress("quadrants", 3) as advance:
        advance()
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_bar_on_a_terminal(monkeypatch):
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress("quadrants", 3) as advance:
            advance()
        terminal.flush()
        shown = b""
        while not re.search(rb"quadrants.*1/3.*to go", shown):  # the test's time limit ends it otherwise
            shown += os.read(master, 10000)
    os.close(master)


def test_a_demonstration_clears_nothing_but_an_earlier_one(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "_simulate", lambda *_: sys.exit(3))
    mine = tmp_path / "mine"
    (mine / "sky" / "raw").mkdir(parents=True)
    (mine / "archive").mkdir()
    assert "is not a demonstration" in zsds("demo", mine).err
    assert (mine / "sky" / "raw").is_dir()
    (tmp_path / "file").touch()
    assert "is not a folder" in zsds("demo", tmp_path / "file").err
    assert zsds("demo", tmp_path / "new").status == 3
    (tmp_path / "new" / "sky").mkdir()
    (tmp_path / "new" / "mine.png").touch()
    assert zsds("demo", tmp_path / "new").status == 3
    assert not (tmp_path / "new" / "sky").exists()
    assert (tmp_path / "new" / "mine.png").exists()
