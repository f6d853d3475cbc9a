"""Raw frames with something wrong: refused or rejected in a line, and the rest of the night goes on."""

import shutil

import pytest
from bad_frames import PIXELS, altered, documented, refused_frames
from survey import NIGHT, SERIAL, expect, forget_frames, zsds

from zsds.db import ledger
from zsds.db.ledger import State

REFUSED = documented("refuses")
REJECTED = documented("rejected, with")
MENDED = documented("fail or wait")
LATER = "damaged later", "gone later", "replaced later"


@pytest.fixture(scope="module")
def bad_night(ready_survey, tmp_path_factory):
    """An archive with one good frame and many bad ones, after its night; what each call said."""
    folder = tmp_path_factory.mktemp("bad")
    archive = folder / "archive"
    ready_survey.copied(archive)
    good, spare, _ = ready_survey.frames
    frames = folder / "frames"
    frames.mkdir()
    forget_frames(archive)
    expect(zsds("ingest", "--archive", archive, good))
    refused = dict(refused_frames(good, frames))
    ingest = zsds("ingest", "--archive", archive, frames)
    shutil.rmtree(frames)
    frames.mkdir()
    times = {}
    for number, (what, pixels) in enumerate(PIXELS.items(), start=1):
        times[what] = altered(spare, frames / f"{number}.fits", pixels=pixels, shift_days=0.004 * number)
    for number, what in enumerate(LATER, start=6):
        times[what] = altered(spare, frames / f"{number}.fits", shift_days=0.004 * number)
    expect(zsds("ingest", "--archive", archive, frames))
    content = times["damaged later"].read_bytes()
    times["damaged later"].write_bytes(content[: len(content) // 2])
    times["gone later"].unlink()
    shutil.copy(good, times["replaced later"])
    night = zsds("night", "--archive", archive, NIGHT, *SERIAL)
    return archive, refused, ingest, times, night


def _units(archive, path, kind="science"):
    from zsds.runner.archive import open_archive

    with open_archive(archive).database.read() as connection:
        frames = {frame.path: frame for frame in ledger.frames_of(connection, NIGHT)}
        found = ledger.units_of(connection, NIGHT, kind)
    return [unit for unit in found if unit.key.split("_")[1] == frames[str(path)].time]


def test_the_refused_are_all_told(bad_night):
    _, refused, ingest, _, _ = bad_night
    assert set(refused) == set(REFUSED)
    assert ingest.status == 1
    assert ingest.out.strip() == f"0 new frames, 0 known already, {len(REFUSED)} refused"
    assert len(ingest.err.splitlines()) == len(REFUSED)


@pytest.mark.parametrize("what", list(REFUSED))
def test_a_refusal_names_file_and_remedy(bad_night, what):
    _, refused, ingest, _, _ = bad_night
    path = refused[what]
    (line,) = [line for line in ingest.err.splitlines() if str(path) in line]
    assert line.startswith(f"zsds: {path}")
    assert all(words in line for words in REFUSED[what])
    assert ";" in line  # what is wrong; what to do
    assert len(line) < 400


def test_the_good_frame_is_unharmed(bad_night, ready_survey):
    archive, *_ = bad_night
    good = ready_survey.frames[0]
    for kind in ("science", "difference", "packets"):
        assert [unit.state for unit in _units(archive, good, kind)] == [State.DONE] * 2
    assert len(list((archive / "alerts").rglob("*.avro"))) >= 3


@pytest.mark.parametrize("what", list(PIXELS))
def test_unusable_pixels_are_rejected_with_numbers(bad_night, what):
    archive, _, _, times, night = bad_night
    assert set(REJECTED) == set(PIXELS)
    for unit in _units(archive, times[what]):
        assert unit.state is State.REJECTED, unit.reason
        assert all(words in unit.reason for words in REJECTED[what])
        assert unit.reason.endswith(")")
        assert "\n" not in unit.reason
        assert unit.reason.partition(" (")[0] in night.out
    for unit in _units(archive, times[what], "difference"):
        assert unit.state is State.REJECTED
        assert unit.reason == "its science unit was rejected"


@pytest.mark.parametrize("what", LATER)
def test_files_harmed_after_ingest_fail_and_can_be_mended(bad_night, what):
    archive, _, _, times, night = bad_night
    for unit in _units(archive, times[what]):
        assert unit.state is State.FAILED
        assert str(times[what]) in unit.reason
        assert all(words in unit.reason for words in MENDED[f"frame {what}"])
        assert ";" in unit.reason
        assert unit.reason in night.out
    assert {unit.state for unit in _units(archive, times[what], "difference")} == {State.PENDING}


def test_the_night_says_so_with_its_status(bad_night):
    archive, *_, night = bad_night
    assert night.status == 1  # three files are broken
    assert "Traceback" not in night.out + night.err
    with_state = zsds("status", "--archive", archive, "--night", NIGHT)
    assert with_state.status == 0
    assert "rejected and failed, by reason" in with_state.out


def test_a_file_fetched_again_heals_and_the_rejected_stay(bad_night, ready_survey, tmp_path):
    from dataclasses import replace

    archive, _, _, times, _ = bad_night
    survey = replace(ready_survey, archive=archive).copied(tmp_path / "archive")
    spare = ready_survey.frames[1]
    for number, what in enumerate(LATER, start=6):
        times[what].unlink(missing_ok=True)
        altered(spare, times[what], shift_days=0.004 * number)
    expect(zsds("ingest", "--archive", survey.archive, *(times[what] for what in LATER)))
    before = {what: _units(survey.archive, times[what]) for what in PIXELS}
    expect(zsds("night", "--archive", survey.archive, NIGHT, *SERIAL))
    for what in LATER:
        assert {unit.state for unit in _units(survey.archive, times[what])} == {State.DONE}
    assert {what: _units(survey.archive, times[what]) for what in PIXELS} == before
