"""Loops over the spectra and pixels of one tile of a subtraction."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def subtract_spectra(a, kernel_a, b, kernel_b, out):
    """``out = a * kernel_a - b * kernel_b``, all complex64 [ny, nx // 2 + 1]."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = a[i, j] * kernel_a[i, j] - b[i, j] * kernel_b[i, j]


@njit(cache=True, nogil=True)
def add_spectra(a, kernel_a, b, kernel_b, out):
    """``out = a * kernel_a + b * kernel_b``, all complex64 [ny, nx // 2 + 1]."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = a[i, j] * kernel_a[i, j] + b[i, j] * kernel_b[i, j]


@njit(cache=True, nogil=True)
def add_corner(tile, margin, right, top, part, out):
    """Add one corner's share of a tile to a part of ``out``; the four shares of a pixel sum to 1.

    ``tile`` is that part with ``margin`` more pixels at the lower ends and at least as many at the upper;
    ``right`` and ``top`` say which corner.
    """
    row, row_end, col, col_end = part
    ny, nx = row_end - row, col_end - col
    share = np.empty(nx, np.float32)
    for j in range(nx):
        u = (j + 0.5) / nx
        share[j] = u if right else 1 - u
    for i in range(ny):
        v = (i + 0.5) / ny
        share_y = np.float32(v if top else 1 - v)
        line = out[row + i, col:col_end]
        given = tile[i + margin, margin : margin + nx]
        for j in range(nx):
            line[j] += share_y * share[j] * given[j]


@njit(cache=True, nogil=True)
def shift_variance(tile, margin, var_x, var_y, part, out):
    """Add ``var_x (dS/dx)^2 + var_y (dS/dy)^2`` to a part of ``out`` by central differences of ``tile``."""
    row, row_end, col, col_end = part
    nx = col_end - col
    for i in range(row_end - row):
        line = out[row + i, col:col_end]
        here = tile[i + margin, margin - 1 : margin + nx + 1]
        below = tile[i + margin - 1, margin : margin + nx]
        above = tile[i + margin + 1, margin : margin + nx]
        for j in range(nx):
            dx = (here[j + 2] - here[j]) / 2
            dy = (above[j] - below[j]) / 2
            line[j] += var_x * dx * dx + var_y * dy * dy


@njit(cache=True, nogil=True)
def put_variance(tile, margin, part, out):
    """Put a tile into a part of ``out``, at least 0 everywhere."""
    row, row_end, col, col_end = part
    for i in range(row_end - row):
        line = out[row + i, col:col_end]
        given = tile[i + margin, margin : margin + col_end - col]
        for j in range(line.size):
            line[j] = max(given[j], np.float32(0))


@njit(cache=True, nogil=True)
def fill_bad(data, variance, good, model, model_variance, moved):
    """Where not ``good``, take data and variance from the model, in place.

    The model stands ``moved`` pixels to the upper right, wrapped around.
    """
    ny, nx = data.shape
    for i in range(ny):
        for j in range(nx):
            if not good[i, j]:
                data[i, j] = model[(i + moved) % ny, (j + moved) % nx]
                variance[i, j] = model_variance[i, j]


@njit(cache=True, nogil=True)
def add_stamps(image, rows, cols, values, stamp):
    """Add ``values[k] * stamp``, its pixel [n // 2, n // 2] at (rows[k], cols[k]), to ``image``; in place."""
    half = stamp.shape[0] // 2
    for k in range(rows.size):
        top, left, value = rows[k] - half, cols[k] - half, values[k]
        first, end = max(0, -left), min(stamp.shape[1], image.shape[1] - left)
        for i in range(max(0, -top), min(stamp.shape[0], image.shape[0] - top)):
            target, part = image[top + i, left + first : left + end], stamp[i, first:end]
            for j in range(part.size):  # over slices, which the compiler makes vectors of
                target[j] += np.float32(value * part[j])


@njit(cache=True, nogil=True)
def remove_own_noise(own, margin, part, variance):
    """A part of ``variance`` less ``own``, which has ``margin`` more pixels at the lower ends; in place.

    At least a tenth of it stays.
    """
    row, row_end, col, col_end = part
    for i in range(row_end - row):
        line = variance[row + i, col:col_end]
        given = own[i + margin, margin : margin + col_end - col]
        for j in range(line.size):
            line[j] = max(line[j] - given[j], np.float32(0.1) * line[j])


@njit(cache=True, nogil=True, error_model="numpy")
def finish_score(tile, margin, norms, undefined, part, variance, score):
    """Significance of a point source in every pixel of a part, and its flux error in place of ``variance``.

    ``tile`` is the score before it is divided by its noise, with ``margin`` more pixels at the lower ends;
    ``norms`` [2, 2] what a source of flux 1 gives at the corners. NaN where undefined or without variance.
    """
    row, row_end, col, col_end = part
    ny, nx = row_end - row, col_end - col
    missing = np.float32(np.nan)
    share = ((np.arange(nx) + 0.5) / nx).astype(np.float32)
    for i in range(ny):
        v = np.float32((i + 0.5) / ny)
        left = norms[0, 0] * (1 - v) + norms[1, 0] * v
        step = norms[0, 1] * (1 - v) + norms[1, 1] * v - left
        blank = undefined[row + i, col:col_end]
        error = variance[row + i, col:col_end]
        line = score[row + i, col:col_end]
        given = tile[i + margin, margin : margin + nx]
        for j in range(nx):
            square = missing if blank[j] else error[j]
            noise = np.sqrt(square if square > 0 else missing)
            line[j] = given[j] / noise
            error[j] = noise / (left + step * share[j])


@njit(cache=True, nogil=True, error_model="numpy")
def rescale(score, error, rows, cols, factors):
    """Divide ``score`` and multiply ``error`` by factors, in place.

    ``factors`` [my, mx] hold at pixel rows ``rows`` and columns ``cols``, linear between and constant beyond.
    """
    across = np.empty((rows.size, score.shape[1]), np.float32)
    for j in range(score.shape[1]):
        k = 0
        while k < cols.size - 2 and cols[k + 1] <= j:
            k += 1
        for m in range(rows.size):
            if cols.size == 1:
                across[m, j] = factors[m, 0]
                continue
            u = min(max((j - cols[k]) / (cols[k + 1] - cols[k]), 0.0), 1.0)
            across[m, j] = factors[m, k] * (1 - u) + factors[m, k + 1] * u
    k = 0
    for i in range(score.shape[0]):
        while k < rows.size - 2 and rows[k + 1] <= i:
            k += 1
        v = np.float32(0)
        if rows.size > 1:
            v = np.float32(min(max((i - rows[k]) / (rows[k + 1] - rows[k]), 0.0), 1.0))
        above = min(k + 1, rows.size - 1)
        for j in range(score.shape[1]):
            factor = across[k, j] * (1 - v) + across[above, j] * v
            score[i, j] /= factor
            error[i, j] *= factor


@njit(cache=True, nogil=True)
def join_masks(science, reference, source_bits, known, both, missing_bit, filled_bit, out):
    """Bits of both masks, the reference's sources left out, and those for no reference and filled pixels."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            bits = science[i, j] | (reference[i, j] & ~source_bits)
            more = np.uint32(0) if both[i, j] else filled_bit
            out[i, j] = bits | (more if known[i, j] else missing_bit)


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def clipped_level(difference, constant, both, part, steady, noise, level, sigma):
    """Mean of a part of ``difference`` where ``both`` and ``constant`` is within ``noise`` of ``steady``.

    Values beyond 4 ``sigma`` of ``level`` are left out (nearer, the skewness of photon noise counts), three
    times over, each time about the new level. (level, pixels used).
    """
    row, row_end, col, col_end = part
    none, one = np.float32(0), np.float32(1)
    reach = np.float32(4 * sigma)
    count = 0
    for _ in range(3):
        middle = np.float32(level)
        total, count = 0.0, 0
        for i in range(row, row_end):
            data, sky, known = difference[i, col:col_end], constant[i, col:col_end], both[i, col:col_end]
            line, used = none, none
            for j in range(data.size):
                above = data[j] - middle
                share = one if abs(above) <= reach else none
                share = share if abs(sky[j] - steady) <= noise else none
                share = share if known[j] else none
                line += above if share > none else none
                used += share
            total += line
            count += int(used)
        if count == 0:
            return level, count
        level = middle + total / count
    return level, count


@njit(cache=True, nogil=True)
def sparse_level(difference, constant, both, part, step, noise):
    """What every ``step``-th pixel of a part that is ``both`` tells of the sky: (middle, level, width).

    ``middle`` is the median of ``constant``; ``level`` and ``width`` are median and half the central 68.27 %
    of ``difference`` where ``constant`` is within ``noise`` of it. NaN from fewer than 100 pixels; with fewer
    than 50 so near, ``level`` is the median of all, and ``width`` NaN.
    """
    row, row_end, col, col_end = part
    most = ((row_end - row - 1) // step + 1) * ((col_end - col - 1) // step + 1)
    steady, sparse, n = np.empty(most, np.float32), np.empty(most, np.float32), 0
    for i in range(row, row_end, step):
        for j in range(col, col_end, step):
            if both[i, j]:
                steady[n], sparse[n] = constant[i, j], difference[i, j]
                n += 1
    if n < 100:
        return np.nan, np.nan, np.nan
    middle = np.float64(np.median(steady[:n]))
    bare = sparse[:n][np.abs(steady[:n] - np.float32(middle)) <= noise]
    if bare.size < 50:
        return middle, np.float64(np.median(sparse[:n])), np.nan
    bare.sort()
    low, level, high = _ranked(bare, 0.158655), _ranked(bare, 0.5), _ranked(bare, 0.841345)
    return middle, level, (high - low) / 2


@njit(cache=True, nogil=True)
def _ranked(ordered, share):
    """The value below which is a share of ordered values, linear between two."""
    rank = share * (ordered.size - 1)
    below = int(rank)
    low, high = np.float64(ordered[below]), np.float64(ordered[min(below + 1, ordered.size - 1)])
    return low + (rank - below) * (high - low)
