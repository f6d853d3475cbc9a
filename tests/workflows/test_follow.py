"""A night that is followed: frames land one by one, partly written, broken, early, and alerts come out."""

import errno
import json
import os
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
import yaml
from astropy.io import fits
from survey import NIGHT, Survey, database_rows, expect, forget_frames, zsds
from zsds.workflows import follow
from zsds.workflows.follow import follow_nights

from zsds.core.errors import BadInput
from zsds.db import ledger
from zsds.db.database import Database, Unreachable
from zsds.db.ledger import Outcome, State
from zsds.db.schema import references
from zsds.pipeline.settings import Settings
from zsds.runner import Finished, Task

WAIT_S = 120.0


@pytest.fixture
def unseen(ready_survey, tmp_path) -> Survey:
    """The survey before its night, whose frames it has never seen; they land in ``incoming``."""
    survey = ready_survey.copied(tmp_path / "archive")
    forget_frames(survey.archive)
    (tmp_path / "incoming").mkdir()
    return survey


@contextmanager
def followed(survey, incoming, cluster="serial"):
    """A night that is followed meanwhile; gives what was told, and ends it."""
    told, stop = [], threading.Event()
    ended = []

    def run():
        follow_nights(survey.archive, incoming, Settings(), told.append, stop.is_set, (), cluster, 1)
        ended.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield told
    finally:
        stop.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()
    assert ended


def wait_for(condition):
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


def states(survey, kind):
    return [unit.state for unit in survey.units(kind)]


def same_findings(survey, other):
    mine, theirs = database_rows(survey.archive), database_rows(other.archive)
    for table in ("objects", "detections", "packets", "coverage"):
        assert mine[table] == theirs[table]


def test_frames_are_taken_as_they_land(unseen, done_survey, tmp_path):
    incoming = tmp_path / "incoming"
    first, second, third = unseen.frames
    content = first.read_bytes()
    with followed(unseen, incoming) as told:
        (incoming / first.name).write_bytes(content[: len(content) // 2])
        (incoming / "focus.fits").write_bytes(b"no frame at all")
        os.utime(incoming / "focus.fits", (1, 1))
        wait_for(lambda: told)
        time.sleep(2.5 * follow.LOOK_S)
        assert states(unseen, "science") == []
        with (incoming / first.name).open("ab") as file:
            file.write(content[len(content) // 2 :])
        wait_for(lambda: sum("alerts" in line for line in told) == 1)
        shutil.copy(second, incoming)
        shutil.copy(third, incoming)
        wait_for(lambda: sum("alerts" in line for line in told) == 3)
    assert sum("focus.fits" in line for line in told) == 1
    same_findings(unseen, done_survey)
    latencies = [unit.metrics["latency_s"] for unit in unseen.units("packets")]
    assert len(latencies) == 6
    assert all(0 < latency < WAIT_S for latency in latencies)
    assert "from frame to packets: " in zsds("status", "--archive", unseen.archive, "--night", NIGHT).out


def test_what_waited_for_a_reference_goes_on_when_there_is_one(unseen, tmp_path):
    database = unseen.open().database
    with database.write() as connection:
        known = [dict(row) for row in connection.execute(sa.select(references)).mappings()]
        connection.execute(sa.delete(references))
    with followed(unseen, tmp_path / "incoming") as told:
        shutil.copy(unseen.frames[0], tmp_path / "incoming")
        wait_for(lambda: states(unseen, "difference") == [State.NO_REFERENCE] * 2)
        with database.write() as connection:
            connection.execute(sa.insert(references), known)
        wait_for(lambda: any("alerts" in line for line in told))
    assert states(unseen, "packets") == [State.DONE] * 2


def test_a_stopped_night_goes_on_where_it_was(unseen, done_survey, tmp_path):
    incoming = tmp_path / "incoming"
    for frame in unseen.frames[:2]:
        shutil.copy(frame, incoming)
    with followed(unseen, incoming) as told:
        wait_for(lambda: states(unseen, "science"))  # registered; then it is told to stop, and finishes them
    assert states(unseen, "packets") == [State.DONE] * 4
    shutil.copy(unseen.frames[2], incoming)
    with followed(unseen, incoming) as told:
        wait_for(lambda: any("alerts" in line for line in told))
    assert len(told) == 1
    same_findings(unseen, done_survey)


def test_a_database_that_comes_back_loses_nothing(unseen, done_survey, tmp_path, monkeypatch):
    """Of seven transactions one is never begun, and of one nobody hears that it was committed."""
    monkeypatch.setattr(follow, "RETRY_S", 0.01)
    calls, write = iter(range(10_000)), Database.write

    @contextmanager
    def sometimes(database):
        n = next(calls)
        if n % 7 == 3:
            raise Unreachable(database.name, "does not answer", "start it")
        with write(database) as connection:
            yield connection
        if n % 7 == 5:
            raise Unreachable(database.name, "does not answer", "start it")

    monkeypatch.setattr(Database, "write", sometimes)
    for frame in unseen.frames:
        shutil.copy(frame, tmp_path / "incoming")
    with followed(unseen, tmp_path / "incoming") as told:
        wait_for(lambda: states(unseen, "packets") == [State.DONE] * 6)
        monkeypatch.undo()
    assert sum(line.startswith("waiting: ") for line in told) >= 2
    same_findings(unseen, done_survey)


def test_another_run_and_a_full_disk_are_waited_for(unseen, done_survey, tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "RETRY_S", 0.05)
    database, other = unseen.open().database, f"{socket.gethostname()}:{os.getppid()}"
    (key, *_) = sorted(unit.key for unit in done_survey.units("packets"))
    write = Path.write_bytes

    def refuse(path, content):
        if path.name.endswith(".tmp") and "_q1_" in path.name:
            raise OSError(errno.ENOSPC, "refused", str(path))
        return write(path, content)

    with followed(unseen, tmp_path / "incoming") as told:
        with database.write() as connection:
            ledger.add_units(connection, "packets", NIGHT, [key])
            ledger.claim(connection, "packets", key, other)
        shutil.copy(unseen.frames[0], tmp_path / "incoming")
        wait_for(lambda: any(f"another run ({other}) works on 1" in line for line in told))
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", refuse)
            with database.write() as connection:
                ledger.release(connection, other)
            wait_for(lambda: any("the disk is full; free some space" in line for line in told))
        wait_for(lambda: states(unseen, "packets") == [State.DONE] * 2)
    assert all(line.startswith("waiting: ") for line in told[:-1])


def test_frames_whose_registration_nobody_heard_of_are_done(unseen, tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "RETRY_S", 0.01)
    register, write, registered = ledger.register_frames, Database.write, []

    def noted(*arguments):
        registered.append(True)
        return register(*arguments)

    @contextmanager
    def unheard(database):
        with write(database) as connection:
            yield connection
        if len(registered) == 1:
            registered.append(True)
            raise Unreachable(database.name, "does not answer", "start it")

    monkeypatch.setattr(ledger, "register_frames", noted)
    monkeypatch.setattr(Database, "write", unheard)
    shutil.copy(unseen.frames[0], tmp_path / "incoming")
    with followed(unseen, tmp_path / "incoming") as told:
        wait_for(lambda: any("alerts" in line for line in told))
    assert states(unseen, "packets") == [State.DONE] * 2


def test_the_landing_counts_however_old_the_frame(unseen, tmp_path):
    """Programs that copy may keep the time of change; a frame that is there twice is done once."""
    shutil.copy(unseen.frames[0], tmp_path / "incoming")
    os.utime(tmp_path / "incoming" / unseen.frames[0].name, (1e9, 1e9))
    shutil.copy(unseen.frames[0], tmp_path / "incoming" / "twice.fits.fz")
    with followed(unseen, tmp_path / "incoming") as told:
        wait_for(lambda: any("alerts" in line for line in told))
        time.sleep(2.5 * follow.LOOK_S)
    assert [unit.attempt for unit in unseen.units("science")] == [1, 1]
    assert all(0 < unit.metrics["latency_s"] < WAIT_S for unit in unseen.units("packets"))


def test_a_silent_ccd_is_waited_for_once_until_it_speaks(unseen, tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "STRAGGLER_S", 3.0)
    camera = Path(unseen.open().store.camera)
    described = yaml.safe_load(camera.read_text())
    camera.write_text(
        yaml.safe_dump({**described, "detectors": {**described["detectors"], 2: {"x_arcsec": 900}}})
    )
    incoming = tmp_path / "incoming"

    def heard(told, word):
        return sum(word in line for line in told)

    with followed(unseen, incoming) as told:
        shutil.copy(unseen.frames[0], incoming)
        wait_for(lambda: heard(told, "alerts"))
        assert [line for line in told if "no frame of CCD 2 in 3 s" in line] == told[:1]
        monkeypatch.setattr(follow, "STRAGGLER_S", WAIT_S)  # so long would the others be waited for
        of_other = shutil.copy(unseen.frames[2], tmp_path)
        with fits.open(of_other, mode="update") as frame:
            frame[0].header["CCD_ID"] = 2
        shutil.copy(unseen.frames[1], incoming)
        wait_for(lambda: heard(told, "alerts") == 2)
        monkeypatch.setattr(follow, "STRAGGLER_S", 3.0)
        shutil.move(of_other, incoming)  # CCD 2 is heard of again, CCD 1 not in this exposure
        wait_for(lambda: heard(told, "no frame of CCD 1 in 3 s"))
    assert heard(told, "no frame of CCD") == 2
    assert len(unseen.units("packets")) == 4


def later(frame, target, days):
    """The copy of a frame, taken some days later."""
    with fits.open(shutil.copy(frame, target), mode="update") as copy:
        copy[0].header["OBSMJD"] += days


def test_every_unfinished_night_in_the_folder_goes_on_in_order_of_time(unseen, tmp_path):
    """But one that another run works on; calibration frames, newest of all, are no night to do."""
    incoming = tmp_path / "incoming"
    shutil.copy(unseen.frames[0], incoming)
    later(unseen.frames[1], incoming / "a.fits.fz", 1)
    later(unseen.frames[0], incoming / "b.fits.fz", -1)
    later(next((unseen.sky / "raw").rglob("*_f.fits.fz")), incoming, 100)
    expect(zsds("ingest", "--archive", unseen.archive, incoming))
    with unseen.open().database.write() as connection:
        ledger.add_units(connection, "science", "20190109", ["ztf_20190109300000_000001_zr_c01_o_q1"])
        ledger.claim(connection, "science", "ztf_20190109300000_000001_zr_c01_o_q1", "elsewhere:1")
    with followed(unseen, incoming) as told:
        wait_for(lambda: sum("alerts" in line for line in told) == 2)
    assert told[0].startswith("left out: 20190109: another run (elsewhere:1) works on 1 of its units")
    assert [line[:8] for line in told[1:]] == [NIGHT, str(int(NIGHT) + 1)]


def test_frames_registered_from_a_folder_of_another_name_are_done(unseen, tmp_path):
    shutil.copy(unseen.frames[0], tmp_path / "incoming")
    expect(zsds("ingest", "--archive", unseen.archive, tmp_path / "incoming"))
    (tmp_path / "link").symlink_to("incoming")
    with followed(unseen, tmp_path / "link") as told:
        wait_for(lambda: any("alerts" in line for line in told))
    assert states(unseen, "packets") == [State.DONE] * 2


def test_a_frame_that_is_done_again_is_not_counted_twice():
    told = []
    live = follow._Live(None, None, None, None, told.append)
    exposure = follow._Exposure()
    for n_alerts, latency_s in ((7, 90.0), (6, 20.0)):
        outcome = Outcome(State.DONE, None, {"n_packets": n_alerts, "latency_s": latency_s})
        task = Task("packets", "ztf_20190110300000_000001_zr_c01_o_q1")
        live._told_when_packed(Finished(task, outcome), exposure)
    assert [line.partition(": ")[2] for line in told] == ["7 alerts, 90 s", "6 alerts, 20 s"]


def test_nothing_taken_tells_of_no_other_night_and_a_refused_file_is_a_failure(done_survey, tmp_path):
    words = ("night", "--archive", done_survey.archive, "--follow", tmp_path, "--cluster", "serial")
    assert json.loads(expect(zsds(*words, "--json", "--until", "2020-01-01T00:00")).out) == []
    (tmp_path / "focus.fits").write_bytes(b"no frame at all")
    os.utime(tmp_path / "focus.fits", (1, 1))
    soon = datetime.now(UTC) + timedelta(seconds=4)
    called = zsds(*words, "--until", soon.strftime("%Y-%m-%dT%H:%M:%S"))
    assert called.status == 1
    assert "focus.fits" in called.err
    assert called.out.startswith("nothing was there to do\ntook ")


def test_a_folder_that_is_not_there(unseen, tmp_path):
    with pytest.raises(BadInput, match="no such file or folder"):
        follow_nights(unseen.archive, tmp_path / "none", Settings(), print, lambda: True, cluster="serial")


def test_a_night_somebody_else_works_on(unseen, tmp_path):
    with unseen.open().database.write() as connection:
        ledger.add_units(connection, "science", NIGHT, ["ztf_20190110300000_000001_zr_c01_o_q1"])
        ledger.claim(connection, "science", "ztf_20190110300000_000001_zr_c01_o_q1", "elsewhere:1")
    called = zsds("night", "--archive", unseen.archive, NIGHT, "--follow", tmp_path / "incoming")
    assert called.status == 1
    assert "elsewhere:1" in called.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--until", "2026-01-01T00:00"), "--until: is for --follow"),
        (("--until", "2026-01-01T00Z"), "--until: is for --follow"),
        (("--follow", ".", "--until", "dawn"), "dawn: is not a time; write it as 2026-"),
        ((), "NIGHT: is not given"),
        (("--follow", ".", "--again"), "--again: redoes nights that are over"),
    ],
)
def test_calls_that_mean_nothing(unseen, words, message):
    called = zsds("night", "--archive", unseen.archive, *words)
    assert called.status == 2
    assert message in called.err
