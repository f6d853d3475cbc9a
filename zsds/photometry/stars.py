"""PSF-fit photometry of all sources of an image."""

import logging
from dataclasses import dataclass, field, replace

import numpy as np
import sep
from astropy.table import Table
from numpy.typing import NDArray

from zsds.core.exposure import Exposure
from zsds.core.psf import FWHM_PER_SIGMA, PsfModel
from zsds.core.tables import new_table
from zsds.extract.background import BARE_SIGMA, missed_level
from zsds.extract.noise import SkyNoise, measure_sky_noise
from zsds.kernels.psf_fit import measure_stars
from zsds.kernels.stats import flags_around
from zsds.psf.model import PolynomialPsf
from zsds.psf.scale import FluxScale
from zsds.psf.sweep import NOWHERE, FittedStars, SweepSettings, fit_all, roughly_without

log = logging.getLogger(__name__)

MODEL_ERROR = 0.02  # of the light of subtracted stars
LEVEL_PIXELS = 2.4e6  # by which the level of an image is judged


@dataclass(frozen=True)
class StarSettings:
    """How the stars of an image are fitted."""

    sweep: SweepSettings = field(default_factory=SweepSettings)
    hold_positions: bool = False  # forced photometry: fluxes only
    sky_mesh: int = 0  # pixels of the mesh of a second sky, from the image without its stars; 0 leaves it out


def fit_stars(
    exposure: Exposure,
    psf: PsfModel,
    sources: Table,
    settings: StarSettings | None = None,
    scale: FluxScale | None = None,
    known: FittedStars | None = None,
) -> Table:
    """Fit flux and position of every source, all others subtracted.

    Stars are visited from bright to faint, each fitted (weighted Newton step) to what the others leave,
    until none moves. Weights are of sky noise plus the model's own source noise, never of the data, so
    fluxes are not biased low. Errors are those of the joint fit of flux and position of one star.

    Parameters
    ----------
    exposure : Exposure
        Background-subtracted electrons.
    psf : PsfModel
    sources : Table
        With ``x`` and ``y``, and ``id`` if rows are to be recognised.
    settings : StarSettings
    scale : FluxScale, optional
        The PSF's own error, which the errors of fluxes then hold; ``snr`` stays that of the noise.
    known : FittedStars, optional
        An earlier fit of the first of these sources, from which theirs starts.

    Returns
    -------
    Table
        ``stars``, one row per source in the same order.
    """
    settings = settings or StarSettings()
    noise = measure_sky_noise(exposure)
    model = PolynomialPsf.from_model(psf, exposure.shape)
    data = exposure.data
    x, y = (np.asarray(np.ma.filled(sources[name], np.nan), dtype=np.float64) for name in "xy")
    placed = np.isfinite(x) & np.isfinite(y)
    x, y = np.where(placed, x, NOWHERE), np.where(placed, y, NOWHERE)
    if len(sources) == 0:
        return new_table("stars")
    hold = settings.hold_positions
    fitted = fit_all(data, noise, model, x, y, settings.sweep, hold, known)
    sky = np.zeros(data.shape, np.float32)
    if settings.sky_mesh:
        sky = _residual_sky(fitted.residual, noise, settings.sky_mesh)
        data = data - sky
        fitted = fit_all(data, noise, model, fitted.x, fitted.y, settings.sweep, hold, fitted)
    stars = _table(exposure, sources, data, fitted, noise, model, hold, settings)
    if scale is not None:
        stars["flux_err"][:] = np.hypot(stars["flux_err"], stars["flux"] * scale.error(fitted.x, fitted.y))
    row, column = _nearest(stars, exposure.shape)
    stars["sky"][:] = sky[row, column]
    log.info("fitted %d stars, median chi %.2f", len(stars), np.median(stars["chi"]))
    return stars


def missed_sky(exposure: Exposure, psf: PsfModel, sources: Table) -> float:
    """Level, electrons, that is left between the sources of an image whose sky is subtracted.

    The rows in the middle of a large image tell it to a thousandth of the noise.
    """
    ny, nx = exposure.shape
    height = min(ny, round(LEVEL_PIXELS / nx))
    first = (ny - height) // 2
    band = exposure.rows(first, first + height)
    model = PolynomialPsf.from_model(psf, exposure.shape)
    x0, y0, x_scale, y_scale = model.geometry
    model = replace(model, geometry=(x0, y0 - first, x_scale, y_scale))
    x, y = (np.asarray(sources[name], dtype=np.float64) for name in "xy")
    near = (y > first - model.size / 2) & (y < first + height + model.size / 2)
    noise = measure_sky_noise(band)
    left = roughly_without(
        band.data, noise, model, x[near], y[near] - first, SweepSettings(faint_limit=BARE_SIGMA)
    )
    return missed_level(band, left, noise)


def fit_first(exposure: Exposure, psf: PsfModel, sources: Table) -> FittedStars:
    """All sources of an image fitted well enough to see what they hide: a few sweeps."""
    noise = measure_sky_noise(exposure)
    model = PolynomialPsf.from_model(psf, exposure.shape)
    x, y = (np.asarray(sources[name], dtype=np.float64) for name in "xy")
    return fit_all(exposure.data, noise, model, x, y, SweepSettings(max_sweeps=3))


def without_stars(exposure: Exposure, fitted: FittedStars) -> Exposure:
    """The exposure with all stars of a fit subtracted.

    Its variance is that of sky and subtracted light, with `MODEL_ERROR` of that light for what the PSF
    gets wrong; 0 where the exposure is not usable.
    """
    noise = measure_sky_noise(exposure)
    light = np.maximum(exposure.data - fitted.residual, 0)
    variance = noise.variance + np.float32(noise.slope) * light + (np.float32(MODEL_ERROR) * light) ** 2
    variance = np.where(noise.variance > 0, variance, np.float32(0))
    return replace(exposure, data=fitted.residual, variance=variance)


def _residual_sky(residual: NDArray[np.float32], noise: SkyNoise, mesh: int) -> NDArray[np.float32]:
    """Sky of the image without its stars."""
    sky = sep.Background(residual, mask=~(noise.variance > 0), bw=mesh, bh=mesh)
    return sky.back(dtype=np.float32)


def _nearest(stars: Table, shape: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ny, nx = shape
    row = np.clip(np.rint(np.nan_to_num(stars["y"])).astype(np.int64), 0, ny - 1)
    return row, np.clip(np.rint(np.nan_to_num(stars["x"])).astype(np.int64), 0, nx - 1)


def _table(
    exposure: Exposure,
    sources: Table,
    data: NDArray[np.float32],
    fitted: FittedStars,
    noise: SkyNoise,
    model: PolynomialPsf,
    hold: bool,
    settings: StarSettings,
) -> Table:
    n = fitted.x.size
    stars = new_table("stars", n)
    errors, chi, sharp = np.empty((n, 3)), np.empty(n), np.empty(n)
    n_pixels, outside = np.empty(n, np.int64), np.empty(n, bool)
    measure_stars(
        data, fitted.residual, noise.variance, noise.slope, model.coefficients, model.geometry,
        model.oversampling, model.order, model.size // 2, fitted.x, fitted.y, fitted.flux, fitted.radius,
        hold, errors, chi, sharp, n_pixels, outside,
    )  # fmt: skip
    flux = np.where(n_pixels > 0, fitted.flux, np.nan)
    if not hold:
        flux = freed_of_place(flux, errors[:, 0])
    columns = {
        "id": sources["id"] if "id" in sources.colnames else np.arange(n),
        "x": np.where(fitted.x > NOWHERE / 2, fitted.x, np.nan),
        "y": np.where(fitted.y > NOWHERE / 2, fitted.y, np.nan),
        "flux": flux,
        "flux_err": errors[:, 0],
        "x_err": errors[:, 1],
        "y_err": errors[:, 2],
        "snr": flux / errors[:, 0],
        "chi": chi,
        "sharp": sharp / squared_width(model),
        "n_pixels": n_pixels,
        "is_edge": outside,
        "is_converged": fitted.step < 10 * settings.sweep.tolerance,
    }
    for name, values in columns.items():
        stars[name][:] = values
    flags_around(exposure.mask, fitted.x, fitted.y, 2, stars["flags"].data)
    for name in ("ra", "dec", "mag", "mag_err"):
        stars[name][:] = np.nan
    return stars


def freed_of_place(flux: NDArray[np.float64], err: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fluxes without what they gain where the place is free to follow the noise.

    The most probable flux is too high by err^2 / flux, half of it for each coordinate (Portillo, Speagle &
    Finkbeiner 2020, AJ 159, 165). Places of stars below 2 err were not free.
    """
    free = np.abs(flux) > 2 * err
    return np.where(free, flux - err**2 / np.where(free, flux, 1), flux)


def squared_width(model: PolynomialPsf) -> float:
    """Squared Gaussian-equivalent width of a PSF in the middle of its image, pixels squared."""
    return float((model.fwhm() / FWHM_PER_SIGMA) ** 2)
