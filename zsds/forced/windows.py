"""Forced fluxes from small windows of a difference image, for histories of many objects in many images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds.core.psf import PsfModel
from zsds.forced.measure import OFF_IMAGE, TOO_MANY_BAD, ForcedSettings, fit_flux

REACH = 2  # pixels around the place in which its error may be taken from


@dataclass(frozen=True)
class ForcedFlux:
    """What an image says of a place.

    Parameters
    ----------
    flux, flux_err : float
        Electrons, positive for brightenings; NaN where it cannot be measured.
    bad_fraction : float
        Part of the PSF's weight on pixels that cannot be used.
    status : int
        As in the table ``forced``.
    """

    flux: float = float("nan")
    flux_err: float = float("nan")
    bad_fraction: float = 1.0
    status: int = OFF_IMAGE


def nearest_pixels(places: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Pixels [n, 2] (column, row) nearest to places [n, 2]; -1 for those off the image."""
    ny, nx = shape
    with np.errstate(invalid="ignore"):
        on = ((places > -0.5) & (places < np.array([nx, ny]) - 0.5)).all(axis=1)
    pixels = np.full(places.shape, -1, np.int64)
    pixels[on] = np.rint(places[on]).astype(np.int64)
    return pixels


def measure_windows(
    data: NDArray[np.float32],
    errors: NDArray[np.float32],
    places: NDArray[np.float64],
    pixels: NDArray[np.int64],
    psf: PsfModel,
    own_noise: float,
    settings: ForcedSettings | None = None,
) -> list[ForcedFlux]:
    """PSF flux at each place, as `measure_forced` finds it in the whole image.

    Parameters
    ----------
    data, errors : ndarray of float32 [n, k, k]
        Difference and error of a flux measured in each pixel, electrons, in windows of the PSF's size around
        ``pixels``; NaN where either cannot be used and beyond the image.
    places : ndarray of float64 [n, 2]
        x and y, 0 at the centre of the first pixel.
    pixels : ndarray of int [n, 2]
        From `nearest_pixels`; a negative one is off the image.
    psf : PsfModel
        Of the difference.
    own_noise : float
        Variance that an electron of a source's own light adds.
    settings : ForcedSettings, optional
    """
    settings = settings or ForcedSettings()
    return [
        _measure(data[n], errors[n], psf.at(*places[n], *(places[n] - pixels[n])), own_noise, settings)
        if pixels[n, 0] >= 0
        else ForcedFlux()
        for n in range(len(places))
    ]


def _measure(
    data: NDArray[np.float32],
    errors: NDArray[np.float32],
    stamp: NDArray[np.float32],
    own_noise: float,
    settings: ForcedSettings,
) -> ForcedFlux:
    model = stamp.astype(np.float64)
    good = np.isfinite(data) & np.isfinite(errors)
    found = fit_flux(data, good, model, model, _error_at(errors), own_noise, settings)
    if found["status"] == TOO_MANY_BAD:
        return ForcedFlux(bad_fraction=found["bad_fraction"], status=TOO_MANY_BAD)
    return ForcedFlux(found["flux"], found["flux_err"], found["bad_fraction"], int(found["status"]))


def _error_at(errors: NDArray[np.float32]) -> float:
    """Error in the middle pixel, or where that cannot be used, the median of its neighbours'."""
    half = errors.shape[0] // 2
    if np.isfinite(errors[half, half]):
        return float(errors[half, half])
    near = errors[half - REACH : half + REACH + 1, half - REACH : half + REACH + 1]
    return float(np.nanmedian(near)) if np.isfinite(near).any() else float("nan")
