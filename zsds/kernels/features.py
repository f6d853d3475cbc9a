"""Numbers measured on the pixels around one position."""

from math import exp, sqrt

import numpy as np
from numba import njit

SUBPIXELS = 5  # a side, for pixels cut by the rim of an aperture


@njit(cache=True, nogil=True)
def ring_medians(data, bad, x, y, inner, outer, out):
    """Median of the good pixels between two radii around each position; NaN where there is none."""
    reach = int(outer) + 1
    values = np.empty((2 * reach + 1) ** 2, data.dtype)
    for i in range(x.size):
        col, row = int(np.floor(x[i] + 0.5)), int(np.floor(y[i] + 0.5))
        n = 0
        for r in range(max(0, row - reach), min(data.shape[0], row + reach + 1)):
            for c in range(max(0, col - reach), min(data.shape[1], col + reach + 1)):
                distance = (r - y[i]) ** 2 + (c - x[i]) ** 2
                if inner * inner <= distance <= outer * outer and not bad[r, c] and np.isfinite(data[r, c]):
                    values[n] = data[r, c]
                    n += 1
        out[i] = np.nan
        if n > 0:
            ordered = np.sort(values[:n])  # np.median takes longer to compile
            out[i] = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2


@njit(cache=True, nogil=True)
def normal_equations(basis, data, weight, matrix, vector):
    """Weighted least squares of data on basis: fill matrix [m, m] and vector [m].

    Parameters
    ----------
    basis : ndarray of float32 [m, ny, nx]
    data, weight : ndarray of float32 [ny, nx]
    """
    m = basis.shape[0]
    matrix[:] = 0.0
    vector[:] = 0.0
    for r in range(data.shape[0]):
        for c in range(data.shape[1]):
            w = np.float64(weight[r, c])
            if w == 0.0:
                continue
            for i in range(m):
                wb = w * basis[i, r, c]
                vector[i] += wb * data[r, c]
                for j in range(i + 1):
                    matrix[i, j] += wb * basis[j, r, c]
    for i in range(m):
        for j in range(i):
            matrix[j, i] = matrix[i, j]


@njit(cache=True, nogil=True)
def chi_square(model, data, weight):
    """Sum of weight * (data - model)^2 and the number of pixels with weight."""
    total = 0.0
    n = 0
    for r in range(data.shape[0]):
        for c in range(data.shape[1]):
            if weight[r, c] > 0:
                total += weight[r, c] * (data[r, c] - model[r, c]) ** 2
                n += 1
    return total, n


@njit(cache=True, nogil=True)
def _cover(distance, radius, dx, dy):
    """Part of a pixel, whose centre lies at (dx, dy), inside a circle."""
    if distance < radius - 0.75:
        return 1.0
    if distance > radius + 0.75:
        return 0.0
    inside = 0
    for i in range(SUBPIXELS):
        for j in range(SUBPIXELS):
            px = dx + (i + 0.5) / SUBPIXELS - 0.5
            py = dy + (j + 0.5) / SUBPIXELS - 0.5
            inside += px * px + py * py <= radius * radius
    return inside / (SUBPIXELS * SUBPIXELS)


@njit(cache=True, nogil=True)
def aperture_sums(data, variance, bad, stamp, x, y, radius):
    """Sums over the good pixels of an aperture: data, variance, and the PSF's share of light.

    Parameters
    ----------
    data, variance, stamp : ndarray [k, k]
        Pixels, their variance, and the PSF on the same pixels (sum 1 over everything).
    bad : ndarray of bool [k, k]
    x, y, radius : float
        Pixels of the patch.
    """
    flux, noise, share = 0.0, 0.0, 0.0
    for r in range(data.shape[0]):
        for c in range(data.shape[1]):
            if bad[r, c]:
                continue
            distance = sqrt((r - y) ** 2 + (c - x) ** 2)
            part = _cover(distance, radius, c - x, r - y)
            if part > 0:
                flux += part * data[r, c]
                noise += part * variance[r, c]
                share += part * stamp[r, c]
    return flux, noise, share


@njit(cache=True, nogil=True)
def window_moments(data, variance, bad, x, y, sigma, out):
    """Second moments under a round Gaussian window that follows the centroid.

    Parameters
    ----------
    data, variance : ndarray [k, k]
        Positive at the source.
    bad : ndarray of bool [k, k]
        Left out.
    x, y, sigma : float
        Start and width of the window, pixels of the patch.
    out : ndarray of float64 [6]
        Output: xx, yy, xy, x, y, and the noise of (xx - yy) / 2; NaN if the windowed flux is not positive.
    """
    out[:] = np.nan
    start_x, start_y = x, y
    for iteration in range(4):
        total, mx, my, xx, yy, xy, noise = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for r in range(data.shape[0]):
            for c in range(data.shape[1]):
                if bad[r, c]:
                    continue
                dx, dy = c - x, r - y
                window = exp(-0.5 * (dx * dx + dy * dy) / (sigma * sigma))
                noise += (window * (dx * dx - dy * dy) / 2) ** 2 * variance[r, c]
                w = window * data[r, c]
                total += w
                mx += w * dx
                my += w * dy
                xx += w * dx * dx
                yy += w * dy * dy
                xy += w * dx * dy
        if not total > 0:
            return
        mx /= total
        my /= total
        if iteration == 3:
            out[0] = xx / total - mx * mx
            out[1] = yy / total - my * my
            out[2] = xy / total - mx * my
            out[3] = x
            out[4] = y
            out[5] = sqrt(noise) / total
            return
        x += 2 * mx  # a Gaussian under a window of its own width moves by half
        y += 2 * my
        if abs(x - start_x) > 2 or abs(y - start_y) > 2:
            x, y = start_x, start_y


@njit(cache=True, nogil=True)
def core_counts(data, bad, row, col):
    """Negative pixels, bad pixels, and the sum ratio after a 3 x 3 median, of the 5 x 5 around (row, col).

    Parameters
    ----------
    data : ndarray [k, k]
        Positive at the source; k at least 7.
    bad : ndarray of bool [k, k]
    """
    negative, defects = 0, 0
    total, absolute = 0.0, 0.0
    box = np.empty(9)
    for r in range(row - 2, row + 3):
        for c in range(col - 2, col + 3):
            defects += bad[r, c]
            negative += data[r, c] < 0
            n = 0
            for i in range(r - 1, r + 2):
                for j in range(c - 1, c + 2):
                    if np.isfinite(data[i, j]):
                        box[n] = data[i, j]
                        n += 1
            if n > 0:
                ordered = np.sort(box[:n])
                value = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
                total += value
                absolute += abs(value)
    return negative, defects, total / absolute if absolute > 0 else np.nan


@njit(cache=True, nogil=True)
def _cubic(t):
    """Weights of the four neighbours in Catmull-Rom interpolation at fraction t."""
    return (
        0.5 * (-t + 2 * t * t - t * t * t),
        0.5 * (2 - 5 * t * t + 3 * t * t * t),
        0.5 * (t + 4 * t * t - 3 * t * t * t),
        0.5 * (-t * t + t * t * t),
    )


@njit(cache=True, nogil=True)
def draw_trail(stamp, x, y, ux, uy, step, out):
    """Add the PSF drawn out evenly along the line (x, y) +- (ux, uy) to out; flux 1.

    Parameters
    ----------
    stamp : ndarray [k, k]
        PSF centred on its middle pixel.
    x, y, ux, uy : float
        Middle and half length of the line, pixels of out.
    step : float
        Greatest distance of the points the line is made of.
    out : ndarray [ny, nx]
    """
    half = stamp.shape[0] // 2
    n = max(1, int(np.ceil(2 * sqrt(ux * ux + uy * uy) / step)))
    for point in range(n):
        along = (2 * point + 1 - n) / n
        px, py = x + along * ux, y + along * uy
        col, row = int(np.floor(px)), int(np.floor(py))
        wx, wy = _cubic(1 - (px - col)), _cubic(1 - (py - row))
        for r in range(max(0, row - half), min(out.shape[0], row + half + 2)):
            for c in range(max(0, col - half), min(out.shape[1], col + half + 2)):
                value = 0.0
                for i in range(4):
                    sr = r - row + half - 2 + i
                    if sr < 0 or sr >= stamp.shape[0]:
                        continue
                    for j in range(4):
                        sc = c - col + half - 2 + j
                        if 0 <= sc < stamp.shape[1]:
                            value += wy[i] * wx[j] * stamp[sr, sc]
                out[r, c] += value / n
