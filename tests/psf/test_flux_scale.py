from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table
from star_fields import MODEL, VaryingMoffat, draw_stars, grid_field, star_field

from zsds.extract import detect_sources, measure_background, subtract_background
from zsds.photometry import fit_stars
from zsds.psf import FluxScale, fit_psf, given_psf

GEOMETRY = (199.5, 189.5, 199.5, 189.5)


def measured_scale(model, truth, exposure):
    """Relative errors of the fluxes of noiseless stars on a grid, and their x and y."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.arange(30.3, 400, 60), np.arange(25.4, 380, 60)))
    image = np.zeros(exposure.shape)
    draw_stars(image, truth, x, y, np.full(x.size, 4e4))
    variance = (image + 364).astype(np.float32)
    noiseless = replace(exposure, data=image.astype(np.float32), variance=variance)
    return np.asarray(fit_stars(noiseless, model, Table({"x": x, "y": y}))["flux"]) / 4e4 - 1, x, y


@pytest.mark.parametrize("n_stars", [60, 250])
def test_error_is_that_of_fluxes_measured_with_the_fitted_psf(n_stars):
    truth, pulls, errors = VaryingMoffat(2.2, 3.0, 25, 0.06, 0.93), [], []
    for seed in range(4):
        field = star_field(truth, n_stars=n_stars, seed=30 + seed, flux=(3000, 1e5))
        background = measure_background(field.exposure)
        flat = subtract_background(field.exposure, background)
        fit = fit_psf(flat, detect_sources(field.exposure, background))
        off, x, y = measured_scale(fit.model, truth, flat)
        pulls.append(off / fit.scale.error(x, y))
        errors.append(np.median(fit.scale.error(x, y)))
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 1.6
    assert 3e-4 < np.mean(errors) < 1e-2


def test_stars_hold_it_in_their_errors():
    exposure, x, y, _ = grid_field(1, np.array([2e3, 1e6]))
    places = Table({"x": x, "y": y})
    scale = FluxScale(np.diag([1e-4, 1e-4, 0.0]), 1, GEOMETRY)
    plain, with_scale = (fit_stars(exposure, MODEL, places, scale=one) for one in (None, scale))
    share = 0.01 * np.sqrt(1 + ((x - 199.5) / 199.5) ** 2)
    assert np.allclose(scale.error(x, y), share)
    expected = np.hypot(plain["flux_err"], share * plain["flux"])
    assert np.allclose(with_scale["flux_err"], expected, rtol=1e-3)
    assert np.array_equal(with_scale["snr"], plain["snr"])


def test_a_given_psf_is_exact():
    assert not given_psf(MODEL, (380, 420)).scale.error([0, 100], [0, 300]).any()
