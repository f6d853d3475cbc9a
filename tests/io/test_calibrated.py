"""Calibrated images of other systems: simulated ones against truth, real ones for what their headers hold."""

import numpy as np
import pytest
from astropy.io import fits

from tests.io.test_images import make_exposure, tangent_wcs
from zsds.core.errors import BadInput
from zsds.core.flags import Mask
from zsds.io.calibrated import read_calibrated
from zsds.io.headers import wcs_cards
from zsds.io.images import write_exposure
from zsds.io.stated import Known

REAL = "ztf_images/ztf_20250409323808_000859_zr_c07_o_q1_sciimg.fits.gz"


def foreign(path, data, **cards):
    header = wcs_cards(tangent_wcs())
    header.update({"MJD-OBS": 60000.25, "EXPTIME": 60.0, "FILTER": "R", **cards})
    for keyword in [k for k, v in cards.items() if v is None]:
        del header[keyword]
    fits.PrimaryHDU(data, header).writeto(path)
    return path


def sky(shape=(301, 233), level=200.0, gain=2.0, read_noise=8.0):
    rng = np.random.default_rng(3)
    electrons = rng.poisson(level * gain, shape) + rng.normal(0, read_noise, shape)
    return (electrons / gain).astype(np.float32)


def test_variance_of_the_sky_is_measured(tmp_path):
    exposure = read_calibrated(foreign(tmp_path / "a.fits", sky(), EGAIN=2.0, RDNOISE=8.0))
    truth = 400 + 64
    assert np.median(exposure.variance) == pytest.approx(truth, rel=0.05)
    assert exposure.info.gain == 2.0
    assert exposure.info.read_noise == 8.0
    assert str(exposure.info.id) == "img_20230225250000_000000_xr_c01_o_q1"
    assert exposure.zero_point is None
    assert exposure.psf is None


def test_variance_is_right_when_the_sky_was_subtracted_and_the_gain_unknown(tmp_path):
    exposure = read_calibrated(foreign(tmp_path / "a.fits", sky() - 200))
    pull = exposure.data / np.sqrt(np.median(exposure.variance))
    assert pull.std() == pytest.approx(1, abs=0.03)


def test_sources_add_photon_noise(tmp_path):
    data = sky()
    data[100, 100] += 50000
    exposure = read_calibrated(foreign(tmp_path / "a.fits", data, GAIN=2.0))
    assert exposure.variance[100, 100] == pytest.approx(100000 + 464, rel=0.01)


def test_values_that_no_light_can_give_are_cut(tmp_path):
    data = sky()
    data[20:24, 20:24], data[90, 90] = 1e20, -1e20
    exposure = read_calibrated(foreign(tmp_path / "a.fits", data, GAIN=2.0, SATURATE=50000))
    assert np.nanmax(exposure.data) <= 10 * exposure.info.saturation
    assert (exposure.mask[20:24, 20:24] & np.uint32(Mask.SATURATED)).all()
    assert exposure.mask[90, 90] & np.uint32(Mask.NAN)
    assert np.isnan(exposure.data[90, 90])


@pytest.mark.parametrize("unit", [1e8, -1e8])
def test_a_saturation_in_other_units_than_the_pixels_is_told(tmp_path, unit):
    path = foreign(tmp_path / "a.fits", sky() * np.float32(unit), SATURATE=50000)
    with pytest.raises(BadInput, match=r"beyond the saturation of 5e\+04 electrons.*SATURATE"):
        read_calibrated(path)


def test_saturation_nan_and_given_planes(tmp_path):
    data = sky()
    data[5, 5], data[6, 6] = 60000, np.nan
    image = foreign(tmp_path / "a.fits", data, GAIN=2.0, SATURATE=50000)
    bad = np.zeros(data.shape, np.int16)
    bad[9, 9] = 3
    fits.PrimaryHDU(bad).writeto(tmp_path / "bad.fits")
    fits.PrimaryHDU(np.full(data.shape, 3, np.float32)).writeto(tmp_path / "unc.fits")
    weight = np.full(data.shape, 1 / 9, np.float32)
    weight[4, 4] = 0
    fits.PrimaryHDU(weight).writeto(tmp_path / "weight.fits")
    exposure = read_calibrated(image, tmp_path / "bad.fits", tmp_path / "unc.fits")
    assert exposure.mask[5, 5] == Mask.SATURATED
    assert exposure.mask[6, 6] == Mask.NAN
    assert exposure.mask[9, 9] == Mask.DEAD
    assert exposure.variance[0, 0] == 36
    assert np.isinf(exposure.variance[6, 6])
    weighted = read_calibrated(image, weight=tmp_path / "weight.fits")
    assert weighted.variance[0, 0] == pytest.approx(36)
    assert np.isinf(weighted.variance[4, 4])


def test_zeros_beyond_a_resampled_image_are_no_sky(tmp_path):
    data = np.round(sky(), 0) - 200  # whole numbers: many a pixel of the sky is 0 as well
    data[:, :40], data[250:] = 0, 0
    data[100:120, 100:120] = 30000  # saturated, not blank
    exposure = read_calibrated(foreign(tmp_path / "a.fits", data))
    blank = np.zeros(data.shape, bool)
    blank[:, :40], blank[250:] = True, True
    np.testing.assert_array_equal(np.isnan(exposure.data), blank)
    np.testing.assert_array_equal((exposure.mask & Mask.NAN) != 0, blank)
    assert np.median(exposure.variance[~blank]) == pytest.approx((400 + 64) / 4, rel=0.08)


def test_a_gain_that_is_assumed_is_told(tmp_path):
    assert "gain" in read_calibrated(foreign(tmp_path / "a.fits", sky())).info.provenance
    assert "gain" not in read_calibrated(foreign(tmp_path / "b.fits", sky(), GAIN=1.0)).info.provenance


def test_planes_without_a_usable_pixel_are_named(tmp_path):
    image = foreign(tmp_path / "a.fits", sky(), GAIN=2.0)
    zeros, ones = (tmp_path / f"{name}.fits" for name in ("zeros", "ones"))
    for path, value in ((zeros, 0), (ones, 1)):
        fits.PrimaryHDU(np.full(sky().shape, value, np.float32)).writeto(path)
    for planes in ({"uncertainty": zeros}, {"weight": zeros}, {"mask": ones}):
        with pytest.raises(BadInput, match=r"(zeros|ones)\.fits: (no pixel|the mask hides)"):
            read_calibrated(image, **planes)
    with pytest.raises(BadInput, match="beside an uncertainty"):
        read_calibrated(image, uncertainty=ones, weight=ones)


def test_what_the_user_knows_wins(tmp_path):
    image = foreign(tmp_path / "a.fits", sky(), GAIN=2.0, MAGZP=25.0)
    exposure = read_calibrated(image, known=Known(gain=4.0, zero_point=26.0, start_mjd=59000.5, band="zg"))
    assert exposure.info.gain == 4.0
    assert exposure.zero_point.value == pytest.approx(26 + 2.5 * np.log10(4))
    assert exposure.info.id.band == "zg"
    assert exposure.info.start_mjd == 59000.5


def test_our_own_image_reads_as_well(tmp_path):
    original = make_exposure()
    files = write_exposure(tmp_path / "x_sciimg.fits.fz", original)
    exposure = read_calibrated(files.image, files.mask, files.uncertainty, psf=files.psf)
    assert exposure.info.id == original.info.id
    assert exposure.psf == original.psf
    np.testing.assert_array_equal(exposure.mask & original.mask, original.mask)
    good = np.isfinite(exposure.data)
    np.testing.assert_allclose(exposure.variance[good], original.variance[good], rtol=0.01)


def test_real_ztf_image(shared_data):
    exposure = read_calibrated(shared_data / REAL)
    assert str(exposure.info.id) == "ztf_20250409323808_000859_zr_c07_o_q1"
    assert exposure.info.channel == 24
    assert exposure.info.gain == 6.4
    assert exposure.info.start_mjd == 60774.323912
    assert exposure.zero_point.value == pytest.approx(26.245697 + 2.5 * np.log10(6.4))
    assert exposure.zero_point.n_stars == 493
    ra, dec = exposure.wcs.all_pix2world(296.5, 296.5, 0)
    assert ra == pytest.approx(129.54838, abs=0.1)
    assert dec == pytest.approx(76.00626, abs=0.02)
    assert np.sqrt(np.median(exposure.variance)) / 6.4 == pytest.approx(13.28, rel=0.06)  # sep.Background


def test_real_ptf_image_with_sip(shared_data):
    exposure = read_calibrated(shared_data / "ztf_images/PTF_P48_cropped_R_1001px.fits.gz")
    assert exposure.shape == (1001, 1001)
    assert exposure.wcs.sip is not None
    assert exposure.info.saturation == 55000 * 1.6
    assert exposure.info.id.field == 100037
    assert np.sqrt(np.median(exposure.variance)) / 1.6 == pytest.approx(21.6, rel=0.1)


def test_real_pair_without_wcs(shared_data):
    path = shared_data / "subtraction/eso085_pair/aligned_eso085-030-004.fit.gz"
    with pytest.raises(BadInput, match="no WCS"):
        read_calibrated(path)
    exposure = read_calibrated(path, require_wcs=False)
    assert exposure.wcs is None
    assert exposure.shape == (682, 1024)
    assert exposure.info.start_mjd == pytest.approx(57383.2683333, abs=1e-6)


def test_real_decam_image_with_mask_and_weight(shared_data):
    folder = shared_data / "astrometry/decam_legacypipe_t8"
    names = [f"c4d_171113_060340_oo{kind}_r_ls9.N6.fits.gz" for kind in "idw"]
    image, mask, weight = (folder / name for name in names)
    exposure = read_calibrated(image, mask, weight=weight)
    assert exposure.info.id.ccd == 37
    assert exposure.info.ra == pytest.approx(120.324, abs=1e-3)
    measured = read_calibrated(image, mask)
    assert np.median(measured.variance) == pytest.approx(np.median(exposure.variance), rel=0.15)


@pytest.mark.parametrize("fault", ["time", "nan", "equal", "cube", "shape", "wcs", "text"])
def test_faults_are_named_in_one_line(tmp_path, fault):
    path, data, mask = tmp_path / "a.fits", sky(), None
    if fault == "time":
        foreign(path, data, **{"MJD-OBS": None})
    elif fault == "nan":
        foreign(path, data * np.nan)
    elif fault == "equal":
        foreign(path, np.full_like(data, 3))
    elif fault == "cube":
        foreign(path, np.stack([data, data]))
    elif fault == "shape":
        foreign(path, data)
        mask = tmp_path / "a_mask.fits"
        fits.PrimaryHDU(np.zeros((4, 4), np.int16)).writeto(mask)
    elif fault == "wcs":
        foreign(path, data, CD1_1=0.0, CD1_2=0.0)
    else:
        path.write_text("not an image")
    with pytest.raises(BadInput, match=r"a.*fits") as error:
        read_calibrated(path, mask)
    assert "\n" not in str(error.value)
    assert error.value.remedy
