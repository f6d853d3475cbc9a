"""Light of catalogued neighbours that ends up in a star's PSF flux."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds.core.psf import FWHM_PER_SIGMA
from zsds.core.sphere import angle_arcsec, chord, unit_vectors

REACH = 2.0  # FWHM within which neighbours are looked for; farther ones add less than 0.004 of their light


def neighbour_light(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    mag: NDArray[np.float64],
    chosen: NDArray[np.intp],
    fwhm_arcsec: float,
) -> NDArray[np.float64]:
    """Light that neighbours add to the fluxes of chosen stars, as fractions [m] of the stars' own.

    A fit of a Gaussian PSF of width sigma takes up exp(-d^2 / (4 sigma^2)) of the light of a source at
    distance d that is not fitted with it.

    Parameters
    ----------
    ra, dec : ndarray [n]
        Degrees, of a whole catalog.
    mag : ndarray [n]
        Entries without a finite one give no light.
    chosen : ndarray [m]
        Rows of the stars asked about, of finite magnitude.
    fwhm_arcsec : float
    """
    places, flux = unit_vectors(ra, dec), np.nan_to_num(10 ** (-0.4 * np.asarray(mag, dtype=np.float64)))
    pairs = cKDTree(places[chosen]).sparse_distance_matrix(
        cKDTree(places), chord(REACH * fwhm_arcsec), output_type="ndarray"
    )
    star, other = pairs["i"], pairs["j"]
    sigmas = angle_arcsec(pairs["v"]) * FWHM_PER_SIGMA / fwhm_arcsec
    light = np.where(chosen[star] == other, 0.0, flux[other] * np.exp(-(sigmas**2) / 4))
    return np.bincount(star, weights=light, minlength=len(chosen)) / flux[chosen]
