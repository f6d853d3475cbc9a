"""Effective point-spread functions as cubic B-splines: one stamp, and the normal equations of their fit.

A PSF is an *effective* one: its value at offset (u, v) is the fraction of the light that falls in a pixel
whose centre lies there. With s knots per pixel, E(u, v) = sum_kl c_kl B(s u + c - l) B(s v + c - k), B the
centred cubic B-spline and c the middle index. The pixels of one star are whole pixels apart, so they all
share the same four weights per axis and a stamp is two short separable passes.
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, inline="always")
def _weights(t, weights):
    """Cubic B-spline weights of the taps m-1 .. m+2 at m + t."""
    one = 1.0 - t
    weights[0] = one * one * one / 6.0
    weights[1] = (4.0 - 6.0 * t * t + 3.0 * t * t * t) / 6.0
    weights[2] = (1.0 + 3.0 * t + 3.0 * t * t - 3.0 * t * t * t) / 6.0
    weights[3] = t * t * t / 6.0


@njit(cache=True, nogil=True)
def sum_terms(values, coefficients, knots):
    """Fill knots [K, K] with the sum of ``values[t] * coefficients[t]``."""
    knots[:] = 0
    for t in range(values.size):
        for k in range(knots.shape[0]):
            for j in range(knots.shape[1]):
                knots[k, j] += values[t] * coefficients[t, k, j]


@njit(cache=True, nogil=True)
def spline_stamp(knots, oversampling, dx, dy, stamp):
    """Fill stamp [k, k] with the PSF of one knot grid [K, K], the star at (dx, dy) from the middle pixel."""
    size = stamp.shape[0]
    half = size // 2
    n = knots.shape[0]
    middle = (n - 1) // 2
    wx, wy = np.empty(4), np.empty(4)
    fx, fy = int(np.floor(-oversampling * dx)), int(np.floor(-oversampling * dy))
    _weights(-oversampling * dx - fx, wx)
    _weights(-oversampling * dy - fy, wy)
    rows = np.zeros((n, size))
    for k in range(n):
        for j in range(size):
            first = middle + fx + oversampling * (j - half) - 1
            total = 0.0
            for q in range(4):
                if 0 <= first + q < n:
                    total += wx[q] * knots[k, first + q]
            rows[k, j] = total
    for i in range(size):
        first = middle + fy + oversampling * (i - half) - 1
        for j in range(size):
            total = 0.0
            for q in range(4):
                if 0 <= first + q < n:
                    total += wy[q] * rows[first + q, j]
            stamp[i, j] = total


@njit(cache=True, nogil=True)
def grid_knots(grid, x_nodes, y_nodes, x, y, knots):
    """Fill knots [K, K] with those of a grid [n_y, n_x, K, K] at (x, y): bilinear, constant beyond nodes."""
    j, u = _cell(x_nodes, x)
    i, v = _cell(y_nodes, y)
    right, top = min(j + 1, x_nodes.size - 1), min(i + 1, y_nodes.size - 1)
    for k in range(knots.shape[0]):
        a, b, c, d = grid[i, j, k], grid[i, right, k], grid[top, j, k], grid[top, right, k]
        for m in range(knots.shape[1]):
            lower, upper = (1 - u) * a[m] + u * b[m], (1 - u) * c[m] + u * d[m]
            knots[k, m] = (1 - v) * lower + v * upper


@njit(cache=True, nogil=True)
def _cell(nodes, position):
    """Index of the node below a position, and the share of the way to the next; clipped to the grid."""
    if nodes.size == 1:
        return 0, 0.0
    i = min(max(np.searchsorted(nodes, position) - 1, 0), nodes.size - 2)
    return i, min(max((position - nodes[i]) / (nodes[i + 1] - nodes[i]), 0.0), 1.0)


@njit(cache=True, nogil=True, fastmath=True)
def project_out(stamp, weight, free):
    """Take from a weighted stamp [k, k], in place, what the shapes `free` [m, k, k] explain of it.

    The shapes are orthonormal under the weight: sum(weight * free_a * free_b) = 1 where a = b, else 0.
    """
    for m in range(free.shape[0]):
        share = np.float32(0)
        for i in range(stamp.shape[0]):
            for j in range(stamp.shape[1]):
                share += free[m, i, j] * stamp[i, j]
        for i in range(stamp.shape[0]):
            for j in range(stamp.shape[1]):
                stamp[i, j] -= share * weight[i, j] * free[m, i, j]


@njit(cache=True, nogil=True, fastmath=True)
def apply_normal(knots, weight, free, dx, dy, oversampling):
    """Replace each star's knots [n, K, K] by S' P W S knots: to pixels, weighted [n, k, k], and back.

    P takes away what each star's own parameters absorb: see `project_out` for `free` [n, m, k, k].
    """
    n_stars, n, _ = knots.shape
    size = weight.shape[1]
    half = size // 2
    middle = (n - 1) // 2
    wx, wy = np.empty(4), np.empty(4)
    ax, ay = np.empty(4, np.float32), np.empty(4, np.float32)
    columns = np.empty((size, n), np.float32)
    stamp = np.empty((size, size), np.float32)
    for star in range(n_stars):
        fx, fy = int(np.floor(-oversampling * dx[star])), int(np.floor(-oversampling * dy[star]))
        _weights(-oversampling * dx[star] - fx, wx)
        _weights(-oversampling * dy[star] - fy, wy)
        ax[:] = wx
        ay[:] = wy
        startx, starty = middle + fx - oversampling * half - 1, middle + fy - oversampling * half - 1
        for i in range(size):
            k = starty + oversampling * i
            for p in range(n):
                columns[i, p] = (
                    ay[0] * knots[star, k, p]
                    + ay[1] * knots[star, k + 1, p]
                    + ay[2] * knots[star, k + 2, p]
                    + ay[3] * knots[star, k + 3, p]
                )
            for j in range(size):
                p = startx + oversampling * j
                value = ax[0] * columns[i, p] + ax[1] * columns[i, p + 1]
                value += ax[2] * columns[i, p + 2] + ax[3] * columns[i, p + 3]
                stamp[i, j] = weight[star, i, j] * value
        project_out(stamp, weight[star], free[star])
        columns[:] = 0
        for i in range(size):
            for j in range(size):
                p = startx + oversampling * j
                for q in range(4):
                    columns[i, p + q] += ax[q] * stamp[i, j]
        knots[star] = 0
        for i in range(size):
            k = starty + oversampling * i
            for q in range(4):
                for p in range(n):
                    knots[star, k + q, p] += ay[q] * columns[i, p]


@njit(cache=True, nogil=True)
def to_knots(pixels, dx, dy, oversampling, knots):
    """Adjoint of evaluation: add each star's pixels [n, k, k] to its knots [n, K, K]."""
    n_stars, size, _ = pixels.shape
    half = size // 2
    middle = (knots.shape[1] - 1) // 2
    wx, wy = np.empty(4), np.empty(4)
    for star in range(n_stars):
        fx, fy = int(np.floor(-oversampling * dx[star])), int(np.floor(-oversampling * dy[star]))
        _weights(-oversampling * dx[star] - fx, wx)
        _weights(-oversampling * dy[star] - fy, wy)
        startx, starty = middle + fx - oversampling * half - 1, middle + fy - oversampling * half - 1
        for i in range(size):
            for j in range(size):
                value = pixels[star, i, j]
                if value == 0.0:
                    continue
                for q in range(4):
                    for p in range(4):
                        knots[star, starty + oversampling * i + q, startx + oversampling * j + p] += (
                            wy[q] * wx[p] * value
                        )


@njit(cache=True, nogil=True)
def star_pixels(
    data, residual, sky_variance, gain_slope, stamps, row, col, flux, model_error, core, values, weight, chi
):
    """Values and inverse variances [n, k, k] of each star's pixels without all others; chi of the core.

    `residual` is what all stars leave of `data`, `stamps` the PSF of each star about (row, col). The variance
    holds a model error of the star's own light and a tenth of the light of others; pixels that the
    stars do not explain, unusable ones, and those outside the image have weight 0.
    """
    ny, nx = data.shape
    half = stamps.shape[1] // 2
    for star in range(flux.size):
        values[star] = 0.0
        weight[star] = 0.0
        total_chi = 0.0
        count = 0
        for i in range(max(0, half - row[star]), min(2 * half + 1, ny + half - row[star])):
            yy = row[star] - half + i
            for j in range(max(0, half - col[star]), min(2 * half + 1, nx + half - col[star])):
                xx = col[star] - half + j
                v = sky_variance[yy, xx]
                left = residual[yy, xx]
                if not v > 0.0 or not np.isfinite(left):
                    continue
                own = flux[star] * stamps[star, i, j]
                light = data[yy, xx] - left
                v += gain_slope * max(light, own, 0.0) + (model_error * own) ** 2 + (0.1 * (light - own)) ** 2
                if core[i, j]:
                    total_chi += left * left / v
                    count += 1
                if abs(left) < 6.0 * np.sqrt(v) + 0.1 * abs(own):
                    values[star, i, j] = left + own
                    weight[star, i, j] = 1.0 / v
        chi[star] = np.sqrt(total_chi / max(count - 3, 1))
