"""Sums in circular apertures with exact overlap of circle and pixel."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def _shared(x0, x1, y0, y1, r):
    """Area of the rectangle 0 <= x0 < x1, 0 <= y0 < y1 within the circle of radius r about 0."""
    square = r * r
    below, above = square - y0 * y0, square - y1 * y1
    if below <= x0 * x0:
        return 0.0
    end = min(np.sqrt(below), x1)  # the arc leaves by the bottom, or by the right side
    full = min(max(np.sqrt(max(above, 0.0)), x0), end)  # as far as here the whole height counts
    at_end, at_full = np.sqrt(max(square - end * end, 0.0)), np.sqrt(max(square - full * full, 0.0))
    angle = np.arcsin(min((end * at_full - full * at_end) / square, 1.0))
    arc = 0.5 * (end * at_end - full * at_full + square * angle)
    return (full - x0) * (y1 - y0) + arc - y0 * (end - full)


@njit(cache=True, nogil=True, error_model="numpy")
def pixel_overlap(u, v, r):
    """Area of a unit pixel centred at (u, v) that lies within the circle of radius r about 0."""
    u, v = abs(u), abs(v)
    x0, y0 = max(u - 0.5, 0.0), max(v - 0.5, 0.0)
    area = _shared(x0, u + 0.5, y0, v + 0.5, r)
    if u < 0.5:
        area += _shared(0.0, 0.5 - u, y0, v + 0.5, r)
    if v < 0.5:
        area += _shared(x0, u + 0.5, 0.0, 0.5 - v, r)
    if u < 0.5 and v < 0.5:
        area += _shared(0.0, 0.5 - u, 0.0, 0.5 - v, r)
    return area


@njit(cache=True, nogil=True)
def sum_apertures(data, variance, usable, mask, x, y, own, radii, flux, flux_variance, bad, flags):
    """Flux and its variance [n, n_radii] in concentric circles; bad area and mask bits of the largest.

    Radii ascend. Pixels that are not usable, or outside the image, add nothing and count as bad. `own`
    [n, k, k], k odd, is light of each source, about the pixel nearest to it, that `data` lacks; [0, 1, 1]
    where it lacks none.
    """
    ny, nx = data.shape
    half = own.shape[1] // 2
    n_radii = radii.size
    largest = radii[n_radii - 1]
    for star in range(x.size):
        flux[star, :] = 0.0
        flux_variance[star, :] = 0.0
        flags[star] = 0
        bad[star] = 1.0
        if not (np.isfinite(x[star]) and np.isfinite(y[star])):
            flux[star, :] = np.nan
            flux_variance[star, :] = np.nan
            continue
        good_area = 0.0
        row, column = int(np.floor(y[star] + 0.5)), int(np.floor(x[star] + 0.5))
        first_row, last_row = int(np.ceil(y[star] - largest - 0.5)), int(np.floor(y[star] + largest + 0.5))
        first_col, last_col = int(np.ceil(x[star] - largest - 0.5)), int(np.floor(x[star] + largest + 0.5))
        for i in range(max(0, first_row), min(ny, last_row + 1)):
            v = i - y[star]
            for j in range(max(0, first_col), min(nx, last_col + 1)):
                u = j - x[star]
                distance = np.sqrt(u * u + v * v)
                if distance >= largest + 0.70711:
                    continue
                is_usable = usable[i, j]
                value = float(data[i, j])
                if own.shape[0] and abs(i - row) <= half and abs(j - column) <= half:
                    value += own[star, i - row + half, j - column + half]
                for k in range(n_radii - 1, -1, -1):
                    r = radii[k]
                    if distance >= r + 0.70711:
                        break
                    area = 1.0 if distance <= r - 0.70711 else pixel_overlap(u, v, r)
                    if k == n_radii - 1 and area > 0.0:
                        flags[star] |= mask[i, j]
                        if is_usable:
                            good_area += area
                    if is_usable:
                        flux[star, k] += area * value
                        flux_variance[star, k] += area * area * variance[i, j]
        bad[star] = max(0.0, 1.0 - good_area / (np.pi * largest * largest))
