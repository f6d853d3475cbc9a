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


@njit(cache=True, nogil=True)
def nearest_points(first, second, radius, neighbour, distance):
    """Nearest row of ``second`` [m, 2] to each of ``first`` [n, 2]; m and infinity where none is so near.

    All are finite. Rows of ``second`` are sorted into cells no smaller than the radius, some one a cell.
    """
    m = second.shape[0]
    x0, y0 = second[:, 0].min(), second[:, 1].min()
    width, height = second[:, 0].max() - x0, second[:, 1].max() - y0
    cell = max(radius, np.sqrt(width * height / m), max(width, height) / m)
    cell = cell if cell > 0 else 1.0
    nx, ny = int(width / cell) + 1, int(height / cell) + 1
    places, starts = np.empty(m, np.int64), np.zeros(nx * ny + 1, np.int64)
    for k in range(m):
        places[k] = int((second[k, 1] - y0) / cell) * nx + int((second[k, 0] - x0) / cell)
        starts[places[k] + 1] += 1
    starts = np.cumsum(starts)
    rows, filled = np.empty(m, np.int64), starts.copy()
    for k in range(m):
        rows[filled[places[k]]] = k
        filled[places[k]] += 1
    for i in range(first.shape[0]):
        u, v = np.floor((first[i, 0] - x0) / cell), np.floor((first[i, 1] - y0) / cell)
        best, square = m, radius * radius
        if -1 <= u <= nx and -1 <= v <= ny:
            for row in range(max(0, int(v) - 1), min(ny, int(v) + 2)):
                left, right = max(0, int(u) - 1), min(nx, int(u) + 2)
                for at in range(starts[row * nx + left], starts[row * nx + right]):
                    k = rows[at]
                    d = (second[k, 0] - first[i, 0]) ** 2 + (second[k, 1] - first[i, 1]) ** 2
                    if d < square or (d == square and best == m):
                        best, square = k, d
        neighbour[i], distance[i] = best, np.sqrt(square) if best < m else np.inf
