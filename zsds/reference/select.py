"""Which epochs go into a reference."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsds.core.errors import UnusableData


@dataclass(frozen=True)
class SelectionSettings:
    """Limits an epoch must meet, and how many are taken."""

    min_epochs: int = 15  # fewer good epochs make no reference
    max_epochs: int = 50  # the best are kept when there are more
    max_fwhm_ratio: float = 1.6  # worst seeing allowed, in units of the 20th percentile of all epochs
    max_depth_loss: float = 1.0  # mag shallower than the median of all epochs
    min_depth: float = -99.0  # limiting magnitude below which an epoch never counts
    max_fwhm: float = 99.0  # seeing above which an epoch never counts, in the unit of the numbers given


@dataclass(frozen=True)
class Selection:
    """Epochs chosen for a reference.

    Parameters
    ----------
    index : ndarray of int
        Into the epochs offered, best first.
    reasons : tuple of str
        For each epoch offered: "" when chosen, else why not.
    """

    index: NDArray[np.int64]
    reasons: tuple[str, ...]


def select_epochs(
    fwhm: ArrayLike, depth: ArrayLike, settings: SelectionSettings, usable: ArrayLike | None = None
) -> Selection:
    """Choose epochs by seeing, depth and quality.

    The merit of an epoch is the information it adds about point sources, 10^(0.8 depth): its limiting
    magnitude already contains seeing, sky and transparency.

    Parameters
    ----------
    fwhm : array of float [n]
        Seeing of each epoch, any one unit.
    depth : array of float [n]
        5-sigma limiting magnitudes.
    settings : SelectionSettings
    usable : array of bool [n], optional
        False where quality flags forbid an epoch.

    Raises
    ------
    UnusableData
        If fewer than ``min_epochs`` pass.
    """
    fwhm, depth = np.atleast_1d(np.asarray(fwhm, float)), np.atleast_1d(np.asarray(depth, float))
    good = np.ones(fwhm.size, bool) if usable is None else np.asarray(usable, bool)
    reasons = np.where(good, "", "quality").astype(object)
    known = np.isfinite(fwhm) & np.isfinite(depth)
    reasons[good & ~known] = "no seeing or depth"
    good = good & known
    if good.any():
        sharp = min(settings.max_fwhm, settings.max_fwhm_ratio * float(np.percentile(fwhm[good], 20)))
        deep = max(settings.min_depth, float(np.median(depth[good])) - settings.max_depth_loss)
        reasons[good & ~(fwhm <= sharp)] = "seeing"
        reasons[good & (fwhm <= sharp) & ~(depth >= deep)] = "depth"
        good = good & (fwhm <= sharp) & (depth >= deep)
    if good.sum() < settings.min_epochs:
        numbers = {"good": int(good.sum()), "offered": fwhm.size, "needed": settings.min_epochs}
        raise UnusableData("too few good epochs for a reference", numbers)
    order = np.flatnonzero(good)[np.argsort(-depth[good], kind="stable")]
    reasons[order[settings.max_epochs :]] = "better ones suffice"
    return Selection(order[: settings.max_epochs], tuple(str(reason) for reason in reasons))
