"""Flux of a point source at a given position of a science or reference image."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsds.core.exposure import Exposure
from zsds.core.flags import is_defect

MAX_BAD = 0.5  # with a larger part of the PSF's weight on unusable pixels there is no flux


def measure_exposure(exposure: Exposure, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
    """PSF flux and its error at each position, the position held and neighbours not taken out.

    A matched filter, flux = sum(P D) / sum(P^2), as of difference images, with the error of the pixels'
    variance: so the flux of a change, and that of the image less the reference's, may be compared.

    Parameters
    ----------
    exposure : Exposure
        Sky subtracted, with its PSF.
    x, y : array of float [n]
        Pixels, 0 at the centre of the first.

    Returns
    -------
    ndarray of float64 [n, 2]
        Flux and error, in the units of the exposure; NaN where it cannot be measured.

    Raises
    ------
    ValueError
        If the exposure has no PSF.
    """
    if exposure.psf is None:
        raise ValueError("the image needs its PSF")
    places = np.stack([np.atleast_1d(x), np.atleast_1d(y)], axis=1).astype(np.float64)
    found = np.full((len(places), 2), np.nan)
    half = exposure.psf.size // 2
    for n, (column, row) in enumerate(np.rint(places).astype(int).tolist()):
        stamp = exposure.psf.at(*places[n], places[n, 0] - column, places[n, 1] - row).astype(np.float64)
        bottom, left = max(row - half, 0), max(column - half, 0)
        cut = np.s_[bottom : max(row + half + 1, 0), left : max(column + half + 1, 0)]
        data, variance = exposure.data[cut], exposure.variance[cut]
        part = stamp[bottom - row + half :, left - column + half :][: data.shape[0], : data.shape[1]]
        good = ~is_defect(exposure.mask[cut]) & np.isfinite(data) & np.isfinite(variance)
        weight = part[good]
        power = float((weight**2).sum())
        if power > (1 - MAX_BAD) * float((stamp**2).sum()):
            noise = np.sqrt(float((weight**2 * variance[good]).sum()))
            found[n] = float((weight * data[good]).sum()) / power, noise / power
    return found
