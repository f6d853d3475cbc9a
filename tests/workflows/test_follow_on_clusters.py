"""A night followed on a Dask scheduler: late calibrations, a killed worker, an end in order."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import sqlalchemy as sa
from programs import dask_scheduler, started
from survey import NIGHT, database_rows, expect, forget_frames, zsds

from zsds.db.ledger import State
from zsds.db.schema import calibrations, references

pytestmark = pytest.mark.services
WAIT_S = 120.0


def wait_for(condition, night):
    end = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert night.poll() is None, night.communicate()
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)
    return found


def taken_out(survey, table):
    """All rows of a table, which loses them."""
    with survey.open().database.write() as connection:
        rows = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
        connection.execute(sa.delete(table))
    return rows


def put_back(survey, table, rows):
    with survey.open().database.write() as connection:
        connection.execute(sa.insert(table), rows)


def states(survey, kind):
    return [unit.state for unit in survey.units(kind)]


def worker_of(survey, frame):
    """Process that works on a quadrant of a frame, as the log tells."""
    prefix = frame.name.partition("_o.")[0]
    called = zsds("logs", "--archive", survey.archive, prefix, "--json")
    lines = [json.loads(line) for line in called.out.splitlines()]
    return next((line["pid"] for line in lines if line["message"] == "begins"), None)


def test_a_night_followed_on_a_scheduler_is_that_of_one_process(ready_survey, done_survey, tmp_path):
    survey, incoming = ready_survey.copied(tmp_path / "archive"), tmp_path / "incoming"
    forget_frames(survey.archive)
    incoming.mkdir()
    late = {table: taken_out(survey, table) for table in (calibrations, references)}
    first, second, third = survey.frames
    with dask_scheduler(tmp_path) as (address, _):
        words = ("night", "--archive", survey.archive, "--follow", incoming, "--cluster", address)
        night = started("zsds", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        content = first.read_bytes()
        (incoming / first.name).write_bytes(content[:5000])
        time.sleep(2)
        with (incoming / first.name).open("ab") as file:
            file.write(content[5000:])
        wait_for(lambda: states(survey, "science") == [State.NO_CALIBRATION] * 2, night)
        put_back(survey, calibrations, late[calibrations])
        wait_for(lambda: states(survey, "science") == [State.DONE] * 2, night)
        assert states(survey, "difference") == [State.NO_REFERENCE] * 2
        put_back(survey, references, late[references])
        wait_for(lambda: states(survey, "packets") == [State.DONE] * 2, night)
        shutil.copy(second, incoming)
        os.kill(wait_for(lambda: worker_of(survey, second), night), signal.SIGKILL)
        shutil.copy(third, incoming)
        wait_for(lambda: len(states(survey, "science")) == 6, night)
        night.send_signal(signal.SIGTERM)
        out, err = night.communicate(timeout=WAIT_S)
    assert night.returncode == 0, out + err
    assert err.count(" alerts, ") == 3
    assert "from frame to packets: " in out
    assert states(survey, "packets") == [State.DONE] * 6
    mine, theirs = database_rows(survey.archive), database_rows(done_survey.archive)
    for table in ("objects", "detections", "packets", "coverage"):
        assert mine[table] == theirs[table]
    assert "worker " in expect(zsds("logs", "--archive", survey.archive, "--night", NIGHT)).out
