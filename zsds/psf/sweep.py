"""Fluxes and positions of all stars at once, by sweeps over the stars with every other star subtracted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds.core.exposure import Exposure
from zsds.extract.noise import SkyNoise, measure_sky_noise
from zsds.kernels.psf_fit import draw_stamps, match_stars, subtract_stars, sweep_stars
from zsds.psf.model import PolynomialPsf

FAR = 10  # pixels; stars that reach farther are fitted before all others
SQUARE = 128  # pixels
NOWHERE = -1e6  # pixels; stands in for a position that is no number


@dataclass(frozen=True)
class SweepSettings:
    """How stars are fitted."""

    max_sweeps: int = 10  # passes over the stars that still move
    tolerance: float = 0.03  # a star rests once its step is below this many of its errors
    max_shift: float = 0.4  # pixels a star may move in one step
    max_offset: float = 1.5  # pixels a star may move in all
    radius_fwhm: float = 1.25  # fitting radius in units of the FWHM
    faint_limit: float = 0.05  # a star is subtracted out to where it is this fraction of the sky noise


@dataclass(frozen=True)
class FittedStars:
    """Stars after the sweeps: positions, fluxes, and the image without them.

    Parameters
    ----------
    x, y, flux : ndarray of float64 [n]
    step : ndarray of float64 [n]
        Last step of each star in units of its errors.
    radius : ndarray of int64 [n]
        Fitting radius, pixels.
    residual : ndarray of float32 [ny, nx]
        Data minus all stars.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    step: NDArray[np.float64]
    radius: NDArray[np.int64]
    residual: NDArray[np.float32]


def fit_all(
    data: NDArray[np.float32],
    noise: SkyNoise,
    psf: PolynomialPsf,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    settings: SweepSettings,
    hold: bool = False,
    known: FittedStars | None = None,
) -> FittedStars:
    """Fit all stars of an image.

    Parameters
    ----------
    data : ndarray of float32 [ny, nx]
        Background-subtracted electrons.
    noise : SkyNoise
    psf : PolynomialPsf
    x, y : ndarray of float64 [n]
        First positions; a star stays within ``max_offset`` of them.
    settings : SweepSettings
    hold : bool
        Keep the positions and fit fluxes only.
    known : FittedStars, optional
        An earlier fit of the first of these stars, from which theirs starts, places included.
    """
    model = _for_kernels(psf)
    x, y = np.array(x, dtype=np.float64), np.array(y, dtype=np.float64)
    start = np.column_stack([x, y])
    radius = fit_radius(noise, psf, x, y, settings)
    residual = np.empty_like(data)
    step = np.full(x.size, np.inf)
    index = np.arange(x.size)
    if known is None:
        flux = _first_fluxes(data, noise, model, x, y, radius)
    else:
        n = known.x.size
        x[:n], y[:n] = known.x, known.y
        flux = np.r_[known.flux, _first_fluxes(known.residual, noise, model, x[n:], y[n:], radius[n:])]
    for sweep in range(settings.max_sweeps):
        if sweep == 0 or (sweep == 1 and known is None):  # how far a star is subtracted follows from its flux
            reach = _reach(flux, psf, noise, radius, settings)
            order = _order(x, y, flux, reach)
            x, y, flux, step, radius, reach, start = (
                a[order] for a in (x, y, flux, step, radius, reach, start)
            )
            index = index[order]
            residual[:] = data
            subtract_stars(residual, *model, x, y, flux, reach)
        sweep_stars(
            data, residual, noise.variance, noise.slope, *model, start, x, y, flux, radius, reach, hold,
            step, settings.max_shift, settings.max_offset,
        )  # fmt: skip
        if not _wake(step, x, y, reach + radius, settings.tolerance):
            break
    back = np.argsort(index)
    return FittedStars(x[back], y[back], flux[back], np.abs(step[back]), radius[back], residual)


def roughly_without(
    data: NDArray[np.float32],
    noise: SkyNoise,
    psf: PolynomialPsf,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    settings: SweepSettings,
) -> NDArray[np.float32]:
    """The image without stars of the fluxes that a matched filter gives where they stand, each by itself."""
    model = _for_kernels(psf)
    radius = fit_radius(noise, psf, x, y, settings)
    flux = _first_fluxes(data, noise, model, x, y, radius)
    left = data.copy()
    subtract_stars(left, *model, x, y, flux, _reach(flux, psf, noise, radius, settings))
    return left


def _for_kernels(psf: PolynomialPsf) -> tuple[NDArray[np.float32], tuple[float, ...], float, int, int]:
    """The model as `zsds.kernels.psf_fit` takes it, with half its side."""
    coefficients = np.ascontiguousarray(psf.coefficients, dtype=np.float32)
    return coefficients, psf.geometry, psf.oversampling, psf.order, psf.size // 2


def fit_radius(
    noise: SkyNoise,
    psf: PolynomialPsf,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    settings: SweepSettings,
) -> NDArray[np.int64]:
    """Fitting radius of each star: from the FWHM, wider where defects hide much of the core."""
    half = psf.size // 2
    usual = int(np.clip(np.ceil(settings.radius_fwhm * psf.fwhm()), 2, half))
    radius = np.full(x.size, usual, dtype=np.int64)
    ny, nx = noise.variance.shape
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    bad = np.zeros(x.size)
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            inside = (row + i >= 0) & (row + i < ny) & (column + j >= 0) & (column + j < nx)
            pixel = noise.variance[np.clip(row + i, 0, ny - 1), np.clip(column + j, 0, nx - 1)]
            bad += ~inside | ~(pixel > 0)
    radius[bad >= 5] = half
    return radius


def apart(
    exposure: Exposure,
    psf: PolynomialPsf,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    half: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The image without stars, and each star's own light [n, k, k] within half pixels that it lacks."""
    noise, settings = measure_sky_noise(exposure), SweepSettings()
    x, y = (np.where(np.isfinite(place), place, NOWHERE) for place in (x, y))
    reach = _reach(flux, psf, noise, fit_radius(noise, psf, x, y, settings), settings)
    model = (psf.coefficients, psf.geometry, psf.oversampling, psf.order)
    left = exposure.data.copy()
    subtract_stars(left, *model, psf.size // 2, x, y, flux, reach)
    half = min(half, psf.size // 2)
    own = np.empty((x.size, 1, 2 * half + 1, 2 * half + 1), np.float32)
    draw_stamps(*model, half, x, y, own)
    own = own[:, 0]
    own *= flux.astype(np.float32)[:, None, None]
    offset = np.abs(np.arange(-half, half + 1))
    square = np.maximum(offset[:, None], offset[None, :])
    own *= square <= reach[:, None, None]
    return left, own


def _first_fluxes(data, noise, model, x, y, radius) -> NDArray[np.float64]:
    """Matched-filter flux of each star where it stands, neighbours ignored."""
    flux = np.zeros(x.size)
    match_stars(data, noise.variance, *model, x, y, radius, flux)
    return flux


def _reach(flux, psf, noise, radius, settings) -> NDArray[np.int64]:
    """Pixels out to which each star matters."""
    stamp = psf.at(psf.geometry[0], psf.geometry[1])
    half = psf.size // 2
    line = np.maximum(np.abs(stamp[half, half:]), np.abs(stamp[half:, half]))
    line = np.maximum.accumulate(line[::-1])[::-1]
    limit = settings.faint_limit * noise.sigma / np.maximum(np.abs(flux), 1e-30)
    reach = np.searchsorted(-line, -limit)
    return np.clip(reach, np.minimum(radius, half), half).astype(np.int64)


def _order(x, y, flux, reach) -> NDArray[np.int64]:
    """In which the stars are visited: those that shine far, then square by square; from bright to faint.

    Stars that follow each other share pixels that the processor has at hand.
    """
    column, row = (np.where(reach > FAR, 0, 1 + place // SQUARE) for place in (x, y))
    return np.lexsort((-flux, column, row))


def _wake(step, x, y, influence, tolerance) -> bool:
    """Let stars rest (negative step) unless they, or a star near them, still move; False when all rest."""
    np.abs(step, out=step)
    moving = step >= tolerance
    if not moving.any():
        return False
    resting = np.flatnonzero(~moving)
    if resting.size:
        tree = cKDTree(np.column_stack([x[moving], y[moving]]))
        distance, nearest = tree.query(np.column_stack([x[resting], y[resting]]))
        quiet = resting[distance > influence[moving][nearest]]
        step[quiet] = -np.maximum(step[quiet], 1e-9)
    return True
