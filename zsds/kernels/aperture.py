"""Sums in circular apertures with exact overlap of circle and pixel."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _corner_area(x, y, r):
    """Area of the circle of radius r about 0 within the quadrant [-inf, x] x [-inf, y]."""
    x = min(max(x, -r), r)
    y = min(max(y, -r), r)
    r2 = r * r
    # integral over u from -r to x of the chord below y
    if y >= 0:
        edge = np.sqrt(max(r2 - y * y, 0.0))
        left, right = -edge, edge
        area = 2.0 * _half_chord(-r, min(x, left), r)
        if x > left:
            area += _half_chord(left, min(x, right), r) + y * (min(x, right) - left)
        if x > right:
            area += 2.0 * _half_chord(right, x, r)
        return area
    edge = np.sqrt(max(r2 - y * y, 0.0))
    if x <= -edge:
        return 0.0
    top = min(x, edge)
    return _half_chord(-edge, top, r) + y * (top + edge)


@njit(cache=True, nogil=True)
def _half_chord(a, b, r):
    """Integral of sqrt(r^2 - u^2) from a to b."""
    if b <= a:
        return 0.0
    fa = a * np.sqrt(max(r * r - a * a, 0.0)) + r * r * np.arcsin(min(max(a / r, -1.0), 1.0))
    fb = b * np.sqrt(max(r * r - b * b, 0.0)) + r * r * np.arcsin(min(max(b / r, -1.0), 1.0))
    return 0.5 * (fb - fa)


@njit(cache=True, nogil=True)
def pixel_overlap(u, v, r):
    """Area of a unit pixel centred at (u, v) that lies within the circle of radius r about 0."""
    u, v = abs(u), abs(v)
    if u >= 0.5 and v >= 0.5:  # the arc falls through the pixel: full width, then below the arc, then nothing
        low = v - 0.5
        below, above = r * r - low * low, r * r - (v + 0.5) * (v + 0.5)
        end = np.sqrt(below) if below > 0.0 else 0.0
        full = np.sqrt(above) if above > 0.0 else 0.0
        end = min(max(end, u - 0.5), u + 0.5)
        full = min(max(full, u - 0.5), end)
        return full - (u - 0.5) + _half_chord(full, end, r) - low * (end - full)
    return (
        _corner_area(u + 0.5, v + 0.5, r)
        - _corner_area(u - 0.5, v + 0.5, r)
        - _corner_area(u + 0.5, v - 0.5, r)
        + _corner_area(u - 0.5, v - 0.5, r)
    )


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
