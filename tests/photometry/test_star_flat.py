import numpy as np
import pytest

from zsds.photometry import fit_star_flat

SHAPE = (3080, 3072)


def calibrators(n, amplitude, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 3072, (2, n))
    surface = amplitude * ((x / 1536 - 1) * (y / 1540 - 1) + 0.5 * (x / 1536 - 1))
    residual = surface + rng.normal(0, 0.02, n)
    residual[: n // 20] += rng.normal(0, 1, n // 20)
    return x, y, residual, np.full(n, 0.02), surface


def test_surface_is_found_despite_outliers():
    x, y, residual, err, surface = calibrators(800, 0.04)
    flat = fit_star_flat(x, y, residual, err, SHAPE)
    assert flat.order == 2
    assert np.std(flat.at(x, y) - surface) < 0.004
    assert flat.rms_after == pytest.approx(0.02, rel=0.15)
    assert flat.rms_before > flat.rms_after
    assert abs(np.mean(flat.at(x, y))) < 1e-3


def test_noise_is_not_followed():
    x, y, residual, err, _ = calibrators(800, 0.0)
    flat = fit_star_flat(x, y, residual, err, SHAPE)
    assert np.abs(flat.at(x, y)).max() < 0.008


@pytest.mark.parametrize("n", [0, 1, 44])
def test_few_stars_give_no_correction(n):
    x, y, residual, err, _ = calibrators(n, 0.05)
    assert np.all(fit_star_flat(x, y, residual, err, SHAPE).at([5.0, 3000.0], [1.0, 2.0]) == 0)
