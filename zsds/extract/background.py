"""The sky's level and noise over an image."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import sep
from numpy.typing import NDArray

from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.core.sphere import pixel_scale_arcsec
from zsds.extract.noise import SkyNoise, unusable_pixels, variance_slope
from zsds.kernels.stats import grow_above

log = logging.getLogger(__name__)
LEVEL_STEP = 2  # every second column tells the level
BARE_SIGMA = 0.01  # of the noise; pixels with more light of known sources do not count
LEAST_BARE = 1000  # pixels; fewer say nothing


@dataclass(frozen=True)
class BackgroundSettings:
    """How the sky is measured."""

    mesh_arcsec: float = 90.0  # side of a mesh cell; stars and their halos must be small against it
    mesh_pixels: int = 90  # the same where the pixel scale is not known
    filter_cells: int = 3  # cells of the median filter over the mesh
    source_sigma: float = 4.0  # pixels this far above the first sky are left out of the second
    source_grow: int = 4  # and so are pixels within this distance of them
    lit_sigma: float = 0.15  # a second sky leaves out pixels that known sources lift by more than this
    min_good: float = 0.05  # a smaller fraction of usable pixels makes the image unusable
    max_saturated: float = 0.5  # a larger fraction of saturated pixels does, too


@dataclass(frozen=True)
class Background:
    """Sky of an image.

    Parameters
    ----------
    level, rms : ndarray of float32 [ny, nx]
        Electrons.
    median, sigma : float
        Typical level and noise, electrons.
    """

    level: NDArray[np.float32]
    rms: NDArray[np.float32]
    median: float
    sigma: float

    def with_more(self, level: NDArray[np.float32] | np.float32) -> "Background":
        """The sky with another level on top."""
        whole = np.broadcast_to(level, self.level.shape)
        return replace(self, level=self.level + level, median=self.median + float(np.median(whole[::5, ::5])))


def measure_background(exposure: Exposure, settings: BackgroundSettings | None = None) -> Background:
    """Sky level and noise, from a mesh of clipped modes (sep), sources left out in a second pass.

    Parameters
    ----------
    exposure : Exposure
        Electrons; the sky still in.
    settings : BackgroundSettings

    Returns
    -------
    Background

    Raises
    ------
    UnusableData
        If too few pixels are usable, too many are saturated, or the image has no noise at all.
    """
    settings = settings or BackgroundSettings()
    unusable = unusable_pixels(exposure)
    _check_pixels(exposure, unusable, settings)
    data = np.require(exposure.data, requirements=["C", "W"])  # sep refuses read-only arrays
    cell = mesh_size(exposure, settings)
    step = 2 if min(cell) >= 40 else 1  # the first sky only tells what is a source
    coarse, hidden = (np.ascontiguousarray(a[::step, ::step]) for a in (data, unusable))
    mesh = _mesh(coarse, hidden, (cell[0] // step, cell[1] // step), settings.filter_cells)
    usable = coarse[~hidden]
    if not mesh.globalrms > 0 or usable.min() == usable.max():
        raise UnusableData("the sky has no noise", {"median": mesh.globalback, "sigma": mesh.globalrms})
    masked = unusable.copy()
    first = mesh.back(dtype=np.float32), mesh.rms(dtype=np.float32)
    grow_above(data, *first, step, settings.source_sigma, settings.source_grow, masked)
    enough = masked.mean() < 0.45  # sep gives up on cells with less than half of their pixels
    mesh = _mesh(data, masked if enough else unusable, cell, settings.filter_cells)
    level, rms = mesh.back(dtype=np.float32), mesh.rms(dtype=np.float32)
    level += np.float32(_skewness_bias(exposure, unusable, float(np.median(rms[::5, ::5]))))
    log.info("sky %.1f electrons, noise %.2f", mesh.globalback, mesh.globalrms)
    return Background(level, rms, float(np.median(level[::5, ::5])), float(np.median(rms[::5, ::5])))


def missed_level(exposure: Exposure, left: NDArray[np.float32], noise: SkyNoise) -> float:
    """What a sky has missed: mean level, electrons, of the pixels that the sources of an image do not reach.

    Stars too faint to stand out in single pixels, and the wings of bright ones, raise a sky that is made
    before they are known by up to a fiftieth of its noise, and lower all fluxes.

    Parameters
    ----------
    exposure : Exposure
        Without that sky.
    left : ndarray of float32 [ny, nx]
        The same without sources.
    noise : SkyNoise
    """
    data, rest, variance = (a[:, ::LEVEL_STEP] for a in (exposure.data, left, noise.variance))
    usable = variance > 0
    data, rest = data[usable], rest[usable]
    bare = rest[np.abs(data - rest) < BARE_SIGMA * noise.sigma]
    if bare.size < LEAST_BARE:
        return 0.0
    return float(np.median(bare)) + _skewness(noise.slope, exposure.info.read_noise, noise.sigma)


def residual_sky(
    exposure: Exposure, left: NDArray[np.float32], background: Background, settings: BackgroundSettings
) -> NDArray[np.float32]:
    """What a sky has missed, in electrons: wings of stars raise it where they crowd.

    Parameters
    ----------
    exposure : Exposure
        Without that sky.
    left : ndarray of float32 [ny, nx]
        The same without sources.
    background : Background
        That sky.
    settings : BackgroundSettings
    """
    unusable = unusable_pixels(exposure)
    lit = exposure.data - left > settings.lit_sigma * background.sigma
    hidden = unusable | lit if lit.mean() < 0.4 else unusable
    level = _mesh(left, hidden, mesh_size(exposure, settings), settings.filter_cells).back(dtype=np.float32)
    return level + np.float32(_skewness_bias(exposure, unusable, background.sigma))


def _skewness_bias(exposure: Exposure, unusable: NDArray[np.bool_], sigma: float) -> float:
    """How far sep's mode, 2.5 median - 1.5 mean, lies below the mean of a Poisson sky, in electrons."""
    return 2.5 * _skewness(variance_slope(exposure, unusable), exposure.info.read_noise, sigma)


def _skewness(slope: float, read_noise: float, sigma: float) -> float:
    """How far the median of a sky of some noise lies below its mean, electrons: m3 / (6 sigma^2).

    The third moment m3 of the Poisson part is its variance times the variance per electron (the slope).
    """
    poisson = max(0.0, 1 - (read_noise / sigma) ** 2) if sigma > 0 else 0.0
    return slope * poisson / 6


def subtract_background(exposure: Exposure, background: Background) -> Exposure:
    """The exposure without its sky; the variance already holds the sky's noise and stays."""
    return replace(exposure, data=exposure.data - background.level)


def mesh_size(exposure: Exposure, settings: BackgroundSettings) -> tuple[int, int]:
    """Height and width of a mesh cell in pixels, at most a third of the image.

    They divide the image evenly: sep takes a narrow last cell for a full one and misplaces its level.
    """
    pixels = settings.mesh_pixels
    if exposure.wcs is not None:
        scale = pixel_scale_arcsec(exposure.wcs)
        pixels = round(settings.mesh_arcsec / scale) if scale > 0 else pixels
    cells = [max(1, round(n / np.clip(pixels, 8, max(8, n // 3)))) for n in exposure.shape]
    return -(-exposure.shape[0] // cells[0]), -(-exposure.shape[1] // cells[1])


def _check_pixels(exposure: Exposure, unusable: NDArray[np.bool_], settings: BackgroundSettings) -> None:
    saturated = float(np.mean((exposure.mask & np.uint32(Mask.SATURATED)) != 0))
    if saturated > settings.max_saturated:
        raise UnusableData("image is saturated", {"saturated": saturated})
    good = 1 - float(unusable.mean())
    if good < settings.min_good:
        finite = float(np.isfinite(exposure.data).mean())
        raise UnusableData("too few usable pixels", {"good": good, "finite": finite})


def _mesh(
    data: NDArray[np.float32], masked: NDArray[np.bool_], cell: tuple[int, int], width: int
) -> sep.Background:
    return sep.Background(data, mask=masked, bw=cell[1], bh=cell[0], fw=width, fh=width)
