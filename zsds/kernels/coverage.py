"""Passes over two whole images before they are compared: what is known, what has changed, which bits."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def mark_known(data, variance, mask, bits, least, known):
    """Set ``known`` True where no bit is set, data and variance are finite, the variance above ``least``."""
    for i in range(data.shape[0]):
        for j in range(data.shape[1]):
            v = variance[i, j]
            # a number less itself is 0 unless it is infinite or NaN
            known[i, j] = (
                ((mask[i, j] & bits) == 0) & (data[i, j] - data[i, j] == 0) & (v - v == 0) & (v > least)
            )


@njit(cache=True, nogil=True)
def mark_both(science, reference, mask, bits, both):
    """Set ``both`` True where science and reference are known and the mask has no bit set."""
    for i in range(both.shape[0]):
        for j in range(both.shape[1]):
            both[i, j] = science[i, j] & reference[i, j] & ((mask[i, j] & bits) == 0)


@njit(cache=True, nogil=True)
def count_bits(mask, bits):
    """Number of pixels with any of the bits."""
    count = 0
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            count += (mask[i, j] & bits) != 0
    return count


@njit(cache=True, nogil=True)
def find_bits(mask, bits):
    """(rows, columns) of the pixels with any of the bits, in order."""
    count = count_bits(mask, bits)
    rows, cols = np.empty(count, np.int64), np.empty(count, np.int64)
    n = 0
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            if mask[i, j] & bits:
                rows[n], cols[n] = i, j
                n += 1
    return rows, cols


@njit(cache=True, nogil=True)
def mark_clean(data, mask, bits, x, y, reach, clean):
    """Set ``clean`` True for places with no bit and no gap within a square of ``reach`` pixels."""
    for k in range(x.size):
        clean[k] = True
        for i in range(y[k] - reach, y[k] + reach + 1):
            for j in range(x[k] - reach, x[k] + reach + 1):
                if (mask[i, j] & bits) or not np.isfinite(data[i, j]):
                    clean[k] = False


@njit(cache=True, nogil=True)
def box_mean(image, used, width, out):
    """Mean over a square of ``width`` pixels around each, those not ``used`` and beyond the edges as zero.

    A square of even width reaches one pixel farther below than above.
    """
    ny, nx = image.shape
    before = width // 2
    share = np.float32(1.0 / width**2)
    column = np.zeros(nx + width, np.float32)
    inner = column[before : before + nx]
    for i in range(ny):
        inner[:] = 0
        for row in range(max(0, i - before), min(ny, i - before + width)):
            values, known = image[row], used[row]
            for j in range(nx):
                inner[j] += values[j] if known[j] else np.float32(0)
        line, first = out[i], column[:nx]
        for j in range(nx):
            line[j] = first[j] * share
        for k in range(1, width):
            further = column[k : k + nx]
            for j in range(nx):
                line[j] += further[j] * share


@njit(cache=True, nogil=True)
def hide_changes(smooth, part, middle, limit, block, away):
    """Set ``away`` False in blocks of a part with a pixel beyond ``limit`` of ``middle``, and beside them.

    Blocks start at the part's corner; nothing changes outside it.
    """
    row, row_end, col, col_end = part
    rows, cols = (row_end - row + block - 1) // block, (col_end - col + block - 1) // block
    largest = np.empty(cols * block, np.float32)
    for r in range(rows):
        largest[:] = 0
        for i in range(row + r * block, min(row_end, row + (r + 1) * block)):
            line = smooth[i, col:col_end]
            for j in range(line.size):
                size = abs(line[j] - middle)
                largest[j] = size if size > largest[j] else largest[j]
        top, bottom = row + max(0, r - 1) * block, min(row_end, row + (r + 2) * block)
        for c in range(cols):
            if largest[c * block : (c + 1) * block].max() > limit:
                left, right = col + max(0, c - 1) * block, min(col_end, col + (c + 2) * block)
                away[top:bottom, left:right] = False


@njit(cache=True, nogil=True)
def keep_known(values, less, known, out):
    """``out = values - less`` where known, else 0; ``less`` [1, 1] or as large as the image."""
    step_i, step_j = less.shape[0] > 1, less.shape[1] > 1
    for i in range(out.shape[0]):
        if step_j:
            line = less[i * step_i]
            for j in range(out.shape[1]):
                out[i, j] = values[i, j] - line[j] if known[i, j] else np.float32(0)
        else:
            level = less[0, 0]
            for j in range(out.shape[1]):
                out[i, j] = values[i, j] - level if known[i, j] else np.float32(0)


@njit(cache=True, nogil=True)
def mark_undefined(both, reference, undefined):
    """Set ``undefined`` True without a reference, or where a pixel and the four two away are not ``both``.

    Beyond the edges is not ``both``.
    """
    ny, nx = both.shape
    for i in range(ny):
        below, above = i >= 2, i < ny - 2
        for j in range(nx):
            near = both[i, j]
            near |= below and both[max(i - 2, 0), j]
            near |= above and both[min(i + 2, ny - 1), j]
            near |= j >= 2 and both[i, max(j - 2, 0)]
            near |= j < nx - 2 and both[i, min(j + 2, nx - 1)]
            undefined[i, j] = not (near and reference[i, j])


@njit(cache=True, nogil=True)
def mark_edges(known, reach, bit, mask):
    """Set the bit on unknown pixels and on those within ``reach`` steps along rows and columns of one."""
    ny, nx = known.shape
    for i in range(ny):
        for j in range(nx):
            if known[i, j]:
                continue
            inner = 0 < i < ny - 1 and 0 < j < nx - 1
            if inner and not (known[i - 1, j] or known[i + 1, j] or known[i, j - 1] or known[i, j + 1]):
                mask[i, j] |= bit
                continue
            for row in range(max(0, i - reach), min(ny, i + reach + 1)):
                left = reach - abs(row - i)
                for col in range(max(0, j - left), min(nx, j + left + 1)):
                    mask[row, col] |= bit


@njit(cache=True, nogil=True)
def loud_blocks(image, block, limit):
    """Whether a value of each whole block reaches ``limit``, of either sign: [ny // block, nx // block]."""
    ny, nx = image.shape[0] // block, image.shape[1] // block
    loud = np.zeros((ny, nx), np.bool_)
    largest = np.empty(image.shape[1], np.float32)
    for r in range(ny):
        largest[:] = 0
        for i in range(r * block, (r + 1) * block):
            for j in range(image.shape[1]):
                size = abs(image[i, j])
                largest[j] = size if size > largest[j] else largest[j]
        for j in range(nx * block):
            if largest[j] >= limit:
                loud[r, j // block] = True
    return loud


@njit(cache=True, nogil=True, error_model="numpy")
def block_means(image, block):
    """Mean of each block, [ceil(ny / block), ceil(nx / block)]; NaN and beyond the edges count as zero."""
    ny, nx = image.shape
    sums = np.zeros(((ny + block - 1) // block, (nx + block - 1) // block), np.float32)
    line = np.empty(nx, np.float32)
    for r in range(sums.shape[0]):
        line[:] = 0
        for i in range(r * block, min(ny, (r + 1) * block)):
            for j in range(nx):
                line[j] += image[i, j] if image[i, j] == image[i, j] else np.float32(0)
        for j in range(nx):
            sums[r, j // block] += line[j]
    return sums / np.float32(block * block)


@njit(cache=True, nogil=True)
def mark_without(first, second, bits, blocks, block, marked):
    """Set ``marked`` True where neither mask has a bit set and the pixel's block is True."""
    line = np.empty(marked.shape[1], np.bool_)
    for i in range(marked.shape[0]):
        if i % block == 0:
            for j in range(marked.shape[1]):
                line[j] = blocks[i // block, j // block]
        for j in range(marked.shape[1]):
            marked[i, j] = line[j] & (((first[i, j] | second[i, j]) & bits) == 0)


@njit(cache=True, nogil=True, error_model="numpy")
def count_in_bins(values, low, high, counts):
    """Add the values from ``low`` to ``high``, both included, to the counts of bins of one width."""
    scale = counts.size / (high - low)
    for value in values:
        if low <= value <= high:
            counts[min(int((value - low) * scale), counts.size - 1)] += 1
