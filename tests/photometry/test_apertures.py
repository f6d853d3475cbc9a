from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from photutils.aperture import CircularAperture, aperture_photometry
from photutils.profiles import CurveOfGrowth
from star_fields import INFO, MODEL, PSF, VaryingMoffat, grid_field, star_field

from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.core.tables import check_table
from zsds.kernels.aperture import pixel_overlap
from zsds.photometry import DIAMETERS, fit_stars, measure_apertures, measure_growth, psf_growth
from zsds.photometry.apertures import PHASES


def test_overlap_of_circle_and_pixel_is_exact():
    rng = np.random.default_rng(0)
    fine = (np.arange(400) + 0.5) / 400 - 0.5
    for _ in range(60):
        u, v, r = *rng.uniform(-3, 3, 2), rng.uniform(0.3, 3.5)
        counted = np.mean(np.hypot(u + fine[:, None], v + fine[None, :]) < r)
        assert pixel_overlap(u, v, r) == pytest.approx(counted, abs=3e-3)
    assert pixel_overlap(0.1, -0.05, 0.3) == pytest.approx(np.pi * 0.09, rel=1e-12)  # within the pixel
    total = sum(pixel_overlap(i + 0.2, j - 0.3, 2.7) for i in range(-5, 6) for j in range(-5, 6))
    assert total == pytest.approx(np.pi * 2.7**2, rel=1e-12)


def test_agrees_with_photutils():
    field = star_field(VaryingMoffat(2.1), n_stars=40, seed=3)
    table = check_table(measure_apertures(field.exposure, Table({"x": field.x, "y": field.y})), "apertures")
    for diameter in DIAMETERS:
        circles = CircularAperture(np.column_stack([field.x, field.y]), diameter / 2)
        theirs = aperture_photometry(
            field.exposure.data.astype(float), circles, error=np.sqrt(field.exposure.variance)
        )
        assert np.allclose(table[f"flux_{diameter}"], theirs["aperture_sum"], rtol=1e-6)


def test_light_of_neighbours_does_not_count():
    field = star_field(PSF, n_stars=900, seed=6, flux=(1500, 1e5))
    data = field.exposure.data - np.float32(field.sky)
    data.flags.writeable = False
    exposure = replace(field.exposure, data=data)
    stars = fit_stars(exposure, MODEL, Table({"x": field.x, "y": field.y}))
    bright = (field.flux > 1e4) & ~np.asarray(stars["is_edge"])
    share = field.flux[bright] * psf_growth(MODEL, 200, 190).share[-1]
    apart, together = (measure_apertures(exposure, stars, psf)["flux_14"][bright] for psf in (MODEL, None))
    assert np.median(apart / share) == pytest.approx(1, abs=0.003)
    assert np.median(together / share) > 1.01


def test_errors_are_honest_on_blank_sky():
    rng = np.random.default_rng(2)
    data = rng.normal(0, 10, (400, 380)).astype(np.float32)
    exposure = Exposure(data, np.full_like(data, 100), np.zeros(data.shape, np.uint32), INFO)
    x, y = rng.uniform(15, 360, (2, 500))
    table = measure_apertures(exposure, Table({"x": x, "y": y}))
    for diameter in DIAMETERS:
        pull = table[f"flux_{diameter}"] / table[f"flux_err_{diameter}"]
        assert abs(np.std(pull) - 1) < 0.2
        assert abs(np.mean(pull)) < 0.3


def test_defects_and_borders_count_as_bad():
    data = np.ones((60, 50), np.float32)
    mask = np.zeros(data.shape, np.uint32)
    mask[30, 20] = Mask.DEAD
    exposure = Exposure(data, data.copy(), mask, INFO)
    table = measure_apertures(exposure, Table({"x": [20.0, 0.0, 35.0, np.nan], "y": [32.0, 10.0, 40.0, 4.0]}))
    assert table["flags"][0] == Mask.DEAD
    assert table["bad_fraction"][0] == pytest.approx(1 / (np.pi * 49), rel=1e-3)
    assert table["flux_14"][0] == pytest.approx(np.pi * 49 - 1)
    assert table["bad_fraction"][1] > 0.4
    assert table["bad_fraction"][2] == pytest.approx(0, abs=1e-6)
    assert np.isnan(table["flux_2"][3])


def test_growth_curve_of_stars_is_that_of_the_psf():
    exposure, x, y, _ = grid_field(3, np.array([1e5]))
    stars = fit_stars(exposure, MODEL, Table({"x": x, "y": y}))
    growth = measure_growth(measure_apertures(exposure, stars), stars, MODEL)
    expected = psf_growth(MODEL, 200, 190)
    assert growth.n_stars > 100
    assert growth.share[-1] == pytest.approx(expected.share[-1], abs=0.003)
    assert np.all(np.abs(growth.share - expected.share) < 0.005 + 5 * growth.err)
    curves = [
        CurveOfGrowth(
            MODEL.at(200, 190, dx, dy).astype(float),
            (MODEL.size // 2 + dx, MODEL.size // 2 + dy),
            np.array(DIAMETERS) / 2,
        ).profile
        for dx in PHASES
        for dy in PHASES
    ]
    assert np.allclose(np.mean(curves, axis=0), expected.share, atol=1e-6)
    assert expected.correction_mag[-1] <= 0
