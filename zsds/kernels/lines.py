"""Sums along straight lines."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def bin_residual(data, sky, sigma, usable, step, low, high):
    """Residuals in step x step bins in units of their noise, clipped; NaN if mostly unusable."""
    ny, nx = data.shape
    binned = np.full((ny // step, nx // step), np.nan, np.float32)
    for r in range(ny // step):
        for c in range(nx // step):
            total, n = 0.0, 0
            for i in range(r * step, (r + 1) * step):
                for j in range(c * step, (c + 1) * step):
                    if usable[i, j]:
                        total += data[i, j] - sky[i, j]
                        n += 1
            if 2 * n >= step * step:
                binned[r, c] = min(max(total / (sigma * np.sqrt(n)), low), high)
    return binned


@njit(cache=True, nogil=True)
def _add_lines(image, across, down, half, total, count):
    """Add the finite pixels to their lines' sums and counts."""
    for i in range(image.shape[0]):
        start = i * down + half + 0.5
        for j in range(image.shape[1]):
            value = image[i, j]
            if value == value:  # noqa: PLR0124
                offset = int(j * across + start)
                total[offset] += value
                count[offset] += 1.0


@njit(cache=True, nogil=True)
def line_sums(image, n_angles, least):
    """Sum over the square root of the number of finite pixels along every line.

    Parameters
    ----------
    image : float32 [ny, nx]
    n_angles : int
        Angles from 0 to pi; a line is x cos(angle) + y sin(angle) = offset - n_offsets // 2.
    least : int
        Lines with fewer pixels are NaN.

    Returns
    -------
    float32 [n_angles, n_offsets]
    """
    ny, nx = image.shape
    half = int(np.ceil(np.sqrt(ny * ny + nx * nx))) + 1
    result = np.full((n_angles, 2 * half + 1), np.nan, np.float32)
    turned = image.T.copy()
    total, count = np.zeros(2 * half + 1), np.zeros(2 * half + 1)
    for k in range(n_angles):
        cos, sin = np.cos(np.pi * k / n_angles), np.sin(np.pi * k / n_angles)
        total[:], count[:] = 0.0, 0.0
        if abs(cos) > abs(sin):  # neighbours along the inner loop fall on different lines
            _add_lines(image, cos, sin, half, total, count)
        else:
            _add_lines(turned, sin, cos, half, total, count)
        for m in range(2 * half + 1):
            if count[m] >= least:
                result[k, m] = total[m] / np.sqrt(count[m])
    return result


@njit(cache=True, nogil=True)
def line_profile(data, sky, sigma, usable, angle, offset, reach, clip):
    """Residuals along and across a line.

    Parameters
    ----------
    data, sky : float32 [ny, nx]
    sigma : float
        Noise of a pixel.
    usable : bool [ny, nx]
    angle, offset : float
        The line x cos(angle) + y sin(angle) = offset, pixels.
    reach : int
        Pixels to either side.
    clip : float
        Residuals are clipped to this many sigma.

    Returns
    -------
    total, count : float32 [n_steps, 2 reach + 1]
        Sum and number of the residuals by place along the line (one pixel a step, counted from the point
        nearest the origin minus the image's diagonal) and across it.
    """
    ny, nx = data.shape
    half = int(np.ceil(np.sqrt(ny * ny + nx * nx)))
    total = np.zeros((2 * half + 1, 2 * reach + 1), np.float32)
    count = np.zeros((2 * half + 1, 2 * reach + 1), np.float32)
    cos, sin = np.cos(angle), np.sin(angle)
    for s in range(2 * half + 1):
        along = s - half
        for k in range(2 * reach + 1):
            across = offset + k - reach
            j = int(np.floor(across * cos - along * sin + 0.5))
            i = int(np.floor(across * sin + along * cos + 0.5))
            if 0 <= i < ny and 0 <= j < nx and usable[i, j]:
                total[s, k] += min(max((data[i, j] - sky[i, j]) / sigma, -clip), clip)
                count[s, k] += 1.0
    return total, count


@njit(cache=True, nogil=True)
def mark_segment(mask, bit, angle, offset, first, last, half_width):
    """Set ``bit`` within half_width of the line between two places along it, in place."""
    ny, nx = mask.shape
    half = int(np.ceil(np.sqrt(ny * ny + nx * nx)))
    cos, sin = np.cos(angle), np.sin(angle)
    for i in range(ny):
        for j in range(nx):
            if abs(j * cos + i * sin - offset) <= half_width:
                along = i * cos - j * sin + half
                if first <= along <= last:
                    mask[i, j] |= bit
