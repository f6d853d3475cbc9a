import numpy as np
import pytest
from scipy.ndimage import laplace, map_coordinates, maximum_filter, spline_filter

from zsds.kernels.resample import (
    add_curvature_variance,
    clipped_mean,
    lanczos_table,
    sample_lanczos,
    sample_spline,
    stack_median,
)


def nodes(shape, step, matrix, offset):
    """Places of an affine map at the nodes."""
    x, y = np.meshgrid(np.arange(0, shape[1] + 2 * step, step), np.arange(0, shape[0] + 2 * step, step))
    xs = matrix[0][0] * x + matrix[0][1] * y + offset[0]
    ys = matrix[1][0] * x + matrix[1][1] * y + offset[1]
    return xs.astype(float), ys.astype(float), np.full(xs.shape, abs(np.linalg.det(np.array(matrix))))


def outputs(shape):
    return [np.full(shape, 77, np.float32), np.full(shape, 77, np.float32), np.full(shape, 77, np.uint32)]


def lanczos(data, shape, matrix, offset, mask=None, excluded=None, first=0, rows=None, dirty=None):
    xs, ys, areas = nodes(shape, 8, matrix, offset)
    out = outputs((rows or shape[0], shape[1]))
    lost = np.empty(out[0].shape, np.float32)
    mask = np.zeros(data.shape, np.uint32) if mask is None else mask
    excluded = np.zeros(data.shape, np.uint8) if excluded is None else excluded
    dirty = maximum_filter(excluded | (mask != 0), 6, origin=-1).astype(np.uint8) if dirty is None else dirty
    sample_lanczos(
        data,
        np.ones_like(data),
        mask,
        excluded,
        dirty,
        xs,
        ys,
        areas,
        8,
        first,
        lanczos_table(),
        *out,
        lost,
    )
    return (*out, lost)


MATRIX = [[0.98, 0.05], [-0.05, 0.98]]


@pytest.fixture
def image():
    data = np.random.default_rng(3).normal(size=(61, 74)).astype(np.float32)
    data.flags.writeable = False
    return data


def test_spline_agrees_with_scipy(image):
    shape = (43, 53)
    coefficients = spline_filter(image, 3, output=np.float32, mode="mirror")
    xs, ys, areas = nodes(shape, 8, MATRIX, (5.3, 9.2))
    out = outputs(shape)
    sample_spline(
        coefficients,
        np.ones_like(image),
        np.zeros(image.shape, np.uint32),
        xs,
        ys,
        areas,
        8,
        np.uint32(4),
        *out,
    )
    x, y = np.meshgrid(np.arange(shape[1]), np.arange(shape[0]))
    places = [MATRIX[1][0] * x + MATRIX[1][1] * y + 9.2, MATRIX[0][0] * x + MATRIX[0][1] * y + 5.3]
    expected = map_coordinates(image.astype(float), places, order=3, mode="mirror") * areas[0, 0]
    np.testing.assert_allclose(out[0], expected, atol=2e-5)
    np.testing.assert_allclose(out[1], areas[0, 0], rtol=1e-6)
    assert not out[2].any()


def test_lanczos_agrees_with_its_plain_sum(image):
    value, variance, bits, lost = lanczos(image, (30, 30), MATRIX, (8.31, 7.77))
    i, j = 11, 17
    x, y = MATRIX[0][0] * j + MATRIX[0][1] * i + 8.31, MATRIX[1][0] * j + MATRIX[1][1] * i + 7.77
    total, weights = 0.0, 0.0
    for row in range(61):
        for col in range(74):
            if abs(row - y) < 3 and abs(col - x) < 3:
                weight = np.sinc(row - y) * np.sinc((row - y) / 3) * np.sinc(col - x) * np.sinc((col - x) / 3)
                total += weight * image[row, col]
                weights += weight
    area = abs(np.linalg.det(np.array(MATRIX)))
    assert value[i, j] == pytest.approx(total / weights * area, abs=1e-5)
    assert variance[i, j] == pytest.approx(area)
    assert bits[i, j] == 0 and lost[i, j] == 0


def test_whole_pixel_shift_is_exact(image):
    value, *_ = lanczos(image, (30, 31), [[1, 0], [0, 1]], (7.0, 5.0))
    np.testing.assert_allclose(value, image[5:35, 7:38], atol=1e-6)


def test_strips_equal_the_whole(image):
    whole = lanczos(image, (40, 50), MATRIX, (3.0, 6.0))
    strip = lanczos(image, (40, 50), MATRIX, (3.0, 6.0), first=13, rows=9)
    for a, b in zip(whole, strip, strict=True):
        np.testing.assert_array_equal(a[13:22], b)


def test_excluded_pixel_takes_no_part(image):
    excluded = np.zeros(image.shape, np.uint8)
    excluded[30, 30] = 1
    broken = image.copy()
    broken[30, 30] = np.nan
    value, _, _, lost = lanczos(
        np.nan_to_num(broken, nan=1e9), (61, 74), [[1, 0], [0, 1]], (0.5, 0.5), excluded=excluded
    )
    assert np.abs(value[:58, :70]).max() < 100
    assert lost[29, 29] > 0.3 and lost[20, 30] == 0
    ones, *_ = lanczos(np.ones_like(image), (61, 74), [[1, 0], [0, 1]], (0.5, 0.5), excluded=excluded)
    np.testing.assert_allclose(ones[4:55, 4:65], 1, atol=1e-5)


def test_mask_bits_follow_significant_weight(image):
    mask = np.zeros(image.shape, np.uint32)
    mask[30, 30] = 128
    _, _, bits, _ = lanczos(image, (61, 74), [[1, 0], [0, 1]], (0.0, 0.0), mask=mask)
    assert (bits != 0).sum() == 1 and bits[30, 30] == 128
    _, _, bits, _ = lanczos(image, (61, 74), [[1, 0], [0, 1]], (0.5, 0.0), mask=mask)
    assert bits[30, 30] == 128 and bits[30, 29] == 128 and bits[31, 30] == 0


def test_outside_is_marked(image):
    value, _, _, lost = lanczos(image, (20, 100), [[1, 0], [0, 1]], (-10.0, 0.0))
    assert (lost[:, :9] == 9).all() and (value[:, :9] == 0).all()
    assert (lost[:, 86:] == 9).all()
    coefficients = spline_filter(image, 3, output=np.float32)
    out = outputs((20, 100))
    xs, ys, areas = nodes((20, 100), 8, [[1, 0], [0, 1]], (-10.0, 0.0))
    sample_spline(coefficients, image, np.zeros(image.shape, np.uint32), xs, ys, areas, 8, np.uint32(4), *out)
    assert (out[2][:, :11] == 4).all() and (out[0][:, :11] == 0).all() and out[2][5, 20] == 0


def test_flux_is_kept_on_a_finer_grid():
    y, x = np.mgrid[:60, :70]
    star = np.exp(-((x - 33.3) ** 2 + (y - 28.1) ** 2) / (2 * 1.1**2)).astype(np.float32)
    fine, *_ = lanczos(star, (120, 140), [[0.5, 0], [0, 0.5]], (-0.25, -0.25))
    assert fine.sum() == pytest.approx(star.sum(), rel=1e-3)


def test_curvature_variance_against_plain(image):
    out = np.empty_like(image)
    add_curvature_variance(image, np.ones_like(image), np.float32(0.1), out)
    plain = 1 + (0.1 * maximum_filter(np.abs(laplace(image, mode="nearest")), 3)) ** 2
    np.testing.assert_allclose(out, plain, rtol=1e-5)


def test_clean_pixels_take_a_short_cut_to_the_same_sum(image):
    mask, excluded = np.zeros(image.shape, np.uint32), np.zeros(image.shape, np.uint8)
    mask[20, 31], excluded[40, 50] = 4, 1
    quick = lanczos(image, (50, 60), MATRIX, (6.0, 4.0), mask, excluded)
    slow = lanczos(image, (50, 60), MATRIX, (6.0, 4.0), mask, excluded, dirty=np.ones(image.shape, np.uint8))
    for a, b in zip(quick, slow, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_median_and_clipped_mean_against_numpy():
    rng = np.random.default_rng(5)
    data = rng.normal(size=(7, 9, 11)).astype(np.float32)
    chosen = rng.random(data.shape) < 0.7
    chosen[:, 0, 0], chosen[:, 0, 1] = False, True
    data[3, 0, 1] = 50
    median = np.empty(data.shape[1:], np.float32)
    stack_median(data, chosen, median)
    hidden = np.ma.masked_array(data, ~chosen)
    np.testing.assert_allclose(median, np.ma.median(hidden, axis=0).filled(0), atol=1e-6)
    weights, ones = rng.uniform(1, 2, 7).astype(np.float32), np.ones(7, np.float32)
    mean, variance, count = np.empty_like(median), np.empty_like(median), np.empty(median.shape, np.uint16)
    spread = np.full_like(median, 2)
    args = (data, np.ones_like(data), chosen, weights, ones, median, spread, np.float32(5))
    clipped_mean(*args, mean, variance, count)
    far = (np.abs(data - median) > 7) & (chosen.sum(axis=0) >= 3)
    w = weights[:, None, None] * (chosen & ~far)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(mean, np.nan_to_num((w * data).sum(0) / w.sum(0)), atol=1e-5)
        np.testing.assert_allclose(variance, np.nan_to_num((w**2).sum(0) / w.sum(0) ** 2), atol=1e-5)
    np.testing.assert_array_equal(count, (chosen & ~far).sum(axis=0))
    assert count[0, 0] == 0 and count[0, 1] == 6
