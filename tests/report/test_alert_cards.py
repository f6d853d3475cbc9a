"""Which alerts are shown, their stamps and their light curves."""

import base64
import gzip
import io
import re
import zlib
from pathlib import Path

import fastavro
import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from report_nights import alert_of, ordinary_night, stamp

from zsds.core.errors import UnusableData
from zsds.report import DoubtLimits, ReportSettings, build_report
from zsds.report.alert_cards import choose_alerts, doubts
from zsds.report.stamps import light_curve, number, read_stamp, stamp_png

COARSE = ReportSettings(dots_per_inch=40)


def pixels_of(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_stamp_survives_the_round_trip():
    data = np.arange(63 * 63, dtype=np.float32).reshape(63, 63)
    buffer = io.BytesIO()
    fits.PrimaryHDU(data).writeto(buffer)
    assert np.array_equal(read_stamp(gzip.compress(buffer.getvalue())), data)
    assert np.array_equal(read_stamp(buffer.getvalue()), data)


def test_stamp_picture_is_upright_and_marks_unknown_pixels():
    data = np.random.default_rng(1).normal(0, 1, (31, 21))
    data[0, 0], data[30, 0], data[5, 5] = 100.0, -100.0, np.nan
    picture = pixels_of(stamp_png(data))
    assert picture.shape == (31, 21, 3)
    assert picture[-1, 0].tolist() == [255, 255, 255]  # first row at the bottom
    assert picture[0, 0].tolist() == [0, 0, 0]
    red, _, blue = picture[30 - 5, 5]
    assert blue > red


def test_difference_stamp_is_grey_about_its_median():
    data = np.random.default_rng(2).normal(7, 1, (63, 63))
    data[31, 31] += 50
    middle = np.median(pixels_of(stamp_png(data, symmetric=True)))
    assert 115 <= middle <= 140


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_bright_neighbour_does_not_dim_the_alert(symmetric):
    data = np.random.default_rng(3).normal(0, 1, (63, 63))
    data[30:33, 30:33] += 20
    data[:15, :15] += 1e5
    picture = pixels_of(stamp_png(data, symmetric))[::-1, :, 0]
    assert picture[31, 31] > 200
    assert picture[31, 31] > np.median(picture) + 50


@pytest.mark.parametrize("data", [np.full((5, 7), np.nan), np.zeros((5, 7)), np.full((1, 1), 1e30)])
def test_flat_stamps(data):
    assert pixels_of(stamp_png(data)).shape[:2] == data.shape


def bomb():
    squeezer = zlib.compressobj(9, wbits=31)
    return squeezer.compress(b"SIMPLE  = " + bytes(50_000_000)) + squeezer.flush()


@pytest.mark.parametrize(
    "packed", [b"", b"nonsense", b"\x1f\x8bbroken", gzip.compress(b"no FITS", mtime=0), bomb()]
)
def test_unreadable_stamps_say_so(packed):
    with pytest.raises(UnusableData):
        read_stamp(packed)


def test_large_stamps_show_their_middle():
    buffer = io.BytesIO()
    fits.PrimaryHDU(np.zeros((400, 300), np.float32)).writeto(buffer)
    assert read_stamp(buffer.getvalue()).shape == (127, 127)


def test_doubts_on_each_side_of_the_limits():
    limits = DoubtLimits()
    assert not doubts(alert_of(0)["candidate"], limits)
    edge = {"mindtoedge": 10.0}
    at = edge | {"chipsf": 5.0, "elong": 1.4, "nbad": 0, "sumrat": 0.7, "magdiff": -0.4, "drb": 0.5}
    assert not doubts(at, limits)
    beyond = {
        "chipsf": 5.1,
        "elong": 1.41,
        "nbad": 1,
        "sumrat": 0.69,
        "magdiff": -0.41,
        "drb": 0.49,
        "mindtoedge": 9.0,
    }
    assert len(doubts(beyond, limits)) == 7
    assert not doubts({"chipsf": None, "drb": float("nan"), "elong": "5"}, limits)
    (mild,) = doubts({"chipsf": 6.0}, limits)
    (strong,) = doubts({"chipsf": 60.0}, limits)
    assert 0 < mild.strength < strong.strength


def test_choice_of_alerts():
    alerts = [alert_of(i, scorr=s) for i, s in enumerate((9.0, -30.0, 12.0))]
    alerts += [alerts[1] | {"candid": 7}]  # the same object again
    alerts += [alert_of(5, scorr=99.0, nbad=2), alert_of(6, chipsf=80.0), {"objectId": "broken"}]
    chosen = choose_alerts(alerts, ReportSettings(n_best_alerts=2))
    assert [a["candidate"]["scorr"] for a in chosen.best] == [-30.0, 12.0]
    assert [a["candidate"]["chipsf"] for a in chosen.doubtful] == [80.0, 1.1]
    assert (chosen.n_doubtful, chosen.n_unusable) == (2, 1)


def test_light_curve_has_detections_and_limits():
    epochs = light_curve(alert_of(0))
    assert len(epochs) == 10
    assert sum(np.isfinite(epoch.mag) for epoch in epochs) == 5
    assert all(np.isfinite(epoch.limit) for epoch in epochs)
    assert [epoch.jd for epoch in epochs] == sorted(epoch.jd for epoch in epochs)
    assert light_curve({"candidate": {}, "prv_candidates": None}) == []


def test_numbers_of_packets():
    row = {"a": -999.0, "b": None, "c": "null", "d": np.float32(2), "e": True, "f": float("inf")}
    assert [number(row, name) for name in "d"] == [2.0]
    assert all(np.isnan(number(row, name)) for name in "abcefg")


def test_stamps_are_inside_the_page():
    alert = alert_of(0)
    alert["cutoutTemplate"] = None
    alert["cutoutDifference"] = {"fileName": "x", "stampData": b"broken"}
    alert["cutoutScience"] = stamp(np.random.default_rng(5), 500)
    text = build_report(ordinary_night(alerts=[alert, alert_of(1)]), COARSE)
    shown = re.findall(r'<img src="data:image/png;base64,([^"]*)" alt="(\w+) stamp of (\w+)"', text)
    assert [(kind, name) for _, kind, name in shown] == [
        *((kind, alert_of(1)["objectId"]) for kind in ("science", "reference", "difference")),
        ("science", alert["objectId"]),
    ]
    assert all(pixels_of(base64.b64decode(data)).shape == (63, 63, 3) for data, _, _ in shown)
    assert "no stamp" in text
    assert "stamp cannot be read" in text


def real_packets(folder: Path):
    for path in sorted(folder.glob("*.avro")):
        with path.open("rb") as file:
            yield from fastavro.reader(file)


def test_real_packets(shared_data):
    alerts = list(real_packets(shared_data / "ztf_alerts" / "v401_native_fp_hists"))
    assert len(alerts) == 6
    text = build_report(ordinary_night(alerts=alerts), COARSE)
    assert text.count('class="stamp"') == 18
    assert "stamp cannot be read" not in text
    assert "ZTF23abjjnqo" in text
