"""The point-spread function of an image, from its stars."""

import logging
from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.psf import FWHM_PER_SIGMA, PsfModel
from zsds.core.robust import mad_width
from zsds.extract.detection import is_spread, stellar_size
from zsds.extract.noise import SkyNoise, measure_sky_noise
from zsds.kernels.psf_solve import star_pixels
from zsds.kernels.shapes import weighted_moments
from zsds.psf.model import PolynomialPsf, image_geometry, n_terms
from zsds.psf.moffat import MoffatPsf, fit_moffat
from zsds.psf.scale import FluxScale, flux_scale
from zsds.psf.selection import SelectionSettings, StarSample, choose_order, select_stars
from zsds.psf.solver import Prior, SolverSettings, StarPixels, model_stamps, solve
from zsds.psf.sweep import FittedStars, SweepSettings, fit_all

log = logging.getLogger(__name__)
LEAST_NOISE = 0.1  # electrons; no detector has less, and photon noise of stars told by such units hides them


@dataclass(frozen=True)
class PsfSettings:
    """How the PSF is fitted."""

    selection: SelectionSettings = field(default_factory=SelectionSettings)
    solver: SolverSettings = field(default_factory=SolverSettings)
    order: int = -1  # of the polynomials in position; -1 lets left-out stars decide
    max_order: int = 3  # largest order tried
    half_size_fwhm: float = 5.0  # stamps reach this many FWHM from the star
    min_stars: int = 5  # fewer make the image unusable
    iterations: int = 3  # rounds of star positions, neighbours, rejection and PSF
    model_error: float = 0.01  # of a star's pixel, added to its noise so that no single star rules
    reject_sigma: float = 4.0  # stars that fit worse than the others by this much are left out


@dataclass(frozen=True)
class PsfFit:
    """A PSF and how well it fits.

    Parameters
    ----------
    model : PolynomialPsf
    stars : Table
        Stars chosen: ``id`` (of the source), ``x``, ``y``, ``flux``, ``chi`` (of the core), ``is_used``.
    fwhm : float
        In the middle of the image, pixels.
    residual : float
        Largest pixel of the mean residual of the stars, as a fraction of a star's flux.
    n_stars : int
        Stars used in the last round.
    scale : FluxScale
        Error that all fluxes of a place share.
    """

    model: PolynomialPsf
    stars: Table
    fwhm: float
    residual: float
    n_stars: int
    scale: FluxScale


def fit_psf(exposure: Exposure, sources: Table, settings: PsfSettings | None = None) -> PsfFit:
    """Fit the PSF and its variation over the image.

    The effective PSF is a grid of B-spline knots, finer than the pixels, times polynomials of the position.
    It is the most probable one given the stars' pixels and a prior: a Moffat profile fitted first, from
    which it departs smoothly by about ``solver.prior_width``. Where stars say little (few stars, outer
    wings) the Moffat remains.

    Parameters
    ----------
    exposure : Exposure
        Background-subtracted electrons.
    sources : Table
        ``sources`` found on it; all of them, because neighbours are subtracted.
    settings : PsfSettings

    Returns
    -------
    PsfFit

    Raises
    ------
    UnusableData
        If fewer than ``min_stars`` stars are usable.
    """
    settings = settings or PsfSettings()
    geometry = image_geometry(exposure.shape)
    fwhm = guess_fwhm(exposure, sources)
    sample = select_stars(exposure, sources, fwhm, geometry, settings.selection)
    noise = measure_sky_noise(exposure)
    _check_count(sample.index.size, len(sources), noise, settings)
    half = int(np.clip(np.ceil(settings.half_size_fwhm * fwhm), 10, 30))
    near, star = _near_stars(sources, sample, half)
    first = _first_model(exposure, sample, noise, fwhm, 2 * half + 1)
    oversampling = int(np.clip(np.ceil(3.6 / first_fwhm(first)), 1, 3))
    model = PolynomialPsf.from_model(first, exposure.shape, 0, oversampling)
    prior = Prior.around(model, settings.solver)
    order = _order(sample, geometry, settings)
    places = [np.asarray(sources[name], np.float64)[near] for name in "xy"]
    fitted = None
    used = np.ones(star.size, bool)
    sweeps = SweepSettings(max_sweeps=3)
    for _ in range(settings.iterations):
        fitted = fit_all(exposure.data, noise, model, *places, sweeps, known=fitted)
        pixels = _star_pixels(exposure.data, fitted, star, model, noise, settings)
        used = _keep(pixels.chi, fitted.flux[star], settings)
        _check_count(int(used.sum()), len(sources), noise, settings)
        model = solve(pixels.take(used), prior, model, order, settings.solver)
        places = [fitted.x, fitted.y]
        sweeps = SweepSettings(max_sweeps=2)
    fitted = fit_all(exposure.data, noise, model, *places, sweeps, known=fitted)
    pixels = _star_pixels(exposure.data, fitted, star, model, noise, settings)
    used &= _keep(pixels.chi, fitted.flux[star], settings)
    stars = Table({"id": np.asarray(sources["id"])[sample.index], "x": fitted.x[star], "y": fitted.y[star]})
    stars["flux"], stars["chi"], stars["is_used"] = fitted.flux[star], pixels.chi, used
    residual = _mean_residual(pixels.take(used), model)
    radius = int(np.median(fitted.radius[star]))
    scale = flux_scale(pixels.take(used), prior, model, noise, settings.solver, radius)
    log.info(
        "PSF of %d stars: FWHM %.2f px, order %d, residual %.4f", used.sum(), model.fwhm(), order, residual
    )
    return PsfFit(model, stars, model.fwhm(), residual, int(used.sum()), scale)


def given_psf(psf: PsfModel, shape: tuple[int, int]) -> PsfFit:
    """A PSF known beforehand of an image of the shape (ny, nx), as a fit to no stars."""
    model = PolynomialPsf.from_model(psf, shape)
    stars = Table({name: np.zeros(0) for name in ("id", "x", "y", "flux", "chi", "is_used")})
    exact = FluxScale(np.zeros((1, 1)), 0, model.geometry)
    return PsfFit(model, stars, model.fwhm(), float("nan"), 0, exact)


def guess_fwhm(exposure: Exposure, sources: Table) -> float:
    """FWHM in pixels of the point sources, from Gaussian-weighted moments of the bright sources."""
    clean = np.flatnonzero((np.asarray(sources["extraction_flags"]) & 2) == 0)
    bright = clean[np.argsort(-np.asarray(sources["flux"])[clean])[:600]]
    peak = np.asarray(sources["peak"] + np.maximum(sources["background"], 0))[bright]
    bright = bright[peak < 0.8 * exposure.info.saturation]
    x, y = (np.asarray(sources[name], np.float64)[bright] for name in "xy")
    usable = (exposure.mask == 0) & np.isfinite(exposure.data)
    sigma = float(np.median(sources["fwhm"])) / FWHM_PER_SIGMA if len(sources) else 1.0
    sigma = float(np.clip(sigma, 0.6, 5.0))
    data = np.ascontiguousarray(exposure.data)
    for _ in range(4):
        moments = np.empty((bright.size, 6))
        weighted_moments(data, usable, x, y, sigma, moments)
        moments = moments[is_spread(moments)]
        size = np.sqrt((moments[:, 2] + moments[:, 4]) / 2)
        size = size[size < 0.999 * sigma]
        if size.size < 3:
            break
        measured = stellar_size(size)
        sigma = float(np.clip(1 / np.sqrt(max(1 / measured**2 - 1 / sigma**2, 0.03)), 0.45, 6.0))
    return FWHM_PER_SIGMA * sigma


def first_fwhm(psf: MoffatPsf) -> float:
    """Geometric mean FWHM in pixels of a Moffat before pixel integration."""
    determinant = psf.xx * psf.yy - psf.xy**2
    return float(2 * np.sqrt(2 ** (1 / psf.beta) - 1) * determinant**-0.25)


def _check_count(n: int, n_sources: int, noise: SkyNoise, settings: PsfSettings) -> None:
    if n >= settings.min_stars:
        return
    numbers = {"stars": n, "sources": n_sources}
    if 0 < noise.sigma < LEAST_NOISE:
        reason = "too few stars for a PSF: so little noise is not of electrons, is the gain right?"
        raise UnusableData(reason, {**numbers, "sky_sigma": noise.sigma})
    raise UnusableData("too few stars for a PSF", numbers)


def _order(sample: StarSample, geometry: tuple, settings: PsfSettings) -> int:
    if settings.order >= 0:
        order = settings.order
        while order and sample.index.size < n_terms(order) + 2:
            order -= 1
        return order
    u, v = (sample.x - geometry[0]) / geometry[2], (sample.y - geometry[1]) / geometry[3]
    order = choose_order(u, v, sample.shapes, settings.max_order)
    return max(order, min(_order_for(sample.index.size), settings.max_order))


def _order_for(n_stars: int) -> int:
    """Order that some stars can bear, the prior on the variation beside them, where shapes say little."""
    return next(order for order in (2, 1, 0) if order == 0 or n_stars >= 3 * n_terms(order))


def _near_stars(sources: Table, sample: StarSample, half: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of all sources whose light may reach a star's stamp, and the stars' places among them."""
    x, y, flux = (np.asarray(sources[name], np.float64) for name in ("x", "y", "flux"))
    distance, _ = cKDTree(np.column_stack([sample.x, sample.y])).query(
        np.column_stack([x, y]), distance_upper_bound=2.25 * half
    )
    bright = flux > np.percentile(flux[sample.index], 10)
    close = distance < np.where(bright, 2.25, 1.25) * half
    close[sample.index] = True
    near = np.flatnonzero(close)
    return near, np.searchsorted(near, sample.index)


def _first_model(
    exposure: Exposure, sample: StarSample, noise: SkyNoise, fwhm: float, size: int
) -> MoffatPsf:
    """Moffat of the thirty brightest stars of the sample."""
    count = min(30, sample.index.size)
    x, y = sample.x[:count], sample.y[:count]
    half = int(np.ceil(3.5 * fwhm))
    data, variance = (_cut(a, x, y, half) for a in (exposure.data, noise.variance))
    signal = np.maximum(data, 0)
    total = variance + noise.slope * signal + (0.03 * signal) ** 2
    good = (variance > 0) & np.isfinite(data)
    weight = np.where(good, 1 / np.where(good, total, 1), 0)
    return fit_moffat(np.where(good, data, 0), weight, x - np.rint(x), y - np.rint(y), fwhm, size)


def _cut(image: NDArray, x: NDArray, y: NDArray, half: int) -> NDArray[np.float64]:
    """Stamps [n, k, k] about the nearest pixels; 0 outside the image."""
    offset = np.arange(-half, half + 1)
    row = np.floor(y + 0.5).astype(int)[:, None, None] + offset[:, None]
    column = np.floor(x + 0.5).astype(int)[:, None, None] + offset[None, :]
    ny, nx = image.shape
    inside = (row >= 0) & (row < ny) & (column >= 0) & (column < nx)
    return np.where(inside, image[np.clip(row, 0, ny - 1), np.clip(column, 0, nx - 1)], 0).astype(np.float64)


def _star_pixels(
    data: NDArray[np.float32],
    fitted: FittedStars,
    star: NDArray[np.int64],
    model: PolynomialPsf,
    noise: SkyNoise,
    settings: PsfSettings,
) -> StarPixels:
    """Each star's pixels with everything else subtracted."""
    x, y, flux = fitted.x[star], fitted.y[star], fitted.flux[star]
    half = model.size // 2
    offset = np.arange(-half, half + 1)
    core = np.hypot(offset[:, None], offset[None, :]) <= 1.5 * model.fwhm()
    stamps = model_stamps(model, x, y)
    values, weight, chi = np.empty_like(stamps), np.empty_like(stamps), np.empty(x.size)
    row, col = (np.floor(place + 0.5).astype(np.int64) for place in (y, x))
    star_pixels(
        data, fitted.residual, noise.variance, noise.slope, stamps, row, col, flux, settings.model_error,
        core, values, weight, chi,
    )  # fmt: skip
    return StarPixels(values, weight, flux, x, y, chi)


def _keep(chi: NDArray[np.float64], flux: NDArray[np.float64], settings: PsfSettings) -> NDArray[np.bool_]:
    """Stars that fit about as well as the others, compared in running order of flux."""
    positive = (flux > 0) & np.isfinite(chi)
    middle = np.median(chi[positive]) if positive.any() else 1.0
    width = mad_width(chi[positive]) if positive.any() else 1.0
    return positive & (chi < middle + settings.reject_sigma * max(width, 0.15 * middle))


def _mean_residual(pixels: StarPixels, model: PolynomialPsf) -> float:
    """Largest pixel, in the core, of the weighted mean residual over flux."""
    own = model_stamps(model, pixels.x, pixels.y)
    flux = pixels.flux[:, None, None]
    information = pixels.weight * flux**2
    norm = information.sum(axis=0)
    mean = np.sum(information * (pixels.data / flux - own), axis=0) / np.where(norm > 0, norm, 1)
    return float(np.abs(mean).max())
