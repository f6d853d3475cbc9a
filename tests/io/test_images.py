"""Images written and read back: exact within the quantisation, same bytes every time, never half a file."""

import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, Sip

from zsds.core.errors import BadInput
from zsds.core.exposure import Exposure, Info, ZeroPoint
from zsds.core.flags import Mask
from zsds.core.ids import QuadrantId
from zsds.core.psf import GaussianPsf
from zsds.io.images import ImageSet, read_exposure, read_image, read_mask, write_exposure, write_plane

ID = QuadrantId("20250120147292", 249, "zg", 9, 1)
KEYWORDS = (
    "FILTERID MAGZP MAGZPUNC MAGZPRMS CLRCOEFF CLRCOUNC OBSMJD OBSJD GAIN CCDID QID RCID AIRMASS STATUS "
    "INFOBITS FIELDID EXPTIME PIXSCALE SATURATE READNOI"
)
SKY, READ_NOISE, GAIN = 900.0, 9.0, 6.2


def tangent_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [34.647440123456, -23.168490987654]
    wcs.wcs.crpix = [-120.25, 310.5]
    wcs.wcs.cd = np.array([[-2.81e-4, 1.2e-6], [1.1e-6, 2.812e-4]])
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.set()
    return wcs


def sip_wcs():
    wcs = tangent_wcs()
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    a, b = np.zeros((4, 4)), np.zeros((4, 4))
    a[2, 0], a[1, 1], b[0, 2], b[0, 3] = 1.2345678901e-6, -3e-7, 2e-6, 1e-10
    wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def tpv_wcs():
    wcs = tangent_wcs()
    wcs.wcs.ctype = ["RA---TPV", "DEC--TPV"]
    wcs.wcs.set_pv([(1, 1, 1.000178241995), (1, 4, -1.1157298e-4), (2, 1, 0.99983388), (2, 5, -2.8330085e-4)])
    wcs.wcs.set()
    return wcs


def make_exposure(shape=(150, 211), wcs=None):
    rng = np.random.default_rng(5)
    variance = np.full(shape, SKY + READ_NOISE**2)
    variance[40:45, 50:55] += 3e5
    data = (SKY + rng.normal(0, np.sqrt(variance))).astype(np.float32)
    data[40:45, 50:55] += 3e5
    mask = np.zeros(shape, np.uint32)
    mask[:, 7] = Mask.DEAD | Mask.NO_FLAT
    mask[3, 3] = 0xFFFFFFFF
    data[:, 7] = np.nan
    arrays = data, variance.astype(np.float32), mask
    for array in arrays:
        array.flags.writeable = False
    info = Info(
        ID,
        60695.1473264123,
        30.0,
        1,
        32,
        gain=GAIN,
        read_noise=READ_NOISE,
        saturation=330000.0,
        ra=34.1,
        dec=-23.25,
        program_id=2,
        program_pi="Kulkarni",
        airmass=1.7,
        provenance={"software": "zsds 0.1.0", "inputs": "a very long list of inputs, " * 6 + "end"},
    )
    zero_point = ZeroPoint(28.1, 0.004, 0.05, 0.002, -1e-6, 0.03, 493, 0.62, 0.29, 28.13)
    return Exposure(*arrays, info, wcs or tangent_wcs(), GaussianPsf(2.3), zero_point)


def test_round_trip(tmp_path):
    exposure = make_exposure()
    files = write_exposure(
        tmp_path / f"{ID}_sciimg.fits.fz", exposure, {"SEEING": (2.3, "[pix]"), "MAGLIM": 20.3}
    )
    back = read_exposure(files.image)
    assert back.info == exposure.info
    assert back.zero_point == replace(exposure.zero_point, value=back.zero_point.value)
    assert back.zero_point.value == pytest.approx(28.1, abs=1e-12)
    assert back.psf == exposure.psf
    np.testing.assert_array_equal(back.mask, exposure.mask)
    np.testing.assert_array_equal(np.isnan(back.data), np.isnan(exposure.data))
    assert fits.getheader(files.image, 1)["SEEING"] == 2.3


def test_quantisation_is_a_sixteenth_of_the_noise_and_unbiased(tmp_path):
    exposure = make_exposure((400, 300))
    back = read_exposure(write_exposure(tmp_path / "x_sciimg.fits.fz", exposure))
    sigma = np.sqrt(SKY + READ_NOISE**2)
    error = (back.data - exposure.data)[np.isfinite(exposure.data)]
    step = sigma / 16
    assert np.abs(error).max() <= step * 0.51
    assert error.std() == pytest.approx(step / np.sqrt(12), rel=0.02)
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(error.size)
    relative = np.sqrt(back.variance / exposure.variance) - 1
    assert np.abs(relative).max() < 1 / 250


@pytest.mark.parametrize("make", [tangent_wcs, sip_wcs, tpv_wcs])
def test_wcs_round_trip(tmp_path, make):
    wcs = make()
    back = read_exposure(write_exposure(tmp_path / "x_sciimg.fits.fz", make_exposure(wcs=wcs))).wcs
    x, y = np.array([0.0, 210.0, 33.3]), np.array([0.0, 149.0, 140.1])
    ra, dec = wcs.all_pix2world(x, y, 0)
    found = back.all_pix2world(x, y, 0)
    assert np.abs(found[0] - ra).max() * 3600 < 1e-8
    assert np.abs(found[1] - dec).max() * 3600 < 1e-8
    assert back.wcs.ctype[0] == wcs.wcs.ctype[0]
    assert back.pixel_shape == (211, 150)


def test_opens_elsewhere_with_valid_checksums_and_ztf_keywords(tmp_path):
    files = write_exposure(tmp_path / f"{ID}_scimrefdiffimg.fits.fz", make_exposure())
    assert files.uncertainty.name == f"{ID}_scimrefdiffunc.fits.fz"
    for path in (files.image, files.uncertainty, files.mask, files.psf):
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            assert hdus[0].data is None or hdus[0].data.shape == (25, 25)
    header = fits.getheader(files.image, 1)
    assert set(KEYWORDS.split()) <= set(header)
    assert header["PIXSCALE"] == pytest.approx(1.012, abs=1e-3)
    data = fits.getdata(files.image, 1)
    assert np.nanmedian(data) == pytest.approx(SKY / GAIN, rel=0.01)
    assert fits.getdata(files.psf).shape == (25, 25)
    assert fits.getdata(files.mask, 1).dtype.kind == "i"


def test_same_exposure_gives_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        write_exposure(tmp_path / folder / "x_sciimg.fits.fz", make_exposure())
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    assert len(names) == 4
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("variance", [0.0, np.inf, np.nan, -1.0])
def test_without_a_usable_variance_nothing_is_lost(tmp_path, variance):
    exposure = make_exposure()
    exposure = replace(exposure, variance=np.full(exposure.shape, variance, np.float32), psf=None)
    back = read_exposure(write_exposure(tmp_path / "x.fits", exposure))
    np.testing.assert_allclose(back.data, exposure.data, rtol=3e-7)
    assert (back.variance == (0 if variance == 0 else np.inf)).all()
    assert back.psf is None


def test_extreme_pixels_survive(tmp_path):
    exposure = make_exposure()
    data = exposure.data.copy()
    data[0, :4] = 1e12, -1e12, np.inf, 3e38
    back = read_exposure(write_exposure(tmp_path / "x.fits", replace(exposure, data=data)))
    assert np.isnan(back.data[0, 2])
    np.testing.assert_allclose(back.data[0, [0, 1, 3]], data[0, [0, 1, 3]], rtol=1e-6)


def test_all_nan_and_one_pixel(tmp_path):
    full = make_exposure()
    planes = {name: getattr(full, name)[:1, :1] for name in ("data", "variance", "mask")}
    exposure = replace(full, **planes)
    back = read_exposure(write_exposure(tmp_path / "a.fits", exposure))
    assert back.shape == (1, 1)
    nothing = replace(make_exposure(), data=np.full((150, 211), np.nan, np.float32))
    assert np.isnan(read_exposure(write_exposure(tmp_path / "b.fits", nothing)).data).all()


def test_a_plane_of_its_own(tmp_path):
    plane = np.random.default_rng(1).normal(size=(70, 31)).astype(np.float32)
    write_plane(tmp_path / "score.fits.fz", plane, 0.03, {"SCOREMED": 0.0})
    back, header = read_image(tmp_path / "score.fits.fz")
    assert np.abs(back - plane).max() <= 0.0151
    assert header["SCOREMED"] == 0.0


def test_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def refuse(self, content):
        self.open("wb").close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", refuse)
    with pytest.raises(BadInput, match="disk is full"):
        write_exposure(tmp_path / "x_sciimg.fits.fz", make_exposure())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_rewrite_keeps_the_old_file(tmp_path, monkeypatch):
    files = write_exposure(tmp_path / "x_sciimg.fits.fz", make_exposure())
    before = files.image.read_bytes()

    def killed(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_exposure(files, make_exposure((60, 60)))
    assert files.image.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "text", "truncated", "no sister", "foreign", "other shape"]
)
def test_damaged_files_are_named(tmp_path, damage):
    files = write_exposure(tmp_path / "x_sciimg.fits.fz", make_exposure())
    content = files.image.read_bytes()
    if damage == "missing":
        files.image.unlink()
    elif damage == "empty":
        files.image.write_bytes(b"")
    elif damage == "text":
        files.image.write_bytes(b"hello\n" * 1000)
    elif damage == "truncated":
        files.image.write_bytes(content[: len(content) // 2])
    elif damage == "no sister":
        files.mask.unlink()
    elif damage == "foreign":
        files.image.unlink()
        write_plane(files.image, np.ones((150, 211), np.float32), 0)
    else:
        files.mask.write_bytes(
            write_exposure(tmp_path / "y_sciimg.fits.fz", make_exposure((9, 9))).mask.read_bytes()
        )
    with pytest.raises(BadInput, match="x_") as error:
        read_exposure(files.image)
    assert "\n" not in str(error.value)
    assert error.value.remedy


def test_mask_of_ztf_has_16_bits(tmp_path):
    fits.PrimaryHDU(np.array([[0, 2, 4096, 6141]], np.int16)).writeto(tmp_path / "mskimg.fits")
    np.testing.assert_array_equal(
        read_mask(tmp_path / "mskimg.fits"), np.array([[0, 2, 4096, 6141]], np.uint32)
    )


def test_sister_names():
    files = ImageSet.of(Path("a/field_refimg.fits.fz"))
    assert files.uncertainty == Path("a/field_refunc.fits.fz")
    assert ImageSet.of(Path("night.fits")).psf == Path("night_psf.fits")
