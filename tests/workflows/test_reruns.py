"""A night run again, interrupted, and run elsewhere: the same products and the same names."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
import sqlalchemy as sa
from night_trials import PROCESSES, start
from survey import NIGHT, SERIAL, database_rows, expect, product_hashes, run_night, zsds
from zsds.workflows.cluster import local

from zsds.cli import main
from zsds.db import ledger
from zsds.db.ledger import State
from zsds.db.schema import units as unit_table
from zsds.pipeline.settings import Settings
from zsds.runner import packets, steps

RERUN = ("id", "attempt", "inputs", "version", "superseded")  # what a rerun rightly changes


def attempts_left_out(rows):
    """Rows of the newest versions without the count of attempts and versions."""
    newest = (row for row in rows["units"] if row["state"] != "superseded")
    rows["units"] = [{k: v for k, v in row.items() if k not in RERUN} for row in newest]
    return rows


DEADLY = """
import os
from zsds.runner import steps
def deadly(key, *rest, good=steps.STEPS['science']):
    if key == {!r}:
        os._exit(9)
    return good(key, *rest)
steps.STEPS['science'] = deadly
"""


def test_a_second_run_changes_nothing(done_survey, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    files, rows = product_hashes(survey.archive), database_rows(survey.archive)
    stamps = {name: (survey.archive / name).stat().st_mtime_ns for name in files}
    expect(zsds("calibrate", "--archive", survey.archive, "--night", NIGHT, *SERIAL))
    expect(run_night(survey))
    assert product_hashes(survey.archive) == files
    assert database_rows(survey.archive) == rows
    assert {name: (survey.archive / name).stat().st_mtime_ns for name in files} == stamps


def test_again_gives_the_same_products_and_names(done_survey, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    files, rows = product_hashes(survey.archive), attempts_left_out(database_rows(survey.archive))
    expect(run_night(survey, "--again"))
    found = product_hashes(survey.archive)
    assert {name: digest for name, digest in found.items() if not name.startswith("superseded")} == files
    assert attempts_left_out(database_rows(survey.archive)) == rows


@pytest.fixture(scope="module")
def by_two_workers(ready_survey, tmp_path_factory):
    survey = ready_survey.copied(tmp_path_factory.mktemp("two") / "archive")
    expect(zsds("night", "--archive", survey.archive, NIGHT, "--cluster", "local", "--workers", 2))
    return survey


def test_two_workers_give_what_one_process_gives(by_two_workers, done_survey):
    serial = product_hashes(done_survey.archive)
    found = product_hashes(by_two_workers.archive)
    assert {n: d for n, d in serial.items() if not n.startswith(("reports", "alerts/ztf"))} == found
    assert database_rows(by_two_workers.archive) == database_rows(done_survey.archive)


def test_the_log_tells_of_a_quadrant_across_its_workers(by_two_workers):
    """Claims and outcomes are the driver's, the steps are one worker's; the frame of a CCD goes to one."""
    where = ("--archive", by_two_workers.archive, "--json")
    told, workers = {}, set()
    for unit in by_two_workers.units("science"):
        lines = [json.loads(line) for line in expect(zsds("logs", unit.key, *where)).out.splitlines()]
        assert {line["key"] for line in lines} == {unit.key}
        assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
        for kind in ("science", "difference", "packets"):
            (worker,) = {line["pid"] for line in lines if line["kind"] == kind} - {os.getpid()}
            workers.add(worker)
            words = [line["message"] for line in lines if line["kind"] == kind]
            assert words[0].startswith("claimed for zsds ")
            assert "begins" in words
            assert words[-2].startswith("ends done after ")
            assert words[-1] == "recorded as done"
        told[unit.key] = " ".join(line["message"] for line in lines)
    assert len(workers) >= 2
    for words in told.values():
        for step in ("from the frame", "reduced", "sky", "sources", "fitted", "astrometry", "zero point",
                     "seeing", "subtracted", "candidates", "named", "alerts"):  # fmt: skip
            assert step in words
    one = sorted(told)[0]
    about_ccd = expect(zsds("logs", one.rpartition("_o_")[0], *where)).out.splitlines()
    assert {json.loads(line)["key"] for line in about_ccd} == {one, one[:-1] + "2"}


def test_packets_lost_between_naming_and_writing_are_made_again(done_survey, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    files, rows = product_hashes(survey.archive), attempts_left_out(database_rows(survey.archive))
    files_of_packets = sorted((survey.archive / "alerts").rglob("*.avro"))
    for path in files_of_packets[::2]:
        path.unlink()
    with survey.open().database.write() as connection:
        dead = {
            "state": "running",
            "owner": f"{os.uname().nodename}:999999",
            "lease_until": time.time() + 900,
        }
        connection.execute(sa.update(unit_table).where(unit_table.c.kind == "packets").values(**dead))
    expect(run_night(survey))
    assert product_hashes(survey.archive) == files
    assert attempts_left_out(database_rows(survey.archive)) == rows


def test_a_killed_run_is_taken_up_at_once(ready_survey, done_survey, tmp_path):
    survey = ready_survey.copied(tmp_path / "archive")
    command = [sys.executable, "-c", "from zsds.cli import main; main()", "night", NIGHT, *SERIAL]
    process = subprocess.Popen([*command, "--archive", survey.archive])
    archive = survey.open()
    try:
        deadline = time.monotonic() + 120
        while not _count(archive, State.DONE) and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < _count(archive, State.DONE) < 12
    assert _count(archive, State.RUNNING) > 0
    expect(run_night(survey))
    assert _count(archive, State.RUNNING) == 0
    serial = product_hashes(done_survey.archive)
    found = product_hashes(survey.archive)
    assert {n: d for n, d in serial.items() if not n.startswith(("reports", "alerts/ztf"))} == found


def test_packets_of_a_quadrant_appear_together(done_survey, tmp_path):
    """A process that dies while it makes them leaves none, and nothing else outside the staging folder."""
    survey = done_survey.copied(tmp_path / "archive")
    files = product_hashes(survey.archive)
    shutil.rmtree(survey.archive / "alerts")
    victim = max(survey.units("packets"), key=lambda unit: unit.metrics["n_packets"])
    assert victim.metrics["n_packets"] > 3

    def die_at_the_third():
        encode, replace, made = packets.encode_packet, Path.replace, []
        note = mock.patch.object(packets, "encode_packet", lambda one: made.append(one) or encode(one))
        die = lambda path, target: os._exit(9) if len(made) == 3 else replace(path, target)  # noqa: E731
        with note, mock.patch.object(Path, "replace", die):
            packets.run_packets(victim.key, {}, survey.open(), Settings())

    process = PROCESSES.Process(target=die_at_the_third)
    process.start()
    process.join()
    assert process.exitcode == 9
    kept = {name for name in files if not name.startswith("alerts")}
    assert {name for name in product_hashes(survey.archive) if not name.startswith(".partial")} == kept
    assert list((survey.archive / ".partial").rglob("*.tmp"))
    expect(run_night(survey))
    assert not list((survey.archive / ".partial").iterdir())


def test_a_full_disk_ends_a_run_before_later_exposures_are_named(ready_survey, done_survey, tmp_path):
    survey = ready_survey.copied(tmp_path / "archive")
    first, write = sorted(done_survey.units("science"), key=lambda unit: unit.key)[0].key, Path.write_bytes

    def refuse(path, content):
        if first in path.name:
            raise OSError(errno.ENOSPC, "refused", str(path))
        return write(path, content)

    with mock.patch.object(Path, "write_bytes", refuse):
        called = run_night(survey)
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert "the disk is full; free some space and run again" in line
    assert survey.units("packets") == []
    expect(run_night(survey))
    assert attempts_left_out(database_rows(survey.archive)) == attempts_left_out(
        database_rows(done_survey.archive)
    )


def test_sigterm_gives_back_what_is_held(ready_survey, tmp_path):
    survey = ready_survey.copied(tmp_path / "archive")
    words = ("zsds", "night", NIGHT, *SERIAL, "--archive", survey.archive)
    night = start(main, words, tmp_path / "night.log")
    deadline = time.monotonic() + 120
    while not _count(survey.open(), State.RUNNING) and time.monotonic() < deadline:
        time.sleep(0.05)
    night.tell(signal.SIGTERM)
    assert night.end() == 130
    assert night.log.read_text().count("interrupted; what is done stays") == 1
    assert {unit.owner for unit in survey.units("science")} == {None}


def test_a_second_run_at_the_same_time_ends_and_touches_nothing(ready_survey, tmp_path):
    survey = ready_survey.copied(tmp_path / "archive")
    archive = survey.open()
    owner = f"{os.uname().nodename}:{os.getppid()}"
    with archive.database.write() as connection:
        ledger.add_units(connection, "packets", NIGHT, ["one"])
        ledger.claim(connection, "packets", "one", owner)
    before = product_hashes(survey.archive), database_rows(survey.archive)
    called = run_night(survey)
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert f"{NIGHT}: another run ({owner}) works on 1 of its units; wait for it" in line
    assert (product_hashes(survey.archive), database_rows(survey.archive)) == before


def test_sigterm_while_workers_start_ends_the_run_when_they_have_started():
    before, started = signal.signal(signal.SIGTERM, signal.default_int_handler), []
    try:
        with pytest.raises(KeyboardInterrupt), local.interrupts_ignored():
            signal.raise_signal(signal.SIGTERM)
            started.append(True)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started


def test_workers_are_deaf_to_interrupts():
    before = signal.getsignal(signal.SIGINT)
    with local.interrupts_ignored():
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is before


def _count(archive, state):
    with archive.database.read() as connection:
        units = ledger.units_of(connection, NIGHT)
    return sum(unit.state is state for unit in units if unit.kind in ("science", "difference"))


def logged(survey, key, level):
    """Lines of the log about a quadrant."""
    called = expect(zsds("logs", "--archive", survey.archive, key, "--level", level, "--json"))
    return [json.loads(line) for line in called.out.splitlines()]


def _units(survey, kind):
    with survey.open().database.read() as connection:
        return {unit.key: unit for unit in ledger.units_of(connection, NIGHT, kind)}


def test_a_bug_in_one_unit_fails_it_alone_and_heals(ready_survey, done_survey, tmp_path, monkeypatch):
    survey = ready_survey.copied(tmp_path / "archive")
    good = dict(steps.STEPS)
    victim = sorted(_units(done_survey, "difference"))[2]

    def broken(key, *rest):
        if key == victim:
            raise ZeroDivisionError("nothing\nleft")
        return good["difference"](key, *rest)

    with monkeypatch.context() as patch:
        patch.setattr("zsds.runner.run.STEPS", {**good, "difference": broken})
        called = run_night(survey)
    assert called.status == 1
    assert "ZeroDivisionError: nothing left" in called.out
    units = _units(survey, "difference")
    assert units[victim].state is State.FAILED
    assert {unit.state for key, unit in units.items() if key != victim} == {State.DONE}
    (bug,) = (line for line in logged(survey, victim, "error") if "traceback" in line)
    assert "ZeroDivisionError: nothing\nleft" in bug["traceback"]
    assert (bug["kind"], bug["key"], bug["attempt"]) == ("difference", victim, 1)
    expect(run_night(survey))
    assert {unit.state for unit in _units(survey, "difference").values()} == {State.DONE}
    assert {unit.state for unit in _units(survey, "packets").values()} == {State.DONE}
    images = {n: d for n, d in product_hashes(done_survey.archive).items() if n.startswith("sci")}
    found = product_hashes(survey.archive)
    assert {n: d for n, d in found.items() if n.startswith("sci")} == images


@pytest.mark.filterwarnings("ignore")
def test_a_dying_worker_fails_its_unit_alone(ready_survey, done_survey, tmp_path):
    survey = ready_survey.copied(tmp_path / "archive")
    victim = sorted(_units(done_survey, "science"))[1]
    preload = tmp_path / "deadly.py"
    preload.write_text(DEADLY.format(victim))
    import dask

    with dask.config.set({"distributed.worker.preload": [str(preload)]}):
        called = zsds("night", "--archive", survey.archive, NIGHT, "--cluster", "local", "--workers", 2)
    assert called.status == 1, called.err + called.out
    units = _units(survey, "science")
    assert units[victim].state is State.FAILED
    assert "its worker died each time (out of memory?)" in units[victim].reason
    assert "recorded as failed" in logged(survey, victim, "error")[-1]["message"]
    others = [(unit.state, unit.reason) for key, unit in units.items() if key != victim]
    assert others == [(State.DONE, None)] * 5
    assert _units(survey, "difference")[victim].state is State.PENDING
    expect(run_night(survey))
    assert {unit.state for unit in _units(survey, "difference").values()} == {State.DONE}
