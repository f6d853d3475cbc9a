import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from zsds import alerts
from zsds.core.alert_schema import record_fields
from zsds.core.exposure import Exposure, Info, ZeroPoint
from zsds.core.ids import QuadrantId, candidate_id, processing_id
from zsds.core.packet import AlertPacket
from zsds.core.tables import new_table

MJD = 60001.25


def science_exposure():
    zeros = np.zeros((70, 80), dtype=np.float32)
    info = Info(
        QuadrantId("20230225250000", 505, "zg", 1, 2), MJD, 30.0, 1, 1, gain=6.0, program_pi="Kulkarni"
    )
    zero_point = ZeroPoint(26.3, 0.01, 0.02, 0.003, -1e-5, 0.03, 120, 0.6, 0.2, 26.31)
    return Exposure(zeros, zeros + 1, zeros.astype(np.uint32), info, zero_point=zero_point)


@pytest.fixture
def facts():
    return alerts.exposure_facts(
        science_exposure(), alerts.ReferenceFacts(505120101, 59000.0, 59100.0, 20), 20.5
    )


def candidates(n=2):
    table = new_table("candidates", n)
    for column in table.itercols():
        if column.dtype.kind == "f":
            column[:] = np.nan
    for row in range(n):
        table["candid"][row] = candidate_id(processing_id(MJD, 1), row, row == 0)
        table["is_positive"][row] = row == 0
        for name, value in (("x", 10.0), ("y", 20.5), ("ra", 150.0), ("dec", -12.0), ("magpsf", 19.0)):
            table[name][row] = value
        table["sigmapsf"][row] = 0.1
        table["objectidps1"][row] = 123 if row == 0 else -1
        table["objectidps2"][row] = -1
        table["ssnamenr"][row] = "" if row == 0 else "433"
    return table


def test_zero_point_is_of_dn(facts):
    assert facts["magzpsci"] == pytest.approx(26.3 - 2.5 * np.log10(6.0))
    assert facts["zpmed"] == pytest.approx(26.31 - 2.5 * np.log10(6.0))
    assert facts["jd"] == MJD + 2400000.5


def test_records_keep_nulls_and_count_pixels_from_one(facts):
    first, second = alerts.candidate_records(candidates(), facts)
    assert (first["xpos"], first["ypos"]) == (11.0, 21.5)
    assert (first["isdiffpos"], second["isdiffpos"]) == ("t", "f")
    assert first["objectidps1"] == 123
    assert second["objectidps1"] is None
    assert first["ssnamenr"] is None
    assert second["ssnamenr"] == "433"
    assert first["chipsf"] is None


def test_packet_has_every_field_and_only_allowed_stand_ins(facts):
    record = alerts.candidate_records(candidates(), facts)[0]
    packet = alerts.build_packet(record, "ZTF23aaaaaaa")
    candidate = packet.record["candidate"]
    assert list(candidate) == [field.name for field in record_fields("candidate")]
    nearby = ("ranr", "distnr", "sgmag1", "sgscore3", "objectidps2", "neargaiabright", "ssdistnr")
    assert [candidate[name] for name in nearby] == [-999] * len(nearby)
    assert candidate["ssnamenr"] == "null"
    assert (candidate["objectidps1"], candidate["magap"], candidate["tooflag"]) == (123, None, None)
    assert packet.value("objectidps2") is packet.value("ssnamenr") is packet.value("sgmag1") is None
    assert (candidate["rb"], candidate["rbversion"]) == (None, "none")
    assert packet.record["fp_hists"] is None
    assert packet.record["prv_candidates"] is None
    assert packet.value("ranr") is None


def test_missing_required_value_is_named(facts):
    record = alerts.candidate_records(candidates(), facts)[0]
    with pytest.raises(ValueError, match="magpsf"):
        alerts.build_packet({**record, "magpsf": None}, "ZTF23aaaaaaa")


def test_history_is_30_days_sorted_and_earlier(facts):
    record = alerts.candidate_records(candidates(), facts)[0]
    jd = facts["jd"]
    history = [{**facts, "jd": jd - age} for age in (3, 30, 30.001, 0, 1)]
    history.append({**record, "jd": jd - 2, "candid": 7})
    packet = alerts.build_packet(record, "ZTF23aaaaaaa", history)
    assert [jd - row["jd"] for row in packet.record["prv_candidates"]] == [30, 3, 2, 1]
    limits = [row for row in packet.record["prv_candidates"] if row["candid"] is None]
    assert all(row["magpsf"] is None and row["diffmaglim"] == 20.5 for row in limits)
    assert all(row["ssdistnr"] is row["ranr"] is row["distnr"] is None for row in packet.history)
    assert packet.record["candidate"]["ndethist"] == 2
    assert packet.record["candidate"]["ncovhist"] == 5
    assert packet.record["candidate"]["jdstarthist"] == jd - 2
    assert [point.mag for point in packet.light_curve()] == [None, None, 19.0, None, 19.0]


def test_history_of_the_database_is_taken_apart(facts):
    record = alerts.candidate_records(candidates(), facts)[0]
    earlier = {**facts, "jd": facts["jd"] - 1}
    seen = {**record, "jd": facts["jd"] - 2, "candid": 5}
    rows = [
        {"jd": earlier["jd"], "pid": 1, "channel": 3, "candid": None, "record": earlier},
        {"jd": seen["jd"], "pid": 2, "channel": 3, "candid": 5, "snr": 8.0, "record": seen},
        {"jd": facts["jd"] - 3, "candid": None, "record": {**earlier, "jd": facts["jd"] - 3}},
    ]
    found = alerts.build_packet(record, "ZTF23aaaaaaa", rows).record["prv_candidates"]
    assert [row["candid"] for row in found] == [None, 5, None]  # by time
    assert [row["magpsf"] for row in found] == [None, 19.0, None]
    assert all(row["diffmaglim"] == 20.5 for row in found)


def test_past_is_taken_as_given(facts):
    record = alerts.candidate_records(candidates(), facts)[0]
    packet = alerts.build_packet(record, "ZTF23aaaaaaa", past=alerts.Past(40, 900, 2458000.5, facts["jd"]))
    assert packet.record["candidate"]["ndethist"] == 40
    assert packet.record["candidate"]["jdstarthist"] == 2458000.5


@pytest.mark.parametrize("row", [0, 1])
def test_difference_stamp_is_positive_for_both_signs(facts, row):
    record = alerts.candidate_records(candidates(), facts)[row]
    positive = row == 0
    image = np.zeros((70, 80), dtype=np.float32)
    image[21, 10] = 60.0 if positive else -60.0
    image.flags.writeable = False
    stamps = alerts.cut_stamps((image, image, image), 10.0, 20.5, 6.0, positive)
    packet = alerts.build_packet(record, "ZTF23aaaaaaa", stamps=stamps)
    kind = "scimref" if positive else "refmsci"
    assert packet.record["cutoutDifference"]["fileName"] == (
        f"candid{record['candid']}_pid{record['pid']}_targ_{kind}.fits.gz"
    )
    stamp = alerts.open_stamp(packet.stamp("Difference"))
    assert stamp.shape == (63, 63)
    assert stamp[31, 31] == 10.0
    assert alerts.open_stamp(packet.stamp("Science"))[31, 31] == (10.0 if positive else -10.0)


def test_stamp_of_ramp_is_padded_with_nan_and_reads_without_warnings(tmp_path):
    image = (np.arange(40)[:, None] * 100 + np.arange(90)[None, :]).astype(np.float32)
    image.flags.writeable = False
    stamp = alerts.cut_stamp(image, 88.4, 2.6)
    assert stamp == alerts.cut_stamp(image, 88.4, 2.6)
    path = tmp_path / "stamp.fits.gz"
    path.write_bytes(stamp)
    with warnings.catch_warnings():
        warnings.simplefilter("error", AstropyWarning)
        with fits.open(path) as hdus:
            hdus.verify("exception")
            pixels = hdus[0].data
            assert hdus[0].header["BUNIT"] == "DN"
    assert pixels.shape == (63, 63)
    assert pixels.dtype.str == ">f4"
    assert pixels[31, 31] == image[3, 88]
    np.testing.assert_array_equal(pixels[28:, :33], image[:35, 57:])
    assert np.isnan(pixels[:28]).all()
    assert np.isnan(pixels[:, 33:]).all()


@pytest.mark.parametrize(("x", "y"), [(-500.0, 3.0), (3.0, 900.0), (-32.0, 0.0)])
def test_stamp_off_the_image_is_all_nan(x, y):
    assert np.isnan(alerts.open_stamp(alerts.cut_stamp(np.ones((20, 30), np.float32), x, y))).all()


def test_stamp_larger_than_the_image():
    pixels = alerts.open_stamp(alerts.cut_stamp(np.ones((5, 7), np.float32), 3, 2))
    assert np.nansum(pixels) == 35


def test_open_stamp_says_what_is_wrong():
    with pytest.raises(ValueError, match="not a gzip-compressed FITS"):
        alerts.open_stamp(b"nothing")


def test_values_missing_in_ztf_ways_are_none():
    packet = AlertPacket(
        {"candid": 1, "candidate": {"a": -999.0, "b": "null", "c": float("nan"), "d": 0.0}}, "3.3"
    )
    assert [packet.value(name) for name in "abcde"] == [None, None, None, 0.0, None]
    assert packet.object_id == ""
    assert packet.history == []
