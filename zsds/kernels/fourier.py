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
def add_corner(tile, margin, right, top, out):
    """Add one corner's share of a tile to ``out``; the four shares of a pixel sum to 1.

    ``tile`` is ``out`` with ``margin`` more pixels at the lower ends and at least as many at the upper;
    ``right`` and ``top`` say which corner.
    """
    ny, nx = out.shape
    share = np.empty(nx, np.float32)
    for j in range(nx):
        u = (j + 0.5) / nx
        share[j] = u if right else 1 - u
    for i in range(ny):
        v = (i + 0.5) / ny
        share_y = np.float32(v if top else 1 - v)
        for j in range(nx):
            out[i, j] += share_y * share[j] * tile[i + margin, j + margin]


@njit(cache=True, nogil=True)
def shift_variance(tile, margin, var_x, var_y, out):
    """Add ``var_x (dS/dx)^2 + var_y (dS/dy)^2`` to ``out`` by central differences of ``tile``."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            row = i + margin
            col = j + margin
            dx = (tile[row, col + 1] - tile[row, col - 1]) / 2
            dy = (tile[row + 1, col] - tile[row - 1, col]) / 2
            out[i, j] += var_x * dx * dx + var_y * dy * dy


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
def remove_own_noise(own, margin, variance):
    """``variance`` less ``own``, which has ``margin`` more pixels at the lower ends; in place.

    At least a tenth of it stays.
    """
    for i in range(variance.shape[0]):
        for j in range(variance.shape[1]):
            least = np.float32(0.1) * variance[i, j]
            variance[i, j] = max(variance[i, j] - own[i + margin, j + margin], least)


@njit(cache=True, nogil=True)
def finish_score(tile, margin, norms, undefined, variance, score):
    """Significance of a point source in every pixel, and its flux error in place of ``variance``.

    ``tile`` is the score before it is divided by its noise, with ``margin`` more pixels at the lower ends;
    ``norms`` [2, 2] what a source of flux 1 gives at the corners. NaN where undefined or without variance.
    """
    ny, nx = score.shape
    for i in range(ny):
        v = np.float32((i + 0.5) / ny)
        left = norms[0, 0] * (1 - v) + norms[1, 0] * v
        right = norms[0, 1] * (1 - v) + norms[1, 1] * v
        for j in range(nx):
            if undefined[i, j] or not variance[i, j] > 0:
                score[i, j] = np.nan
                variance[i, j] = np.nan
                continue
            u = np.float32((j + 0.5) / nx)
            noise = np.sqrt(variance[i, j])
            score[i, j] = tile[i + margin, j + margin] / noise
            variance[i, j] = noise / (left * (1 - u) + right * u)


@njit(cache=True, nogil=True)
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
            if not known[i, j]:
                bits |= missing_bit
            elif not both[i, j]:
                bits |= filled_bit
            out[i, j] = bits


@njit(cache=True, nogil=True)
def clipped_level(difference, constant, both, steady, noise, level, sigma):
    """Mean of ``difference`` where ``both`` and ``constant`` is within ``noise`` of ``steady``.

    Values beyond 4 ``sigma`` of ``level`` are left out, three times over, each time about the new level.
    (level, pixels used).
    """
    count = 0
    for _ in range(3):
        total = 0.0
        count = 0
        for i in range(difference.shape[0]):
            for j in range(difference.shape[1]):
                if both[i, j] and abs(constant[i, j] - steady) <= noise:
                    value = difference[i, j]
                    if abs(value - level) <= 4 * sigma:  # nearer, the skewness of photon noise counts
                        total += value
                        count += 1
        if count == 0:
            return level, count
        level = total / count
    return level, count
