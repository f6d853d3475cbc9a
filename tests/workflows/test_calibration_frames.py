"""Which bias frames a night of flats is calibrated with."""

import pytest
from zsds.workflows.calibrate import _newest_zero

from zsds.db import ledger
from zsds.db.database import create_database
from zsds.db.ledger import Frame


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
