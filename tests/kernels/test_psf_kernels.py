import numpy as np
import pytest
from scipy.interpolate import BSpline
from star_fields import INFO, MODEL, PSF, draw_stars

from zsds.extract.noise import SkyNoise
from zsds.kernels.psf_fit import draw_stamps, subtract_stars
from zsds.kernels.psf_solve import apply_normal, spline_stamp, to_knots
from zsds.kernels.shapes import weighted_moments
from zsds.psf import SweepSettings, fit_all

CUBIC = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)


def plain_stamp(knots, oversampling, dx, dy, size):
    """Slow twin of spline_stamp: the sum over all B-splines as it is written down."""
    offset = np.arange(size) - size // 2
    index = np.arange(knots.shape[0]) - knots.shape[0] // 2
    along_x = np.nan_to_num(CUBIC(oversampling * (offset[:, None] - dx) - index))
    along_y = np.nan_to_num(CUBIC(oversampling * (offset[:, None] - dy) - index))
    return along_y @ knots @ along_x.T


@pytest.mark.parametrize(("oversampling", "dx", "dy"), [(1, 0.2, -0.4), (2, 0, 0.5), (3, -0.5, 0.31)])
def test_stamp_is_the_sum_of_splines(oversampling, dx, dy):
    knots = np.random.default_rng(1).normal(size=(47, 47))
    stamp = np.empty((11, 11), np.float32)
    spline_stamp(knots, oversampling, dx, dy, stamp)
    assert np.allclose(stamp, plain_stamp(knots, oversampling, dx, dy, 11), atol=1e-5)


def test_normal_operator_is_symmetric_and_matches_its_parts():
    rng = np.random.default_rng(2)
    n, size, side = 3, 9, 25
    first, second = (rng.normal(size=(n, side, side)).astype(np.float32) for _ in range(2))
    weight = rng.random((n, size, size)).astype(np.float32)
    dx, dy = rng.uniform(-0.5, 0.5, (2, n))
    image_first, image_second = first.copy(), second.copy()
    nothing = np.zeros((n, 0, size, size), np.float32)
    apply_normal(image_first, weight, nothing, dx, dy, 2)
    apply_normal(image_second, weight, nothing, dx, dy, 2)
    assert np.vdot(second, image_first) == pytest.approx(np.vdot(image_second, first), rel=1e-4)
    stamps = np.array([plain_stamp(first[i], 2, dx[i], dy[i], size) for i in range(n)])
    back = np.zeros((n, side, side), np.float32)
    to_knots(stamps * weight, dx, dy, 2, back)
    assert np.allclose(back, image_first, atol=1e-4)


def test_normal_operator_ignores_what_a_star_may_absorb():
    rng = np.random.default_rng(4)
    size, side = 9, 25
    knots = rng.normal(size=(1, side, side)).astype(np.float32)
    weight = rng.uniform(0.5, 2, (1, size, size)).astype(np.float32)
    dx, dy = np.array([0.2]), np.array([-0.3])
    shapes = np.array([plain_stamp(rng.normal(size=(side, side)), 2, 0.2, -0.3, size) for _ in range(2)])
    gram = np.einsum("akl,bkl,kl->ab", shapes, shapes, weight[0])
    free = np.tensordot(np.linalg.inv(np.linalg.cholesky(gram)), shapes, 1)[None].astype(np.float32)
    stamp = plain_stamp(knots[0], 2, 0.2, -0.3, size)
    absorbed = np.tensordot(np.einsum("akl,kl,kl->a", free[0], weight[0], stamp), free[0], 1)
    expected = np.zeros((1, side, side), np.float32)
    to_knots((weight[0] * (stamp - absorbed))[None], dx, dy, 2, expected)
    apply_normal(knots, weight, free, dx, dy, 2)
    assert np.allclose(knots, expected, atol=1e-4)


def test_subtraction_leaves_nothing_of_drawn_stars():
    x, y = np.array([30.3, 2.0, 60.6]), np.array([20.2, 50.7, -1.2])
    flux = np.array([1e4, 2e4, -3e3])
    image = np.zeros((60, 64))
    draw_stars(image, PSF, x, y, flux)
    residual = image.astype(np.float32)
    shape = (MODEL.coefficients, MODEL.geometry, MODEL.oversampling, MODEL.order, MODEL.size // 2)
    subtract_stars(residual, *shape, x, y, flux, np.full(3, 99))
    assert np.abs(residual).max() < 0.003 * 2e4 * PSF.at(0, 0).max()
    stamps = np.empty((3, 3, MODEL.size, MODEL.size))
    draw_stamps(*shape, x, y, stamps)
    assert np.allclose(stamps[0, 0], MODEL.at(30.3, 20.2, 0.3, 0.2), atol=1e-6)
    ahead, behind = (MODEL.at(30.3, 20.2, 0.3 + step, 0.2) for step in (0.01, -0.01))
    assert np.allclose(stamps[0, 1], (ahead - behind) / 0.02, atol=1e-4)


def test_blend_is_solved_like_one_large_least_squares_problem():
    rng = np.random.default_rng(3)
    x, y = np.array([20.2, 23.1, 30.0, 21.0]), np.array([20.0, 21.4, 20.0, 25.0])
    image = np.zeros((45, 50))
    draw_stars(image, MODEL, x, y, np.array([5e3, 3e3, 4e3, 1e3]))
    data = (image + rng.normal(0, 10, image.shape)).astype(np.float32)
    noise = SkyNoise(np.full(data.shape, 100, np.float32), 0.0, 10.0)
    fitted = fit_all(data, noise, MODEL, x, y, SweepSettings(max_sweeps=60, tolerance=1e-4), hold=True)
    columns, rows, sides = [], np.indices(data.shape), []
    for a, b in zip(x, y, strict=True):
        star = np.zeros(data.shape)
        draw_stars(star, MODEL, [a], [b], [1.0])
        near = np.hypot(rows[1] - a, rows[0] - b) <= fitted.radius[0] + 0.5
        columns.append(star.ravel())
        sides.append((star * near).ravel())
    joint = np.linalg.solve(np.array(sides) @ np.array(columns).T, np.array(sides) @ data.ravel())
    assert np.allclose(fitted.flux, joint, atol=2)
    assert INFO.gain == 1


@pytest.mark.parametrize("sigma", [0.8, 1.5])
def test_moments_of_a_gaussian(sigma):
    y, x = np.indices((41, 45))
    image = np.exp(-0.5 * (((x - 20.3) / 1.4) ** 2 + ((y - 19.6) / 1.1) ** 2)).astype(np.float32)
    out = np.empty((3, 6))
    usable = np.ones(image.shape, bool)
    weighted_moments(image, usable, np.array([20.0, 20.3, 40.0]), np.array([20.0, 19.6, 5.0]), sigma, out)
    assert np.allclose(out[:2, :2], [20.3, 19.6], atol=3e-3)
    assert out[1, 2] == pytest.approx(1 / (1 / 1.96 + 1 / sigma**2), rel=0.03)
    assert out[1, 4] == pytest.approx(1 / (1 / 1.21 + 1 / sigma**2), rel=0.03)
    assert np.isnan(out[2, 0]) or abs(out[2, 0] - 20.3) < 3
