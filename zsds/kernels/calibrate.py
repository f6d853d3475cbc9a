"""Raw DN to electrons, with variance and mask, in one pass over the pixels."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def add_crosstalk(coupled, doubtful, sibling, level, coefficient, saturation, noise):
    """Add coefficient * (sibling - level) to ``coupled``, in place; all [ny, nx] in the order of ``coupled``.

    Parameters
    ----------
    coupled : float32 [ny, nx]
        DN that came from siblings, updated.
    doubtful : bool [ny, nx]
        Set where the sibling is saturated, so that its signal is not known, and matters.
    sibling : float32 [ny, nx]
        DN.
    level : float32 [ny]
        Overscan of the sibling, DN.
    coefficient, saturation, noise : float
        Fraction; DN above level; DN from which a ghost matters.
    """
    for i in range(coupled.shape[0]):
        for j in range(coupled.shape[1]):
            signal = sibling[i, j] - level[i]
            ghost = coefficient * signal
            coupled[i, j] += ghost
            if signal >= saturation and abs(ghost) > noise:
                doubtful[i, j] = True


@njit(cache=True, nogil=True, error_model="numpy")
def calibrate_pixels(
    raw, level, level_var, bias, bias_var, flat, flat_var, coupled, bad, numbers, bits, data, variance, mask
):
    """Fill ``data``, ``variance`` (electrons) and ``mask`` from raw DN.

    Arrays that do not apply have shape (0, 0).

    Parameters
    ----------
    raw, coupled : float32 [ny, nx]
        DN; cross-talk in DN.
    level, level_var : float32 [ny]
        Overscan, DN, and its variance, electrons squared.
    bias, bias_var : float32 [ny, nx]
        Electrons.
    flat, flat_var : float32 [ny, nx]
        Response, about 1.
    bad : uint32 [ny, nx]
        Bits to start from.
    numbers : float64 [8]
        Gain, read noise (electrons), saturation (DN above bias), A and B of the linearity, least response,
        highest DN of the converter, relative error of the cross-talk.
    bits : uint32 [3]
        NaN, saturated, no flat.
    data, variance, mask : outputs [ny, nx]
    """
    gain, read_noise, saturation, a, b, least, highest, crosstalk_err = numbers
    has_bias, has_flat, has_coupled = bias.shape[0] > 0, flat.shape[0] > 0, coupled.shape[0] > 0
    has_bad = bad.shape[0] > 0
    for i in range(raw.shape[0]):
        for j in range(raw.shape[1]):
            flag = bad[i, j] if has_bad else np.uint32(0)
            noise = read_noise * read_noise + level_var[i]
            x = raw[i, j] - level[i]
            if has_bias:
                x -= bias[i, j] / gain
                noise += bias_var[i, j]
            if not np.isfinite(x):
                flag |= bits[0]
                x = np.nan
            elif x >= saturation or raw[i, j] >= highest:
                flag |= bits[1]
            if has_coupled:
                x -= coupled[i, j]
                noise += (crosstalk_err * coupled[i, j] * gain) ** 2
            below = (a * x + b) * x + 1.0
            electrons = gain * x / below
            slope = (1.0 - a * x * x) / (below * below)
            spread = max(electrons, 0.0) + noise * slope * slope
            if has_flat:
                response = flat[i, j]
                if response > least:
                    electrons /= response
                    spread = (spread + electrons * electrons * flat_var[i, j]) / (response * response)
                else:
                    flag |= bits[2]
            data[i, j] = electrons
            variance[i, j] = spread
            mask[i, j] = flag


@njit(cache=True, nogil=True)
def mark_bleeds(data, mask, saturated, bleed, spill_level, long_run, margin):
    """Set ``bleed`` where charge of saturated runs spilled along a column, in place.

    Parameters
    ----------
    data : float32 [ny, nx]
    mask : uint32 [ny, nx]
        Updated.
    saturated, bleed : uint32
        Bits.
    spill_level : float
        From the ends of a run the column is followed while the pixels are brighter than this.
    long_run : int
        Runs at least so long are trails: they and both neighbouring columns are marked.
    margin : int
        Pixels marked beyond the ends, and around every saturated pixel one.
    """
    ny, nx = data.shape
    for i in range(ny):
        for j in range(nx):
            if not mask[i, j] & saturated or (i > 0 and mask[i - 1, j] & saturated):
                continue
            end = i
            while end < ny and mask[end, j] & saturated:
                end += 1
            first, last = i, end - 1
            while first > 0 and data[first - 1, j] > spill_level:
                first -= 1
            while last < ny - 1 and data[last + 1, j] > spill_level:
                last += 1
            first, last = max(0, first - margin), min(ny - 1, last + margin)
            width = 1 if end - i >= long_run else 0
            for k in range(first, last + 1):
                for m in range(max(0, j - width), min(nx, j + width + 1)):
                    if width == 1 or not mask[k, m] & saturated:
                        mask[k, m] |= bleed
            for k in range(max(0, i - 1), min(ny, end + 1)):
                for m in range(max(0, j - 1), min(nx, j + 2)):
                    if not mask[k, m] & saturated:
                        mask[k, m] |= bleed
