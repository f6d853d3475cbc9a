"""Sources that the wings of brighter ones may have made: the rule of SExtractor's cleaning."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def excess_over(data, hidden, noise, kernel, factor, column, row, rank, excess):
    """What each source [n] exceeds its threshold by in the filtered image, judged by a few pixels.

    Of the 3 x 3 pixels about its peak (column, row) the one of the given rank (1 is the highest) counts. The
    kernel has unit sum; hidden pixels add nothing; the threshold is factor * noise.
    """
    ny, nx = data.shape
    half = kernel.shape[0] // 2
    values = np.empty(9)
    for star in range(column.size):
        values[:] = -np.inf
        for k in range(9):
            i, j = row[star] + k // 3 - 1, column[star] + k % 3 - 1
            if i < 0 or j < 0 or i >= ny or j >= nx:
                continue
            total = 0.0
            for p in range(max(0, i - half), min(ny, i + half + 1)):
                for q in range(max(0, j - half), min(nx, j + half + 1)):
                    if not hidden[p, q]:
                        total += kernel[p - i + half, q - j + half] * data[p, q]
            values[k] = total - factor * noise[i, j]
        excess[star] = np.sort(values)[9 - rank]


@njit(cache=True, nogil=True)
def mark_in_wings(x, y, flux, peak, limit, extent, form, reach, excess, lost):
    """Mark in `lost` [n] sources that would not stand out without the wings of brighter ones.

    Those wings are what a Moffat profile of beta 1 says that has the source's peak and comes down to `limit`
    where its ellipse has the squared radius `extent`; `form` [n, 3] gives that of a place, by x^2, y^2, xy.
    They count out to `reach` pixels. Sources come in ascending y; what is lost has no wings.
    """
    n = x.size
    for star in np.argsort(-flux):
        if lost[star]:
            continue
        first = np.searchsorted(y, y[star] - reach[star])
        steep = (peak[star] / limit[star] - 1.0) / extent[star]
        for other in range(first, n):
            dy = y[other] - y[star]
            if dy > reach[star]:
                break
            dx = x[other] - x[star]
            if flux[other] >= flux[star] or dx * dx + dy * dy > reach[star] ** 2:
                continue
            square = form[star, 0] * dx * dx + form[star, 1] * dy * dy + form[star, 2] * dx * dy
            if peak[star] > excess[other] * (1.0 + steep * square):
                lost[other] = True
