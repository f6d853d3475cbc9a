"""Files that are, or are no longer, the frames that were registered."""

import shutil

import pytest
from survey import NIGHT, SERIAL, camera_file, expect, forget_frames, run_night, zsds

from zsds.db import ledger
from zsds.db.ledger import State


@pytest.fixture
def unseen(ready_survey, tmp_path):
    """The survey before its night, whose frames it has never seen."""
    survey = ready_survey.copied(tmp_path / "archive")
    forget_frames(survey.archive)
    return survey


def ingest(survey, *paths):
    return zsds("ingest", "--archive", survey.archive, *paths)


def paths(survey):
    with survey.open().database.read() as connection:
        return [frame.path for frame in ledger.frames_of(connection, NIGHT)]


def test_pixels_of_one_exposure_never_go_under_the_name_of_another(unseen, tmp_path):
    latest = tmp_path / "latest.fits.fz"
    shutil.copy(unseen.frames[0], latest)
    expect(ingest(unseen, latest))
    shutil.copy(unseen.frames[1], latest)
    called = run_night(unseen)
    assert called.status == 1
    assert f"{latest}: holds other content than was registered; zsds ingest it again" in called.out
    assert {unit.state for unit in unseen.units("science")} == {State.FAILED}
    assert expect(ingest(unseen, latest)).out.startswith("1 new frames")
    assert expect(ingest(unseen, unseen.frames[0])).out.startswith("0 new frames, 1 known")
    assert paths(unseen) == [str(unseen.frames[0]), str(latest)]


def test_a_header_that_the_camera_file_reads_otherwise_now(unseen):
    expect(ingest(unseen, unseen.frames[0]))
    camera = unseen.archive / "camera.yaml"
    camera.write_text(camera.read_text().replace("FIELDID", "EXPOSURE"))
    called = run_night(unseen)
    assert "restore the archive's camera file" in called.out


def test_a_flat_that_was_replaced_unseen_is_not_used(ready_survey, tmp_path):
    from dataclasses import replace

    folder = tmp_path / "frames"
    shutil.copytree(ready_survey.sky / "raw" / NIGHT[:4] / NIGHT[4:], folder)
    survey = replace(ready_survey, archive=tmp_path / "archive")
    expect(zsds("init", survey.archive, "--camera", camera_file(tmp_path / "tiny.yaml")))
    expect(ingest(survey, folder))
    first, second, *_ = sorted(folder.rglob("*_f.fits.fz"))
    shutil.copy(second, first)
    called = zsds("calibrate", "--archive", survey.archive, "--night", NIGHT, *SERIAL)
    assert called.status == 1
    assert f"{first}: holds other content than was registered" in called.out


def test_frames_that_were_moved_are_found_again_and_change_nothing(unseen, tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    for frame in unseen.frames:
        shutil.copy(frame, before)
    expect(ingest(unseen, before))
    expect(ingest(unseen, before, *unseen.frames))  # copies of files that are there
    assert {path.rpartition("/")[0] for path in paths(unseen)} == {str(before)}
    before.rename(after)
    assert expect(ingest(unseen, after)).out.startswith("0 new frames, 3 known")
    assert {path.rpartition("/")[0] for path in paths(unseen)} == {str(after)}


def test_a_bad_copy_that_was_removed_gives_way_to_the_good_one(unseen, tmp_path):
    bad = tmp_path / "bad.fits.fz"
    bad.write_bytes(unseen.frames[0].read_bytes() + 2880 * b"\0")
    expect(ingest(unseen, bad))
    assert ingest(unseen, unseen.frames[0]).status == 1
    bad.unlink()
    assert expect(ingest(unseen, unseen.frames[0])).out.startswith("1 new frames")
    assert paths(unseen) == [str(unseen.frames[0])]
