"""Fits of matched stars."""

import numpy as np
import pytest

from zsds.astrometry.fit import common_error, fit_best_order, map_errors
from zsds.astrometry.settings import AstrometrySettings


@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_common_error_is_what_the_precise_stars_say(jitter):
    rng = np.random.default_rng(8)
    errors = np.concatenate([np.full(400, 0.008), np.full(600, 0.08)])
    wider = np.where(errors > 0.01, 1.3, 1.0)  # the faint ones are worse than they claim
    squares = np.sum(rng.normal(0, np.hypot(wider * errors, jitter), (2, 1000)) ** 2, axis=0)
    squares[::100] = 1.0  # wrong matches
    assert common_error(squares, errors) == pytest.approx(jitter, abs=0.005)


@pytest.mark.parametrize("shape", [(200, 10), (100, 3)])
def test_a_blend_of_tiny_formal_error_does_not_draw_the_map_to_itself(shape):
    n, n_bright = shape
    rng = np.random.default_rng(9)
    points = rng.uniform(-1500, 1500, (n, 2))
    errors = np.concatenate([np.full(n_bright, 0.004), np.full(n - n_bright, 0.25)])
    targets = points * 1.001 + 3e-10 * points**3 + errors[:, None] * rng.normal(size=(n, 2))
    targets[0] += [0.3, -0.8]
    fit = fit_best_order(points, targets, errors, 1500.0, AstrometrySettings())
    grid = np.stack(np.meshgrid([-1500, 0, 1500], [-1500, 0, 1500]), axis=-1).reshape(-1, 2).astype(float)
    off = np.hypot(*(fit.map(grid) - (grid * 1.001 + 3e-10 * grid**3)).T)
    assert not fit.used[0]
    assert fit.used[1:n_bright].all()
    assert off.max() < 5 * 0.25 * np.sqrt(2 * 10 / n)


@pytest.mark.parametrize("order", [0, 3])
def test_errors_of_the_map_are_true_in_the_corners(order):
    rng, corners = np.random.default_rng(10), np.array([[-1500.0, -1500], [1500, 1500], [0, 0]])
    pulls = []
    for _ in range(60):
        n = 6 if order == 0 else 120
        points, errors = rng.uniform(-1500, 1500, (n, 2)), rng.uniform(0.02, 0.2, n)
        bend = order * 1e-10 * points**3
        fit = fit_best_order(
            points,
            points + bend + errors[:, None] * rng.normal(size=(n, 2)),
            errors,
            1500.0,
            AstrometrySettings(),
        )
        assert fit.order == order
        off = fit.map(corners) - corners - order * 1e-10 * corners**3
        pulls.append(off / map_errors(fit, points, corners)[:, None])
    assert np.std(pulls) == pytest.approx(1, abs=0.15)
