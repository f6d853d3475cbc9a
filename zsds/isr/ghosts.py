"""Marks ghosts where the optics put them and the pixels show them."""

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, Mask
from zsds.isr.settings import GhostSettings

log = logging.getLogger(__name__)
_CORRELATED = 3.0  # the sky under stars' wings and faint stars scatters more than its pixels' noise says


def reflected(x: ArrayLike, y: ArrayLike, axis: tuple[float, float]) -> tuple[NDArray[np.float64], ...]:
    """Positions opposite the optical axis: where a reflection between two flat surfaces puts a ghost.

    Parameters
    ----------
    x, y : array_like
        Stars, in the pixels of the quadrant; they may lie far outside it.
    axis : tuple of float
        The optical axis in the same pixels.
    """
    return 2 * axis[0] - np.asarray(x, np.float64), 2 * axis[1] - np.asarray(y, np.float64)


def mark_ghosts(
    exposure: Exposure,
    x: ArrayLike,
    y: ArrayLike,
    settings: GhostSettings = GhostSettings(),  # noqa: B008
) -> Exposure:
    """The exposure with GHOST set in the disks around predicted positions that are brighter than around.

    Parameters
    ----------
    exposure : Exposure
        With its sky or without.
    x, y : array_like
        Predicted centres, pixels; those off the quadrant do not matter.
    settings : GhostSettings
    """
    if settings.radius <= 0:
        return exposure
    mask = exposure.mask.copy()
    ny, nx = exposure.shape
    rows, cols = np.ogrid[:ny, :nx]
    usable = (exposure.mask & np.uint32(DEFECTS & ~Mask.EDGE)) == 0
    for px, py in zip(np.ravel(x), np.ravel(y), strict=True):
        if not (
            -settings.radius < px < nx + settings.radius and -settings.radius < py < ny + settings.radius
        ):
            continue
        distance = np.hypot(rows - py, cols - px)
        disk = distance <= settings.radius
        around = (distance > 1.3 * settings.radius) & (distance <= 2 * settings.radius)
        if _excess(exposure, disk & usable, around & usable) > settings.n_sigma:
            mask |= np.where(disk, np.uint32(Mask.GHOST), np.uint32(0))
    return replace(exposure, mask=mask)


def _excess(exposure: Exposure, disk: NDArray[np.bool_], around: NDArray[np.bool_]) -> float:
    """Significance of the difference of the medians; 0 if there are too few pixels."""
    n, m = np.count_nonzero(disk), np.count_nonzero(around)
    if min(n, m) < 30:
        return 0.0
    difference = np.median(exposure.data[disk]) - np.median(exposure.data[around])
    error = np.sqrt(np.median(exposure.variance[around]) * np.pi / 2 * (1 / n + 1 / m))
    return float(difference / (_CORRELATED * error)) if error > 0 else 0.0
