"""Clipped means of many frames, pixel by pixel."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def clipped_mean(frames, sigmas, scale_noise, clip, mean, scatter, count):
    """Mean of each pixel over frames without outliers, with the scatter of what was kept.

    Parameters
    ----------
    frames : float32 [n, ny, nx]
        NaN where a frame has nothing to say.
    sigmas : float32 [n]
        Expected noise of each frame at value ``1`` if ``scale_noise`` else everywhere.
    scale_noise : bool
        Whether the noise grows with the square root of the value (photon noise).
    clip : float
        Values further than this many expected sigma from the median are left out.
    mean, scatter : float32 [ny, nx]
        Outputs: inverse-variance weighted mean of what is kept; standard deviation over all frames in units
        of the expected noise. NaN without values, the scatter also with only one.
    count : int32 [ny, nx]
        Output: values kept.
    """
    n, ny, nx = frames.shape
    values = np.empty(n, np.float32)
    for i in range(ny):
        for j in range(nx):
            m = 0
            for k in range(n):
                if np.isfinite(frames[k, i, j]):
                    values[m] = frames[k, i, j]
                    m += 1
            if m == 0:
                mean[i, j], scatter[i, j], count[i, j] = np.nan, np.nan, 0
                continue
            ordered = np.sort(values[:m])
            middle = 0.5 * (ordered[(m - 1) // 2] + ordered[m // 2])
            factor = np.sqrt(max(middle, 0.01)) if scale_noise else 1.0
            total, weight, kept, square = 0.0, 0.0, 0, 0.0
            for k in range(n):
                value = frames[k, i, j]
                if not np.isfinite(value):
                    continue
                sigma = sigmas[k] * factor
                square += ((value - middle) / sigma) ** 2
                if abs(value - middle) <= clip * sigma:
                    total += value / (sigma * sigma)
                    weight += 1.0 / (sigma * sigma)
                    kept += 1
            mean[i, j] = total / weight if kept > 0 else middle
            scatter[i, j] = np.sqrt(square / (m - 1)) if m > 1 else np.nan
            count[i, j] = max(kept, 1)
