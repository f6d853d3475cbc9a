from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from star_fields import INFO, VaryingMoffat, star_field

from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.extract import BackgroundSettings, measure_background, residual_sky, subtract_background
from zsds.photometry import fit_first, without_stars
from zsds.psf import MoffatPsf, PolynomialPsf
from zsds.sim import simple_quadrant

PSF = MoffatPsf.of_fwhm(2.2, 3.0, 31)


def blank(shape=(300, 340), sky=250.0, seed=3):
    rng = np.random.default_rng(seed)
    y = np.arange(shape[0])[:, None] / shape[0]
    truth = np.broadcast_to(sky * (1 + 0.2 * y), shape)
    data = (rng.poisson(truth) + rng.normal(0, INFO.read_noise, shape)).astype(np.float32)
    exposure = Exposure(data, (data + 64).astype(np.float32), np.zeros(shape, np.uint32), INFO)
    return exposure, truth


def test_gradient_and_poisson_skewness_leave_no_bias():
    offsets, errors = [], []
    for seed in range(4):
        exposure, truth = blank(seed=seed)
        background = measure_background(exposure)
        offsets.append(np.mean(background.level - truth))
        errors.append(np.std(background.level - truth))
    noise = np.sqrt(275 + 64)
    assert abs(np.mean(offsets)) < 3.5 * 2.3 * noise / np.sqrt(4 * exposure.data.size)
    assert max(errors) < noise / 10
    assert background.sigma == pytest.approx(noise, rel=0.02)
    assert background.level.dtype == np.float32


def test_stars_and_halo_do_not_raise_the_sky():
    field = star_field(PSF, n_stars=250, seed=4)
    y, x = np.indices(field.exposure.shape)
    halo = 4000 * np.exp(-np.hypot(x - 200, y - 180) / 8)
    data = (field.exposure.data + halo).astype(np.float32)
    background = measure_background(replace(field.exposure, data=data))
    far = np.hypot(x - 200, y - 180) > 90
    assert abs(np.median(background.level[far]) - field.sky) < 0.1 * background.sigma


def test_subtraction_keeps_variance_and_mask():
    exposure, _ = blank()
    background = measure_background(exposure)
    subtracted = subtract_background(exposure, background)
    assert abs(np.median(subtracted.data)) < 1
    assert subtracted.variance is exposure.variance
    assert subtracted.mask is exposure.mask


def test_masked_pixels_do_not_count():
    exposure, truth = blank()
    data, mask = exposure.data.copy(), exposure.mask.copy()
    data[:, 100:140] = 1e4
    mask[:, 100:140] = Mask.DEAD
    data[10:12] = np.nan
    background = measure_background(replace(exposure, data=data, mask=mask))
    assert np.abs(background.level - truth).max() < 0.25 * background.sigma


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": np.nan}, "too few usable pixels"),
        ({"mask": Mask.SATURATED}, "image is saturated"),
        ({"mask": Mask.DEAD}, "too few usable pixels"),
        ({"data": 7.0}, "no noise"),
    ],
)
def test_hopeless_images_are_rejected(change, reason):
    exposure, _ = blank((120, 100))
    arrays = {name: np.full_like(getattr(exposure, name), value) for name, value in change.items()}
    with pytest.raises(UnusableData, match=reason) as caught:
        measure_background(replace(exposure, **arrays))
    assert caught.value.numbers


def test_limits_on_both_sides():
    exposure, _ = blank((200, 200))
    settings = BackgroundSettings(max_saturated=0.3, min_good=0.5)
    for fraction, works in ((0.29, True), (0.31, False)):
        mask = exposure.mask.copy()
        mask[: int(200 * fraction)] = Mask.SATURATED
        if works:
            measure_background(replace(exposure, mask=mask), settings)
        else:
            with pytest.raises(UnusableData):
                measure_background(replace(exposure, mask=mask), settings)


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
def test_agrees_with_sextractor_on_a_real_image(shared_data):
    folder = shared_data / "source_extraction"
    data = fits.getdata(folder / "sep_image.fits").astype(np.float32)
    theirs = fits.getdata(folder / "sep_back.fits").astype(np.float32)
    info = replace(INFO, read_noise=0.0)
    exposure = Exposure(data, np.full_like(data, 65.4**2), np.zeros(data.shape, np.uint32), info)
    ours = measure_background(exposure, BackgroundSettings(mesh_pixels=64))
    assert abs(ours.median - np.median(theirs)) < 0.2 * 65.4
    assert ours.sigma == pytest.approx(np.median(fits.getdata(folder / "sep_rms.fits")), rel=0.05)


def test_crowded_field_has_a_sky():
    """Sources hide more than half of every cell: the sky is still within a fraction of its noise."""
    made = simple_quadrant(shape=(260, 280), n_stars=1500, fwhm=2.6, mag_range=(15.0, 21.5), seed=5)
    background = measure_background(made.exposure)
    assert background.level.min() > 700 and abs(background.median - np.percentile(made.expected, 20)) < 30
    assert 25 < background.sigma < 60


def test_second_sky_is_free_of_the_wings_of_stars():
    field = star_field(VaryingMoffat(2.3, 2.6, 61), n_stars=700, seed=9, flux=(700, 1e5))
    first = measure_background(field.exposure)
    flat = subtract_background(field.exposure, first)
    model = PolynomialPsf.from_model(VaryingMoffat(2.3, 2.6, 61), flat.shape)
    left = without_stars(flat, fit_first(flat, model, Table({"x": field.x, "y": field.y})))
    missed = residual_sky(flat, left.data, first, BackgroundSettings())
    second = first.with_more(missed)
    assert second.median - field.sky < 0.5 * (first.median - field.sky)
    assert second.median == pytest.approx(field.sky, abs=0.5)
