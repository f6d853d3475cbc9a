"""What a subtraction returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zsds.core.exposure import Exposure

SCORE_EDGES = np.round(np.arange(-80, 81) / 10, 1)  # bins of histograms of the score


@dataclass(frozen=True)
class Registration:
    """How far stars of the reference sat from those of the science image.

    Parameters
    ----------
    dx, dy : float
        Median shift that was removed, pixels (reference minus science).
    dx_rms, dy_rms : float
        What remains after a smooth shift is removed and the stars' own noise is taken out, pixels.
    n_stars : int
        Stars measured.
    """

    dx: float = 0.0
    dy: float = 0.0
    dx_rms: float = 0.0
    dy_rms: float = 0.0
    n_stars: int = 0


@dataclass(frozen=True)
class Difference:
    """Science minus reference, with the statistic that finds new point sources in it.

    Parameters
    ----------
    exposure : Exposure
        Difference in electrons of the science image; its noise is white on empty sky. ``variance`` is that
        of each pixel, sources included, ``psf`` the difference's own PSF (a source of flux f adds f times
        it), ``wcs`` and ``zero_point`` those of the science image. The mask joins the science image's and
        the reference's, with NO_REFERENCE and FILLED.
    score : ndarray of float32 [ny, nx]
        S_corr, the significance of a point source in each pixel, positive for brightenings; NaN where
        undefined. On empty sky mean 0 and width 1.
    flux_err : ndarray of float32 [ny, nx]
        Error of a point source's flux measured in each pixel, electrons, where there is none: all noise
        terms of the score included; NaN where the score is. `source_error` has that of a source.
    flux_scale : float
        Median factor from reference units to science electrons.
    reference_id : int
        Id of the reference (``rfid``).
    registration : Registration
    metrics : mapping of str to float
        Numbers worth plotting.
    own_noise : float
        Variance that an electron of a source's own light adds.
    """

    exposure: Exposure
    score: NDArray[np.float32]
    flux_err: NDArray[np.float32]
    flux_scale: float
    reference_id: int
    registration: Registration
    metrics: Mapping[str, float] = field(default_factory=dict)
    own_noise: float = 0.0

    def __post_init__(self) -> None:
        for name, array in (("score", self.score), ("flux_err", self.flux_err)):
            if array.shape != self.exposure.shape:
                raise ValueError(f"{name} has shape {array.shape}, the difference {self.exposure.shape}")
            if array.dtype != np.float32:
                raise ValueError(f"{name} is {array.dtype}, not float32")

    @property
    def flux(self) -> NDArray[np.float32]:
        """Flux of a point source measured in each pixel, electrons (S / F_S of the ZOGY papers)."""
        flux: NDArray[np.float32] = self.score * self.flux_err
        return flux


def source_error(empty: float, own_noise: float, flux: float, stamp: NDArray[np.floating]) -> float:
    """Error of the flux of a source, its own photon noise included.

    Its light, spread as the PSF P, adds flux sum(P^3) / sum(P^2)^2 to the variance of a matched filter.

    Parameters
    ----------
    empty : float
        Error without a source, ``flux_err`` of the difference.
    own_noise : float
        Of the difference.
    flux : float
        Negative for what has faded, which lacks the noise that was expected.
    stamp : ndarray [k, k]
        PSF of the difference at the source.
    """
    psf = stamp.astype(np.float64)
    own = own_noise * flux * float((psf**3).sum()) / float((psf**2).sum()) ** 2
    return float(np.sqrt(max(empty**2 + own, empty**2 / 2)))
