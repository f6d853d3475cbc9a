"""Frames and units: registered once, worked on by one, finished by the one who holds them."""

import threading
from dataclasses import replace

import pytest

from zsds.db import Database, ledger
from zsds.db.ledger import Frame, LeaseLostError, Outcome, State

FRAME = Frame(
    "raw/a.fits", 100, "d" * 64, "science", "20250120147292", 60695.147, 30.0, 249, "zg", 1, 9, "20250120"
)


def test_frames_below_a_folder_are_those_of_no_other(database):
    paths = ("/raw_1/a.fits", "/raw_1/deep/b.fits", "/raw_10/c.fits", "/rawx1/d.fits")
    frames = [replace(FRAME, ccd=n, path=path) for n, path in enumerate(paths, 1)]
    with database.write() as connection:
        ledger.register_frames(connection, frames)
        assert ledger.frames_of(connection, below="/raw_1") == frames[:2]


def test_frames_are_registered_once(database):
    other = replace(FRAME, ccd=10, path="raw/b.fits")
    with database.write() as connection:
        first = ledger.register_frames(connection, [FRAME, other])
        again = ledger.register_frames(connection, [replace(FRAME, path="moved/a.fits"), other])
    assert first.new == [FRAME, other]
    assert again.new == []
    assert len(again.known) == 2
    with database.read() as connection:
        assert ledger.frames_of(connection, night="20250120") == [FRAME, other]
        assert ledger.frames_of(connection, frame_type="bias") == []
        assert ledger.nights(connection) == ["20250120"]


def test_another_file_of_the_same_exposure_is_a_conflict(database):
    changed = replace(FRAME, path="raw/c.fits", digest="e" * 64)
    with database.write() as connection:
        result = ledger.register_frames(connection, [FRAME, changed])
    assert result.new == [FRAME]
    assert "raw/c.fits" in str(result.conflicts[0])
    assert "raw/a.fits" in str(result.conflicts[0])


@pytest.mark.parametrize("digest", [FRAME.digest, "e" * 64])
def test_a_frame_whose_file_is_lost_gives_way(database, digest):
    there = replace(FRAME, path="raw/c.fits", digest=digest, size=99)
    with database.write() as connection:
        ledger.register_frames(connection, [FRAME])
        assert ledger.rivals(connection, there) == [FRAME]
        assert ledger.rivals(connection, FRAME) == []
        result = ledger.register_frames(connection, [there], {FRAME})
        assert ledger.frames_of(connection) == [there]
    assert (result.known if digest == FRAME.digest else result.new) == [there]
    assert result.conflicts == []


def test_two_exposures_of_a_ccd_cannot_start_at_the_same_moment(database):
    later = replace(FRAME, path="raw/c.fits", digest="e" * 64, time="20250120147299", field=250)
    apart = replace(later, path="raw/d.fits", time="20250120147300")
    elsewhere = replace(later, path="raw/e.fits", ccd=10)
    flat = replace(later, path="raw/f.fits", frame_type="flat")
    with database.write() as connection:
        result = ledger.register_frames(connection, [FRAME, later, apart, elsewhere, flat])
    assert result.new == [FRAME, apart, elsewhere, flat]
    assert "raw/c.fits: starts at the same moment as raw/a.fits" in str(result.conflicts[0])


@pytest.mark.parametrize("state", [State.FAILED, State.DONE])
def test_a_lost_frame_gives_way_to_another_of_its_moment_unless_it_is_done(database, state):
    there = replace(FRAME, path="raw/c.fits", digest="e" * 64, field=250)
    key = "ztf_20250120147292_000249_zg_c09_o_q1"
    with database.write() as connection:
        ledger.register_frames(connection, [replace(FRAME, ccd=10), FRAME])
        ledger.add_units(connection, "science", FRAME.night, [key, key.replace("c09", "c10")])
        ledger.finish(connection, ledger.claim(connection, "science", key, "me"), Outcome(state))
        assert ledger.rivals(connection, there) == [FRAME]
        result = ledger.register_frames(connection, [there], {FRAME})
        frames = [frame for frame in ledger.frames_of(connection) if frame.ccd == 9]
        units = ledger.units_of(connection)
    if state is State.DONE:
        assert "raw/a.fits" in str(*result.conflicts)
        assert (frames, len(units)) == ([FRAME], 2)
    else:
        assert result.new == [there]
        assert (frames, len(units)) == ([there], 1)


@pytest.fixture
def units(database):
    with database.write() as connection:
        ledger.add_units(connection, "science", "20250120", ["a", "b"])
    return database


def claim(database, key="a", owner="me", **options):
    with database.write() as connection:
        return ledger.claim(connection, "science", key, owner, **options)


def finish(database, unit, *outcome):
    with database.write() as connection:
        ledger.finish(connection, unit, Outcome(*outcome))


def test_a_unit_from_pending_to_done(units):
    unit = claim(units, settings_hash="s1", software="0.1", inputs={"raw": "a.fits"})
    assert (unit.state, unit.attempt, unit.owner) == (State.RUNNING, 1, "me")
    assert claim(units, owner="you") is None
    finish(units, unit, State.DONE, None, {"seeing": 2.5, "bad": float("nan")}, 3.2, 900.0)
    with units.read() as connection:
        done = ledger.unit_of(connection, "science", "a")
        assert done.state == State.DONE
        assert done.metrics == {"seeing": 2.5, "bad": None}
        assert (done.seconds, done.peak_memory_mb, done.owner) == (3.2, 900.0, None)
        assert ledger.units_of(connection, kind="science", state=State.DONE) == [done]


@pytest.mark.parametrize("state", [State.DONE, State.REJECTED])
def test_finished_units_are_done_again_only_when_something_changed(units, state):
    made_with = {"settings_hash": "s1", "inputs": ["v1"]}
    finish(units, claim(units, **made_with), state)
    assert claim(units, **made_with) is None
    for change in ({"settings_hash": "s2"}, {"inputs": ["v2"]}, {"again": True}):
        unit = claim(units, **{**made_with, **change})
        assert unit is not None
        finish(units, unit, State.DONE)
        finish(units, claim(units, **made_with, again=True), state)


def test_the_place_of_a_file_is_no_change_and_its_content_is(units):
    finish(units, claim(units, inputs={"raw": "a.fits", "digest": "1"}), State.DONE)
    assert claim(units, inputs={"raw": "moved/a.fits", "digest": "1"}) is None
    assert claim(units, inputs={"raw": "a.fits", "digest": "2"}) is not None


def test_a_unit_that_is_done_again_gets_a_version_and_keeps_what_was_known(units):
    finish(units, claim(units, inputs=["v1"]), State.DONE, None, {"seeing": 2.5})
    with units.read() as connection:
        first = ledger.unit_of(connection, "science", "a")
    second = claim(units, inputs=["v2"])
    assert (second.version, second.attempt) == (2, 2)
    finish(units, second, State.FAILED, "why")
    third = claim(units, inputs=["v2"])
    assert (third.version, third.attempt) == (2, 3)  # the second version was never done
    finish(units, third, State.DONE)
    with units.read() as connection:
        (kept,) = ledger.units_of(connection, state=State.SUPERSEDED)
        newest = ledger.units_of(connection, kind="science")
    assert kept == replace(first, state=State.SUPERSEDED, superseded=kept.superseded)
    assert kept.superseded == pytest.approx(second.started)
    assert [(unit.key, unit.version) for unit in newest] == [("a", 2), ("b", 1)]


def test_differences_without_packets_of_their_own_attempt_and_settings(units):
    def done(kind, key, state=State.DONE, **options):
        with units.write() as connection:
            ledger.add_units(connection, kind, "20250120", [key])
            unit = ledger.claim(connection, kind, key, "me", **options)
            ledger.finish(connection, unit, Outcome(state))

    for key in "abcde":
        done("difference", key, settings_hash="s")
    done("packets", "b", settings_hash="s", inputs={"difference_attempt": 1})
    done("packets", "c", settings_hash="s", inputs={"difference_attempt": 2})
    done("packets", "d", settings_hash="t", inputs={"difference_attempt": 1})
    done("packets", "e", State.FAILED, settings_hash="s", inputs={"difference_attempt": 1})
    with units.read() as connection:
        assert ledger.unpacked(connection, "20250120") == set("acde")
        assert ledger.unpacked(connection, "20250121") == set()


@pytest.mark.parametrize("state", [State.FAILED, State.NO_REFERENCE, State.NO_CALIBRATION])
def test_failed_and_waiting_units_can_be_claimed_again(units, state):
    finish(units, claim(units), state, "why")
    assert claim(units).attempt == 2


def test_a_dead_holder_loses_its_unit(units):
    dead = claim(units, lease_s=-1)
    heir = claim(units, owner="you")
    assert heir.attempt == 2
    with pytest.raises(LeaseLostError), units.write() as connection:
        ledger.finish(connection, dead, Outcome(State.DONE))
    finish(units, heir, State.DONE)


def test_release(units):
    claim(units)
    with units.write() as connection:
        assert ledger.release(connection, "me") == 1
    with units.read() as connection:
        states = [unit.state for unit in ledger.units_of(connection)]
    assert states == [State.PENDING, State.PENDING]


def test_unknown_unit(units):
    with pytest.raises(KeyError), units.read() as connection:
        ledger.unit_of(connection, "science", "nothing")


def test_adding_units_again_keeps_their_state(units):
    finish(units, claim(units), State.DONE)
    with units.write() as connection:
        ledger.add_units(connection, "science", "20250120", ["a", "b", "c"])
    with units.read() as connection:
        assert [unit.state for unit in ledger.units_of(connection)] == [
            State.DONE,
            State.PENDING,
            State.PENDING,
        ]


def test_one_of_many_gets_the_unit(units):
    got = []

    def work(owner):
        mine = Database(units.url)
        got.append(claim(mine, owner=owner))
        mine.close()

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([unit for unit in got if unit]) == 1
