import itertools
from dataclasses import replace

import numpy as np
import pytest
from star_fields import VaryingMoffat, draw_stars, star_field

from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.extract import detect_sources, measure_background, subtract_background
from zsds.psf import MoffatPsf, PsfSettings, fit_psf
from zsds.psf.selection import choose_order


def prepared(field):
    background = measure_background(field.exposure)
    return subtract_background(field.exposure, background), detect_sources(field.exposure, background)


def core_error(model, truth, side=400):
    """Largest pixel of model - truth, as a share of the flux, free of a common shift."""
    half, worst = model.size // 2, 0.0
    for x in (0.15 * side, 0.5 * side, 0.85 * side):
        for y in (0.15 * side, 0.5 * side, 0.85 * side):
            for d in ((0, 0), (0.5, 0.3), (-0.4, 0.5)):
                stamp = truth.at(x, y, *d)
                middle = truth.size // 2
                stamp = stamp[middle - half : middle + half + 1, middle - half : middle + half + 1]
                left = model.at(x, y, *d) - stamp / stamp.sum()
                slopes = np.stack([g.ravel() for g in np.gradient(stamp)], axis=1)
                shift = np.linalg.lstsq(slopes, left.ravel(), rcond=None)[0]
                worst = max(worst, np.abs(left.ravel() - slopes @ shift).max())
    return worst


@pytest.mark.parametrize(
    ("fwhm", "beta", "growth", "ratio"),
    [
        (1.3, 3.0, 0.05, 0.95),
        (2.0, 3.0, 0, 1),
        (2.0, 3.0, 0.07, 0.93),
        (3.0, 3.5, 0.1, 0.9),
        (4.0, 4.0, 0.1, 0.9),
    ],
)
def test_fitted_psf_is_the_true_one(fwhm, beta, growth, ratio):
    truth = VaryingMoffat(fwhm, beta, 61, growth, ratio)
    exposure, sources = prepared(star_field(truth, n_stars=300))
    fit = fit_psf(exposure, sources)
    assert core_error(fit.model, truth) < 0.005
    assert fit.residual < 0.002
    assert fit.n_stars > 30
    assert fit.model.at(200, 200).sum() == pytest.approx(1, abs=2e-3)


class CoreWithWings:
    """A narrow core on wide wings, far from any Moffat."""

    size = 61

    def __init__(self):
        self.parts = MoffatPsf.of_fwhm(1.7, 30.0, 61), MoffatPsf.of_fwhm(5.0, 3.0, 61, ratio=0.8, theta=0.5)

    def at(self, x, y, dx=0.0, dy=0.0):
        core, wings = (part.at(x, y, dx, dy) for part in self.parts)
        return 0.8 * core + 0.2 * wings


def test_places_of_stars_and_psf_do_not_confirm_each_others_errors():
    truth = CoreWithWings()
    exposure, sources = prepared(star_field(truth, n_stars=300, seed=2))
    model = fit_psf(exposure, sources).model
    half, errors = model.size // 2, []
    for dx in np.linspace(-0.45, 0.45, 7):
        stamp = truth.at(200, 200, dx, 0.1)[30 - half : 31 + half, 30 - half : 31 + half]
        ahead, behind = (model.at(200, 200, dx + step, 0.1) for step in (0.02, -0.02))
        slope, own = (ahead - behind) / 0.04, model.at(200, 200, dx, 0.1)
        errors.append(np.linalg.lstsq(np.stack([own.ravel(), slope.ravel()], 1), stamp.ravel())[0][1])
    assert np.std(errors) < 0.004


def test_few_stars_give_nearly_a_moffat_and_fewer_give_none():
    truth = VaryingMoffat(2.2, 3.0, 61)
    exposure, sources = prepared(star_field(truth, n_stars=14, seed=3, flux=(8000, 1e5), margin=20))
    fit = fit_psf(exposure, sources)
    assert core_error(fit.model, truth) < 0.005
    with pytest.raises(UnusableData, match="too few stars for a PSF") as caught:
        fit_psf(exposure, sources, PsfSettings(min_stars=15))
    assert caught.value.numbers["sources"] == len(sources)


def test_units_that_are_no_electrons_are_told():
    """Photon noise, taken from the flux, is far above all of it."""
    made = star_field(VaryingMoffat(2.2, 3.0, 61), n_stars=40, seed=3, flux=(8000, 1e5), margin=20).exposure
    small = replace(made, data=made.data * np.float32(1e-6), variance=made.variance * np.float32(1e-12))
    with pytest.raises(UnusableData, match="is the gain right"):
        fit_psf(small, detect_sources(small, measure_background(small)))


def test_galaxies_cosmic_rays_and_binaries_do_not_count():
    truth = VaryingMoffat(2.2, 3.0, 41)
    field = star_field(truth, n_stars=90, seed=8, flux=(3000, 1e5))
    rng = np.random.default_rng(1)
    image = field.exposure.data.astype(np.float64)
    for fwhm in rng.uniform(3, 6, 60):
        galaxy = MoffatPsf.of_fwhm(fwhm, 2.5, 41, ratio=0.6, theta=1.0)
        draw_stars(image, galaxy, *rng.uniform(20, 360, (2, 1)), 10 ** rng.uniform(3.5, 5, 1))
    pairs = rng.uniform(20, 360, (2, 15))
    draw_stars(image, truth, *pairs, np.full(15, 4e4))
    draw_stars(image, truth, *(pairs + np.array([[1.2], [0.6]])), np.full(15, 3e4))
    for x, y in rng.integers(20, 360, (60, 2)):
        image[y, x : x + 2] += 20000
    data = image.astype(np.float32)
    exposure = Exposure(data, np.maximum(data + 64, 64), field.exposure.mask, field.exposure.info)
    background = measure_background(exposure)
    sources = detect_sources(exposure, background)
    fit = fit_psf(subtract_background(exposure, background), sources)
    assert core_error(fit.model, truth) < 0.005


def test_order_follows_the_variation():
    rng = np.random.default_rng(0)
    u, v = rng.uniform(-1, 1, (2, 200))
    noise = rng.normal(0, 0.01, (200, 3))
    assert choose_order(u, v, noise, 3) <= 1
    assert choose_order(u, v, noise + 0.1 * np.column_stack([u, v, u]), 3) == 1
    assert choose_order(u, v, noise + 0.1 * np.column_stack([u * v, v**2, u]), 3) == 2
    assert choose_order(u[:11], v[:11], noise[:11], 3) == 0


def test_no_star_at_all_is_said_so():
    exposure, sources = prepared(star_field(VaryingMoffat(2.2), n_stars=40, seed=3))
    for none in (sources[:0], sources[sources["snr"] < 0], sources[:3]):
        with pytest.raises(UnusableData, match="too few stars"):
            fit_psf(exposure, none)


class WingedPsf:
    """A steep core, and a tenth of the light in wings that fall as in the atmosphere, r^(-11/3)."""

    size = 51

    def at(self, *place):
        core, wings = VaryingMoffat(2.2, 4.5, self.size, 0.05), VaryingMoffat(5.5, 11 / 6, self.size)
        return 0.9 * core.at(*place) + 0.1 * wings.at(*place)


def test_wings_are_followed():
    truth = WingedPsf()
    exposure, sources = prepared(star_field(truth, n_stars=60, shape=(760, 800), seed=5, flux=(3e4, 3e5)))
    model = fit_psf(exposure, sources).model
    half, middle = model.size // 2, truth.size // 2
    radius = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    cut = slice(middle - half, middle + half + 1)
    ours, there = model.at(380, 400), truth.at(380, 400)[cut, cut]
    for inner, outer in ((4, 6), (6, 8), (8, 10)):
        ring = (radius >= inner) & (radius < outer)
        assert ours[ring].sum() == pytest.approx(there[ring].sum(), rel=0.2)


def test_psf_that_changes_in_size_and_shape_needs_few_stars():
    truth = VaryingMoffat(2.2, 3.0, 41, 0.08, 0.95)
    exposure, sources = prepared(star_field(truth, n_stars=90, seed=7, flux=(5000, 2e5)))
    model = fit_psf(exposure, sources).model
    assert shape_error(model, truth) < 0.0022  # 0.0027 where each knot varies by itself


def shape_error(model, truth, side=400):
    """Mean share of the light within 2 px that is misplaced, free of flux and place."""
    half, middle, left = model.size // 2, truth.size // 2, []
    cut = slice(middle - half, middle + half + 1)
    radius = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    for x, y in itertools.product((0.15 * side, 0.5 * side, 0.85 * side), repeat=2):
        stamp, place = truth.at(x, y)[cut, cut], np.zeros(2)
        for _ in range(4):
            own = model.at(x, y, *place)
            slopes = [
                (model.at(x, y, *(place + step)) - model.at(x, y, *(place - step))) / 0.02
                for step in ([0.01, 0], [0, 0.01])
            ]
            columns = np.stack([part[radius < 4] for part in (own, *slopes)], axis=1)
            flux, *moved = np.linalg.lstsq(columns, stamp[radius < 4])[0]
            place = place + np.array(moved) / flux
        left.append(np.abs(stamp - flux * model.at(x, y, *place))[radius < 2].sum())
    return np.mean(left)


@pytest.mark.parametrize("fwhm", [1.3, 2.4])
def test_stamps_hold_all_light_wherever_a_star_falls_on_the_pixels(fwhm):
    exposure, sources = prepared(star_field(VaryingMoffat(fwhm, 3.0, 41), n_stars=60, seed=9))
    model = fit_psf(exposure, sources).model
    shifts = np.random.default_rng(2).uniform(-0.5, 0.5, (20, 2))
    sums = [model.at(200 + 300 * dx, 180, dx, dy).sum(dtype=float) for dx, dy in shifts]
    np.testing.assert_allclose(sums, 1, atol=1e-4)
