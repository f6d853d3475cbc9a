"""Columns and rows of an image, or long parts of them, whose level is not that of their neighbours."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, median_filter

from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, Mask
from zsds.core.robust import mad_width


@dataclass(frozen=True)
class ColumnSettings:
    """Which columns and rows are left out.

    Parameters
    ----------
    length : int
        Pixels of the parts into which a line is cut; stars are shorter, so a part's median ignores them.
    min_parts : int
        Adjoining parts that must depart alike.
    n_sigma : float
        A part counts when it departs by this many of its errors,
    n_sigma_run : float
        a run of parts when together they depart by so many.
    reach : int
        Lines to either side that tell what is usual.
    """

    length: int = 64
    min_parts: int = 3
    n_sigma: float = 3.0
    n_sigma_run: float = 7.0
    reach: int = 4


def mark_columns(exposure: Exposure, settings: ColumnSettings | None = None) -> Exposure:
    """Mark long straight defects of one or a few lines: LOW_RESPONSE where dark, HIGH_RESPONSE where bright.

    For images whose mask is not known. Traps, hot and dead columns stay in an image whose own calibration
    did not remove them, and differ between two epochs.

    Parameters
    ----------
    exposure : Exposure
        Electrons, with its sky or without.
    settings : ColumnSettings, optional
    """
    settings = settings or ColumnSettings()
    mask = exposure.mask.copy()
    usable = ((exposure.mask & np.uint32(DEFECTS)) == 0) & np.isfinite(exposure.data)
    data = np.where(usable, exposure.data, np.nan)
    for values, flags in ((data, mask), (data.T, mask.T)):
        _mark(values, flags, settings)
    return replace(exposure, mask=mask)


def _mark(data: NDArray[np.float32], flags: NDArray[np.uint32], settings: ColumnSettings) -> None:
    """Flag runs along the first axis, in place."""
    n_parts = data.shape[0] // settings.length
    if n_parts < settings.min_parts or data.shape[1] < 4 * settings.reach:
        return
    edges = np.linspace(0, data.shape[0], n_parts + 1).astype(int)
    departure = np.array([_departures(data[a:b], settings.reach) for a, b in pairwise(edges.tolist())])
    for sign, bit in ((-1, Mask.LOW_RESPONSE), (1, Mask.HIGH_RESPONSE)):
        runs, n = label(sign * departure > settings.n_sigma, [[0, 1, 0], [0, 1, 0], [0, 1, 0]])
        for run in range(1, n + 1):
            parts, lines = np.nonzero(runs == run)
            together = abs(departure[parts, lines].sum()) / np.sqrt(parts.size)
            if parts.size >= settings.min_parts and together > settings.n_sigma_run:
                flags[edges[parts.min()] : edges[parts.max() + 1], lines[0]] |= np.uint32(bit)


def _departures(part: NDArray[np.float32], reach: int) -> NDArray[np.float64]:
    """How many errors the median of each line of a part [length, n] is off that of its neighbours."""
    count = np.isfinite(part).sum(axis=0)
    known = count > part.shape[0] // 2
    if not known.any():
        return np.zeros(part.shape[1])
    level = np.full(part.shape[1], np.nan)
    level[known] = np.nanmedian(part[:, known], axis=0)
    level[~known] = np.nanmedian(level)
    usual = median_filter(level, 2 * reach + 1, mode="nearest")
    noise = mad_width((part - level)[:, known][np.isfinite(part[:, known])])
    error = 1.2533 * noise / np.sqrt(np.maximum(count, 1))
    return np.where(known & (error > 0), (level - usual) / np.where(error > 0, error, 1), 0)
