import numpy as np
import pytest

from zsds.core.robust import median_and_width
from zsds.kernels.fourier import (
    add_corner,
    add_spectra,
    clipped_level,
    fill_bad,
    finish_score,
    rescale,
    shift_variance,
    sparse_level,
    subtract_spectra,
)


def test_spectra_against_numpy():
    rng = np.random.default_rng(1)
    a, b, c, d = (rng.normal(size=(7, 5)) + 1j * rng.normal(size=(7, 5)) for _ in range(4))
    a, b, c, d = (v.astype(np.complex64) for v in (a, b, c, d))
    out = np.empty_like(a)
    subtract_spectra(a, b, c, d, out)
    np.testing.assert_allclose(out, a * b - c * d, rtol=1e-5, atol=1e-5)
    add_spectra(a, b, c, d, out)
    np.testing.assert_allclose(out, a * b + c * d, rtol=1e-5, atol=1e-5)


def test_corners_share_every_pixel():
    tile = np.random.default_rng(2).normal(size=(20, 23)).astype(np.float32)
    out = np.zeros((14, 17), np.float32)
    for right in (False, True):
        for top in (False, True):
            add_corner(tile, 4, right, top, (2, 13, 3, 16), out)
    np.testing.assert_allclose(out[2:13, 3:16], tile[4:15, 4:17], rtol=1e-5)
    assert not out[:2].any() and not out[13:].any() and not out[:, :3].any() and not out[:, 16:].any()


def test_corner_weight_falls_away_from_the_corner():
    out = np.zeros((10, 20), np.float32)
    add_corner(np.ones((30, 30), np.float32), 3, True, False, (0, 10, 0, 20), out)
    assert out[0, -1] > 0.9 and out[-1, 0] < 0.01


def test_shift_variance_of_a_ramp():
    y, x = np.mgrid[:12, :14].astype(np.float32)
    out = np.ones((6, 7), np.float32)
    shift_variance(np.float32(3) * x - 2 * y, 3, np.float32(0.5), np.float32(0.25), (0, 6, 0, 7), out)
    np.testing.assert_allclose(out, 1 + 9 * 0.5 + 4 * 0.25, rtol=1e-6)


def test_fill_takes_data_and_variance_of_the_model():
    data, variance = np.ones((3, 4), np.float32), np.full((3, 4), 2, np.float32)
    good = np.ones((3, 4), bool)
    good[1, 2] = False
    model = np.zeros((3, 4), np.float32)
    model[2, 3] = 9
    fill_bad(data, variance, good, model, np.full((3, 4), 5, np.float32), 1)
    assert data[1, 2] == 9 and variance[1, 2] == 5
    assert data.sum() == 11 + 9 and variance.sum() == 22 + 5


def test_score_is_divided_by_its_noise():
    tile = np.arange(80, dtype=np.float32).reshape(8, 10)
    variance, score = np.full((3, 5), 4, np.float32), np.empty((3, 5), np.float32)
    undefined = np.zeros((3, 5), bool)
    undefined[0, 1], variance[2, 2] = True, 0
    finish_score(tile, 2, np.array([[1, 3], [1, 3]], np.float32), undefined, (0, 3, 0, 5), variance, score)
    assert np.isnan(score[0, 1]) and np.isnan(score[2, 2]) and np.isnan(variance[2, 2])
    assert score[1, 0] == tile[3, 2] / 2
    np.testing.assert_allclose(variance[1], 2 / np.array([1.2, 1.6, 2.0, 2.4, 2.8]), rtol=1e-6)


def test_factors_are_linear_between_cells_and_constant_beyond():
    score, error = np.ones((9, 11), np.float32), np.ones((9, 11), np.float32)
    rows, cols = np.array([2.0, 6.0]), np.array([1.0, 5.0, 9.0])
    factors = np.array([[1, 2, 4], [3, 4, 6]], np.float32)
    rescale(score, error, rows, cols, factors)
    assert error[0, 0] == 1 and error[8, 10] == 6 and error[4, 3] == 2.5 and error[2, 7] == 3
    np.testing.assert_allclose(score, 1 / error, rtol=1e-6)
    rescale(score, error, np.array([4.0]), np.array([5.0]), np.array([[2]], np.float32))
    assert error[8, 10] == 12


def test_level_is_that_of_empty_pixels():
    rng = np.random.default_rng(4)
    values = rng.normal(3, 2, (200, 210)).astype(np.float32)
    constant = np.zeros_like(values)
    constant[:100], values[:100] = 50, 1e6
    both = np.ones(values.shape, bool)
    values[150:160, 30:40] += 40
    values[190], both[190] = np.nan, False
    sky = np.float32(0), np.float32(1), 2.0, 2.0
    whole = (0, 200, 0, 210)
    level, count = clipped_level(values, constant, both, whole, *sky)
    assert abs(level - 3) < 0.06 and 20000 < count < 21000
    lower = clipped_level(values, constant, both, (110, 130, 20, 50), *sky)[0]
    assert abs(lower - values[110:130, 20:50].mean()) < 1e-5
    assert clipped_level(values, constant, ~both, whole, *sky) == (2.0, 0)


@pytest.mark.parametrize("step", [1, 3])
def test_sparse_level_is_that_of_numpy(step):
    rng = np.random.default_rng(6)
    difference, constant = rng.normal(3, 2, (2, 90, 100)).astype(np.float32)
    both = rng.random(constant.shape) < 0.9
    part = (10, 81, 5, 96)
    few = np.s_[10:81:step, 5:96:step]
    steady, sparse = constant[few][both[few]], difference[few][both[few]]
    middle, level, width = sparse_level(difference, constant, both, part, step, 1.0)
    assert middle == np.median(steady)
    bare = sparse[np.abs(steady - np.median(steady)) <= 1]
    np.testing.assert_allclose((level, width), median_and_width(bare), rtol=1e-6)
    constant *= 1e4  # hardly any of the sky is near the middle
    middle, level, width = sparse_level(difference, constant, both, part, step, 1.0)
    assert level == np.median(sparse) and np.isnan(width)
    assert np.isnan(sparse_level(difference, constant, both, (0, 9, 0, 9), 1, 1.0)).all()
