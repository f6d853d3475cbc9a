"""Kernels of the instrumental calibration against plain NumPy."""

import numpy as np
import pytest

from zsds.kernels.calibrate import calibrate_pixels, mark_bleeds
from zsds.kernels.cells import cell_percentiles, spread_cells
from zsds.kernels.lines import bin_residual, line_profile, line_sums, mark_segment
from zsds.kernels.stack import clipped_mean


def test_calibration_of_pixels_is_the_formula():
    rng = np.random.default_rng(1)
    shape = (7, 11)

    def plane(low, high):
        return rng.uniform(low, high, shape).astype(np.float32)

    raw, coupled, bias, bias_var = plane(900, 6e4), plane(-2, 9), plane(-9, 9), plane(0, 4)
    flat, flat_var = plane(0.05, 1.2), plane(0, 1e-3)
    level, level_var = rng.uniform(900, 1000, 7).astype(np.float32), rng.uniform(0, 2, 7).astype(np.float32)
    bad = rng.integers(0, 2, shape).astype(np.uint32) * np.uint32(16)
    gain, noise, full, a, b, least, err = 6.2, 9.0, 5e4, -1e-11, 5e-7, 0.2, 0.1
    numbers = (gain, noise, full, a, b, least, 65535.0, err)
    data, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    mask = np.empty(shape, np.uint32)
    bits = np.array([1024, 256, 131072], np.uint32)
    calibrate_pixels(
        *(raw, level, level_var, bias, bias_var, flat, flat_var, coupled, bad),
        *(np.array(numbers), bits, data, variance, mask),
    )
    signal = raw.astype(float) - level[:, None] - bias / gain
    x = signal - coupled
    below = a * x * x + b * x + 1
    electrons, slope = gain * x / below, (1 - a * x * x) / below**2
    other = noise**2 + level_var[:, None] + bias_var + (err * coupled * gain) ** 2
    spread = np.maximum(electrons, 0) + other * slope**2
    weak = flat <= least
    response = np.where(weak, 1, flat)
    expected = electrons / response
    spread = np.where(weak, spread, (spread + expected**2 * flat_var) / response**2)
    flags = bad | np.where(signal >= full, 256, 0) | np.where(weak, 131072, 0)
    np.testing.assert_allclose(data, expected, rtol=1e-5, atol=1e-2)
    np.testing.assert_allclose(variance, spread, rtol=1e-4)
    assert np.array_equal(mask, flags)


@pytest.mark.parametrize("scale_noise", [False, True])
def test_clipped_mean_is_the_plain_one(scale_noise):
    rng = np.random.default_rng(2)
    frames = rng.normal(1, 0.01, (6, 9, 8)).astype(np.float32)
    frames[2, 3, 4] = 3.0
    frames[0, 1, 1] = np.nan
    frames[:, 8, 7] = np.nan
    sigmas = np.array([0.01, 0.011, 0.009, 0.01, 0.012, 0.01], np.float32)
    mean, scatter = np.empty((9, 8), np.float32), np.empty((9, 8), np.float32)
    count = np.empty((9, 8), np.int32)
    clipped_mean(frames, sigmas, scale_noise, 4.0, mean, scatter, count)
    for i in range(9):
        for j in range(8):
            values = frames[:, i, j].astype(float)
            good = np.isfinite(values)
            if not good.any():
                assert np.isnan(mean[i, j])
                assert count[i, j] == 0
                continue
            middle = np.median(values[good])
            sigma = sigmas * (np.sqrt(middle) if scale_noise else 1)
            keep = good & (np.abs(values - middle) <= 4 * sigma)
            assert count[i, j] == keep.sum()
            assert mean[i, j] == pytest.approx(np.average(values[keep], weights=sigma[keep] ** -2), rel=1e-5)
            pulls = ((values - middle) / sigma)[good]
            assert scatter[i, j] == pytest.approx(np.sqrt((pulls**2).sum() / (good.sum() - 1)), rel=1e-4)


def test_cells():
    rows, cols = np.mgrid[:50, :70]
    image = (3 + 0.1 * rows + 0.2 * cols).astype(np.float32)
    mask = np.zeros(image.shape, np.uint32)
    mask[:10, :10] = 4
    grid = cell_percentiles(image, mask, np.uint32(4), 10, 0.5, 1)
    assert grid.shape == (5, 7)
    assert np.isnan(grid[0, 0])
    assert grid[2, 3] == pytest.approx(np.median(image[20:30, 30:40]), abs=0.11)
    grid[0, 0] = np.median(image[:10, :10])
    smooth = spread_cells(grid, 10, 50, 70)
    inner = (slice(5, 45), slice(5, 65))
    np.testing.assert_allclose(smooth[inner], image[inner], atol=0.15)
    one = spread_cells(np.full((1, 1), 7.0, np.float32), 64, 5, 6)
    assert np.all(one == 7)


def test_lines():
    image = np.zeros((40, 60), np.float32)
    image[17] = 2.0
    sums = line_sums(image, 90, 20)
    k, m = np.unravel_index(np.nanargmax(sums), sums.shape)
    assert k == 45  # the normal of a row points along y
    assert m - sums.shape[1] // 2 == 17
    assert sums[k, m] == pytest.approx(2 * np.sqrt(60))
    usable = np.ones(image.shape, bool)
    sky = np.zeros_like(image)
    total, count = line_profile(image, sky, 1.0, usable, np.pi / 2, 17.0, 2, 50.0)
    assert count[:, 2].sum() == 60
    assert total.sum(axis=0) == pytest.approx([0, 0, 120, 0, 0])
    binned = bin_residual(image, sky, 2.0, usable, 4, -3.0, 4.0)
    assert binned.shape == (10, 15)
    assert np.all(binned[4] == 1.0)
    mask = np.zeros(image.shape, np.uint32)
    half = int(np.ceil(np.hypot(*image.shape)))
    mark_segment(mask, np.uint32(1), np.pi / 2, 17.0, half - 30.0, half - 10.0, 1.2)
    assert mask.sum() == 3 * 21


def test_bleeds_end_at_the_border():
    data = np.full((12, 5), 10.0, np.float32)
    data[9:, 2] = 1e5
    mask = np.zeros((12, 5), np.uint32)
    mask[9:, 2] = 1
    mark_bleeds(data, mask, np.uint32(1), np.uint32(2), 5e4, 3, 2)
    assert np.flatnonzero(mask[:, 2] & 2).tolist() == [7, 8, 9, 10, 11]
    assert np.flatnonzero(mask[:, 1] & 2).tolist() == [7, 8, 9, 10, 11]
    assert not mask[:, 0].any()
