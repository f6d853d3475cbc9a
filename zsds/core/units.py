"""Fluxes and magnitudes at the edges of the system."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAG_PER_RELATIVE_FLUX = 2.5 / np.log(10.0)
NJY_ZERO_POINT = 31.4  # AB magnitude of one nJy


def magnitude(flux: ArrayLike, zero_point: float) -> NDArray[np.float64]:
    """AB magnitude of a flux; NaN where the flux is not positive."""
    flux = np.asarray(flux, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flux > 0, zero_point - 2.5 * np.log10(flux), np.nan)


def magnitude_error(flux: ArrayLike, flux_err: ArrayLike) -> NDArray[np.float64]:
    """First-order error of the magnitude; NaN where the flux is not positive."""
    flux = np.asarray(flux, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(flux > 0, MAG_PER_RELATIVE_FLUX * np.asarray(flux_err) / flux, np.nan)
