from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from tests.subtract.sky import Stars, add_star, frozen, make_exposure, make_stars, make_wcs
from zsds.core.errors import UnusableData
from zsds.core.flags import Mask
from zsds.core.psf import GaussianPsf, effective_fwhm
from zsds.io.images import open_exposure, read_exposure, write_exposure
from zsds.pipeline.reference import ReferencePipelineSettings, make_reference, point_source_depth
from zsds.reference import (
    Reference,
    ReferenceSettings,
    SelectionSettings,
    build_reference,
    native_coverage,
    native_grid,
    sample_reference,
    select_epochs,
)
from zsds.reference.mapping import finer_wcs, map_pixels, pixels_to_sky, sky_to_pixels, tangent_wcs
from zsds.reference.noise import interpolated_power
from zsds.reference.psf import sample_psf

SHAPE = (210, 250)
FEW = ReferenceSettings(min_epochs=2, strip_gb=0.003)


def make_epochs(rng, n, stars, noise=True, sky=400.0, fwhm=(2.0, 2.5), zero=(24.8, 25.2)):
    epochs = []
    for k in range(n):
        wcs = make_wcs(SHAPE, rotation=rng.uniform(-0.4, 0.4), dx=rng.uniform(-5, 5), dy=rng.uniform(-5, 5))
        time = f"202601{k + 1:02d}000000"
        value = rng.uniform(*zero)
        epochs.append(
            make_exposure(rng, SHAPE, wcs, stars, rng.uniform(*fwhm), sky, value, time=time, noise=noise)
        )
    return epochs


@pytest.fixture(scope="module")
def built():
    rng = np.random.default_rng(11)
    wcs = make_wcs(SHAPE)
    stars = make_stars(rng, wcs, SHAPE, 40, bright=50000, margin=10)
    epochs = make_epochs(rng, 15, stars)
    return stars, epochs, build_reference([frozen(e) for e in epochs], wcs, SHAPE, rfid=7)


def test_epochs_on_disk_make_the_same_reference(tmp_path):
    rng = np.random.default_rng(3)
    wcs = make_wcs(SHAPE)
    made = make_epochs(rng, 3, make_stars(rng, wcs, SHAPE, 20, bright=50000, margin=10))
    files = [write_exposure(tmp_path / f"{k}_sciimg.fits", frozen(epoch)) for k, epoch in enumerate(made)]
    whole = build_reference([read_exposure(each) for each in files], wcs, SHAPE, FEW)
    striped = build_reference([open_exposure(each) for each in files], wcs, SHAPE, FEW)
    np.testing.assert_array_equal(striped.coefficients, whole.coefficients)
    np.testing.assert_array_equal(striped.variance, whole.variance)
    np.testing.assert_array_equal(striped.coverage, whole.coverage)
    np.testing.assert_array_equal(striped.mask, whole.mask)
    assert striped.zero_point == whole.zero_point and striped.epochs == whole.epochs


def test_what_is_clipped_does_not_depend_on_the_strips():
    rng = np.random.default_rng(4)
    shape = (60, 70)
    wcs = make_wcs(shape)
    stars = make_stars(rng, wcs, shape, 12, faint=3e4, bright=6e5)
    epochs = [make_exposure(rng, shape, wcs, stars, fwhm) for fwhm in (1.5, 1.8, 2.0, 2.2, 3.0, 5.0)]
    whole = build_reference(epochs, wcs, shape, replace(FEW, strip_gb=1.0))
    rows = build_reference(epochs, wcs, shape, replace(FEW, strip_gb=1e-9))
    assert (whole.coverage < len(epochs)).any()
    np.testing.assert_array_equal(rows.coverage, whole.coverage)
    np.testing.assert_array_equal(rows.coefficients, whole.coefficients)


def test_pixels_of_unknown_noise_take_no_part():
    rng = np.random.default_rng(4)
    shape = (60, 70)
    wcs = make_wcs(shape)
    nothing = Stars(np.zeros(0), np.zeros(0), np.zeros(0))
    epochs = [make_exposure(rng, shape, wcs, nothing, time=f"2026010{k + 1}000000") for k in range(4)]
    variance = epochs[1].variance.copy()
    variance[20:40] = np.inf
    epochs[1] = replace(epochs[1], variance=variance)
    reference = build_reference(epochs, wcs, shape, FEW)
    assert np.isfinite(reference.variance).all()
    assert (reference.coverage[45, 20:80] == 3).all()


def test_numbers_travel(built):
    _, epochs, reference = built
    assert reference.n_frames == 15 and reference.rfid == 7
    assert reference.start_mjd == pytest.approx(61001) and reference.end_mjd == pytest.approx(
        61015 + 30 / 86400
    )
    assert reference.epochs[0] == str(epochs[0].info.id)
    assert reference.shape == (315, 375)
    assert reference.zero_point.value == pytest.approx(np.median([e.zero_point.value for e in epochs]))
    assert reference.coverage.max() == 15 and (reference.coverage[40:-40, 40:-40] > 10).all()


def test_fluxes_and_places_of_stars_are_kept(built):
    """Sampled on a rotated, shifted grid, stars of the model fit to a few parts in a thousand."""
    stars, _, reference = built
    wcs = make_wcs(SHAPE, rotation=1.3, dx=1.4, dy=-2.7)
    sampled = sample_reference(reference, wcs, SHAPE)
    x, y = wcs.all_world2pix(stars.ra, stars.dec, 0)
    model = np.zeros(SHAPE)
    flux = stars.flux * 10 ** (0.4 * (reference.zero_point.value - 25))
    for star_x, star_y, star_flux in zip(x, y, flux, strict=True):
        if -9 < star_x < SHAPE[1] + 9 and -9 < star_y < SHAPE[0] + 9:
            add_star(model, sampled.psf, star_x, star_y, star_flux)
    good = sampled.mask == 0
    assert good.mean() > 0.9
    pull = ((sampled.data - model) / np.sqrt(sampled.variance + (0.01 * model) ** 2 + 1e-9))[good]
    assert abs(np.median(pull)) < 0.05
    assert np.abs(pull).max() < 6
    ratio = np.sum((sampled.data * model)[good]) / np.sum((model**2)[good])
    assert ratio == pytest.approx(1, abs=0.004)


def test_native_grid_covers_the_same_sky_at_the_scale_of_the_pixels(built):
    _, _, reference = built
    wcs, shape = native_grid(reference)
    assert shape == SHAPE
    here = wcs.all_world2pix(*make_wcs(SHAPE).all_pix2world([0, 200], [0, 100], 0), 0)
    assert np.allclose(here, [[0, 200], [0, 100]], atol=0.01)
    coverage = native_coverage(reference)
    assert coverage.shape == SHAPE
    assert (coverage[60, 80], coverage.max()) == (reference.coverage[90, 120], 15)


def test_variance_is_the_noise_power_at_low_frequencies(built):
    """Sums over 6 x 6 pixels of empty sky scatter as the summed variance says."""
    rng = np.random.default_rng(12)
    nothing = Stars(np.zeros(0), np.zeros(0), np.zeros(0))
    reference = build_reference(make_epochs(rng, 6, nothing), make_wcs(SHAPE), SHAPE, FEW)
    sampled = sample_reference(reference, make_wcs(SHAPE, dx=0.3, dy=0.6), SHAPE)
    inner = (slice(18, 192), slice(20, 230))
    data, variance = sampled.data[inner], sampled.variance[inner]
    sums = data.reshape(29, 6, 35, 6).sum(axis=(1, 3))
    power = variance.reshape(29, 6, 35, 6).sum(axis=(1, 3))
    assert np.mean(sums**2 / power) == pytest.approx(1, abs=4 * np.sqrt(2 / sums.size))
    assert 0.6 < np.mean(data**2 / variance) < 1


def test_outliers_are_clipped_and_star_cores_are_not(built):
    rng = np.random.default_rng(13)
    wcs = make_wcs(SHAPE)
    ra, dec = wcs.all_pix2world([100.3], [120.4], 0)
    star = Stars(ra, dec, np.array([2e5]))
    epochs = make_epochs(rng, 9, star, fwhm=(2.0, 3.0))
    broken = epochs[4].data.copy()
    broken[50, 60] += 5e4
    epochs[4] = replace(epochs[4], data=broken)
    reference = build_reference(epochs, wcs, SHAPE, FEW)
    sampled = sample_reference(reference, wcs, SHAPE)
    assert np.abs(sampled.data[20:80, 30:90] / np.sqrt(sampled.variance[20:80, 30:90])).max() < 6
    x, y = map_pixels(reference.wcs, wcs, reference.shape).at(0, 0)
    assert (round(x, 2), round(y, 2)) == (-0.17, -0.17)
    assert reference.coverage[175:187, 145:157].min() >= 8  # around the star, in fine pixels
    flux = sampled.data[105:136, 85:116].sum() * 10 ** (-0.4 * (reference.zero_point.value - 25))
    assert flux == pytest.approx(2e5, rel=0.004)


def test_defects_are_left_out_and_saturation_is_kept(built):
    rng = np.random.default_rng(14)
    wcs = make_wcs(SHAPE)
    epochs = make_epochs(rng, 5, Stars(np.zeros(0), np.zeros(0), np.zeros(0)))
    marked = []
    for k, epoch in enumerate(epochs):
        mask, data = epoch.mask.copy(), epoch.data.copy()
        x, y = (int(v) for v in np.round(epoch.wcs.all_world2pix(*wcs.all_pix2world(150, 60, 0), 0)))
        data[y - 2 : y + 3, x - 2 : x + 3] = 60000
        mask[y - 2 : y + 3, x - 2 : x + 3] = Mask.SATURATED
        if k == 0:
            data[100, 100] = np.nan
            data[30:40, 30:40], mask[30:40, 30:40] = 1e6, Mask.COSMIC_RAY
        marked.append(replace(epoch, data=data, mask=mask))
    reference = build_reference(marked, wcs, SHAPE, FEW)
    sampled = sample_reference(reference, wcs, SHAPE)
    assert np.isfinite(reference.coefficients).all()
    assert sampled.mask[60, 150] & Mask.SATURATED
    assert sampled.data[60, 150] > 30000
    assert np.abs(sampled.data[22:48, 22:48]).max() < 100
    assert not sampled.mask[100, 100]


def test_uncovered_parts_are_flagged():
    rng = np.random.default_rng(15)
    epochs = make_epochs(rng, 2, Stars(np.zeros(0), np.zeros(0), np.zeros(0)))
    reference = build_reference(epochs, make_wcs(SHAPE), SHAPE, FEW)
    sampled = sample_reference(reference, make_wcs(SHAPE, dx=100), SHAPE)
    assert (sampled.mask[:, :90] & Mask.NO_REFERENCE).all()
    assert (sampled.variance[:, :90] == 0).all()
    assert not sampled.mask[20:-20, 120:].any()


def test_round_trip(built):
    reference = built[2]
    again = Reference.from_arrays(reference.to_arrays(), reference.info)
    assert again.version == reference.version
    assert again.epochs == reference.epochs and again.rfid == 7 and again.n_frames == 15
    wcs = make_wcs(SHAPE, rotation=0.7)
    one, two = sample_reference(reference, wcs, SHAPE), sample_reference(again, wcs, SHAPE)
    np.testing.assert_allclose(one.data, two.data, atol=2e-3)
    np.testing.assert_array_equal(one.psf.at(30, 40), two.psf.at(30, 40))


def test_plain_exposure_of_the_co_add(built):
    reference = built[2]
    exposure = reference.exposure
    assert exposure.shape == reference.shape
    same = sample_reference(reference, reference.wcs, reference.shape)
    np.testing.assert_allclose(exposure.data[3:-3, 3:-3], same.data[3:-3, 3:-3], rtol=1e-4, atol=0.02)


def test_too_few_epochs_and_no_overlap(built):
    _, epochs, _ = built
    with pytest.raises(UnusableData, match="too few epochs"):
        build_reference(epochs[:14], make_wcs(SHAPE), SHAPE)
    with pytest.raises(UnusableData, match="covers"):
        build_reference(epochs[:3], make_wcs(SHAPE, ra=151), SHAPE, FEW)
    with pytest.raises(UnusableData, match="zero point"):
        build_reference([replace(epochs[0], zero_point=None)] * 2, make_wcs(SHAPE), SHAPE, FEW)


def test_selection_gives_reasons():
    fwhm = [2.0, 2.1, 2.2, 9.0, 2.0, np.nan, 2.0]
    depth = [20.5, 20.6, 20.4, 20.5, 18.0, 20.0, 20.5]
    settings = SelectionSettings(min_epochs=3, max_epochs=3)
    chosen = select_epochs(fwhm, depth, settings, usable=[True] * 6 + [False])
    assert list(chosen.index) == [1, 0, 2]
    assert chosen.reasons == ("", "", "", "seeing", "depth", "no seeing or depth", "quality")
    fewer = select_epochs(fwhm, depth, SelectionSettings(min_epochs=2, max_epochs=2))
    assert list(fewer.index) == [1, 0] and fewer.reasons[2] == "better ones suffice"
    with pytest.raises(UnusableData, match="too few good epochs"):
        select_epochs(fwhm, depth, SelectionSettings(min_epochs=6))
    with pytest.raises(UnusableData):
        select_epochs([], [], settings)


def test_pipeline_leaves_out_bad_seeing(built):
    _, epochs, _ = built
    blurred = replace(epochs[0], psf=GaussianPsf(6.0, 31))
    settings = ReferencePipelineSettings(SelectionSettings(min_epochs=3), FEW)
    reference = make_reference([*epochs[1:4], blurred], settings)
    assert reference.n_frames == 3
    noise_area = 1 / np.sum(GaussianPsf(2.4, 31).at(0, 0).astype(float) ** 2)
    exposure = make_exposure(np.random.default_rng(0), SHAPE, make_wcs(SHAPE), Stars(*[np.zeros(0)] * 3))
    assert point_source_depth(exposure) == pytest.approx(
        25 - 2.5 * np.log10(5 * np.sqrt(400 * noise_area)), abs=1e-3
    )


def test_maps_are_right_to_a_ten_thousandth():
    wcs = make_wcs((300, 400), rotation=3)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    from astropy.wcs import Sip

    a = np.zeros((4, 4))
    a[2, 0], a[0, 2], a[3, 0] = 3e-6, -2e-6, 1e-9
    wcs.sip = Sip(a, a.T.copy(), None, None, wcs.wcs.crpix)
    plain = finer_wcs(tangent_wcs(wcs, (300, 400)), 1.5)
    for output, source in ((wcs, plain), (plain, wcs)):
        pixels = map_pixels(output, source, (290, 390))
        for x, y in ((0, 0), (389, 289), (203.7, 111.1)):
            expected = source.all_world2pix(*output.all_pix2world(x, y, 0), 0)
            np.testing.assert_allclose(pixels.at(x, y), expected, atol=1e-4)


def test_effective_fwhm_of_a_gaussian():
    assert effective_fwhm(GaussianPsf(3.0, 25).at(0, 0)) == pytest.approx(3.0, rel=0.06)


class BowedPsf:
    """A Gaussian that is sharpest in the middle of an image of `SHAPE`."""

    size = 31

    def at(self, x, y, dx=0.0, dy=0.0):
        out = np.hypot(2 * x / SHAPE[1] - 1, 2 * y / SHAPE[0] - 1)
        return GaussianPsf(2.4 * (1 + 0.1 * out**2), self.size).at(x, y, dx, dy)


@pytest.mark.parametrize("place", [(125, 105), (40, 60), (200, 180)])
def test_psf_that_bends_over_a_small_image_is_kept(place):
    wcs, psf = make_wcs(SHAPE), BowedPsf()
    sampled = sample_psf(psf, map_pixels(wcs, wcs, SHAPE), SHAPE, spacing=1000.0)
    own, seen = psf.at(*place).astype(float), sampled.at(*place).astype(float)
    # the mean of nodes h apart is h^2 / 8 times the second derivative too wide: 0.4 % of the width here
    assert np.sum(own * seen) / np.sum(own**2) == pytest.approx(1, abs=2 * 0.1 * 2 / 8**2)


def test_noise_of_one_resampled_epoch_is_that_of_a_co_add():
    rng = np.random.default_rng(2)
    wcs = make_wcs(SHAPE)
    epochs = [frozen(e) for e in make_epochs(rng, 2, make_stars(rng, wcs, SHAPE, 5))]
    one, two = (build_reference(epochs[:n], wcs, SHAPE, ReferenceSettings(min_epochs=1)) for n in (1, 2))
    power = sample_reference(one, wcs, SHAPE).noise_power
    np.testing.assert_array_equal(power, sample_reference(two, wcs, SHAPE).noise_power)
    assert power[-1] < 1


@pytest.mark.parametrize(("shift", "turn"), [((0, 0), 0), ((0.5, 0.25), 0), ((0.5, 0), 90), ((0, 0), 3)])
def test_noise_of_an_interpolated_image_is_as_its_phases_say(shift, turn):
    """White noise read between its pixels has the power that is stated, along either axis."""
    rng = np.random.default_rng(3)
    noise = rng.standard_normal(SHAPE).astype(np.float32)
    wcs, moved = make_wcs(SHAPE), make_wcs(SHAPE, rotation=turn, dx=shift[0], dy=shift[1])
    power = interpolated_power(map_pixels(moved, wcs, SHAPE), SHAPE)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    there_x, there_y = sky_to_pixels(wcs, *pixels_to_sky(moved, x, y))
    seen = map_coordinates(noise, [there_y, there_x], order=3, mode="mirror")[30:-30, 30:-30]
    lines = np.fft.fftfreq(seen.shape[0]), np.fft.rfftfreq(seen.shape[1])
    spectrum = np.abs(np.fft.rfft2(seen - seen.mean())) ** 2 / seen.size
    table = np.linspace(0, 0.5, power.shape[1])
    stated = np.outer(*(np.interp(abs(f), table, p) for f, p in zip(lines, power, strict=True)))
    for axis, frequency in enumerate(lines):
        high = np.abs(frequency) > 0.4
        ratio = np.compress(high, spectrum, axis=axis).mean() / np.compress(high, stated, axis=axis).mean()
        assert ratio == pytest.approx(1, abs=5 * np.sqrt(2 / (high.sum() * spectrum.shape[1 - axis])))
