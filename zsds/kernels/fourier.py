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
    for i in range(ny):
        v = (i + np.float32(0.5)) / ny
        share_y = v if top else 1 - v
        for j in range(nx):
            u = (j + np.float32(0.5)) / nx
            share = share_y * (u if right else 1 - u)
            out[i, j] += np.float32(share) * tile[i + margin, j + margin]


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
def fill_bad(data, good, model, floor_variance, variance, model_variance):
    """Where not ``good``, take data and variance from the model, in place; variance at least the floor."""
    for i in range(data.shape[0]):
        for j in range(data.shape[1]):
            if not good[i, j]:
                data[i, j] = model[i, j]
                variance[i, j] = max(model_variance[i, j], floor_variance)


@njit(cache=True, nogil=True)
def divide_score(score, variance, undefined, out, sigma):
    """``out = score / sqrt(variance)`` and ``sigma``, that root; NaN where undefined or not positive."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            if undefined[i, j] or not variance[i, j] > 0:
                out[i, j] = np.nan
                sigma[i, j] = np.nan
            else:
                sigma[i, j] = np.sqrt(variance[i, j])
                out[i, j] = score[i, j] / sigma[i, j]


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
