"""Raw frames: the reader is the inverse of the writer, and refuses what cannot be trusted."""

import gzip
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from zsds.core.camera import Section
from zsds.core.camera_file import load_camera
from zsds.core.errors import BadInput
from zsds.core.exposure import Info
from zsds.core.ids import QuadrantId, file_time
from zsds.core.raw import RawCcd, RawQuadrant
from zsds.io.raw import raw_file_name, read_raw, read_raw_headers, write_raw

START = 60700.123456789


def small_camera(name="demo", ny=24, nx=32, columns=6):
    """A shipped camera with its quadrants shrunk."""
    camera = deepcopy(load_camera(name))
    for detector in camera.detectors.values():
        for q, amplifier in detector.amplifiers.items():
            own = amplifier.overscan is not None and amplifier.overscan_extension == amplifier.extension
            first = nx if own else 0
            overscan = None if amplifier.overscan is None else Section(first, first + columns, 0, ny)
            detector.amplifiers[q] = replace(
                amplifier,
                data=Section(0, nx, 0, ny),
                overscan=overscan,
                overscan_used=None,
                stored_shape=(ny, nx + columns if own else nx),
            )
    return camera


def random_ccd(camera, ccd=1, frame_type="science", seed=1):
    rng = np.random.default_rng(seed)
    code = next(iter(camera.bands))
    quadrants = {}
    for q, amplifier in camera.detectors[ccd].amplifiers.items():
        ny, nx = amplifier.shape
        columns = 0 if amplifier.overscan is None else amplifier.overscan.x1 - amplifier.overscan.x0
        info = Info(
            id=QuadrantId(file_time(START), 593, code, ccd, q, camera.prefix),
            start_mjd=START,
            exposure_s=30.0,
            band_id=camera.bands[code].id,
            channel=camera.channel(ccd, q),
            gain=amplifier.gain,
            read_noise=amplifier.read_noise,
            saturation=amplifier.saturation_dn * amplifier.gain,
            ra=150.25,
            dec=-20.5,
            program_id=camera.defaults["program_id"],
            program_pi="me" if "program_pi" in camera.keywords else camera.defaults["program_pi"],
            airmass=1.25,
        )
        data = rng.integers(0, 65536, (ny, nx)).astype(np.float32)
        overscan = rng.integers(900, 1100, (ny, columns)).astype(np.float32)
        data.flags.writeable = overscan.flags.writeable = False
        quadrants[q] = RawQuadrant(data, overscan, info)
    return RawCcd(quadrants, frame_type)


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".fits.fz"])
@pytest.mark.parametrize("name", ["demo", "ztf", "sinistro", "huntsman"])
def test_read_is_the_inverse_of_write(tmp_path, name, suffix):
    camera = small_camera(name)
    if "field" not in camera.keywords:
        camera.defaults["field"] = 593
    ccd = random_ccd(camera)
    path = tmp_path / f"frame{suffix}"
    write_raw(path, ccd, camera)
    again = read_raw(path, camera)
    assert again.frame_type == "science"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    for q, raw in ccd.quadrants.items():
        found = again.quadrants[q]
        assert np.array_equal(found.data, raw.data)
        assert np.array_equal(found.overscan, raw.overscan)
        assert found.data.dtype == np.float32
        assert found.data.dtype.isnative
        assert found.data.flags.c_contiguous
        assert abs(found.info.start_mjd - START) * 86400 < 2e-6
        assert replace(found.info, start_mjd=START) == raw.info


def test_stored_orientation_follows_the_flips(tmp_path):
    camera = small_camera()
    ccd = random_ccd(camera)
    path = tmp_path / "frame.fits"
    write_raw(path, ccd, camera)
    stored = fits.getdata(path, 3)
    assert np.array_equal(stored[:, :32], ccd.quadrants[3].data[::-1, ::-1])
    assert np.array_equal(stored[:, 32:], ccd.quadrants[3].overscan[::-1, ::-1])


def test_some_quadrants_only(tmp_path):
    camera = small_camera()
    path = tmp_path / "frame.fits.fz"
    write_raw(path, random_ccd(camera, ccd=2), camera)
    assert list(read_raw(path, camera, [2, 4]).quadrants) == [2, 4]


def test_bias_needs_no_band_and_no_pointing(tmp_path):
    camera = small_camera()
    path = tmp_path / "bias.fits"
    write_raw(path, random_ccd(camera, frame_type="bias"), camera)
    with fits.open(path, mode="update") as hdus:
        for word in ("FILTER", "TELRAD", "TELDECD", "EXPOSURE", "FIELDID"):
            del hdus[0].header[word]
    ccd = read_raw(path, camera)
    assert ccd.frame_type == "bias"
    assert ccd.quadrants[1].info.id.band == "bi"
    assert np.isnan(ccd.quadrants[1].info.ra)


def test_rounding_and_range(tmp_path):
    camera = small_camera("huntsman")
    ccd = random_ccd(camera)
    data = np.zeros_like(ccd.quadrants[1].data)
    data[0, :5] = [-3, 12.4, 12.6, 65535, 70000]
    write_raw(tmp_path / "a.fits", RawCcd({1: replace(ccd.quadrants[1], data=data)}, "science"), camera)
    assert list(read_raw(tmp_path / "a.fits", camera).quadrants[1].data[0, :5]) == [0, 12, 13, 65535, 65535]


def test_file_name():
    camera = load_camera("ztf")
    info = random_ccd(small_camera("ztf"), ccd=9).quadrants[1].info
    assert raw_file_name(info, "science", camera) == "ztf_20250125123456_000593_zg_c09_o.fits.fz"


@pytest.mark.parametrize(
    ("word", "value", "name", "expected"),
    [
        ("OBSMJD", "2025-01-25T02:57:46.667", "start_mjd", START),
        ("OBSMJD", 2400000.5 + START, "start_mjd", START),
        ("OBSMJD", str(START), "start_mjd", START),
        ("TELRAD", "+10:01:00.00", "ra", 150.25),
        ("TELRAD", "10h01m00.00s", "ra", 150.25),
        ("TELRAD", "10 01 00", "ra", 150.25),
        ("TELRAD", 360.0, "ra", 0.0),
        ("TELDECD", "-20:30:00", "dec", -20.5),
        ("TELDECD", "-00d30m00.0s", "dec", -0.5),
        ("AIRMASS", -9999.0, "airmass", float("nan")),
        ("PROGRMID", 3, "program_id", 3),
    ],
)
def test_header_habits(tmp_path, word, value, name, expected):
    camera = small_camera()
    path = tmp_path / "frame.fits"
    write_raw(path, random_ccd(camera), camera)
    fits.setval(path, word, value=value)
    info = read_raw(path, camera).quadrants[1].info
    assert getattr(info, name) == pytest.approx(expected, abs=1e-8, nan_ok=True)


@pytest.mark.parametrize(
    ("word", "value", "problem"),
    [
        ("OBSMJD", None, "is missing"),
        ("OBSMJD", "yesterday", "is not a time"),
        ("OBSMJD", "NaN", "is not a time"),
        ("OBSMJD", 100.0, "not between 1980 and 2042-04-01"),
        ("OBSMJD", "2999-01-01T00:00:00", "not between 1980 and 2042-04-01"),
        ("OBSMJD", "2042-04-02T00:00:01", "not between 1980 and 2042-04-01"),
        ("EXPOSURE", 0.0, "is 0 s"),
        ("EXPOSURE", -30.0, "is -30 s"),
        ("EXPOSURE", 1e9, "is 1e+09 s"),
        ("EXPOSURE", "long", "is not a number"),
        ("TELRAD", 361.0, "not an angle"),
        ("TELDECD", "+91:00:00", "not an angle"),
        ("TELDECD", None, "is missing"),
        ("FILTER", "H-alpha", "unknown filter"),
        ("FILTER", "", "is missing"),
        ("FIELDID", 12.5, "not a whole number"),
        ("FIELDID", -1, "not a whole number"),
        ("IMGTYPE", "focus", "knows object, bias"),
        ("IMGTYPE", None, "is missing"),
        ("CCD_ID", 17, "no detector"),
        ("CCD_ID", "abc", "is 'abc', no detector of the camera"),
    ],
)
def test_bad_headers_name_file_and_keyword(tmp_path, word, value, problem):
    camera = small_camera()
    path = tmp_path / "frame.fits"
    write_raw(path, random_ccd(camera), camera)
    with fits.open(path, mode="update") as hdus:
        if value is None:
            del hdus[0].header[word]
        else:
            hdus[0].header[word] = value
    for read in (read_raw, read_raw_headers):
        with pytest.raises(BadInput) as caught:
            read(path, camera)
        message = str(caught.value)
        assert "frame.fits" in message
        assert word in message
        assert problem in message
        assert "\n" not in message


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz", ".fits.fz"])
@pytest.mark.parametrize("kept", [0, 0.02, 0.3, 0.6, 0.9])
def test_damaged_files(tmp_path, suffix, kept):
    camera = small_camera(ny=200, nx=180)
    path = tmp_path / f"frame{suffix}"
    write_raw(path, random_ccd(camera), camera)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(BadInput) as caught:
        read_raw(path, camera)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_not_fits_and_absent(tmp_path):
    camera = small_camera()
    path = tmp_path / "notes.fits"
    path.write_text("these are my notes\n" * 400)
    with pytest.raises(BadInput, match="cannot be read as FITS"):
        read_raw(path, camera)
    path.write_bytes(gzip.compress(b"not fits either"))
    with pytest.raises(BadInput):
        read_raw(path, camera)
    with pytest.raises(BadInput, match="no such file"):
        read_raw(tmp_path / "absent.fits", camera)


def test_frame_of_another_camera(tmp_path):
    camera = small_camera()
    path = tmp_path / "frame.fits"
    write_raw(path, random_ccd(camera), camera)
    with pytest.raises(BadInput, match="is 38 x 24 pixels, not 46 x 40"):
        read_raw(path, small_camera(ny=40, nx=40))
    with fits.open(path) as hdus:
        fits.HDUList(hdus[:3]).writeto(tmp_path / "short.fits")
    with pytest.raises(BadInput, match="has no extension 3"):
        read_raw(tmp_path / "short.fits", camera)
    with fits.open(path) as hdus:
        hdus[2].data = hdus[2].data[0]
        hdus.writeto(tmp_path / "flat.fits")
    with pytest.raises(BadInput, match="holds no image"):
        read_raw(tmp_path / "flat.fits", camera)


def test_real_sinistro_frame(shared_data):
    camera = load_camera("sinistro")
    ccd = read_raw(shared_data / "raw_ccd" / "lco_sinistro_mef_4amp.fits.gz", camera)
    assert ccd.frame_type == "science"
    info = ccd.quadrants[4].info
    assert info.ra == pytest.approx(287.32483, abs=1e-4)
    assert info.start_mjd == pytest.approx(59495.0800595, abs=1e-6)
    assert np.median(ccd.quadrants[1].overscan) == pytest.approx(2523, abs=2)


def test_real_huntsman_frames(shared_data):
    camera = load_camera("huntsman")
    kinds = {"bias", "dark", "flat", "science"}
    for kind in kinds:
        ccd = read_raw(shared_data / "raw_ccd" / "huntsman" / f"{kind}_0.fits.gz", camera)
        assert ccd.frame_type == kind
        assert ccd.quadrants[1].data.shape == (800, 800)
        assert ccd.quadrants[1].overscan.shape == (800, 0)
