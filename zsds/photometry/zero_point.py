"""Photometric calibration against a reference catalogue, and how deep an image goes."""

import logging
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure, ZeroPoint
from zsds.core.psf import PsfModel, noise_pixels
from zsds.core.robust import mad_width
from zsds.core.units import MAG_PER_RELATIVE_FLUX, magnitude, magnitude_error
from zsds.extract.noise import measure_sky_noise

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ZeroPointSettings:
    """How the zero point is fitted."""

    min_stars: int = 3  # fewer make the image unusable
    min_stars_colour: int = 12  # fewer: the colour term is not fitted but `default_colour`
    min_colour_range: float = 0.3  # robust width of the colours, mag, below which it is not fitted either
    default_colour: float = 0.0  # colour term where it cannot be fitted
    default_colour_err: float = 0.05  # and its error
    clip_sigma: float = 3.5  # stars farther from the fit are left out
    iterations: int = 20  # of fit and clipping at most
    max_mag_err: float = 0.06  # noisier stars are not used
    max_scatter: float = 0.3  # mag; larger means clouds or wrong matches


@dataclass(frozen=True)
class ColourNoise:
    """Errors of catalog colours and what they share with those of the catalog magnitudes.

    Parameters
    ----------
    variance : ndarray [n]
        Of the colours, mag squared.
    covariance : ndarray [n]
        Of colour and magnitude: for g - r and r it is minus the variance of r.
    """

    variance: NDArray[np.float64]
    covariance: NDArray[np.float64]


def fit_zero_point(
    flux: ArrayLike,
    flux_err: ArrayLike,
    catalog_mag: ArrayLike,
    catalog_mag_err: ArrayLike,
    colour: ArrayLike,
    settings: ZeroPointSettings | None = None,
    colour_noise: ColourNoise | None = None,
) -> ZeroPoint:
    """Weighted fit of catalogue mag + 2.5 log10(flux) = value + colour_coeff * colour, outliers clipped.

    Besides the measured errors each star has an intrinsic scatter, found with the fit so that chi-square
    per degree of freedom is 1: flat-field errors and variable stars are in the errors, which therefore
    never shrink to the photon noise of thousands of stars. What the errors of the colours add to the
    moments of the fit is taken off (Fuller 1987, Measurement Error Models, chapter 1).

    Parameters
    ----------
    flux, flux_err : array_like [n]
        Electrons.
    catalog_mag, catalog_mag_err, colour : array_like [n]
        Mag; stars without finite values are left out.
    settings : ZeroPointSettings
    colour_noise : ColourNoise, optional
        Without it colours count as exact.

    Returns
    -------
    ZeroPoint

    Raises
    ------
    UnusableData
        If there are too few stars, or they scatter as under clouds.
    """
    settings = settings or ZeroPointSettings()
    flux, flux_err, mag, mag_err, colour = (
        np.asarray(np.ma.filled(np.ma.asarray(a, dtype=np.float64), np.nan))
        for a in (flux, flux_err, catalog_mag, catalog_mag_err, colour)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        offset, own = mag + 2.5 * np.log10(flux), magnitude_error(flux, flux_err)
    mag_err = np.where(np.isfinite(mag_err), mag_err, 0.0)
    none = np.zeros(flux.size)
    noise = colour_noise or ColourNoise(none, none)
    stars = _Stars(offset, np.hypot(own, mag_err), colour, noise.variance, noise.covariance)
    rough = _fit(stars, 2 * settings.max_mag_err, settings)
    own = _fair_errors(own, np.hypot(mag_err, rough.intrinsic), rough.residuals(stars))
    offset = offset + own**2 / (2 * MAG_PER_RELATIVE_FLUX)  # the logarithm of a noisy flux is low on average
    stars = replace(stars, offset=offset, err=np.hypot(own, mag_err))
    fit = _fit(stars, settings.max_mag_err, settings)
    if fit.scatter > settings.max_scatter or fit.kept.sum() < settings.min_stars:
        numbers = {"scatter": fit.scatter, "calibrators": int(fit.kept.sum())}
        raise UnusableData("calibrators scatter too much", numbers)
    kept = colour[fit.kept]
    log.info("zero point %.3f, scatter %.3f mag, %d stars", fit.solution[0], fit.scatter, fit.kept.sum())
    return ZeroPoint(
        value=float(fit.solution[0]),
        err=float(np.sqrt(fit.covariance[0, 0])),
        colour_coeff=float(fit.solution[1]),
        colour_err=float(np.sqrt(fit.covariance[1, 1])),
        covariance=float(fit.covariance[0, 1]),
        rms=fit.scatter,
        n_stars=int(fit.kept.sum()),
        colour_median=float(np.median(kept)),
        colour_rms=mad_width(kept),
        median=float(np.median(offset[fit.kept])),
    )


@dataclass(frozen=True)
class _Stars:
    """Zero points of single stars, their errors, colours, and the noise of these; all [n]."""

    offset: NDArray[np.float64]
    err: NDArray[np.float64]
    colour: NDArray[np.float64]
    variance: NDArray[np.float64]
    covariance: NDArray[np.float64]

    def __getitem__(self, chosen: NDArray[np.bool_]) -> "_Stars":
        return _Stars(*(getattr(self, column.name)[chosen] for column in fields(self)))

    def left(self, solution: NDArray[np.float64]) -> NDArray[np.float64]:
        """Residuals."""
        return self.offset - solution[0] - solution[1] * self.colour


@dataclass(frozen=True)
class _Fit:
    solution: NDArray[np.float64]
    covariance: NDArray[np.float64]
    scatter: float
    intrinsic: float
    kept: NDArray[np.bool_]

    def residuals(self, stars: _Stars) -> NDArray[np.float64]:
        """Of all stars, used or not."""
        return stars.left(self.solution)


def _fit(stars: _Stars, max_err: float, settings: ZeroPointSettings) -> _Fit:
    """Clipped fit to the stars of known colour and small error; ``kept`` is of all stars."""
    known = np.isfinite(stars.offset + stars.colour + stars.variance + stars.covariance)
    with np.errstate(invalid="ignore"):
        good = known & (stars.err < max_err)
    n = int(good.sum())
    if n < settings.min_stars:
        raise UnusableData("too few calibrators", {"calibrators": n, "matched": good.size})
    wide = mad_width(stars.colour[good]) >= settings.min_colour_range / 2
    fit = _clipped_fit(stars[good], n >= settings.min_stars_colour and wide, settings)
    kept = np.zeros(good.size, bool)
    kept[np.flatnonzero(good)[fit.kept]] = True
    return replace(fit, kept=kept)


def _fair_errors(own, other, residual):
    """Errors in magnitudes that the fluxes would have without their noise.

    A flux raised by noise seems more precise than one lowered by it, and weights by such errors raise the
    zero point by some 2 / (S/N)^2 mag. The error at the flux that star and catalog together make most
    probable is independent of the star's residual.
    """
    share = own**2 / (own**2 + other**2 + 1e-12)
    return own * 10 ** (0.4 * share * np.clip(residual, -0.5, 0.5))


def _clipped_fit(stars: _Stars, with_colour: bool, settings: ZeroPointSettings) -> _Fit:
    """Alternate weighted fit, intrinsic scatter, and clipping until the kept stars no longer change."""
    about = stars.offset - settings.default_colour * stars.colour
    kept = np.abs(about - np.median(about)) < max(5 * mad_width(about), 0.05)
    intrinsic = 0.0
    for _ in range(settings.iterations):
        intrinsic = _intrinsic(stars[kept], with_colour, settings)
        solution, covariance = _weighted(stars[kept], with_colour, intrinsic, settings)
        sigma = np.sqrt(stars.err**2 + intrinsic**2)
        now = np.abs(stars.left(solution)) < settings.clip_sigma * np.maximum(sigma, 1e-4)
        if (now == kept).all() or now.sum() < settings.min_stars:
            break
        kept = now
    return _Fit(solution, covariance, mad_width(stars[kept].left(solution)), intrinsic, kept)


def _weighted(
    stars: _Stars, with_colour: bool, intrinsic: float, settings: ZeroPointSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Solution (zero point, colour term) and its covariance."""
    weight = 1 / (stars.err**2 + intrinsic**2 + 1e-10)
    mean = weight @ stars.colour / weight.sum()
    value = weight @ stars.offset / weight.sum()
    spread = weight @ ((stars.colour - mean) ** 2 - stars.variance)
    if with_colour and spread > 0:
        slope = weight @ ((stars.colour - mean) * (stars.offset - value) - stars.covariance) / spread
        variance = 1 / spread
    else:
        slope, variance = settings.default_colour, settings.default_colour_err**2
    covariance = np.array(
        [[1 / weight.sum() + mean**2 * variance, -mean * variance], [-mean * variance, variance]]
    )
    return np.array([value - slope * mean, slope]), covariance


def _intrinsic(stars: _Stars, with_colour: bool, settings: ZeroPointSettings) -> float:
    """Scatter to be added to the errors for a chi-square of 1 per degree of freedom."""
    free = stars.offset.size - (2 if with_colour else 1)
    if free < 1:
        return 0.0
    low, high = 0.0, 1.0

    def excess(scatter: float) -> float:
        solution, _ = _weighted(stars, with_colour, scatter, settings)
        squares = stars.left(solution) ** 2
        return float(np.sum(squares / (stars.err**2 + scatter**2 + 1e-10)) / free - 1)

    if excess(0.0) <= 0:
        return 0.0
    for _ in range(25):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (low + high) / 2


def limiting_magnitude(
    exposure: Exposure, psf: PsfModel, zero_point: ZeroPoint, n_sigma: float = 5.0, cells: int = 4
) -> float:
    """AB magnitude of a star whose PSF-fit flux at a known position is `n_sigma` times its error.

    Parameters
    ----------
    exposure : Exposure
        Background-subtracted electrons.
    psf : PsfModel
    zero_point : ZeroPoint
    n_sigma : float
    cells : int
        Places per axis over which sky noise and PSF are taken; the median counts.
    """
    noise = measure_sky_noise(exposure)
    ny, nx = exposure.shape
    errors = []
    for rows in np.array_split(np.arange(ny), cells):
        for columns in np.array_split(np.arange(nx), cells):
            if not rows.size or not columns.size:
                continue
            part = noise.variance[rows[0] : rows[-1] + 1 : 3, columns[0] : columns[-1] + 1 : 3]
            usable = part[part > 0]
            if usable.size:
                pixels = noise_pixels(psf.at(float(columns.mean()), float(rows.mean())))
                errors.append(np.sqrt(np.median(usable) * pixels))
    if not errors:
        raise UnusableData("no usable pixels for a limiting magnitude", {"pixels": exposure.data.size})
    return float(magnitude(n_sigma * np.median(errors), zero_point.value))
