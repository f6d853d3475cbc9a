"""Pixels sharper than any star: cosmic rays.

A star's light obeys linear inequalities that hold at every pixel and for every position of the star: the
mean of two opposite neighbours is at least r times the pixel between them, with r the ratio for a star
centred on the pixel. Sums of stars obey them too, so crowding and galaxies do no harm; a ray that hit one
pixel, or a thin track, breaks at least one. (The pair test is that of Lupton et al., SDSS photo; the others
follow from the same inequality.)
"""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _single(excess, variance, i, j, r, least_pairs):
    """Largest significance by which pixel (i, j) breaks the tests of one pixel.

    The pairs are taken together, weighted as the star's light; then without the pair that holds most, so
    that a track is seen across; then one by one, where more room is left for elongated stars.
    """
    ny, nx = excess.shape
    e, v = excess[i, j], variance[i, j]
    best, pairs = 0.0, 0
    light, light_v, light_r = 0.0, 0.0, 0.0
    most, most_light, most_v, most_r = -1e30, 0.0, 0.0, 0.0
    for k in range(4):
        di, dj = (0, 1, 1, 1)[k], (1, 0, 1, -1)[k]
        a, b, c, d = i - di, j - dj, i + di, j + dj
        if (
            a < 0
            or c >= ny
            or min(b, d) < 0
            or max(b, d) >= nx
            or not variance[a, b] + variance[c, d] < np.inf
        ):
            continue
        ratio = r if k < 2 else r * r
        mean = 0.5 * (excess[a, b] + excess[c, d])
        spread = 0.25 * (variance[a, b] + variance[c, d])
        strict = 0.85 * ratio
        best = max(best, (strict * e - mean) / np.sqrt(strict * strict * v + spread))
        light, light_v, light_r = light + ratio * mean, light_v + ratio * ratio * spread, light_r + ratio**2
        pairs += 1
        if mean / ratio > most:
            most, most_light, most_v, most_r = mean / ratio, ratio * mean, ratio * ratio * spread, ratio**2
    if pairs >= least_pairs:
        best = max(best, (light_r * e - light) / np.sqrt(light_r * light_r * v + light_v))
    if pairs == 4:
        light, light_v, light_r = light - most_light, light_v - most_v, light_r - most_r
        best = max(best, (light_r * e - light) / np.sqrt(light_r * light_r * v + light_v))
    return best


@njit(cache=True, nogil=True)
def _double(excess, variance, i, j, di, dj, r):
    """Significance by which (i, j) and its neighbour in direction (di, dj) break the test of two pixels."""
    ny, nx = excess.shape
    a, b, c, d = i - di, j - dj, i + 2 * di, j + 2 * dj
    if a < 0 or b < 0 or c >= ny or d >= nx:
        return 0.0
    e = excess[i, j] + excess[i + di, j + dj]
    outer = excess[a, b] + excess[c, d]
    v = variance[i, j] + variance[i + di, j + dj]
    if not v + variance[a, b] + variance[c, d] < np.inf:
        return 0.0
    return (r * r * e - outer) / np.sqrt(r**4 * v + variance[a, b] + variance[c, d])


@njit(cache=True, nogil=True)
def _block(excess, variance, i, j, r):
    """Significance by which the 2 x 2 block with corner (i, j) outshines the 8 pixels at its sides."""
    ny, nx = excess.shape
    if i < 1 or j < 1 or i + 2 >= ny or j + 2 >= nx:
        return 0.0
    inner, inner_v, outer, outer_v = 0.0, 0.0, 0.0, 0.0
    for a in range(i - 1, i + 3):
        for b in range(j - 1, j + 3):
            side_a, side_b = a < i or a > i + 1, b < j or b > j + 1
            if side_a and side_b:
                continue
            if not variance[a, b] < np.inf:
                return 0.0
            if side_a or side_b:
                outer += excess[a, b]
                outer_v += variance[a, b]
            else:
                inner += excess[a, b]
                inner_v += variance[a, b]
    ratio = 2.0 * r * r
    return (ratio * inner - outer) / np.sqrt(ratio * ratio * inner_v + outer_v)


@njit(cache=True, nogil=True)
def _mark_bright(excess, variance, found, i0, i1, j0, j1, n_sigma):
    """Mark the pixels of a rectangle that are significant by themselves."""
    for i in range(i0, i1):
        for j in range(j0, j1):
            e = excess[i, j]
            if e > 0 and e * e > n_sigma * n_sigma * variance[i, j]:
                found[i, j] = True


@njit(cache=True, nogil=True)
def _mark(excess, variance, found, i, j, r, n_sigma, grow_sigma):
    """Mark what breaks a test at (i, j)."""
    ny, nx = excess.shape
    if _single(excess, variance, i, j, r, 3) > n_sigma:
        found[i, j] = True
    for k in range(2):
        di, dj = (0, 1)[k], (1, 0)[k]
        if i + di < ny and j + dj < nx and not (found[i, j] and found[i + di, j + dj]):
            if _double(excess, variance, i, j, di, dj, r) > n_sigma:
                _mark_bright(excess, variance, found, i, i + di + 1, j, j + dj + 1, grow_sigma)
    if not found[i, j] and _block(excess, variance, i, j, r) > n_sigma:
        _mark_bright(excess, variance, found, i, i + 2, j, j + 2, grow_sigma)


@njit(cache=True, nogil=True)
def find_sharp_pixels(excess, variance, r, n_sigma, grow_sigma, iterations):
    """Pixels that no sum of stars can explain.

    Parameters
    ----------
    excess, variance : float32 [ny, nx]
        The image above its sky (a sky rather too low than too high), and its variance, infinite where a pixel
        may not take part.
    r : float
        Ratio of the mean of two opposite neighbours to the pixel between them for the sharpest star.
    n_sigma, grow_sigma : float
        Significance for a first pixel, and for neighbours of those found.
    iterations : int
        Rounds of growing.

    Returns
    -------
    bool [ny, nx]
    """
    ny, nx = excess.shape
    found = np.zeros((ny, nx), np.bool_)
    least = 0.8 * n_sigma
    for i in range(ny):
        for j in range(nx):
            e = excess[i, j]
            if e > 0 and e * e > least * least * variance[i, j] and variance[i, j] < np.inf:
                _mark(excess, variance, found, i, j, r, n_sigma, grow_sigma)
    left = variance.copy()
    for _ in range(iterations):
        rows, cols = np.nonzero(found & (left < np.inf))
        for k in range(rows.size):
            left[rows[k], cols[k]] = np.inf
        if rows.size == 0:
            break
        for k in range(rows.size):
            for i in range(max(0, rows[k] - 1), min(ny, rows[k] + 2)):
                for j in range(max(0, cols[k] - 1), min(nx, cols[k] + 2)):
                    e = excess[i, j]
                    bright = e > 0 and e * e > grow_sigma * grow_sigma * variance[i, j]
                    if bright and not found[i, j]:
                        if _single(excess, left, i, j, r, 1) > grow_sigma:
                            found[i, j] = True
    return found
