"""What is planned again when a frame was replaced in its place or the camera file was edited."""

from dataclasses import replace

import pytest
from survey import NIGHT, camera_file
from zsds.workflows import calibrate, night
from zsds.workflows.bookkeeping import Claims

from zsds.core.errors import BadInput
from zsds.db import create_database, ledger
from zsds.db.ledger import Frame, Outcome, State
from zsds.io.store import Store
from zsds.pipeline.settings import Settings
from zsds.runner import Finished
from zsds.runner.archive import open_archive


def frame(kind, fraction, band="zr"):
    time = NIGHT + fraction
    return Frame(
        f"{kind}{fraction}.fits", 1, fraction.ljust(64, "0"), kind, time, 58493.0, 30.0, 1, band, 2, 1, NIGHT
    )


@pytest.fixture
def archive(tmp_path):
    """An archive of the tiny camera whose calibrations and one science frame are done."""
    store = Store.create(tmp_path / "archive", str(camera_file(tmp_path / "tiny.yaml")))
    create_database(store.database_url).close()
    opened = open_archive(store.root)
    register(opened, frame("bias", "100000"), frame("flat", "110000"), frame("science", "300000"))
    assert len(finish_planned(opened)) == 4
    assert finish_planned(opened) == []
    return opened


def register(archive, *frames):
    with archive.database.write() as connection:
        assert len(ledger.register_frames(connection, frames).new) == len(frames)


def edit(archive, old, new):
    path = archive.store.root / "camera.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return open_archive(archive.store.root)


def finish_planned(archive):
    """Tasks of the calibrations and the night that are to do; all are then recorded as done."""
    tasks = []
    for plan, record in (
        (calibrate.plan_calibrations, calibrate.record_calibration),
        (night.plan_night, None),
    ):
        with Claims(archive, Settings()) as claims:
            for chain in plan(archive, NIGHT, claims):
                tasks += chain
                claims.finish(Finished(chain[0], Outcome(State.DONE)), record)
    return tasks


def test_a_replaced_flat_makes_a_new_calibration_and_with_it_the_quadrants(archive):
    register(archive, replace(frame("flat", "110000"), digest=64 * "f"))
    tasks = finish_planned(archive)
    assert [task.kind for task in tasks] == 2 * ["calibration"] + 2 * ["science"]
    assert {task.inputs["calibration"]["version"] for task in tasks} == {2}


def test_a_replaced_science_frame_is_reduced_again(archive):
    register(archive, replace(frame("science", "300000"), digest=64 * "f"))
    assert [task.kind for task in finish_planned(archive)] == 2 * ["science"]


def test_an_edited_camera_makes_all_anew(archive):
    edited = edit(archive, "gain: 6.3", "gain: 6.4")
    assert [task.kind for task in finish_planned(edited)] == 2 * ["calibration"] + 2 * ["science"]
    assert finish_planned(edited) == []


@pytest.mark.parametrize("plan", [calibrate.plan_calibrations, night.plan_night])
def test_frames_of_a_band_that_the_camera_lost(archive, plan):
    edited = edit(archive, "zr:", "zx:")
    with Claims(edited, Settings()) as claims, pytest.raises(BadInput, match="restore the archive's camera"):
        plan(edited, NIGHT, claims)
