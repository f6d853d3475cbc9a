"""Cameras read from YAML, and every mistake named by key and line."""

import numpy as np
import pytest

from zsds.core.camera_file import load_camera, shipped_cameras
from zsds.core.errors import BadInput

CAMERA = """\
name: tiny
prefix: tiny
object_prefix: TIN
pixel_scale_arcsec: 1.5
site: {longitude_deg: 10, latitude_deg: -20, height_m: 100}
bands:
  tg: {id: 1, name: green, catalog_mag: g, catalog_colour: [g, r]}
header:
  keywords: {start_time: MJD, exposure_s: EXPTIME, band: FILTER, frame_type: KIND, ra: RA, dec: DEC, ccd: CCD}
  frame_types: {light: science, bias: bias}
  defaults: {field: 7}
file_pattern: "{prefix}_{time}_{ccd}_{type}.fits"
amplifier_defaults: &all
  size: [40, 30]
  gain: 2
  read_noise: 5
  saturation_dn: 60000
amplifiers:
  1: {extension: 1, data: "[1:32,1:30]", overscan: "[33:40,1:30]", linearity: [-1e-11, 1e-7]}
  2: {extension: 2, data: "[9:40,1:30]", overscan: "[1:8,1:30]", overscan_used: [2, 7]}
detectors:
  1: {x_arcsec: 100}
  2:
    amplifiers:
      1:
        gain: 3.5
        crosstalk: {2: 1e-4}
"""


@pytest.fixture
def write(tmp_path):
    def _write(text):
        path = tmp_path / "tiny.yaml"
        path.write_text(text)
        return path

    return _write


@pytest.mark.parametrize("name", ["demo", "ztf", "sinistro", "huntsman"])
def test_shipped_cameras_load(name):
    camera = load_camera(name)
    assert camera.name == name
    assert name in shipped_cameras()
    channels = [camera.channel(ccd, q) for ccd, d in camera.detectors.items() for q in d.amplifiers]
    assert len(set(channels)) == len(channels)


def test_layers_of_amplifier_keys(write):
    camera = load_camera(write(CAMERA))
    first, second = camera.amplifier(1, 1), camera.amplifier(2, 1)
    assert first.gain == 2.0
    assert second.gain == 3.5
    assert second.crosstalk == {2: 1e-4}
    assert first.linearity == (-1e-11, 1e-7)
    assert (first.x_arcsec, second.x_arcsec) == (100.0, 0.0)
    assert first.shape == (30, 32)
    assert camera.amplifier(1, 2).overscan_used == (1, 7)
    assert camera.defaults == {"field": 7}


def test_ztf_layout():
    camera = load_camera("ztf")
    assert len(camera.detectors) == 16
    amplifier = camera.amplifier(16, 4)
    assert (amplifier.extension, amplifier.overscan_extension, amplifier.shape) == (4, 8, (3080, 3072))
    assert camera.channel(16, 4) == 63
    assert camera.bands["zr"].name == "ZTF_r"


def test_demo_quadrants_touch_without_gap():
    camera = load_camera("demo")
    left, right = camera.nominal_wcs(1, 1, 150, 20), camera.nominal_wcs(1, 2, 150, 20)
    sky = left.pixel_to_world(999.5, 300).separation(right.pixel_to_world(-0.5, 300))
    assert sky.arcsec < 1e-3


def test_ztf_geometry_is_near_real_headers():
    """Offsets of quadrant centres from the boresight, east and north, of five archived science images."""
    camera = load_camera("ztf")
    measured = {(9, 1): (11620, 5095), (12, 2): (-11546, 5060), (7, 1): (-1693, -1822), (6, 4): (4956, -4986)}
    for (ccd, quadrant), (east, north) in measured.items():
        amplifier = camera.amplifier(ccd, quadrant)
        assert np.hypot(amplifier.x_arcsec - east, amplifier.y_arcsec - north) < 120


def test_read_order_is_its_own_inverse():
    amplifier = load_camera("ztf").amplifier(1, 3)
    image = np.arange(12).reshape(3, 4)
    turned = amplifier.read_order(image)
    assert turned[0, 0] == image[-1, -1]
    assert np.array_equal(amplifier.read_order(turned), image)


MISTAKES = [
    ("  gain: 2\n", "  gain: two\n", "line 15", "detectors[1].amplifiers[1].gain must be a number"),
    ("  gain: 2\n", "  gain: -1\n", "line 15", "gain is -1, outside"),
    ("  gain: 2\n", "  gian: 2\n", "line 15", "gian is not a known key and gain is missing"),
    ("gain: 3.5", "gain: true", "line 26", "detectors[2].amplifiers[1].gain must be a number"),
    ("name: tiny\n", "", "line 1", "name is missing"),
    ("name: tiny\n", "name: tiny\nnane: x\n", "line 2", "nane is not a known key"),
    ("name: tiny\n", "name: tiny\nname: x\n", "line 1", "name is given twice"),
    ("  2: {extension: 2,", "  1: {extension: 2,", "line 19", "amplifiers[1] is given twice"),
    ("[1:32,1:30]", "[1:33,1:30]", "line 19", "overscan overlaps"),
    ("[1:32,1:30]", "[1:32,1:31]", "line 19", "reaches beyond the image of 40 x 30 pixels"),
    ("[1:32,1:30]", "[32:1,1:30]", "line 19", "is empty"),
    ("[1:32,1:30]", "1:32", "line 19", "is not a FITS section"),
    ("[33:40,1:30]", "[33:40,1:29]", "line 19", "has other rows than data"),
    ("[2, 7]", "[2, 9]", "line 20", "is not within 1 to 8"),
    ("extension: 2,", "extension: 1,", "line 20", "overlaps"),
    ("{2: 1e-4}", "{3: 1e-4}", "line 27", "which this detector lacks"),
    ("{2: 1e-4}", "{2: 0.5}", "line 27", "crosstalk[2] is 0.5, outside"),
    ("[-1e-11, 1e-7]", "[-1e-11]", "line 19", "list of 2 numbers"),
    ("[-1e-11, 1e-7]", "[-1e-8, 1e-7]", "line 19", "absurd"),
    ("  tg:", "  green:", "line 7", "is not a band code"),
    ("catalog_mag: g", "catalog_mag: V", "line 7", "must be one of g, r, i, z"),
    ("light: science", "light: sciense", "line 10", "must be one of science"),
    ("start_time: MJD", "starttime: MJD", "line 9", "is not a header value we use"),
    ("{ccd}_{type}", "{ccd}_{kind}", "line 12", "file_pattern"),
    ("_{ccd}", "", "line 12", "must use {ccd}; each detector has a file of its own"),
    ("{type}.fits", "{type}.dat", "line 12", "must be a file name ending in .fits"),
    (", ccd: CCD", "", "line 21", "detectors 1 and 2 use the same pixels of extension 1"),
    ("start_time: MJD, ", "", "line 9", "header.keywords lacks start_time"),
    ("{light: science", "{0: science", "line 10", "put the header's value in quotes"),
    ("field: 7", "field: seven", "line 11", "header.defaults.field must be a whole number"),
    ("field: 7", "band: red", "line 11", "header.defaults.band must be one of green, tg"),
    ("field: 7", "ccd: 3", "line 11", "header.defaults.ccd must be one of 1, 2"),
    ("  tg:", "  bi:", "line 7", "is the band code of bias or dark frames"),
    ("[g, r]", "[g, g]", "line 7", "must be two of"),
    (
        "header:",
        "  tr: {id: 2, name: Green, catalog_mag: r, catalog_colour: [g, r]}\nheader:",
        "line 8",
        "'green' is already the name of tg",
    ),
    ("latitude_deg: -20", "latitude_deg: 1:30", "line 5", "must be a number, not '1:30'"),
    (
        '"[9:40,1:30]", overscan: "[1:8,1:30]"',
        '"[10:40,1:30]", overscan: "[1:8,1:30]"',
        "line 27",
        "names quadrant 2, whose data section has another size",
    ),
    ("2: {extension: 2,", "2: {extension: 1, size: [80, 30],", "line 14", "is not the 80 x 30 of quadrant 2"),
    ("  1: {x_arcsec: 100}", "  1: {name: '2'}", "line 23", "'2' is already the name of detector 1"),
    ("  2:\n    amplifiers:", "  99:\n    amplifiers:", "line 21", "have 198 readout channels; ids hold 100"),
    ("latitude_deg: -20", "latitude_deg: -120", "line 5", "site.latitude_deg is -120, outside"),
    ("  1: {x_arcsec: 100}", "  0: {x_arcsec: 100}", "line 22", "is not a number from 1 to 99"),
    ("        crosstalk:", "      7: {gain: 2}\n      3:\n        crosstalk:", "line 2", "is not among"),
    ("prefix: tiny", "prefix: [tiny", "line", "is not YAML"),
]


@pytest.mark.parametrize(("old", "new", "line", "text"), MISTAKES)
def test_mistakes_are_named_by_key_and_line(write, old, new, line, text):
    assert old in CAMERA
    with pytest.raises(BadInput) as caught:
        load_camera(write(CAMERA.replace(old, new, 1)))
    message = str(caught.value)
    assert "tiny.yaml" in message
    assert "\n" not in message
    assert (line or "") in message
    assert (text or "") in message


def test_words_that_older_yaml_takes_for_numbers_or_truths(write):
    text = CAMERA.replace("  tg:", "  on:").replace("{light:", "{no:").replace("id: 1", "id: 010")
    camera = load_camera(write(text))
    assert camera.bands["on"].id == 10
    assert camera.frame_types["no"] == "science"


def test_channels_differ_where_numbers_have_gaps(write):
    camera = load_camera(
        write(CAMERA.replace("  2: {extension: 2,", "  3: {extension: 2,").replace("{2: 1e-4}", "{3: 1e-4}"))
    )
    assert len({camera.channel(ccd, q) for ccd in (1, 2) for q in (1, 3)}) == 4


def test_unknown_camera_lists_those_that_exist():
    with pytest.raises(BadInput, match="demo, huntsman, sinistro, ztf"):
        load_camera("nosuch")


@pytest.mark.parametrize("content", ["", "just text", "- a\n- b\n", "\x00", "name: &a [*a]\n"])
def test_files_that_are_no_cameras(write, content):
    with pytest.raises(BadInput):
        load_camera(write(content))
