"""Photometric calibration against a reference catalogue, and how deep an image goes."""

import logging
from dataclasses import dataclass, replace

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


def fit_zero_point(
    flux: ArrayLike,
    flux_err: ArrayLike,
    catalog_mag: ArrayLike,
    catalog_mag_err: ArrayLike,
    colour: ArrayLike,
    settings: ZeroPointSettings | None = None,
) -> ZeroPoint:
    """Weighted fit of catalogue mag + 2.5 log10(flux) = value + colour_coeff * colour, outliers clipped.

    Besides the measured errors each star has an intrinsic scatter, found with the fit so that chi-square
    per degree of freedom is 1: flat-field errors and variable stars are in the errors, which therefore
    never shrink to the photon noise of thousands of stars.

    Parameters
    ----------
    flux, flux_err : array_like [n]
        Electrons.
    catalog_mag, catalog_mag_err, colour : array_like [n]
        Mag; stars without finite values are left out.
    settings : ZeroPointSettings

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
    rough = _fit(offset, np.hypot(own, mag_err), colour, 2 * settings.max_mag_err, settings)
    own = _fair_errors(own, np.hypot(mag_err, rough.intrinsic), rough.residuals(offset, colour))
    offset = offset + own**2 / (2 * MAG_PER_RELATIVE_FLUX)  # the logarithm of a noisy flux is low on average
    fit = _fit(offset, np.hypot(own, mag_err), colour, settings.max_mag_err, settings)
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
class _Fit:
    solution: NDArray[np.float64]
    covariance: NDArray[np.float64]
    scatter: float
    intrinsic: float
    kept: NDArray[np.bool_]

    def residuals(self, offset, colour):
        """Of all stars, used or not."""
        return offset - self.solution[0] - self.solution[1] * colour


def _fit(offset, err, colour, max_err: float, settings: ZeroPointSettings) -> _Fit:
    """Clipped fit to the stars of known colour and small error; ``kept`` is of all stars."""
    with np.errstate(invalid="ignore"):
        good = np.isfinite(offset) & np.isfinite(colour) & (err < max_err)
    n = int(good.sum())
    if n < settings.min_stars:
        raise UnusableData("too few calibrators", {"calibrators": n, "matched": offset.size})
    wide = mad_width(colour[good]) >= settings.min_colour_range / 2
    with_colour = n >= settings.min_stars_colour and wide
    fit = _clipped_fit(offset[good], err[good], colour[good], with_colour, settings)
    kept = np.zeros(offset.size, bool)
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


def _clipped_fit(offset, err, colour, with_colour: bool, settings: ZeroPointSettings) -> _Fit:
    """Alternate weighted fit, intrinsic scatter, and clipping until the kept stars no longer change."""
    default = settings.default_colour
    middle = np.median(offset - default * colour)
    kept = np.abs(offset - default * colour - middle) < max(5 * mad_width(offset - default * colour), 0.05)
    intrinsic = 0.0
    for _ in range(settings.iterations):
        intrinsic = _intrinsic(offset, err, colour, kept, with_colour, settings)
        solution, covariance = _weighted(offset, err, colour, kept, with_colour, intrinsic, settings)
        left = offset - solution[0] - solution[1] * colour
        sigma = np.sqrt(err**2 + intrinsic**2)
        now = np.abs(left) < settings.clip_sigma * np.maximum(sigma, 1e-4)
        if (now == kept).all() or now.sum() < settings.min_stars:
            break
        kept = now
    left = offset - solution[0] - solution[1] * colour
    return _Fit(solution, covariance, mad_width(left[kept]), intrinsic, kept)


def _weighted(offset, err, colour, kept, with_colour, intrinsic, settings):
    """Solution (zero point, colour term) and its covariance."""
    weight = 1 / (err[kept] ** 2 + intrinsic**2 + 1e-10)
    if not with_colour:
        mean_colour = np.sum(weight * colour[kept]) / weight.sum()
        value = np.sum(weight * (offset[kept] - settings.default_colour * colour[kept])) / weight.sum()
        variance = settings.default_colour_err**2
        corner = 1 / weight.sum() + mean_colour**2 * variance
        covariance = np.array([[corner, -mean_colour * variance], [-mean_colour * variance, variance]])
        return np.array([value, settings.default_colour]), covariance
    basis = np.column_stack([np.ones(kept.sum()), colour[kept]])
    covariance = np.linalg.inv(basis.T @ (weight[:, None] * basis))
    return covariance @ (basis.T @ (weight * offset[kept])), covariance


def _intrinsic(offset, err, colour, kept, with_colour, settings) -> float:
    """Scatter to be added to the errors for a chi-square of 1 per degree of freedom."""
    free = kept.sum() - (2 if with_colour else 1)
    if free < 1:
        return 0.0
    low, high = 0.0, 1.0

    def excess(scatter: float) -> float:
        solution, _ = _weighted(offset, err, colour, kept, with_colour, scatter, settings)
        left = offset[kept] - solution[0] - solution[1] * colour[kept]
        return float(np.sum(left**2 / (err[kept] ** 2 + scatter**2 + 1e-10)) / free - 1)

    if excess(0.0) <= 0:
        return 0.0
    for _ in range(40):
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
