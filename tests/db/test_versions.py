"""Which calibration and which reference is used, and which number comes next."""

from zsds.db import versions
from zsds.db.versions import ReferenceRow
from zsds.products import CalibrationId, ReferenceId


def test_calibration_of_the_night_or_the_last_before(database):
    with database.write() as connection:
        for night, version in (("20250118", 1), ("20250120", 1), ("20250120", 2), ("20250122", 1)):
            key = CalibrationId(night, "zg", 9, 1, version)
            versions.add_calibration(connection, "flat", key, 7, ["a.fits"])
        where = ("zg", 9, 1)
        assert versions.latest_calibration(connection, "flat", "20250120", *where).version == 2
        assert versions.latest_calibration(connection, "flat", "20250119", *where).night == "20250118"
        assert versions.latest_calibration(connection, "flat", "20250117", *where) is None
        assert versions.latest_calibration(connection, "flat", "20250120", "zr", 9, 1) is None
        assert versions.latest_calibration(connection, "bias", "20250120", *where) is None
        assert versions.next_calibration(connection, "flat", "20250120", *where).version == 3
        assert versions.next_calibration(connection, "flat", "20250121", *where).version == 1


def test_newest_reference(database):
    with database.write() as connection:
        assert versions.next_reference(connection, 249, "zg", 9, 1).version == 1
        rows = [
            ReferenceRow(ReferenceId(249, "zg", 9, 1, v), 249120132, 15 + v, 60000.0, 60100.5, ["x"])
            for v in (1, 2)
        ]
        for row in rows:
            versions.add_reference(connection, row)
            versions.add_reference(connection, row)
        assert versions.latest_reference(connection, 249, "zg", 9, 1) == rows[1]
        assert versions.latest_reference(connection, 250, "zg", 9, 1) is None
        assert versions.next_reference(connection, 249, "zg", 9, 1).version == 3
