"""Noise, fluxes, stars and PSFs of differences of images that are as they should be."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from scipy.fft import irfft2, rfft2
from scipy.ndimage import maximum_filter

from tests.subtract.pairs import NOTHING, PLAIN, SHAPE, WCS, pair
from tests.subtract.sky import add_star, make_exposure, make_stars, make_wcs
from zsds.core.exposure import ZeroPoint
from zsds.core.psf import GaussianPsf
from zsds.core.robust import central_width
from zsds.forced import measure_forced
from zsds.psf.model import GridPsf
from zsds.reference.noise import resampled_power
from zsds.subtract import MatchSettings, SubtractSettings, subtract
from zsds.subtract.sampling import sampling_error


class MoffatLike:
    """A core with broad wings."""

    size = 31

    def at(self, x, y, dx=0.0, dy=0.0):
        stamps = (GaussianPsf(fwhm, self.size).at(x, y, dx, dy) for fwhm in (2.4, 8.0))
        return np.float32(0.8) * next(stamps) + np.float32(0.2) * next(stamps)


class BowedPsf:
    """A Gaussian that is sharpest in the middle of the image and widens towards its border."""

    size = 31

    def at(self, x, y, dx=0.0, dy=0.0):
        out = np.hypot(2 * x / SHAPE[1] - 1, 2 * y / SHAPE[0] - 1)
        return GaussianPsf(2.4 * (1 + 0.15 * out**2), self.size).at(x, y, dx, dy)


def test_fluxes_are_right_between_the_corners_of_tiles_where_the_psf_bends(rng):
    psf, new = BowedPsf(), [(195.2, 164.6, 1e4), (120.7, 90.1, 1e4)]
    n = make_exposure(rng, SHAPE, WCS, NOTHING, new=new, psf=psf, noise=False)
    r = make_exposure(rng, SHAPE, WCS, NOTHING, psf=psf, noise=False)
    found = subtract(n, r, PLAIN).exposure
    for x, y, flux in new:
        j, i = round(x), round(y)
        model = found.psf.at(x, y, x - j, y - i).astype(float)
        half = model.shape[0] // 2
        stamp = found.data[i - half : i + half + 1, j - half : j + half + 1]
        assert (model * stamp).sum() / (model**2).sum() == pytest.approx(flux, rel=PLAIN.max_bend)


@pytest.mark.parametrize("fwhm", [(2.4, 2.2), (2.0, 3.0), (3.2, 2.0)])
def test_empty_sky_has_unit_score_and_white_noise(rng, fwhm):
    n, r = pair(rng, science=fwhm[0], reference=fwhm[1])
    result = subtract(n, r, PLAIN)
    score = result.score[8:-8, 8:-8]
    independent = score.size / (2 * np.pi * (max(fwhm) / 2.35) ** 2 * 2)
    assert score.std() == pytest.approx(1, abs=4 / np.sqrt(2 * independent))
    assert abs(score.mean()) < 4 * 3 / np.sqrt(score.size / 12)
    difference = result.exposure.data[8:-8, 8:-8].astype(float)
    assert np.mean(difference**2 / result.exposure.variance[8:-8, 8:-8]) == pytest.approx(1, abs=0.03)
    power = np.abs(rfft2(difference)) ** 2
    fy, fx = np.fft.fftfreq(difference.shape[0])[:, None], np.fft.rfftfreq(difference.shape[1])[None, :]
    frequency = np.hypot(fx, fy)
    for low, high in ((0.02, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.4), (0.4, 0.5)):
        ring = (frequency >= low) & (frequency < high)
        level = power[ring].mean() / power[frequency < 0.5].mean()
        assert level == pytest.approx(1, abs=5 / np.sqrt(ring.sum()) + 0.01)


def test_noise_of_an_interpolated_reference_leaves_the_difference_white(rng):
    power = resampled_power(1.5)
    n, r = pair(rng, science=1.9, reference=2.6, reference_sky=200.0)
    filtered = irfft2(rfft2(r.data) * noise_transfer_of(power, SHAPE), SHAPE).astype(np.float32)
    result = subtract(n, replace(r, data=filtered, noise_power=power), PLAIN)
    difference = (result.exposure.data / np.sqrt(result.exposure.variance))[8:-8, 8:-8]
    assert difference.std() == pytest.approx(1, abs=5 / np.sqrt(2 * difference.size) + 0.005)
    spectrum = np.abs(rfft2(difference)) ** 2 / difference.size
    lines = abs(np.fft.fftfreq(difference.shape[0])), np.fft.rfftfreq(difference.shape[1])
    for axis, frequency in enumerate(lines):
        high = np.compress(frequency > 0.4, spectrum, axis=axis)
        assert high.mean() == pytest.approx(1, abs=5 / np.sqrt(high.size) + 0.01)


def noise_transfer_of(power, shape):
    table = np.linspace(0, 0.5, power.size)
    lines = [np.interp(abs(f), table, power) for f in (np.fft.fftfreq(shape[0]), np.fft.rfftfreq(shape[1]))]
    return np.sqrt(np.outer(*lines))


@pytest.mark.parametrize("counted", ["science", "reference"])
def test_variance_made_from_counts_favours_no_sign(rng, counted):
    """The error of a flux does not follow the noise that makes the flux."""
    images = dict(zip(("science", "reference"), pair(rng, reference_sky=900.0), strict=True))
    image = images[counted]
    expected = float(np.median(image.variance))
    images[counted] = replace(image, variance=np.maximum(expected + image.data, 1).astype(np.float32))
    result = subtract(images["science"], images["reference"], PLAIN)
    score, variance = (p[8:-8, 8:-8].ravel().astype(float) for p in (result.score, result.flux_err**2))
    assert abs(np.corrcoef(score, variance)[0, 1]) < 0.3  # above 0.7 otherwise


def test_false_peaks_are_as_many_as_gaussian_noise_gives(rng):
    """Peaks above u of a Gaussian field: area * (second moment) / (2 pi)^(3/2) * u exp(-u^2 / 2)."""
    found, expected = 0, 0.0
    for _ in range(3):
        n, r = pair(rng)
        score = subtract(n, r, PLAIN).score[8:-8, 8:-8].astype(float)
        slope = np.sqrt(np.var(np.diff(score, axis=0)) * np.var(np.diff(score, axis=1))) / score.var()
        u = 3.5
        expected += score.size * slope / (2 * np.pi) ** 1.5 * u * np.exp(-(u**2) / 2)
        found += ((maximum_filter(score, 3) == score) & (score > u)).sum()
    assert abs(found - expected) < 4 * np.sqrt(expected) + 0.1 * expected


def test_swap_only_flips_the_sign(rng):
    stars = make_stars(rng, WCS, SHAPE, 50, bright=20000)
    n, r = pair(rng, stars, zero=25.0)
    settings = SubtractSettings(normalise=False, curvature=0.0, background_cell=0)
    one, two = subtract(n, r, settings), subtract(r, n, settings)
    assert one.flux_scale * two.flux_scale == pytest.approx(1, abs=3 * one.metrics["flux_scale_err"])
    quiet = one.exposure.variance < 1.2 * np.median(one.exposure.variance)
    np.testing.assert_allclose(one.score[quiet], -two.score[quiet], atol=0.25)
    assert np.corrcoef(one.score[quiet], two.score[quiet])[0, 1] < -0.999


def test_sky_is_right_under_a_noisy_reference(rng):
    """Pixels chosen by the reference's own noise would carry the error of where it is cut into the sky."""
    n, r = pair(rng, reference_sky=4000.0, zero=25.0)
    result = subtract(n, r, replace(PLAIN, background_cell=64))
    pull = result.exposure.data / np.sqrt(result.exposure.variance)
    cells = pull[10:320, 10:380].reshape(5, 62, 5, 74).mean(axis=(1, 3))
    assert np.sqrt(np.mean(cells**2)) < 1.2 / np.sqrt(62 * 74)


def test_flux_scale_is_right_whichever_image_has_the_noise(rng):
    """Squares of a noisy reference exceed those of its stars: it would seem too bright, both ways."""
    stars = make_stars(rng, WCS, SHAPE, 120, faint=2500, bright=15000)
    n, r = pair(rng, stars, reference_sky=400.0, zero=25.0)
    one, two = subtract(n, r), subtract(r, n)
    assert one.flux_scale * two.flux_scale == pytest.approx(1, abs=one.metrics["flux_scale_err"] / 2)


@pytest.mark.parametrize("fwhm", [(2.4, 2.2), (2.0, 2.8), (2.8, 2.0)])
def test_injected_fluxes_are_unbiased_with_honest_errors(rng, fwhm):
    new, stars = [], make_stars(rng, WCS, SHAPE, 40, bright=30000)
    for y in range(20, 320, 24):
        new += [(x + rng.uniform(-0.1, 0.1), y + rng.uniform(-0.1, 0.1), 3000.0) for x in range(20, 380, 24)]
    n, r = pair(rng, stars, *fwhm, new=new)
    result = subtract(n, r, PLAIN)
    x, y = (np.array([round(s[k]) for s in new]) for k in (0, 1))
    flux, err = result.flux[y, x], result.flux_err[y, x]
    centred = np.array([_centred_response(result.exposure.psf, *s[:2]) for s in new])
    sx, sy = WCS.all_world2pix(stars.ra, stars.dec, 0)
    lonely = np.hypot(x[:, None] - sx, y[:, None] - sy).min(axis=1) > 8
    flux = flux / centred
    assert np.mean(flux[lonely]) == pytest.approx(
        3000, abs=4 * np.std(flux[lonely]) / np.sqrt(lonely.sum()) + 9
    )
    pull = (flux - 3000)[lonely] / err[lonely]
    assert pull.std() == pytest.approx(1, abs=4 / np.sqrt(2 * lonely.sum()))


def _centred_response(psf, x, y):
    """What the matched filter loses at the nearest pixel of a source off its centre."""
    there = psf.at(x, y, x - round(x), y - round(y)).astype(float)
    here = psf.at(x, y).astype(float)
    return np.sum(there * here) / np.sum(here**2)


def test_constant_stars_vanish(rng):
    stars = make_stars(rng, WCS, SHAPE, 120, bright=300000)
    n, r = pair(rng, stars, 2.2, 2.5)
    result = subtract(n, r)
    x, y = (np.rint(v).astype(int) for v in WCS.all_world2pix(stars.ra, stars.dec, 0))
    inside = (x > 8) & (x < SHAPE[1] - 8) & (y > 8) & (y < SHAPE[0] - 8)
    worst = np.array(
        [
            np.abs(result.score[j - 2 : j + 3, i - 2 : i + 3]).max()
            for i, j in zip(x[inside], y[inside], strict=True)
        ]
    )
    assert np.mean(worst < 5) > 0.985
    assert result.flux_scale == pytest.approx(10**-0.12, rel=4 * result.metrics["flux_scale_err"])
    assert result.metrics["flux_scale_err"] < 0.001
    assert result.metrics["n_match_stars"] > 30


def test_errors_of_bright_constant_stars_are_their_scatter(rng):
    pulls = []
    for _ in range(4):
        stars = make_stars(rng, WCS, SHAPE, 90, faint=15000, bright=150000)
        result = subtract(*pair(rng, stars, 2.2, 2.5))
        x, y = WCS.all_world2pix(stars.ra, stars.dec, 0)
        inside = (x > 12) & (x < SHAPE[1] - 12) & (y > 12) & (y < SHAPE[0] - 12)
        forced = measure_forced(result, x[inside], y[inside])
        pulls.append(np.asarray(forced["flux"] / forced["flux_err"]))
    pulls = np.concatenate(pulls)
    assert central_width(pulls) == pytest.approx(1, abs=4 * 0.83 / np.sqrt(pulls.size))


def test_undersampled_stars_are_known_less_well():
    """A matched filter's flux of a star that it takes for one on a pixel's centre, moved back."""
    sharp, good = (sampling_error(GaussianPsf(fwhm), 0, 0) for fwhm in (1.1, 2.6))
    assert good < SubtractSettings().curvature
    assert 0.006 < sharp < 0.03
    assert sampling_error(GaussianPsf(5.0), 0, 0) == pytest.approx(0, abs=1e-5)


def test_tiles_equal_the_whole(rng):
    stars = make_stars(rng, WCS, SHAPE, 60, bright=50000)
    n, r = pair(rng, stars)
    whole, tiles = (subtract(n, r, SubtractSettings(tile_size=size)) for size in (1000, 110))
    noise = np.sqrt(np.median(whole.exposure.variance))
    assert np.abs(whole.exposure.data - tiles.exposure.data).max() < 0.05 * noise
    np.testing.assert_allclose(whole.score, tiles.score, atol=0.03)
    np.testing.assert_allclose(whole.flux_err, tiles.flux_err, rtol=0.01)


def test_varying_psf_and_flux_scale_leave_no_seams(rng):
    """FWHM 2.0 to 2.6 and 3 % in flux scale over 390 pixels; noise-free but for the photon variance given."""
    stars = make_stars(rng, WCS, SHAPE, 150, faint=5000, bright=60000)
    ends = [GaussianPsf(w, 31).at(0, 0) for w in np.linspace(2.0, 2.6, 9)]
    psf = GridPsf.from_stamps(np.stack([ends]), np.linspace(0, 389, 9), [0.0])
    n = make_exposure(rng, SHAPE, WCS, stars, psf=psf)
    tilt = (1 + 0.03 * (np.arange(SHAPE[1]) / 389 - 0.5)).astype(np.float32)
    n = replace(n, data=n.data * tilt)
    r = make_exposure(rng, SHAPE, WCS, stars, 2.3, sky=60)
    result = subtract(n, r, SubtractSettings(tile_size=130))
    x, y = (np.rint(v).astype(int) for v in WCS.all_world2pix(stars.ra, stars.dec, 0))
    inside = (x > 8) & (x < SHAPE[1] - 8) & (y > 8) & (y < SHAPE[0] - 8)
    score = result.score[y[inside], x[inside]]
    assert np.abs(score).max() < 5 and score.std() < 1.2
    assert result.metrics["score_width"] == pytest.approx(1, abs=0.03)


def test_registration_is_measured_and_removed(rng):
    stars = make_stars(rng, WCS, SHAPE, 80, faint=3000, bright=60000)
    n = make_exposure(rng, SHAPE, WCS, stars)
    moved = make_wcs(SHAPE, dx=0.22, dy=-0.13)
    r = replace(make_exposure(rng, SHAPE, moved, stars, 2.3, sky=60), wcs=WCS)
    result = subtract(n, r)
    assert result.registration.dx == pytest.approx(0.22, abs=0.01)
    assert result.registration.dy == pytest.approx(-0.13, abs=0.01)
    assert result.registration.dx_rms < 0.03
    x, y = (np.rint(v).astype(int) for v in WCS.all_world2pix(stars.ra, stars.dec, 0))
    inside = (x > 8) & (x < SHAPE[1] - 8) & (y > 8) & (y < SHAPE[0] - 8)
    assert np.abs(result.score[y[inside], x[inside]]).max() < 5


def test_registration_noise_is_measured(rng):
    """Stars scattered by 0.08 pixels: the score must allow for it."""
    stars = make_stars(rng, WCS, SHAPE, 80, faint=20000, bright=60000)
    n = make_exposure(rng, SHAPE, WCS, stars)
    scatter = replace(stars, ra=stars.ra + rng.normal(0, 0.08 / 3600, 80) / np.cos(np.radians(20)))
    r = make_exposure(rng, SHAPE, WCS, scatter, 2.3, sky=60)
    result = subtract(n, r)
    assert result.registration.dx_rms == pytest.approx(0.08, rel=0.4)
    assert result.registration.dy_rms < 0.03
    assert np.mean(np.abs(result.score) > 5) < 2e-4


def test_background_difference_is_removed(rng):
    stars = make_stars(rng, WCS, SHAPE, 50, bright=30000)
    n, r = pair(rng, stars)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    glow = (12 + 8 * np.sin(x / 150) + 0.02 * y).astype(np.float32)
    result = subtract(replace(n, data=n.data + glow), r, SubtractSettings(background_cell=64))
    assert np.nanmedian(result.exposure.data) == pytest.approx(0, abs=0.3)
    assert result.metrics["score_width"] < 1.03


def test_new_sources_do_not_raise_the_sky(rng):
    """Forty of S/N 10 to 60, on a twentieth of the image: the rest stays at zero."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(25, 365, 8), np.linspace(25, 305, 5)))
    x, y = x + rng.uniform(-6, 6, x.size), y + rng.uniform(-6, 6, x.size)
    flux = rng.uniform(10, 60, x.size) * 20 * np.sqrt(4 * np.pi) * 1.7
    psf = MoffatLike()
    n = make_exposure(rng, SHAPE, WCS, NOTHING, new=list(zip(x, y, flux, strict=True)), psf=psf)
    r = make_exposure(rng, SHAPE, WCS, NOTHING, sky=40.0, psf=psf)
    n = replace(n, variance=np.full(SHAPE, 400, np.float32))
    result = subtract(n, r, PLAIN)
    rows, cols = np.indices(SHAPE)
    far = np.min([np.hypot(cols - a, rows - b) for a, b in zip(x, y, strict=True)], axis=0) > 16
    data = result.exposure.data[far]
    assert data.mean() == pytest.approx(0, abs=3.5 * data.std() / np.sqrt(data.size))


def test_sky_follows_structure_of_the_size_of_its_cells(rng):
    n, r = pair(rng)
    rows, cols = np.indices(SHAPE)
    bump = 4.0 * np.exp(-((cols - 195) ** 2 + (rows - 165) ** 2) / (2 * 60.0**2))
    n = replace(n, data=n.data + bump.astype(np.float32))
    data = subtract(n, r, replace(PLAIN, background_cell=64)).exposure.data
    middle = data[125:205, 155:235]
    assert abs(middle.mean()) < 0.15 * 4.0


def test_no_stars_falls_back_on_the_zero_points(rng):
    n, r = pair(rng, zero=25.5)
    result = subtract(n, r)
    assert result.flux_scale == pytest.approx(10**-0.2)
    assert result.registration.n_stars == 0
    result = subtract(n, replace(r, zero_point=None))
    assert result.flux_scale == 1


def test_stars_given_are_used(rng):
    stars = make_stars(rng, WCS, SHAPE, 60, faint=5000, bright=60000)
    n, r = pair(rng, stars)
    x, y = WCS.all_world2pix(stars.ra, stars.dec, 0)
    table = Table({"x": x, "y": y, "flux": stars.flux})
    table["flux"][0] = np.nan
    table.add_row((np.nan, 3.0, 1.0))
    result = subtract(n, r, stars=table)
    assert result.flux_scale == pytest.approx(10**-0.12, rel=4 * result.metrics["flux_scale_err"])
    settings = SubtractSettings(match=MatchSettings(min_stars=1000))
    few = subtract(n, r, settings, stars=table[:0])
    assert few.flux_scale == pytest.approx(10**-0.12, rel=4 * few.metrics["flux_scale_err"] + 1e-6)


def test_a_handful_of_stars_gives_scale_and_shift(rng):
    stars = make_stars(rng, WCS, SHAPE, 5, faint=20000, bright=60000)
    n, r = pair(rng, stars)
    wrong = ZeroPoint(r.zero_point.value + 0.1)
    moved = WCS.deepcopy()
    moved.wcs.crpix = np.asarray(moved.wcs.crpix) + np.array([0.4, -0.3])
    shifted = make_exposure(rng, SHAPE, moved, stars, 2.3, sky=60)
    result = subtract(n, replace(shifted, wcs=WCS, zero_point=wrong))
    assert 1 <= result.registration.n_stars <= 5
    assert result.registration.dx == pytest.approx(0.4, abs=0.05)
    assert result.registration.dy == pytest.approx(-0.3, abs=0.05)
    assert result.flux_scale == pytest.approx(1, abs=0.03)  # the stars outweigh a wrong zero point


def test_variable_stars_do_not_bend_the_flux_scale(rng):
    stars = make_stars(rng, WCS, SHAPE, 80, faint=5000, bright=60000)
    n = make_exposure(rng, SHAPE, WCS, stars)
    varied = stars.flux * np.where(np.arange(80) % 8 == 0, 1.4, 1.0)
    r = make_exposure(rng, SHAPE, WCS, replace(stars, flux=varied), 2.3, sky=60)
    result = subtract(n, r)
    assert result.flux_scale == pytest.approx(1, abs=4 * result.metrics["flux_scale_err"])
    assert result.metrics["flux_scale_err"] < 0.002


def test_wrong_noise_is_put_right_by_the_measured_width(rng):
    n, r = pair(rng)
    result = subtract(replace(n, variance=n.variance * np.float32(1.3)), r)
    assert result.metrics["score_width"] < 0.93
    assert np.nanstd(result.score) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("fwhm", [(1.2, 1.6), (1.3, 2.6), (2.2, 1.4)])
def test_difference_psf_is_right_between_pixels_however_sharp_the_seeing(rng, fwhm):
    new = [(40.0 + 37 * k + k / 8, 60.0 + 31 * k - k / 11, 1e4) for k in range(8)]
    n = make_exposure(rng, SHAPE, WCS, NOTHING, fwhm[0], new=new, noise=False)
    r = make_exposure(rng, SHAPE, WCS, NOTHING, fwhm[1], sky=60.0, noise=False)
    found = subtract(n, r, replace(PLAIN, background_cell=0)).exposure
    for x, y, flux in new:
        j, i = round(x), round(y)
        model = found.psf.at(x, y, x - j, y - i).astype(float)
        half = model.shape[0] // 2
        stamp = found.data[i - half : i + half + 1, j - half : j + half + 1]
        assert (model * stamp).sum() / (model**2).sum() == pytest.approx(flux, rel=1e-3)
        assert np.abs(stamp - flux * model).max() < 2e-3 * flux


def test_difference_psf_is_that_of_an_injected_source(rng):
    quiet = make_exposure(rng, SHAPE, WCS, NOTHING, 2.0, new=[(180.3, 140.6, 1e6)], noise=False)
    quiet = replace(quiet, variance=np.full(SHAPE, 400, np.float32))
    r = make_exposure(rng, SHAPE, WCS, NOTHING, 2.8, sky=60, noise=False)
    result = subtract(quiet, r, SubtractSettings(normalise=False, background_cell=0))
    model = np.zeros(SHAPE)
    add_star(model, result.exposure.psf, 180.3, 140.6, 1e6)
    np.testing.assert_allclose(result.exposure.data, model, atol=2e-3 * model.max())
    assert result.exposure.psf.at(180, 140).sum() == pytest.approx(1, abs=0.01)


def test_noise_that_varies_over_the_image(rng):
    """Sky three times brighter on one side, amplifier steps included: the score is as wide everywhere."""
    n, r = pair(rng)
    x = np.arange(SHAPE[1])
    more = np.where(x < 200, 0, 400 + 2 * x).astype(np.float32)
    data = n.data + (rng.normal(size=SHAPE) * np.sqrt(more)).astype(np.float32)
    n = replace(n, data=data, variance=n.variance + more)
    score = subtract(n, r, replace(PLAIN, tile_size=130)).score
    for part in (slice(10, 180), slice(215, 380)):
        assert score[10:-10, part].std() == pytest.approx(1, abs=0.03)
