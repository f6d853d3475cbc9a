"""Votes of star pairs for the shift, rotation and scale between two patterns of stars."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def vote(stars, catalog, angles, scales, max_shift, bin_size):
    """Best shift for each trial rotation and scale.

    Parameters
    ----------
    stars : ndarray of float64 [n, 2]
        Positions about the middle of the field.
    catalog : ndarray of float64 [m, 2]
        Positions about the same middle, sorted by the first coordinate.
    angles, scales : ndarray of float64 [k], [l]
        Rotations (radians, first axis to second) and magnifications applied to the stars.
    max_shift, bin_size : float
        Range and resolution of the shift, units of the positions.

    Returns
    -------
    ndarray of float64 [k, l, 3]
        Pairs in the best window of 2 x 2 bins, and the shift of its middle.
    """
    size = int(np.ceil(2 * max_shift / bin_size)) + 1
    votes = np.zeros((size, size), dtype=np.int32)
    best = np.zeros((angles.size, scales.size, 3))
    for k in range(angles.size):
        for m in range(scales.size):
            votes[:] = 0
            cosine = scales[m] * np.cos(angles[k])
            sine = scales[m] * np.sin(angles[k])
            for i in range(stars.shape[0]):
                x = cosine * stars[i, 0] - sine * stars[i, 1] + max_shift
                y = sine * stars[i, 0] + cosine * stars[i, 1] + max_shift
                low = _first_not_below(catalog, x - 2 * max_shift)
                for j in range(low, catalog.shape[0]):
                    dx = catalog[j, 0] - x + 2 * max_shift
                    if dx >= 2 * max_shift:
                        break
                    dy = catalog[j, 1] - y + 2 * max_shift
                    if 0 <= dy < 2 * max_shift:
                        votes[int(dx / bin_size), int(dy / bin_size)] += 1
            top = 0
            for a in range(size - 1):
                for b in range(size - 1):
                    count = votes[a, b] + votes[a + 1, b] + votes[a, b + 1] + votes[a + 1, b + 1]
                    if count > top:
                        top = count
                        best[k, m, 0] = count
                        best[k, m, 1] = (a + 1) * bin_size - max_shift
                        best[k, m, 2] = (b + 1) * bin_size - max_shift
    return best


@njit(cache=True, nogil=True)
def _first_not_below(catalog, value):
    """Index of the first row whose first coordinate is not below the value."""
    low, high = 0, catalog.shape[0]
    while low < high:
        middle = (low + high) // 2
        if catalog[middle, 0] < value:
            low = middle + 1
        else:
            high = middle
    return low
