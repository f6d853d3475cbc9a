"""A low level of the image on a coarse grid, and in between by interpolation."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _ranked(values, n, k):
    """The value of rank k among the first n, which are put in another order (Hoare's selection)."""
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@njit(cache=True, nogil=True)
def cell_percentiles(image, mask, bad, cell, fraction, step):
    """Percentile of each cell x cell block of unmasked finite pixels; NaN where too few are left.

    Parameters
    ----------
    image : float32 [ny, nx]
    mask : uint32 [ny, nx]
        Pixels with any of the bits ``bad`` are left out.
    bad : uint32
    cell, step : int
        Side of the blocks; every step-th pixel in both directions is used.
    fraction : float
        0.5 for the median.

    Returns
    -------
    float32 [ceil(ny / cell), ceil(nx / cell)]
    """
    ny, nx = image.shape
    rows, cols = (ny + cell - 1) // cell, (nx + cell - 1) // cell
    grid = np.full((rows, cols), np.nan, np.float32)
    values = np.empty(cell * cell, np.float32)
    for r in range(rows):
        for c in range(cols):
            n, seen = 0, 0
            for i in range(r * cell, min(ny, (r + 1) * cell), step):
                for j in range(c * cell, min(nx, (c + 1) * cell), step):
                    seen += 1
                    if not mask[i, j] & bad and np.isfinite(image[i, j]):
                        values[n] = image[i, j]
                        n += 1
            if n >= 5 and n >= seen // 8:
                grid[r, c] = _ranked(
                    values, n, min(n - 1, int(fraction * n))
                )  # np.partition takes 5 s to compile
    return grid


@njit(cache=True, nogil=True)
def spread_cells(grid, cell, ny, nx):
    """Bilinear interpolation of cell values onto [ny, nx]; constant beyond the outermost centres."""
    rows, cols = grid.shape
    image = np.empty((ny, nx), np.float32)
    starts, part = np.full(max(cols - 1, 1) + 1, nx), np.empty(nx, np.float32)
    for j in range(nx - 1, -1, -1):
        x = min(max((j + 0.5) / cell - 0.5, 0.0), cols - 1.0)
        left = min(int(x), max(cols - 2, 0))
        starts[left] = j
        part[j] = x - left
    line, step = np.empty(cols, np.float32), np.zeros(cols, np.float32)
    for i in range(ny):
        y = min(max((i + 0.5) / cell - 0.5, 0.0), rows - 1.0)
        r = min(int(y), max(rows - 2, 0))
        for c in range(cols):
            line[c] = grid[r, c] + (y - r) * (grid[min(r + 1, rows - 1), c] - grid[r, c])
        for c in range(cols - 1):
            step[c] = line[c + 1] - line[c]
        for c in range(starts.size - 1):
            for j in range(starts[c], starts[c + 1]):
                image[i, j] = line[c] + part[j] * step[c]
    return image
