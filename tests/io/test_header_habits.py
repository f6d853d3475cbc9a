"""Cameras with other habits: split times, named detectors, other units, all detectors in one file."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from zsds.core.camera_file import load_camera
from zsds.core.errors import BadInput
from zsds.io.raw import check_raw, read_raw, write_raw
from zsds.runner.measure import run_measure

CAMERA = """\
name: odd
prefix: odd
object_prefix: ODD
pixel_scale_arcsec: 0.25
site: {longitude_deg: 10, latitude_deg: -20, height_m: 100}
bands:
  vr: {id: 1, name: "SDSS  r (2)", catalog_mag: r, catalog_colour: [g, r]}
header:
  keywords:
    start_time: DATE-OBS
    time_of_day: [UT, TIME-OBS]
    exposure_s: EXPMS
    band: FILTER
    frame_type: OBSTYPE
    ra: RA
    dec: DEC
    ccd: DETECTOR
  frame_types: {object: science}
  defaults: {field: 5}
  exposure_unit_s: 0.001
file_pattern: "{prefix}_{time}_{ccd}_{type}.fits"
amplifier_defaults: {size: [40, 30], data: "[1:32,1:30]", overscan: "[33:40,1:30]", gain: 2, read_noise: 5,
  saturation_dn: 60000}
amplifiers:
  1: {extension: 1}
detectors:
  1: {name: N12}
  2: {name: S3, amplifiers: {1: {extension: 2, gain: 3}}}
"""
ONE_FILE = CAMERA.replace("    ccd: DETECTOR\n", "")


@pytest.fixture
def frame(tmp_path):
    """Function that writes a frame of two images with these cards over the usual ones."""

    def write(name="frame.fits", levels=(1000, 2000), **cards):
        usual = {"DATE-OBS": "2025-02-03", "UT": "04:05:06.7", "EXPMS": 1500, "FILTER": "sdss r (2)",
                 "OBSTYPE": "OBJECT", "RA": "12:30:00.0", "DEC": "-05 30 00", "DETECTOR": "S3"}  # fmt: skip
        usual |= {key.replace("_", "-"): value for key, value in cards.items()}
        header = fits.Header([(key, value) for key, value in usual.items() if value is not None])
        images = [np.full((30, 40), level, np.uint16) for level in levels]
        path = tmp_path / name
        fits.HDUList([fits.PrimaryHDU(header=header), *map(fits.ImageHDU, images)]).writeto(path)
        return path

    return write


@pytest.fixture
def camera(tmp_path):
    (tmp_path / "odd.yaml").write_text(CAMERA)
    return load_camera(tmp_path / "odd.yaml")


@pytest.fixture
def one_file(tmp_path):
    (tmp_path / "all.yaml").write_text(ONE_FILE)
    return load_camera(tmp_path / "all.yaml")


def test_split_time_named_detector_and_milliseconds(camera, frame):
    (header,) = check_raw(frame(), camera)
    assert header.start_mjd == pytest.approx(60709 + (4 + (5 + 6.7 / 60) / 60) / 24, abs=1e-9)
    assert (header.ccd, header.exposure_s, header.field) == (2, 1.5, 5)
    assert (header.ra, header.dec) == (187.5, -5.5)
    assert header.band is camera.bands["vr"]


def test_whole_time_needs_no_time_of_day(camera, frame):
    (header,) = check_raw(frame(DATE_OBS="2025-02-03T12:00:00", UT=None), camera)
    assert header.start_mjd == 60709.5


def test_a_date_alone_is_no_time(camera, frame):
    with pytest.raises(BadInput, match=r"DATE-OBS \(start_time\) '2025-02-03' is a date alone"):
        check_raw(frame(UT=None), camera)


def test_unknown_detector_is_named(camera, frame):
    with pytest.raises(BadInput, match="is 'N1', no detector of the camera odd; it has N12, S3"):
        check_raw(frame(DETECTOR="N1"), camera)


def test_frames_are_written_as_they_are_read(camera, frame, tmp_path):
    raw = read_raw(frame(), camera)
    write_raw(tmp_path / "again.fits", raw, camera)
    assert fits.getheader(tmp_path / "again.fits")["DETECTOR"] == "S3"
    again, before = (ccd.quadrants[1].info for ccd in (read_raw(tmp_path / "again.fits", camera), raw))
    assert again == replace(before, start_mjd=again.start_mjd)
    assert abs(again.start_mjd - before.start_mjd) < 1e-10


def test_all_detectors_in_one_file(one_file, frame):
    path = frame(DETECTOR=None)
    assert [header.ccd for header in check_raw(path, one_file)] == [1, 2]
    for ccd, level in ((1, 1000), (2, 2000)):
        raw = read_raw(path, one_file, ccd=ccd)
        assert np.all(raw.quadrants[1].data == level)
        assert raw.quadrants[1].info.id.ccd == ccd
    with pytest.raises(BadInput, match="has no extension 2"):
        check_raw(frame("short.fits", levels=(1000,)), one_file)


def test_measured_detectors_keep_their_names_apart(frame, one_file, tmp_path):
    """And one that cannot be reduced does not keep the others from being measured."""
    rows = run_measure(frame(), tmp_path / "out", str(tmp_path / "all.yaml"))
    assert [row["name"] for row in rows] == ["frame_c01_q1", "frame_c02_q1"]
    assert all("all pixels are the same" in row["positions"] for row in rows)


def test_missing_overscan_is_seen_before_pixels_are_read(tmp_path, frame):
    text = CAMERA.replace('overscan: "[33:40,1:30]"', 'overscan: "[1:8,1:30]", overscan_extension: 7')
    (tmp_path / "apart.yaml").write_text(text)
    with pytest.raises(BadInput, match="has no extension 7; its overscan is there"):
        check_raw(frame(), load_camera(tmp_path / "apart.yaml"))
