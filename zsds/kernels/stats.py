"""Robust numbers of large arrays, and masks that grow."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def clipped_mean(values, kappa, iterations):
    """(mean, standard deviation, count) of the finite values, clipped about the median at kappa sigma."""
    kept = values[np.isfinite(values)]
    if kept.size == 0:
        return np.nan, np.nan, 0
    middle = np.median(kept)
    sigma = 1.4826 * np.median(np.abs(kept - middle))
    for _ in range(iterations):
        inside = kept[np.abs(kept - middle) <= kappa * sigma]
        if inside.size == kept.size or inside.size == 0:
            break
        kept = inside
        middle = np.median(kept)
        sigma = np.std(kept)
    return np.mean(kept), np.std(kept), kept.size


@njit(cache=True, nogil=True)
def grow_above(data, level, rms, n_sigma, radius, masked):
    """Set masked True within a square of `radius` around pixels more than n_sigma * rms above level.

    A pixel counts only when one of its four neighbours is above as well, so noise alone hardly ever masks.
    """
    ny, nx = data.shape
    for i in range(ny):
        for j in range(nx):
            if not data[i, j] - level[i, j] > n_sigma * rms[i, j]:
                continue
            pair = False
            if j > 0 and data[i, j - 1] - level[i, j - 1] > n_sigma * rms[i, j - 1]:
                pair = True
            elif j < nx - 1 and data[i, j + 1] - level[i, j + 1] > n_sigma * rms[i, j + 1]:
                pair = True
            elif i > 0 and data[i - 1, j] - level[i - 1, j] > n_sigma * rms[i - 1, j]:
                pair = True
            elif i < ny - 1 and data[i + 1, j] - level[i + 1, j] > n_sigma * rms[i + 1, j]:
                pair = True
            if pair:
                masked[max(0, i - radius) : i + radius + 1, max(0, j - radius) : j + radius + 1] = True


@njit(cache=True, nogil=True)
def flags_around(mask, x, y, radius, flags):
    """OR of the mask bits in the square of `radius` pixels around each position; 0 where it lies outside."""
    ny, nx = mask.shape
    for star in range(x.size):
        value = np.uint32(0)
        if np.isfinite(x[star]) and np.isfinite(y[star]):
            row, col = int(np.floor(y[star] + 0.5)), int(np.floor(x[star] + 0.5))
            for i in range(max(0, row - radius), min(ny, row + radius + 1)):
                for j in range(max(0, col - radius), min(nx, col + radius + 1)):
                    value |= mask[i, j]
        flags[star] = value
