"""Shapes of stars: weighted moments, and Moffat profiles integrated over pixels."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def weighted_moments(data, usable, x, y, sigma, out):
    """Gaussian-weighted centroid and second moments of each source; out [n, 6] = x, y, xx, xy, yy, flux.

    The weight (round, of the given sigma) follows the centroid. Moments are of data times weight; NaN when
    the centroid runs away or the weighted flux is not positive.
    """
    ny, nx = data.shape
    reach = int(np.ceil(4.0 * sigma))
    along = np.empty(2 * reach + 1)
    for star in range(x.size):
        cx, cy = x[star], y[star]
        out[star, :] = np.nan
        good = True
        total = xx = xy = yy = 0.0
        for _ in range(12):
            row, col = int(np.floor(cy + 0.5)), int(np.floor(cx + 0.5))
            total = mx = my = xx = xy = yy = norm = 0.0
            for j in range(2 * reach + 1):
                along[j] = np.exp(-0.5 * ((j + col - reach - cx) / sigma) ** 2)
            for i in range(max(0, row - reach), min(ny, row + reach + 1)):
                v = i - cy
                across = np.exp(-0.5 * (v / sigma) ** 2)
                for j in range(max(0, col - reach), min(nx, col + reach + 1)):
                    if not usable[i, j]:
                        continue
                    u = j - cx
                    w = across * along[j - col + reach]
                    value = w * data[i, j]
                    total += value
                    norm += w * w
                    mx += value * u
                    my += value * v
                    xx += value * u * u
                    xy += value * u * v
                    yy += value * v * v
            if not total > 0.0:
                good = False
                break
            stepx, stepy = 2.0 * mx / total, 2.0 * my / total
            cx += stepx
            cy += stepy
            if abs(cx - x[star]) > 2.0 * sigma + 1.0 or abs(cy - y[star]) > 2.0 * sigma + 1.0:
                good = False
                break
            if abs(stepx) < 1e-3 and abs(stepy) < 1e-3:
                break
        if good:
            out[star, 0], out[star, 1] = cx, cy
            out[star, 2], out[star, 3], out[star, 4] = xx / total, xy / total, yy / total
            out[star, 5] = total / norm


@njit(cache=True, nogil=True)
def moffat_stamps(xx, xy, yy, beta, dx, dy, half_size, nodes, quadrature, stamps):
    """Pixel-integrated elliptical Moffats (not normalised), one stamp a star at sub-pixel (dx, dy).

    (1 + xx u^2 + 2 xy u v + yy v^2)^-beta, integrated with the given Gauss-Legendre rule on [-1/2, 1/2].
    """
    for star in range(dx.size):
        for i in range(2 * half_size + 1):
            for j in range(2 * half_size + 1):
                total = 0.0
                for p in range(nodes.size):
                    v = i - half_size - dy[star] + nodes[p]
                    for q in range(nodes.size):
                        u = j - half_size - dx[star] + nodes[q]
                        r = 1.0 + xx * u * u + 2.0 * xy * u * v + yy * v * v
                        total += quadrature[p] * quadrature[q] * np.exp(-beta * np.log(r))
                stamps[star, i, j] = total


@njit(cache=True, nogil=True)
def moffat_slopes(xx, xy, yy, beta, dx, dy, half_size, nodes, quadrature, stamps):
    """The same with its derivatives by xx, xy, yy and beta: stamps [5, n, k, k]."""
    for star in range(dx.size):
        for i in range(2 * half_size + 1):
            for j in range(2 * half_size + 1):
                total = by_xx = by_xy = by_yy = by_beta = 0.0
                for p in range(nodes.size):
                    v = i - half_size - dy[star] + nodes[p]
                    for q in range(nodes.size):
                        u = j - half_size - dx[star] + nodes[q]
                        r = 1.0 + xx * u * u + 2.0 * xy * u * v + yy * v * v
                        log = np.log(r)
                        value = quadrature[p] * quadrature[q] * np.exp(-beta * log)
                        slope = -beta * value / r
                        total += value
                        by_xx += slope * u * u
                        by_xy += 2.0 * slope * u * v
                        by_yy += slope * v * v
                        by_beta -= value * log
                stamps[0, star, i, j] = total
                stamps[1, star, i, j] = by_xx
                stamps[2, star, i, j] = by_xy
                stamps[3, star, i, j] = by_yy
                stamps[4, star, i, j] = by_beta
