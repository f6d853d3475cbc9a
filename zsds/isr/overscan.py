"""The bias level of each row, from the overscan."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d

from zsds.core.camera import Amplifier
from zsds.core.errors import UnusableData
from zsds.core.robust import mad_width
from zsds.isr.settings import IsrSettings


@dataclass(frozen=True)
class OverscanLevel:
    """Bias level by row.

    Parameters
    ----------
    level : ndarray of float32 [ny]
        DN.
    variance : ndarray of float32 [ny]
        DN squared.
    noise : float
        Scatter of single overscan pixels about their row's level, DN: the read noise. NaN without overscan.
    """

    level: NDArray[np.float32]
    variance: NDArray[np.float32]
    noise: float


def measure_overscan(
    overscan: NDArray[np.float32], amplifier: Amplifier, settings: IsrSettings
) -> OverscanLevel:
    """Level of each row: clipped mean of the good columns, smoothed along the rows by running linear fits.

    Parameters
    ----------
    overscan : ndarray of float32 [ny, n]
        DN, in the quadrant's frame; with no columns the level is 0.
    amplifier : Amplifier
        Says which columns to use.
    settings : IsrSettings
    """
    ny = overscan.shape[0]
    columns = _used(overscan, amplifier)
    if columns.shape[1] == 0:
        return OverscanLevel(np.zeros(ny, np.float32), np.zeros(ny, np.float32), float("nan"))
    level, noise, n_good = _row_levels(columns, settings.overscan_clip)
    variance = noise**2 / np.maximum(n_good, 1)
    weight = (n_good > 0) & (np.abs(level - np.median(level)) < 1e6)
    if settings.overscan_smooth_rows > 0:
        level, variance = _smooth(level, variance, weight, settings.overscan_smooth_rows)
    return OverscanLevel(level.astype(np.float32), variance.astype(np.float32), float(noise))


def _used(overscan: NDArray[np.float32], amplifier: Amplifier) -> NDArray[np.float32]:
    if amplifier.overscan_used is None:
        return overscan
    first, last = amplifier.overscan_used
    return overscan[:, ::-1][:, first:last] if amplifier.read_flip_x else overscan[:, first:last]


def _row_levels(
    columns: NDArray[np.float32], clip: float
) -> tuple[NDArray[np.float64], float, NDArray[np.int64]]:
    empty = ~np.isfinite(columns).any(axis=1)
    if empty.any():
        columns = np.where(empty[:, None], np.float32(0), columns)
    if empty.all():
        raise UnusableData("overscan holds no numbers")
    middle = np.nanmedian(columns, axis=1).astype(np.float64)
    middle[empty] = np.median(middle[~empty])
    residual = columns - middle[:, None]
    noise = max(mad_width(residual, 0.0), 0.3)  # rounding to whole DN
    good = (np.abs(residual) <= clip * noise) & ~empty[:, None]
    n_good = good.sum(axis=1)
    level = middle + np.where(good, residual, 0).sum(axis=1) / np.maximum(n_good, 1)
    return level, noise, n_good


def _smooth(
    level: NDArray[np.float64], variance: NDArray[np.float64], good: NDArray[np.bool_], sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Local linear regression with Gaussian weights: unbiased for slopes, at the ends too."""
    outlier = np.abs(level - _running_median(level)) > 5 * np.sqrt(variance) + 3 * _spread(level)
    weight = (good & ~outlier).astype(np.float64)
    half = int(np.ceil(4 * sigma))
    offset = np.arange(-half, half + 1, dtype=np.float64)
    kernel = np.exp(-0.5 * (offset / sigma) ** 2)
    shift = np.median(level)

    def local(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        summed: NDArray[np.float64] = convolve1d(values, weights[::-1], mode="constant")
        return summed

    s0, s1, s2 = (local(weight, kernel * offset**power) for power in (0, 1, 2))
    t0, t1 = (local(weight * (level - shift), kernel * offset**power) for power in (0, 1))
    determinant = s0 * s2 - s1 * s1
    usable = determinant > 1e-9 * s0 * s2
    safe = np.where(usable, determinant, 1.0)
    smooth = np.where(usable, (s2 * t0 - s1 * t1) / safe, 0.0) + shift
    effective = s0**2 / np.maximum(local(weight, kernel**2), 1e-30)
    mean_variance = np.median(variance[good]) if good.any() else 0.0
    return smooth, np.where(
        usable, mean_variance * s2 * s0 / safe / np.maximum(effective, 1e-30), mean_variance
    )


def _running_median(level: NDArray[np.float64]) -> NDArray[np.float64]:
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(level, 7, mode="reflect"), 15)
    medians: NDArray[np.float64] = np.median(windows, axis=1)
    return medians


def _spread(level: NDArray[np.float64]) -> float:
    """Robust scatter of neighbouring rows about each other."""
    return mad_width(np.diff(level), 0.0) / np.sqrt(2) if level.size > 1 else 0.0
