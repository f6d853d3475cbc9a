"""Pixels sharper than any star: cosmic rays.

A star's light obeys linear inequalities that hold at every pixel and for every position of the star: the
mean of two opposite neighbours is at least r times the pixel between them, with r the ratio for a star
centred on the pixel. Sums of stars obey them too, so crowding and galaxies do no harm; a ray that hit one
pixel, or a thin track, breaks at least one. (The pair test is that of Lupton et al., SDSS photo; the others
follow from the same inequality.) Crooked tracks may break none by much; a bright pixel that nearly does is
judged by what the best sum of stars leaves of the pixels around it.
"""

import numpy as np
from numba import njit

SIDE = 5  # pixels of the square that stars are fitted to
STEP = 0.5  # pixels between the places at which they may stand, up to one pixel outside it
NEARLY = 1.0  # significance in the simple tests from which a bright pixel is worth that fit
STEPS = 100  # of the fit
SOFT = 0.05  # relative error of the light of a star
REST = 3.0  # sigma of its chi-square within which the darker half of the square is empty sky


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
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


@njit(cache=True, nogil=True, error_model="numpy")
def _mark_bright(excess, variance, found, i0, i1, j0, j1, n_sigma):
    """Mark the pixels of a rectangle that are significant by themselves."""
    for i in range(i0, i1):
        for j in range(j0, j1):
            e = excess[i, j]
            if e > 0 and e * e > n_sigma * n_sigma * variance[i, j]:
                found[i, j] = True


@njit(cache=True, nogil=True, error_model="numpy")
def _is_top(excess, found, i, j):
    """Whether no pixel around (i, j) that is not marked is brighter."""
    ny, nx = excess.shape
    for a in range(max(0, i - 1), min(ny, i + 2)):
        for b in range(max(0, j - 1), min(nx, j + 2)):
            if not found[a, b] and excess[a, b] > excess[i, j]:
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _left_by_stars(data, weight, profile, enough, rest):
    """Chi-square of a square after the best sum of stars; ``rest`` [SIDE, SIDE] is what they leave.

    ``profile`` [SIDE, n] is the light of a star in the pixels along one axis, for each of n places. Stars of
    any flux above 0 stand at all n x n places; the one that gains most is changed, again and again, until
    the chi-square is below ``enough``.
    """
    n = profile.shape[1]
    flux, norm, along = np.zeros((n, n)), np.zeros((n, n)), np.zeros((SIDE, n))
    chi2 = 0.0
    for i in range(SIDE):
        for j in range(SIDE):
            rest[i, j] = data[i, j]
            chi2 += weight[i, j] * data[i, j] ** 2
            for b in range(n):
                along[i, b] += weight[i, j] * profile[j, b] ** 2
    for a in range(n):
        for b in range(n):
            for i in range(SIDE):
                norm[a, b] += along[i, b] * profile[i, a] ** 2
    for _ in range(STEPS):
        if chi2 < enough:
            break
        along[:] = 0
        for i in range(SIDE):
            for j in range(SIDE):
                pull = weight[i, j] * rest[i, j]
                for b in range(n):
                    along[i, b] += pull * profile[j, b]
        gain, row, col, change = 0.0, 0, 0, 0.0
        for a in range(n):
            for b in range(n):
                slope = 0.0
                for i in range(SIDE):
                    slope += along[i, b] * profile[i, a]
                if norm[a, b] <= 0:
                    continue
                step = max(slope / norm[a, b], -flux[a, b])
                if step * (2 * slope - step * norm[a, b]) > gain:
                    gain, row, col, change = step * (2 * slope - step * norm[a, b]), a, b, step
        if gain < 0.05:
            break
        flux[row, col] += change
        chi2 = 0.0
        for i in range(SIDE):
            for j in range(SIDE):
                rest[i, j] -= change * profile[i, row] * profile[j, col]
                chi2 += weight[i, j] * rest[i, j] ** 2
    return chi2


@njit(cache=True, nogil=True, error_model="numpy")
def _mark_crooked(excess, variance, found, i, j, profile, max_chi2, grow_sigma):
    """Mark the most that the best sum of stars leaves around (i, j), where it leaves too much."""
    ny, nx = excess.shape
    half = SIDE // 2
    if i < half or j < half or i + half >= ny or j + half >= nx:
        return
    data, weight, rest = np.empty((SIDE, SIDE)), np.empty((SIDE, SIDE)), np.empty((SIDE, SIDE))
    for a in range(SIDE):
        for b in range(SIDE):
            row, col = i - half + a, j - half + b
            used = variance[row, col] < np.inf and not found[row, col]
            data[a, b] = excess[row, col] if used else 0.0
            soft = SOFT * max(data[a, b], 0.3 * excess[i, j])
            weight[a, b] = 1 / (variance[row, col] + soft * soft) if used else 0.0
    if _left_by_stars(data, weight, profile, 0.8 * max_chi2, rest) < max_chi2:
        return
    most, top, right = 0.0, half, half
    for a in range(SIDE):
        for b in range(SIDE):
            left = rest[a, b] * np.sqrt(weight[a, b])
            found[i - half + a, j - half + b] |= left > grow_sigma
            if left > most:
                most, top, right = left, a, b
    found[i - half + top, j - half + right] = True


@njit(cache=True, nogil=True, error_model="numpy")
def _mark_tracks(excess, variance, found, sigma, rounds):
    """Mark what touches a marked pixel and is brighter than ``sigma``, where all around is empty sky.

    A ray's other pixels may look like stars when its brightest are gone; on empty sky there is no star to
    spare: no more of the 5 x 5 pixels around may be so bright than a track takes, and the others, more than
    half of all, must be no more than noise.
    """
    ny, nx = excess.shape
    half, limit = SIDE // 2, sigma * sigma
    for _ in range(rounds):
        rows, cols = np.nonzero(found)
        grown = False
        for k in range(rows.size):
            chi2, dark, bright = 0.0, 0, 0
            for i in range(max(0, rows[k] - half), min(ny, rows[k] + half + 1)):
                for j in range(max(0, cols[k] - half), min(nx, cols[k] + half + 1)):
                    e, v = excess[i, j], variance[i, j]
                    if found[i, j] or not v < np.inf:
                        continue
                    if e > 0 and e * e > limit * v:
                        bright += 1
                    else:
                        chi2 += e * e / v
                        dark += 1
            if not 0 < bright <= SIDE or 2 * dark <= SIDE * SIDE or chi2 > dark + REST * np.sqrt(2.0 * dark):
                continue
            for i in range(max(0, rows[k] - 1), min(ny, rows[k] + 2)):
                for j in range(max(0, cols[k] - 1), min(nx, cols[k] + 2)):
                    e, v = excess[i, j], variance[i, j]
                    if not found[i, j] and v < np.inf and e > 0 and e * e > limit * v:
                        found[i, j] = grown = True
        if not grown:
            return


@njit(cache=True, nogil=True, error_model="numpy")
def _mark(excess, variance, found, i, j, r, n_sigma, grow_sigma):
    """Mark what breaks a test at (i, j); True where its pixel nearly does."""
    ny, nx = excess.shape
    single = _single(excess, variance, i, j, r, 3)
    if single > n_sigma:
        found[i, j] = True
    for k in range(2):
        di, dj = (0, 1)[k], (1, 0)[k]
        if i + di < ny and j + dj < nx and not (found[i, j] and found[i + di, j + dj]):
            if _double(excess, variance, i, j, di, dj, r) > n_sigma:
                _mark_bright(excess, variance, found, i, i + di + 1, j, j + dj + 1, grow_sigma)
    if not found[i, j] and _block(excess, variance, i, j, r) > n_sigma:
        _mark_bright(excess, variance, found, i, i + 2, j, j + 2, grow_sigma)
    return single > NEARLY and not found[i, j]


@njit(cache=True, nogil=True, error_model="numpy")
def find_sharp_pixels(excess, variance, r, n_sigma, grow_sigma, iterations, track_sigma, max_chi2):
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
    track_sigma : float
        Brightness of a pixel that belongs to a ray it touches where there is but empty sky around.
    max_chi2 : float
        Of 5 x 5 pixels after the best sum of stars; 0 spares that test.

    Returns
    -------
    bool [ny, nx]
    """
    ny, nx = excess.shape
    found = np.zeros((ny, nx), np.bool_)
    least = 0.8 * n_sigma
    near_i, near_j = [], []
    for i in range(ny):
        for j in range(nx):
            e = excess[i, j]
            if e > 0 and e * e > least * least * variance[i, j] and variance[i, j] < np.inf:
                if _mark(excess, variance, found, i, j, r, n_sigma, grow_sigma):
                    if e * e > n_sigma * n_sigma * variance[i, j]:
                        near_i.append(i)
                        near_j.append(j)
    if max_chi2 > 0:
        places = np.arange(-SIDE // 2, SIDE // 2 + 1.1, STEP)
        profile = r ** ((np.arange(SIDE) - SIDE // 2).reshape(-1, 1) - places.reshape(1, -1)) ** 2
        for k in range(len(near_i)):
            i, j = near_i[k], near_j[k]
            if not found[i, j] and _is_top(excess, found, i, j):
                _mark_crooked(excess, variance, found, i, j, profile, max_chi2, grow_sigma)
    _mark_tracks(excess, variance, found, track_sigma, iterations)
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
