import numpy as np
import pytest
from astropy.table import Table
from star_fields import MODEL, grid_field

from zsds.core.errors import UnusableData
from zsds.core.exposure import ZeroPoint
from zsds.photometry import (
    ColourNoise,
    ZeroPointSettings,
    fit_star_flat,
    fit_stars,
    fit_zero_point,
    limiting_magnitude,
    measure_patchiness,
)


def calibrators(rng, n, scatter=0.015, value=26.2, slope=-0.06, outliers=0.0):
    mag, colour = rng.uniform(14, 19, n), rng.normal(0.6, 0.3, n)
    flux = 10 ** (0.4 * (value + slope * colour - mag + rng.normal(0, scatter, n)))
    err = np.sqrt(flux + 5e3)
    flux = flux + rng.normal(0, 1, n) * err
    bad = rng.random(n) < outliers
    flux[bad] *= 10 ** rng.normal(0, 0.4, bad.sum())
    return flux, err, mag, np.full(n, 0.005), colour


def test_pulls_are_honest_with_outliers_and_intrinsic_scatter():
    rng = np.random.default_rng(0)
    pulls = []
    for _ in range(120):
        zero = fit_zero_point(*calibrators(rng, 200, outliers=0.08))
        chi2 = np.array([zero.value - 26.2, zero.colour_coeff + 0.06])
        covariance = np.array([[zero.err**2, zero.covariance], [zero.covariance, zero.colour_err**2]])
        pulls.append(
            [chi2[0] / zero.err, chi2[1] / zero.colour_err, chi2 @ np.linalg.solve(covariance, chi2)]
        )
    pulls = np.array(pulls)
    assert np.all(np.abs(pulls[:, :2].mean(axis=0)) < 4 / np.sqrt(120))
    assert np.all(np.abs(pulls[:, :2].std(axis=0) - 1) < 0.25)
    assert pulls[:, 2].mean() == pytest.approx(2, abs=0.6)
    assert 0.015 < zero.rms < 0.035
    assert zero.median == pytest.approx(26.2 - 0.06 * 0.6, abs=4 * 1.25 * 0.027 / np.sqrt(180))
    assert zero.err > 0.015 / np.sqrt(200)


def test_noise_of_faint_stars_does_not_weigh_in_their_favour():
    rng, n, pulls = np.random.default_rng(6), 3000, []
    for _ in range(60):
        mag = rng.uniform(17.5, 20.5, n)
        true = 10 ** (0.4 * (28 - mag))
        flux_err, mag_err = np.sqrt(true + 2e4), np.hypot(0.008, 0.15 * 10 ** (0.4 * (mag - 22.3)))
        flux, listed = true + rng.normal(0, flux_err), mag + rng.normal(0, mag_err)
        zero = fit_zero_point(flux, flux_err, listed, mag_err, rng.normal(0.8, 0.4, n))
        pulls.append((zero.value - 28) / zero.err)
    assert abs(np.mean(pulls)) < 3 / np.sqrt(60)
    assert np.std(pulls) == pytest.approx(1, abs=0.3)


def test_noise_of_colours_is_taken_off_the_colour_term():
    rng, n, slopes = np.random.default_rng(7), 2000, {True: [], False: []}
    for _ in range(40):
        mag, red = rng.uniform(14, 17, n), rng.normal(0.7, 0.25, n)
        flux = 10 ** (0.4 * (28 - mag))
        noise = np.full(n, 0.05)
        listed, blue = mag + rng.normal(0, noise), mag + red + rng.normal(0, noise)
        known = ColourNoise(2 * noise**2, -(noise**2))
        for with_noise, extra in ((True, known), (False, None)):
            zero = fit_zero_point(flux, 1e-3 * flux, listed, noise, blue - listed, None, extra)
            slopes[with_noise].append(zero.colour_coeff / zero.colour_err)
    assert abs(np.mean(slopes[True])) < 3 / np.sqrt(40)
    assert np.mean(slopes[False]) < -3  # the error of a magnitude is in its colour as well


def test_few_stars_keep_the_default_colour_term():
    rng = np.random.default_rng(1)
    stars = calibrators(rng, 11, slope=0.1)
    zero = fit_zero_point(*stars, ZeroPointSettings(default_colour=0.1))
    assert zero.colour_coeff == 0.1
    assert abs(zero.value - 26.2) < 4 * zero.err
    settings = ZeroPointSettings(min_colour_range=0, max_mag_err=0.1)
    assert fit_zero_point(*calibrators(rng, 12, slope=0.1), settings).colour_err < 0.05


def test_too_few_or_too_scattered_is_rejected():
    rng = np.random.default_rng(2)
    fit_zero_point(*calibrators(rng, 3))
    with pytest.raises(UnusableData, match="too few calibrators") as caught:
        fit_zero_point(*calibrators(rng, 2))
    assert caught.value.numbers["calibrators"] == 2
    with pytest.raises(UnusableData, match="scatter"):
        fit_zero_point(*calibrators(rng, 50, scatter=0.6))
    with pytest.raises(UnusableData):
        fit_zero_point([], [], [], [], [])


def test_missing_values_are_left_out():
    flux, err, mag, mag_err, colour = calibrators(np.random.default_rng(3), 60)
    mag[:5], colour[5:10], flux[10:15] = np.nan, np.nan, -1
    assert fit_zero_point(flux, err, mag, mag_err, colour).n_stars <= 45


@pytest.fixture
def real_list(shared_data):
    """Fluxes, errors, magnitudes, errors and colours of a real frame's stars, and their places."""
    table = Table.read(shared_data / "photcal" / "lco_ogg2m001_ep04_20201006_matched.fits.gz")
    names = "flux", "fluxerr", "gmag", "gmagerr", "rmag", "x", "y"
    flux, err, mag, mag_err, red, x, y = (np.asarray(table[name], dtype=float) for name in names)
    return (flux, err, mag, mag_err, mag - red), x, y


def test_real_frame(real_list):
    zero = fit_zero_point(*real_list[0])
    assert zero.value == pytest.approx(29.574, abs=0.01)
    assert zero.colour_coeff == pytest.approx(-0.053, abs=0.016)
    assert zero.rms < 0.03
    assert zero.n_stars > 110


def test_halves_of_a_real_list_agree_within_their_errors(real_list):
    rng, pulls = np.random.default_rng(4), []
    for _ in range(60):
        half = rng.random(real_list[0][0].size) < 0.5
        one, other = (fit_zero_point(*(values[part] for values in real_list[0])) for part in (half, ~half))
        colour = (one.colour_coeff - other.colour_coeff) / np.hypot(one.colour_err, other.colour_err)
        pulls.append([(one.value - other.value) / np.hypot(one.err, other.err), colour])
    assert np.std(pulls, axis=0) == pytest.approx([1, 1], abs=4 / np.sqrt(2 * 60))


def test_real_sky_is_level_until_it_is_tilted(real_list):
    stars, x, y = real_list
    zero = fit_zero_point(*stars)
    residual = stars[2] + 2.5 * np.log10(stars[0]) - zero.value - zero.colour_coeff * stars[4]
    err, shape = np.hypot(1.0857 * stars[1] / stars[0], stars[3]), (2050, 2050)
    level = fit_star_flat(x, y, residual, err, shape)
    assert level.order == 0
    assert measure_patchiness(x, y, residual, err, shape).scatter == 0
    tilted = fit_star_flat(x, y, residual + 0.1 * (x / 2050 - 0.5), err, shape)
    slope = np.ptp(tilted.at([0.0, 2049.0], [1000.0, 1000.0]))
    assert slope == pytest.approx(0.1, abs=4 * zero.rms * np.sqrt(12 / zero.n_stars))


def test_limiting_magnitude_is_where_the_error_is_a_fifth():
    exposure, x, y, _ = grid_field(2, np.array([1000.0]))
    stars = fit_stars(exposure, MODEL, Table({"x": x + 11, "y": y + 11}))
    limit = limiting_magnitude(exposure, MODEL, ZeroPoint(25.0))
    noise = np.nanmedian(stars["flux_err"][~stars["is_edge"]])
    assert limit == pytest.approx(25 - 2.5 * np.log10(5 * noise), abs=0.08)
