"""Robust numbers of large arrays, and masks that grow."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def grow_above(data, level, rms, step, n_sigma, radius, masked):
    """Set masked True within a square of `radius` around pixels more than n_sigma * rms above level.

    level and rms hold every `step`-th pixel per axis. A pixel counts only when the one to its left or above
    it is as bright, so noise alone hardly ever masks.
    """
    ny, nx = data.shape
    for i in range(1, ny):
        for j in range(1, nx):
            limit = level[i // step, j // step] + n_sigma * rms[i // step, j // step]
            if data[i, j] > limit and (data[i, j - 1] > limit or data[i - 1, j] > limit):
                masked[max(0, i - radius) : i + radius + 1, max(0, j - radius) : j + radius + 1] = True


@njit(cache=True, nogil=True)
def mark_unusable(data, variance, mask, defects, unusable):
    """Set unusable True where a defect bit is set, or data or variance is no usable number."""
    ny, nx = data.shape
    for i in range(ny):
        for j in range(nx):
            v = variance[i, j]
            unusable[i, j] = (
                (mask[i, j] & defects) != 0 or not np.isfinite(data[i, j]) or not (v > 0.0 and v < np.inf)
            )


@njit(cache=True, nogil=True)
def remove_source_noise(data, variance, unusable, slope, floor, sky_variance):
    """sky_variance = variance - slope * data, at least floor; 0 where unusable."""
    ny, nx = data.shape
    for i in range(ny):
        for j in range(nx):
            if unusable[i, j]:
                sky_variance[i, j] = 0.0
            else:
                sky_variance[i, j] = max(variance[i, j] - slope * data[i, j], floor)


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
