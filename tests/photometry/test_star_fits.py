from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from star_fields import MODEL, PSF, VaryingMoffat, draw_stars, grid_field, star_field

from zsds.core.flags import Mask
from zsds.core.tables import check_table
from zsds.extract import detect_sources, measure_background, subtract_background
from zsds.photometry import StarSettings, fit_first, fit_stars, without_stars
from zsds.psf import PolynomialPsf, fit_psf


def without_sky(field):
    data = (field.exposure.data - np.float32(field.sky)).astype(np.float32)
    data.flags.writeable = False
    return replace(field.exposure, data=data)


@pytest.mark.parametrize("hold", [False, True])
def test_pulls_have_mean_0_and_width_1_at_all_fluxes(hold):
    levels = np.array([400.0, 1000.0, 3000.0, 1e4, 1e5, 1e6])  # S/N 5 to 1000
    pulls = []
    for seed in range(3):
        exposure, x, y, flux = grid_field(seed, levels)
        rng = np.random.default_rng(seed)
        off = 0 if hold else 0.2
        first = Table({"x": x + off * rng.normal(size=x.size), "y": y + off * rng.normal(size=x.size)})
        stars = check_table(fit_stars(exposure, MODEL, first, StarSettings(hold_positions=hold)), "stars")
        pulls.append(np.column_stack([
            (stars["flux"] - flux) / stars["flux_err"],
            (stars["x"] - x) / np.where(hold, 1, stars["x_err"]),
            (stars["y"] - y) / np.where(hold, 1, stars["y_err"]),
        ]).reshape(-1, 6, 3) if x.size % 6 == 0 else np.array([]))  # fmt: skip
    pulls = np.concatenate(pulls)
    n = pulls.shape[0]
    for level in range(6):
        for column in range(1 if hold else 3):
            pull = pulls[:, level, column]
            assert abs(pull.mean()) < 3.5 / np.sqrt(n)
            assert abs(pull.std() - 1) < 3.5 / np.sqrt(2 * n) + (0.2 if level == 0 else 0.05)


@pytest.mark.parametrize("smooth", [False, True])
def test_neither_free_places_nor_the_source_of_the_variance_bias_fluxes(smooth):
    pulls = []
    for seed in range(10):
        exposure, x, y, flux = grid_field(20 + seed, np.array([800.0, 800.0, 1e5]))
        if smooth:  # the variance of the expected light, without the noise of the counts
            light = np.full(exposure.shape, 364.0)
            draw_stars(light, PSF, x, y, flux)
            exposure = replace(exposure, variance=light.astype(np.float32))
        stars = fit_stars(exposure, MODEL, Table({"x": x, "y": y}))
        pulls.append(((stars["flux"] - flux) / stars["flux_err"])[flux == 800])  # S/N 8
    pulls = np.concatenate(pulls)
    assert abs(pulls.mean()) < 3.5 / np.sqrt(pulls.size)


def test_crowded_field_is_fitted_together():
    field = star_field(PSF, n_stars=1500, seed=4, flux=(500, 1e5))
    stars = fit_stars(
        without_sky(field), MODEL, Table({"x": field.x, "y": field.y}), StarSettings(hold_positions=True)
    )
    inside = ~np.asarray(stars["is_edge"])
    pull = ((stars["flux"] - field.flux) / stars["flux_err"])[inside]
    assert abs(np.median(pull)) < 0.15
    bright = pull[(field.flux > 2e4)[inside]]
    assert 1.4826 * np.median(np.abs(bright)) < 1.6


def test_sharp_and_chi_tell_galaxies_from_stars():
    exposure, x, y, _ = grid_field(5, np.array([3e4]))
    stars = fit_stars(exposure, MODEL, Table({"x": x, "y": y}))
    assert np.median(stars["chi"]) == pytest.approx(1, abs=0.05)
    assert abs(np.median(stars["sharp"])) < 0.01
    narrow = PolynomialPsf.from_model(VaryingMoffat(1.9, 3.0, 31, 0.08, 0.9), (380, 420))
    wide = fit_stars(exposure, narrow, Table({"x": x, "y": y}))
    assert np.median(wide["sharp"]) == pytest.approx((2.1 / 1.9) ** 2 - 1, rel=0.5)
    assert np.median(wide["chi"]) > 1.2


def test_defects_edges_and_nans():
    exposure, x, y, flux = grid_field(6, np.array([3e4]))
    data, mask = exposure.data.copy(), exposure.mask.copy()
    row, col = round(y[5]), round(x[5])
    data[row, col] = np.nan
    mask[row, col] = Mask.NAN
    data[row + 1, col] = 1e5
    mask[row + 1, col] = Mask.COSMIC_RAY
    positions = Table(
        {
            "id": np.arange(x.size + 3) + 7,
            "x": np.r_[x, 0.3, 5000.0, np.nan],
            "y": np.r_[y, 100.0, 100.0, 9.0],
        }
    )
    stars = fit_stars(
        replace(exposure, data=data, mask=mask), MODEL, positions, StarSettings(hold_positions=True)
    )
    assert stars["flags"][5] == Mask.NAN | Mask.COSMIC_RAY
    assert abs(stars["flux"][5] - flux[5]) < 4 * stars["flux_err"][5]
    assert stars["flux_err"][5] > stars["flux_err"][6]
    assert np.asarray(stars["is_edge"])[-3:].all()
    assert np.isnan(np.asarray(stars["flux"])[-2:]).all()
    assert np.isnan(stars["x"][-1])
    assert stars["id"][0] == 7


def test_empty_table():
    exposure, *_ = grid_field(6, np.array([3e4]))
    assert len(fit_stars(exposure, MODEL, Table({"x": [], "y": []}))) == 0


def test_whole_chain_recovers_fluxes():
    field = star_field(PSF, n_stars=220, seed=11, flux=(2000, 2e5))
    background = measure_background(field.exposure)
    sources = detect_sources(field.exposure, background)
    exposure = subtract_background(field.exposure, background)
    stars = fit_stars(exposure, fit_psf(exposure, sources).model, sources)
    distance = np.hypot(np.asarray(stars["x"])[:, None] - field.x, np.asarray(stars["y"])[:, None] - field.y)
    near = np.argmin(distance, axis=1)
    alone = (np.sort(distance, axis=1)[:, 1] > 10) & (distance.min(axis=1) < 0.5) & (stars["snr"] > 60)
    alone &= ~np.asarray(stars["is_edge"])
    ratio = (stars["flux"] / field.flux[near])[alone]
    assert alone.sum() > 15
    assert np.median(ratio) == pytest.approx(1, abs=0.004)


def test_negative_fluxes_are_measured_as_well():
    exposure, x, y, flux = grid_field(9, np.array([5e3, 2e4]))
    turned = replace(exposure, data=-exposure.data, variance=np.full_like(exposure.variance, 400))
    stars = fit_stars(turned, MODEL, Table({"x": x, "y": y}), StarSettings(hold_positions=True))
    assert np.median((stars["flux"] + flux) / flux) == pytest.approx(0, abs=0.01)


def test_saturated_stars_are_measured_on_their_wings():
    exposure, x, y, flux = grid_field(10, np.array([2e5]))
    mask = exposure.mask.copy()
    mask[exposure.data > 8000] = Mask.SATURATED
    stars = fit_stars(replace(exposure, mask=mask), MODEL, Table({"x": x, "y": y}))
    assert np.median(stars["flux"] / flux) == pytest.approx(1, abs=0.02)
    assert (np.asarray(stars["flags"]) & Mask.SATURATED).all()


def test_stars_with_hardly_any_light_outside_defects_are_not_measured():
    exposure, x, y, _ = grid_field(10, np.array([2e5]))
    data, mask = exposure.data.copy(), exposure.mask.copy()
    row, col, half = round(y[5]), round(x[5]), MODEL.size // 2
    around = np.s_[row - half : row + half + 1, col - half : col + half + 1]
    mask[around] = Mask.SATURATED
    mask[row - half, col - half] = 0
    data[around] += 1000
    spoilt = replace(exposure, data=data, mask=mask)
    stars = fit_stars(spoilt, MODEL, Table({"x": x, "y": y}), StarSettings(hold_positions=True))
    assert np.isnan(stars["flux"][5]) and stars["n_pixels"][5] == 0
    left = without_stars(spoilt, fit_first(spoilt, MODEL, Table({"x": x, "y": y})))
    assert np.abs(left.data[around]).max() <= data[around].max()


def test_second_sky_removes_what_the_first_left():
    exposure, x, y, flux = grid_field(12, np.array([3000.0]))
    slope = 0.05 * np.arange(exposure.data.shape[1], dtype=np.float32)
    tilted = replace(exposure, data=exposure.data + slope)
    plain = fit_stars(tilted, MODEL, Table({"x": x, "y": y}))
    better = fit_stars(tilted, MODEL, Table({"x": x, "y": y}), StarSettings(sky_mesh=48))
    pull = [float(np.mean((t["flux"] - flux) / t["flux_err"])) for t in (plain, better)]
    assert pull[0] > 0.5
    assert abs(pull[1]) < 0.25
    assert np.corrcoef(better["sky"], 0.05 * x)[0, 1] > 0.95
