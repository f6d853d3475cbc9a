"""Which bias frames a night of flats is calibrated with."""

import pytest
import sqlalchemy as sa
from survey import NIGHT
from zsds.workflows.calibrate import _newest_zero

from zsds.db import ledger
from zsds.db.database import create_database
from zsds.db.ledger import Frame
from zsds.db.schema import calibrations, frames


def frame(kind, night, ccd=1, fraction="100000"):
    path = f"{kind}_{night}_{ccd}_{fraction}.fits"
    return Frame(path, 1, path.ljust(64, "0"), kind, night + fraction, 60000.0, 1.0, 0, "", 1, ccd, night)


@pytest.fixture
def found(tmp_path):
    """Function that registers frames and tells which are taken for a night: kind, night, CCD."""
    database = create_database(f"sqlite:///{tmp_path}/db.sqlite")

    def newest(night, *frames):
        with database.write() as connection:
            ledger.register_frames(connection, frames)
            return [(f.frame_type, f.night, f.ccd) for f in _newest_zero(connection, night)]

    yield newest
    database.close()


def test_the_nights_own_come_first(found):
    frames = frame("bias", "20250101"), frame("bias", "20250102"), frame("bias", "20250103")
    assert found("20250102", *frames) == [("bias", "20250102", 1)]


def test_else_those_of_the_newest_night_before_by_ccd(found):
    frames = frame("bias", "20250101", 1), frame("bias", "20250103", 1), frame("bias", "20250102", 2)
    assert sorted(found("20250104", *frames)) == [("bias", "20250102", 2), ("bias", "20250103", 1)]


def test_darks_stand_in_and_later_nights_do_not(found):
    frames = frame("dark", "20250101"), frame("bias", "20250109")
    assert found("20250104", *frames) == [("dark", "20250101", 1)]
    assert found("20241231") == []


def test_what_a_calibration_was_made_from_is_kept(done_survey):
    made = sa.select(calibrations).where(calibrations.c.night == NIGHT)
    raw = sa.select(frames.c.frame_type, frames.c.path).where(frames.c.night == NIGHT)
    with done_survey.open().database.read() as connection:
        rows = connection.execute(made).mappings().all()
        known = {(frame.frame_type, frame.path) for frame in connection.execute(raw)}
    assert {row["kind"] for row in rows} == {"bias", "flat", "bad_pixels"}
    for row in rows:
        used = {(kind, path) for kind, paths in row["inputs"].items() for path in paths}
        assert used <= known
        assert set(row["inputs"]) == ({"bias", "dark"} if row["kind"] == "bias" else {"bias", "dark", "flat"})
        assert len(row["inputs"]["bias" if row["kind"] == "bias" else "flat"]) == row["n_frames"]
