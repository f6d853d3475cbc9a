"""Rows and columns along the border of a detector that respond less than the rest."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zsds.core.exposure import Exposure
from zsds.core.flags import Mask


@dataclass(frozen=True)
class EdgeSettings:
    """Which lines along the border are left out.

    Parameters
    ----------
    reach : int
        Lines looked at from each side, pixels.
    n_sigma : float
        A line counts when its median is this many of its errors away from the lines inside, and
    min_step : float
        by this part of a pixel's noise.
    """

    reach: int = 16
    n_sigma: float = 5.0
    min_step: float = 0.5


def mark_edges(exposure: Exposure, settings: EdgeSettings | None = None) -> Exposure:
    """Mark border lines whose sky is not that of the lines inside: LOW_RESPONSE.

    The outermost pixels of a CCD collect less (or more) charge than the flat can mend, and resampled or cut
    images end in lines without data. Lines are marked from the border up to the innermost that counts.

    Parameters
    ----------
    exposure : Exposure
        Electrons, with its sky.
    settings : EdgeSettings, optional
    """
    settings = settings or EdgeSettings()
    mask = exposure.mask.copy()
    for data, flags in (
        (exposure.data, mask),
        (exposure.data[::-1], mask[::-1]),
        (exposure.data.T, mask.T),
        (exposure.data.T[::-1], mask.T[::-1]),
    ):
        flags[: _depth(data, settings)] |= np.uint32(Mask.LOW_RESPONSE)
    return replace(exposure, mask=mask)


def _depth(data: NDArray[np.float32], settings: EdgeSettings) -> int:
    """Rows from the first one inwards that do not belong to the image."""
    reach = settings.reach
    if data.shape[0] < 4 * reach or data.shape[1] < 4 * reach:
        return 0
    inside = data[reach : 3 * reach]
    known = np.isfinite(inside)
    if not known.any():
        return 0
    level = float(np.median(inside[known]))
    noise = 1.4826 * float(np.median(np.abs(inside[known] - level)))
    depth = 0
    for i in range(reach):
        row = data[i][np.isfinite(data[i])]
        step = abs(float(np.median(row)) - level) if row.size else np.inf
        error = 1.2533 * noise / max(np.sqrt(row.size), 1)
        if step > max(settings.n_sigma * error, settings.min_step * noise):
            depth = i + 1
    return depth if noise > 0 else 0
