"""Differences of images with defects, of strange units or shapes, and of those that cannot be subtracted."""

from dataclasses import replace

import numpy as np
import pytest

from tests.subtract.pairs import NOTHING, PLAIN, SHAPE, WCS, pair
from tests.subtract.sky import Stars, make_exposure, make_stars, make_wcs
from zsds.core.errors import UnusableData
from zsds.core.flags import Mask
from zsds.subtract import subtract


def test_saturated_stars_of_the_reference_leave_no_peaks_around(rng):
    star = Stars(np.array([WCS.wcs.crval[0]]), np.array([WCS.wcs.crval[1]]), np.array([5e6]))
    n, r = pair(rng, star, science=2.9, reference=2.1)
    clipped = []
    for image in (n, r):
        full = image.data > 1e5
        mask = image.mask | np.where(full, np.uint32(Mask.SATURATED), np.uint32(0))
        clipped.append(replace(image, data=np.minimum(image.data, np.float32(1e5)), mask=mask))
    x, y = WCS.all_world2pix(star.ra, star.dec, 0)
    score = subtract(*clipped, PLAIN).score
    rows, cols = np.indices(SHAPE)
    distance = np.hypot(rows - y, cols - x)
    assert np.nanmax(np.abs(score[distance < 20])) < 5
    assert 0.9 < np.nanstd(score[(distance > 12) & (distance < 40)]) < 1.1


def test_infinite_light_of_the_reference_counts_as_unknown(rng):
    n, r = pair(rng)
    data, mask = r.data.copy(), r.mask.copy()
    data[150:153, 200:203], mask[150:153, 200:203] = np.inf, Mask.SATURATED
    result = subtract(n, replace(r, data=data, mask=mask), PLAIN)
    known = np.isfinite(result.exposure.data)
    assert known.mean() > 0.99 and not known[151, 201]
    assert np.isfinite(result.exposure.variance[known]).all()
    assert np.nanmax(result.flux_err) < 3 * np.nanmedian(result.flux_err)


def test_sky_is_measured_where_the_reference_ends(rng):
    n, r = pair(rng)
    cols = np.arange(SHAPE[1])
    step = 5.0 * np.clip((cols - 120) / 60, 0, 1)
    mask = r.mask.copy()
    mask[:, 250:] = Mask.NO_REFERENCE
    n = replace(n, data=n.data + step.astype(np.float32))
    data = subtract(n, replace(r, mask=mask), replace(PLAIN, background_cell=64)).exposure.data
    assert abs(data[:, 195:240].mean()) < 0.2 * 5.0


def test_defects_are_filled_and_flagged(rng):
    stars = make_stars(rng, WCS, SHAPE, 60, bright=60000)
    n, r = pair(rng, stars)
    data, mask, variance = n.data.copy(), n.mask.copy(), n.variance.copy()
    data[100, 120], mask[100, 120] = 80000, Mask.COSMIC_RAY
    data[150:152, 50:70], mask[150:152, 50:70] = np.nan, Mask.NAN
    data[:, 200:203] = np.inf
    variance[40, 41] = np.nan
    mask[220, 100] = Mask.SOURCE | Mask.HALO
    result = subtract(replace(n, data=data, mask=mask, variance=variance), r)
    for place in ((100, 120), (150, 60), (80, 201), (40, 41)):
        assert result.exposure.mask[place] & Mask.FILLED
    assert result.exposure.mask[220, 100] == Mask.SOURCE | Mask.HALO
    assert np.isfinite(result.exposure.data).all()
    assert np.nanmax(np.abs(result.score)) < 6.5
    clean = subtract(n, r)
    far = (slice(230, 310), slice(20, 180))
    np.testing.assert_allclose(result.score[far], clean.score[far], atol=0.08)


def test_pixels_of_negative_variance_are_no_reference(rng):
    n, r = pair(rng, make_stars(rng, WCS, SHAPE, 60))
    variance = r.variance.copy()
    variance[60, 70:72] = -5
    result = subtract(n, replace(r, variance=variance))
    assert (result.exposure.mask[60, 70:72] & Mask.NO_REFERENCE).all()
    assert np.isfinite(result.score[100:, 100:]).all()


def test_masked_star_core_is_undefined_and_its_surroundings_quiet(rng):
    stars = Stars(*WCS.all_pix2world([200.2, 90.0], [150.4, 60.0], 0), np.array([3e6, 4e4]))
    n, r = pair(rng, stars, zero=25.0)
    core = n.data > 20000
    mask = n.mask | np.where(core, np.uint32(Mask.SATURATED), np.uint32(0))
    result = subtract(replace(n, mask=mask, data=np.minimum(n.data, 20000)), r)
    assert np.isnan(result.score[150, 200])
    assert np.nanmax(np.abs(result.score)) < 6.5


def test_reference_that_does_not_reach(rng):
    stars = make_stars(rng, WCS, SHAPE, 60, bright=60000)
    n, r = pair(rng, stars)
    data, mask, variance = r.data.copy(), r.mask.copy(), r.variance.copy()
    data[:, 250:], variance[:, 250:], mask[:, 250:] = 0, 0, Mask.NO_REFERENCE
    result = subtract(n, replace(r, data=data, mask=mask, variance=variance))
    assert np.isnan(result.score[:, 250:]).all() and np.isnan(result.exposure.data[:, 250:]).all()
    assert (result.exposure.mask[:, 250:] & Mask.NO_REFERENCE).all()
    assert (result.exposure.mask[:, 246:250] & Mask.EDGE).all()
    assert np.isfinite(result.score[:, :250]).all()
    assert np.abs(result.score[:, 4:240]).max() < 6.5
    data[:], mask[:] = np.nan, Mask.NO_REFERENCE
    with pytest.raises(UnusableData, match="hardly covers"):
        subtract(n, replace(r, data=data, mask=mask))


def test_inputs_that_cannot_be_subtracted(rng):
    n, r = pair(rng)
    with pytest.raises(ValueError, match="PSF"):
        subtract(replace(n, psf=None), r)
    smaller = replace(r, data=r.data[:-1], variance=r.variance[:-1], mask=r.mask[:-1])
    with pytest.raises(ValueError, match="science is"):
        subtract(n, smaller)


def test_reference_in_unknown_units(rng):
    stars = make_stars(rng, WCS, SHAPE, 60, faint=5000, bright=60000)
    n, r = pair(rng, stars)
    r = replace(r, data=r.data * np.float32(0.01), variance=r.variance * np.float32(1e-4), zero_point=None)
    result = subtract(n, r)
    assert result.flux_scale == pytest.approx(100 * 10**-0.12, rel=4 * result.metrics["flux_scale_err"])
    assert result.metrics["score_width"] == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("unit", [1e-12, 1e8])
def test_units_do_not_matter(rng, unit):
    n, r = pair(rng, make_stars(rng, WCS, SHAPE))
    usual = subtract(n, r, PLAIN)
    one, other = (
        replace(e, data=e.data * np.float32(unit), variance=e.variance * np.float32(unit) ** 2)
        for e in (n, r)
    )
    for found, scale in (
        (subtract(one, other, PLAIN), 1),
        (subtract(n, replace(other, zero_point=None), PLAIN), unit),
    ):
        assert found.flux_scale * scale == pytest.approx(usual.flux_scale, rel=1e-5)
        np.testing.assert_allclose(found.score, usual.score, atol=0.01)


@pytest.mark.parametrize("variance", [np.nan, np.inf])
def test_stars_of_unknown_noise_say_nothing(rng, variance):
    n, r = pair(rng, make_stars(rng, WCS, SHAPE))
    noise = r.variance.copy()
    noise[100:250, 100:300] = variance
    found = subtract(n, replace(r, variance=noise), PLAIN)
    expected = 10 ** (0.4 * (n.zero_point.value - r.zero_point.value))
    assert found.flux_scale == pytest.approx(expected, rel=5 * found.metrics["flux_scale_err"])
    assert np.isnan(found.score[110:240, 110:290]).all()


def test_reference_without_noise(rng):
    n, r = pair(rng, make_stars(rng, WCS, SHAPE))
    found = subtract(n, replace(r, variance=np.zeros_like(r.variance)), PLAIN)
    assert np.isfinite(found.score).all()


def test_stars_that_are_elsewhere(rng):
    stars = make_stars(rng, WCS, SHAPE, 60, faint=5000, bright=60000)
    n = make_exposure(rng, SHAPE, WCS, stars)
    r = make_exposure(rng, SHAPE, make_wcs(SHAPE, dx=6, dy=3), stars, sky=60)
    with pytest.raises(UnusableData, match="not where"):
        subtract(n, r)


@pytest.mark.parametrize("shape", [(41, 57), (9, 200)])
def test_small_images(rng, shape):
    wcs = make_wcs(shape)
    n = make_exposure(rng, shape, wcs, NOTHING)
    r = make_exposure(rng, shape, wcs, NOTHING, 2.2, sky=50)
    result = subtract(n, r)
    assert result.score.shape == shape and np.isfinite(result.score).all()
