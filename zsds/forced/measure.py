"""Flux of a point source at a given position of a difference image, seen there or not."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from zsds.core.difference import Difference, source_error
from zsds.core.flags import is_defect
from zsds.core.psf import PsfModel
from zsds.core.tables import new_table
from zsds.kernels.aperture import sum_apertures
from zsds.photometry import psf_growth
from zsds.photometry.apertures import NOTHING

CLEAN, TOO_MANY_BAD, SOME_BAD, OFF_IMAGE = 0, 55, 56, 61  # numbers of ZTF's forced-photometry service
APERTURE_PX = 9.0  # diameter


@dataclass(frozen=True)
class ForcedSettings:
    """How fluxes are forced."""

    max_bad: float = 0.5  # with a larger part of the PSF's weight on unusable pixels there is no flux


def measure_forced(
    difference: Difference, x: ArrayLike, y: ArrayLike, settings: ForcedSettings | None = None
) -> Table:
    """PSF flux at each position, the position held.

    A matched filter on the difference, whose noise is white on empty sky: with P the difference's PSF at the
    position, flux = sum(P D) / sum(P^2) over the pixels that can be used. No pixel is weighted by its own
    counts, so fluxes of either sign are unbiased. The error is that of the score at the position, with the
    photon noise of all constant sources carried through the subtraction (Zackay, Ofek & Gal-Yam 2016,
    equations 26-33) and that of the flux found, enlarged for pixels that cannot be used.

    Parameters
    ----------
    difference : Difference
        In electrons of the science image, with its PSF.
    x, y : array of float [n]
        Pixels, 0 at the centre of the first; not finite where a position is off the sky of the image.
    settings : ForcedSettings, optional

    Returns
    -------
    Table
        ``forced``, one row per position in the same order.

    Raises
    ------
    ValueError
        If the difference has no PSF.
    """
    settings = settings or ForcedSettings()
    exposure, psf = difference.exposure, difference.exposure.psf
    if psf is None:
        raise ValueError("the difference image needs its PSF")
    x, y = (np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in (x, y))
    table = new_table("forced", x.size)
    table["id"], table["x"], table["y"] = np.arange(x.size), x, y
    for name in ("flux", "flux_err", "snr", "chi2", "flux_ap", "flux_ap_err", "bad_fraction"):
        table[name][:] = np.nan
    table["status"][:] = OFF_IMAGE
    usable = ~is_defect(exposure.mask) & np.isfinite(exposure.data) & (exposure.variance > 0)
    ny, nx = exposure.shape
    for i in np.flatnonzero((x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)).tolist():
        found = _measure(difference, psf, usable, float(x[i]), float(y[i]), settings)
        for name, value in found.items():
            table[name][i] = value
    return table


def _measure(
    difference: Difference,
    psf: PsfModel,
    usable: NDArray[np.bool_],
    x: float,
    y: float,
    settings: ForcedSettings,
) -> dict[str, float]:
    exposure, col, row = difference.exposure, round(x), round(y)
    stamp = psf.at(x, y, x - col, y - row).astype(np.float64)
    cut, inner = _overlap(exposure.shape, stamp.shape[0] // 2, col, row)
    good, err = usable[cut], float(difference.flux_err[row, col])
    found = fit_flux(exposure.data[cut], good, stamp[inner], stamp, err, difference.own_noise, settings)
    found["flags"] = np.bitwise_or.reduce(exposure.mask[cut], axis=None)
    if found["status"] == TOO_MANY_BAD:
        return found
    pixels, model = exposure.data[cut][good].astype(np.float64), stamp[inner][good]
    squares = (pixels - found["flux"] * model) ** 2 / exposure.variance[cut][good]
    found |= {
        "snr": found["flux"] / found["flux_err"],
        "chi2": float(squares.sum()) / max(pixels.size - 1, 1),
    }
    return {**found, **_aperture(difference, psf, usable, x, y)}


def fit_flux(
    pixels: NDArray[np.float32],
    good: NDArray[np.bool_],
    part: NDArray[np.float64],
    stamp: NDArray[np.float64],
    err: float,
    own_noise: float,
    settings: ForcedSettings,
) -> dict[str, float]:
    """Flux of a PSF at a place by a matched filter; see `measure_forced`.

    Parameters
    ----------
    pixels : ndarray of float32 [m, n]
        Difference under the part of the PSF's stamp that lies on the image.
    good : ndarray of bool [m, n]
        Pixels that can be used.
    part : ndarray of float64 [m, n]
        That part of the stamp.
    stamp : ndarray of float64 [k, k]
        All of it.
    err : float
        Error at the place without a source; not a positive number where it cannot be measured.
    own_noise : float
        See `zsds.core.difference.Difference`.
    settings : ForcedSettings

    Returns
    -------
    dict
        ``bad_fraction`` and ``status``; ``flux`` and ``flux_err`` unless there are too many bad pixels.
    """
    power, whole = float((part[good] ** 2).sum()), float((stamp**2).sum())
    bad_fraction = 1 - power / whole
    if bad_fraction > settings.max_bad or not err > 0:
        return {"bad_fraction": bad_fraction, "status": TOO_MANY_BAD}
    flux = float((part[good] * pixels[good]).sum()) / power
    flux_err = source_error(err, own_noise, flux, stamp) * np.sqrt(whole / power)
    status = SOME_BAD if bad_fraction > 1e-3 else CLEAN
    return {"bad_fraction": bad_fraction, "status": status, "flux": flux, "flux_err": float(flux_err)}


def _aperture(
    difference: Difference, psf: PsfModel, usable: NDArray[np.bool_], x: float, y: float
) -> dict[str, float]:
    """Flux in a circle over the share of the PSF within it; NaN where a pixel of it cannot be used."""
    exposure = difference.exposure
    flux, variance = np.empty((1, 1)), np.empty((1, 1))
    bad, flags = np.empty(1), np.empty(1, np.uint32)
    radii = np.array([APERTURE_PX / 2])
    sum_apertures(
        exposure.data, exposure.variance, usable, exposure.mask, np.array([x]), np.array([y]),
        NOTHING, radii, flux, variance, bad, flags,
    )  # fmt: skip
    if bad[0] > 1e-6:
        return {}
    share = float(psf_growth(psf, x, y, (APERTURE_PX,)).share[0])
    return {"flux_ap": flux[0, 0] / share, "flux_ap_err": np.sqrt(variance[0, 0]) / share}


def _overlap(
    shape: tuple[int, int], half: int, col: int, row: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of an image under a stamp about a pixel, and the part of the stamp on the image."""
    here, there = [], []
    for middle, n in ((row, shape[0]), (col, shape[1])):
        start, stop = max(middle - half, 0), min(middle + half + 1, n)
        here.append(slice(start, stop))
        there.append(slice(start - middle + half, stop - middle + half))
    return (here[0], here[1]), (there[0], there[1])
