"""Sampling one pixel grid at the places of another.

Places come on a coarse grid of nodes, ``step`` output pixels apart, and are interpolated linearly between
them; ``xs`` and ``ys`` are input pixel coordinates, ``areas`` the area of an output pixel in input pixels.
Values are multiplied by the area, so that the flux of a source is kept.
"""

import numpy as np
from numba import njit

LANCZOS_TAPS = 6
LANCZOS_STEPS = 1024
SIGNIFICANT = np.float32(0.02)  # a pixel with less weight than this leaves no mask bits


def lanczos_table() -> np.ndarray:
    """Weights of Lanczos-3 [steps + 2, 6] for fractions of a pixel 0 ... 1, each row summing to 1."""
    fraction = np.arange(LANCZOS_STEPS + 2)[:, None] / LANCZOS_STEPS
    distance = fraction - (np.arange(LANCZOS_TAPS) - 2)
    weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _clean_sum(data, first_row, first_col, weight_y, weight_x):
    """Weighted sum over 6 x 6 pixels."""
    total = np.float32(0)
    for i in range(LANCZOS_TAPS):
        line = np.float32(0)
        for j in range(LANCZOS_TAPS):
            line += weight_x[j] * data[first_row + i, first_col + j]
        total += weight_y[i] * line
    return total


@njit(cache=True, nogil=True)
def _careful_sum(data, mask, excluded, first_row, first_col, weight_y, weight_x):
    """(weighted sum, weight kept, absolute weight lost, joined bits) over the usable of 6 x 6 pixels."""
    total, kept, lost = np.float32(0), np.float32(0), np.float32(0)
    bits = np.uint32(0)
    for i in range(LANCZOS_TAPS):
        for j in range(LANCZOS_TAPS):
            weight = weight_y[i] * weight_x[j]
            row, col = first_row + i, first_col + j
            outside = row < 0 or col < 0 or row >= data.shape[0] or col >= data.shape[1]
            if outside or excluded[row, col]:
                lost += abs(weight)
                continue
            total += weight * data[row, col]
            kept += weight
            if abs(weight) > SIGNIFICANT:
                bits |= mask[row, col]
    return total, kept, lost, bits


@njit(cache=True, nogil=True)
def sample_lanczos(
    data,
    variance,
    mask,
    excluded,
    dirty,
    xs,
    ys,
    areas,
    step,
    first_row,
    table,
    out,
    out_variance,
    out_mask,
    out_lost,
):
    """Lanczos-3 of ``data`` for output rows ``first_row`` and following, as many as ``out`` has.

    Excluded pixels (uint8, not 0) take no part: the other weights are scaled up, and ``out_lost`` holds
    the sum of the absolute weights they would have had; 9 where the output lies outside the input.
    ``dirty`` (uint8) is 0 where neither an excluded pixel nor a mask bit lies within 2 pixels before and 3
    after, in rows and columns. ``out_variance`` is the noise power at low spatial frequencies (nearest
    pixel's variance times area). ``out_mask`` joins the bits of the pixels of significant weight.
    """
    ny, nx = data.shape
    weight_x, weight_y = np.empty(LANCZOS_TAPS, np.float32), np.empty(LANCZOS_TAPS, np.float32)
    for row in range(out.shape[0]):
        position = (first_row + row) / step
        node_row = min(int(position), xs.shape[0] - 2)
        up = position - node_row
        for node in range(xs.shape[1] - 1):
            x0 = xs[node_row, node] * (1 - up) + xs[node_row + 1, node] * up
            x1 = xs[node_row, node + 1] * (1 - up) + xs[node_row + 1, node + 1] * up
            y0 = ys[node_row, node] * (1 - up) + ys[node_row + 1, node] * up
            y1 = ys[node_row, node + 1] * (1 - up) + ys[node_row + 1, node + 1] * up
            area = np.float32(areas[node_row, node] * (1 - up) + areas[node_row + 1, node] * up)
            slope_x, slope_y = (x1 - x0) / step, (y1 - y0) / step
            for col in range(node * step, min(node * step + step, out.shape[1])):
                x = x0 + slope_x * (col - node * step)
                y = y0 + slope_y * (col - node * step)
                out[row, col] = 0
                out_variance[row, col] = 0
                out_mask[row, col] = 0
                out_lost[row, col] = 9
                if not (x > -0.5 and x < nx - 0.5 and y > -0.5 and y < ny - 0.5):
                    continue
                i0 = int(np.floor(y))
                j0 = int(np.floor(x))
                at_x = (x - j0) * LANCZOS_STEPS
                at_y = (y - i0) * LANCZOS_STEPS
                jt = int(at_x)
                it = int(at_y)
                part_x = np.float32(at_x - jt)
                part_y = np.float32(at_y - it)
                for k in range(LANCZOS_TAPS):
                    weight_x[k] = table[jt, k] + part_x * (table[jt + 1, k] - table[jt, k])
                    weight_y[k] = table[it, k] + part_y * (table[it + 1, k] - table[it, k])
                nearest = variance[min(int(y + 0.5), ny - 1), min(int(x + 0.5), nx - 1)]
                inside = i0 >= 2 and j0 >= 2 and i0 < ny - 3 and j0 < nx - 3
                if inside and not dirty[i0, j0]:
                    out[row, col] = _clean_sum(data, i0 - 2, j0 - 2, weight_y, weight_x) * area
                    out_variance[row, col] = nearest * area
                    out_lost[row, col] = 0
                    continue
                total, kept, lost, bits = _careful_sum(
                    data, mask, excluded, i0 - 2, j0 - 2, weight_y, weight_x
                )
                if kept > 0.2:
                    out[row, col] = total / kept * area
                    out_variance[row, col] = nearest * area
                    out_mask[row, col] = bits
                    out_lost[row, col] = lost


@njit(cache=True, nogil=True)
def stack_median(data, chosen, out):
    """Median over the first axis of ``data`` [n, ny, nx] of the chosen values; 0 where there is none."""
    values = np.empty(data.shape[0], np.float32)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            count = 0
            for k in range(data.shape[0]):
                if chosen[k, i, j]:
                    value = data[k, i, j]
                    place = count
                    while place > 0 and values[place - 1] > value:
                        values[place] = values[place - 1]
                        place -= 1
                    values[place] = value
                    count += 1
            if count == 0:
                out[i, j] = 0
            else:
                out[i, j] = (values[(count - 1) // 2] + values[count // 2]) / 2


@njit(cache=True, nogil=True)
def clipped_mean(
    data, variance, chosen, weights, areas, median, spread, clip_sigma, out, out_variance, out_count
):
    """Weighted mean over the first axis of the chosen values that lie near the median.

    A value may stray by ``clip_sigma`` times the square root of its variance times area, plus ``spread``
    [ny, nx], where at least three are chosen. ``out_variance`` is that of the mean.
    """
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            count = 0
            for k in range(data.shape[0]):
                count += chosen[k, i, j]
            total, power, weight, used = np.float32(0), np.float32(0), np.float32(0), 0
            for k in range(data.shape[0]):
                if not chosen[k, i, j]:
                    continue
                limit = clip_sigma * np.sqrt(variance[k, i, j] * areas[k]) + spread[i, j]
                if count >= 3 and abs(data[k, i, j] - median[i, j]) > limit:
                    continue
                total += weights[k] * data[k, i, j]
                power += weights[k] * weights[k] * variance[k, i, j]
                weight += weights[k]
                used += 1
            out[i, j] = total / weight if used else np.float32(0)
            out_variance[i, j] = power / (weight * weight) if used else np.float32(0)
            out_count[i, j] = used


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"}, inline="always")
def _spline_line(line, j, w0, w1, w2, w3):
    return w0 * line[j - 1] + w1 * line[j] + w2 * line[j + 1] + w3 * line[j + 2]


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def sample_spline(
    coefficients, variance, mask, xs, ys, areas, step, outside_bits, out, out_variance, out_mask
):
    """Cubic B-spline of prefiltered ``coefficients`` (16 taps), all of ``out``.

    Where the output lies outside, data are 0, variance 0 and the mask is ``outside_bits``. The variance is
    linear between input pixels, times area: the noise power at low spatial frequencies.
    """
    ny, nx = coefficients.shape
    one, sixth, two_thirds, half = np.float32(1), np.float32(1 / 6), np.float32(2 / 3), np.float32(0.5)
    two = np.float32(2)
    zero = np.float32(0)
    for row in range(out.shape[0]):
        position = row / step
        node_row = min(int(position), xs.shape[0] - 2)
        up = position - node_row
        for node in range(xs.shape[1] - 1):
            x0 = xs[node_row, node] * (1 - up) + xs[node_row + 1, node] * up
            x1 = xs[node_row, node + 1] * (1 - up) + xs[node_row + 1, node + 1] * up
            y0 = ys[node_row, node] * (1 - up) + ys[node_row + 1, node] * up
            y1 = ys[node_row, node + 1] * (1 - up) + ys[node_row + 1, node + 1] * up
            area = np.float32(areas[node_row, node] * (1 - up) + areas[node_row + 1, node] * up)
            slope_x, slope_y = (x1 - x0) / step, (y1 - y0) / step
            for col in range(node * step, min(node * step + step, out.shape[1])):
                x = x0 + slope_x * (col - node * step)
                y = y0 + slope_y * (col - node * step)
                if not (x >= 1 and x < nx - 2 and y >= 1 and y < ny - 2):
                    out[row, col] = zero
                    out_variance[row, col] = zero
                    out_mask[row, col] = outside_bits
                    continue
                j = int(x)
                i = int(y)
                t = np.float32(x - j)
                s = one - t
                wx0 = s * s * s * sixth
                wx1 = two_thirds - t * t * (two - t) * half
                wx2 = two_thirds - s * s * (two - s) * half
                wx3 = t * t * t * sixth
                u = np.float32(y - i)
                v = one - u
                wy0 = v * v * v * sixth
                wy1 = two_thirds - u * u * (two - u) * half
                wy2 = two_thirds - v * v * (two - v) * half
                wy3 = u * u * u * sixth
                total = wy0 * _spline_line(coefficients[i - 1], j, wx0, wx1, wx2, wx3)
                total += wy1 * _spline_line(coefficients[i], j, wx0, wx1, wx2, wx3)
                total += wy2 * _spline_line(coefficients[i + 1], j, wx0, wx1, wx2, wx3)
                total += wy3 * _spline_line(coefficients[i + 2], j, wx0, wx1, wx2, wx3)
                out[row, col] = total * area
                low = variance[i, j] * s + variance[i, j + 1] * t
                high = variance[i + 1, j] * s + variance[i + 1, j + 1] * t
                out_variance[row, col] = (low * v + high * u) * area
                out_mask[row, col] = mask[i, j] | mask[i, j + 1] | mask[i + 1, j] | mask[i + 1, j + 1]


@njit(cache=True, nogil=True)
def add_curvature_variance(data, variance, factor, out):
    """``variance`` plus the square of ``factor`` times the largest |Laplacian| of ``data`` within 3 x 3.

    What interpolation may have got wrong: it fails where the image bends most.
    """
    ny, nx = data.shape
    lines = np.zeros((3, nx + 2), np.float32)  # with a pixel beyond each end
    largest = np.empty(nx + 2, np.float32)
    for row in range(-1, ny):
        fresh = lines[(row + 1) % 3]
        if row + 1 < ny:
            i = row + 1
            below = data[max(i - 1, 0)]
            here = data[i]
            above = data[min(i + 1, ny - 1)]
            for j in range(1, nx - 1):
                fresh[j + 1] = abs(4 * here[j] - below[j] - above[j] - here[j - 1] - here[j + 1])
            for j in (0, nx - 1):
                beside = here[max(j - 1, 0)] + here[min(j + 1, nx - 1)]
                fresh[j + 1] = abs(4 * here[j] - below[j] - above[j] - beside)
        else:
            fresh[:] = 0
        if row < 0:
            continue
        for j in range(nx + 2):
            largest[j] = max(lines[0, j], lines[1, j], lines[2, j])
        for j in range(nx):
            error = factor * max(largest[j], largest[j + 1], largest[j + 2])
            out[row, j] = variance[row, j] + error * error
