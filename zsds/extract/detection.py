"""Sources on an image: everything above the noise after a filter shaped like the PSF."""

import logging
from dataclasses import dataclass

import numpy as np
import sep
from astropy.table import Table, vstack
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, Mask
from zsds.core.psf import FWHM_PER_SIGMA
from zsds.core.settings import require_positive
from zsds.core.tables import new_table
from zsds.extract.background import Background
from zsds.extract.noise import unusable_pixels
from zsds.kernels.coverage import find_bits
from zsds.kernels.shapes import weighted_moments
from zsds.kernels.stats import flags_around
from zsds.kernels.wings import excess_over, mark_in_wings

log = logging.getLogger(__name__)

BRIGHT = Mask.SATURATED | Mask.BLEED | Mask.GHOST | Mask.HALO | Mask.EDGE | Mask.TRAIL | Mask.CROSSTALK
RAISED = Mask.NOISY | Mask.LOW_RESPONSE
NOT_SEARCHED = DEFECTS & ~BRIGHT  # such pixels hold no light of the sky
WING_ZONE = 20  # long axes (rms) within which a source's wings may lift others above the threshold
ROUND = 0.8  # a star's short axis over its mean one: as much is allowed for where sharpness is judged


@dataclass(frozen=True)
class ExtractSettings:
    """How sources are found."""

    threshold: float = 4.5  # in units of the filtered noise
    min_pixels: int = 2  # connected pixels above the threshold
    fwhm: float = 0.0  # of the filter, pixels; 0 measures it on the bright sources first
    deblend_levels: int = 32  # thresholds between which a source may split
    deblend_contrast: float = 0.003  # smallest share of the flux of a part that is split off
    edge: int = 5  # pixels; sources nearer to the edge are marked
    min_sources: int = 1  # fewer make the image unusable
    max_buffer: int = 30_000_000  # largest pixel buffer tried before an image counts as too crowded

    def __post_init__(self) -> None:
        require_positive("threshold", self.threshold)


def detect_sources(
    exposure: Exposure, background: Background, settings: ExtractSettings | None = None
) -> Table:
    """Detect, deblend and measure sources.

    Parameters
    ----------
    exposure : Exposure
        Electrons, the sky still in.
    background : Background
        Its sky.
    settings : ExtractSettings

    Returns
    -------
    Table
        ``sources``.

    Raises
    ------
    UnusableData
        If there are too few sources, or more than the largest buffer holds.
    """
    settings = settings or ExtractSettings()
    data = exposure.data - background.level
    hidden = unusable_pixels(exposure, int(NOT_SEARCHED))
    noise = _sky_noise(exposure, background)
    fwhm = settings.fwhm or measure_seeing(data, noise, hidden).fwhm
    found = _extract(data, noise, hidden, _gaussian(fwhm), settings)
    if len(found) < settings.min_sources:
        numbers = {"sources": len(found), "sky": background.median, "sigma": background.sigma}
        raise UnusableData("too few sources", numbers)
    log.info("%d sources, filter of %.2f px", len(found), fwhm)
    return _table(found, exposure, background, noise, fwhm, settings)


def detect_hidden(
    left: Exposure, background: Background, known: Table, fwhm: float, settings: ExtractSettings | None = None
) -> Table:
    """The sources known, and after them those that appear once the known are subtracted.

    Parameters
    ----------
    left : Exposure
        Without sky and known sources; its variance says how well they are subtracted.
    background : Background
        The sky that was subtracted.
    known : Table
        ``sources``.
    fwhm : float
        Of the PSF, pixels. What is nearer than this to a known source is its residual.
    settings : ExtractSettings

    Returns
    -------
    Table
        ``sources``; the new ones are marked as parts of blends (``extraction_flags`` 1).
    """
    settings = settings or ExtractSettings()
    hidden = unusable_pixels(left)
    noise = np.sqrt(np.where(hidden, 1, left.variance))
    found = _extract(left.data, noise, hidden, _gaussian(fwhm), settings)
    if len(found) == 0 or len(known) == 0:
        return known
    places, others = (np.column_stack([table["x"], table["y"]]) for table in (known, found))
    found = found[cKDTree(places).query(others)[0] > fwhm]
    new = _table(found, left, background, noise, fwhm, settings)
    new["id"] += len(known)
    new["extraction_flags"] |= 1
    log.info("%d sources that others hid", len(new))
    return vstack([known, new], metadata_conflicts="silent")


def share_with_neighbours(sources: Table, radius: float) -> float:
    """Share of sources that have another within a radius in pixels; 0 for fewer than two."""
    if len(sources) < 2:
        return 0.0
    places = np.column_stack([sources["x"], sources["y"]])
    return float(np.mean(cKDTree(places).query(places, k=2)[0][:, 1] < radius))


@dataclass(frozen=True)
class Seeing:
    """Typical size of the point sources of an image, pixels.

    Parameters
    ----------
    fwhm : float
        That of a round source of the same mean square size.
    narrow : float
        FWHM across the direction in which all are drawn out.
    """

    fwhm: float
    narrow: float

    @property
    def sharpness(self) -> float:
        """FWHM of a round star as sharp as these; axes down to `ROUND` of the mean count as round."""
        return min(self.fwhm, self.narrow / ROUND)


def measure_seeing(
    data: NDArray[np.float32], noise: NDArray[np.float32], hidden: NDArray[np.bool_]
) -> Seeing:
    """Of the bright point sources of a sky-subtracted image; 2.5 pixels if there are none."""
    settings = ExtractSettings(threshold=15.0, min_pixels=3)
    middle = tuple(slice(n // 2 - min(n // 2, 700), n // 2 + 700) for n in data.shape)
    part = tuple(np.ascontiguousarray(a[middle]) for a in (data, noise, hidden))
    bright = _extract(*part, None, settings)
    if len(bright) < 60 and part[0].size < data.size:
        part = data, noise, hidden
        bright = _extract(*part, None, settings)
    if len(bright) < 3:
        return Seeing(2.5, 2.5)
    bright = bright[np.argsort(-bright["flux"])[:1000]]
    data, usable = part[0], ~part[2]
    sigma, narrow = 1.3, 1.3
    for _ in range(3):
        moments = np.empty((len(bright), 6))
        weighted_moments(data, usable, bright["x"], bright["y"], sigma, moments)
        moments = moments[is_spread(moments)]
        size = np.sqrt((moments[:, 2] + moments[:, 4]) / 2)
        moments, size = moments[size < 0.999 * sigma], size[size < 0.999 * sigma]
        if size.size < 3:
            widths = 2 * np.sqrt(np.log(2) * (bright["a"] ** 2 + bright["b"] ** 2))
            fwhm = float(np.clip(np.median(widths), 1.2, 12))
            return Seeing(fwhm, fwhm)
        weight = sigma
        sigma = _unweighted(stellar_size(size), weight)
        narrow = min(_unweighted(_size_across(moments), weight), sigma)
    return Seeing(FWHM_PER_SIGMA * sigma, FWHM_PER_SIGMA * narrow)


def _unweighted(size: float, sigma: float) -> float:
    """Size of a Gaussian whose size under a Gaussian weight is ``size``."""
    return float(np.clip(1 / np.sqrt(max(1 / size**2 - 1 / sigma**2, 1e-3)), 0.5, 5.0))


def _size_across(moments: NDArray[np.float64]) -> float:
    """Of the typical source along its short axis; shapes of single sources, in all directions, cancel."""
    xx, xy, yy = (float(np.median(moments[:, k])) for k in (2, 3, 4))
    return float(np.sqrt(max((xx + yy) / 2 - np.hypot((xx - yy) / 2, xy), 1e-3)))


def is_spread(moments: NDArray[np.float64]) -> NDArray[np.bool_]:
    """True for weighted moments [n, 6] that optics can make: no line, not narrower than a pixel allows."""
    xx, xy, yy = moments[:, 2], moments[:, 3], moments[:, 4]
    half_difference = np.hypot((xx - yy) / 2, xy)
    narrow = (xx + yy) / 2 - half_difference
    return (narrow > 0.07) & (half_difference < 0.35 * (xx + yy))


def stellar_size(sizes: NDArray[np.float64]) -> float:
    """Size of the point sources: the smallest pronounced peak of sizes; galaxies are larger than stars.

    Windows 12 % wide slide over ln(size); the first one, from small sizes, that holds at least half as many
    as the fullest leads to the peak, whose median counts.
    """
    values = np.sort(np.log(sizes))
    count = np.searchsorted(values, values + 0.12, side="right") - np.arange(values.size)
    first = int(np.argmax(count >= 0.5 * count.max()))
    last = int(np.searchsorted(values, values[first] + 0.12, side="right"))
    start = first + int(np.argmax(count[first:last]))
    return float(np.exp(np.median(values[start : start + count[start]])))


def _sky_noise(exposure: Exposure, background: Background) -> NDArray[np.float32]:
    """Noise of the sky alone: the measured rms, raised where the variance plane says a pixel is noisier."""
    sky = background.rms
    if not np.bitwise_or.reduce(exposure.mask, axis=None) & np.uint32(RAISED):
        return sky
    noisy = find_bits(exposure.mask, np.uint32(RAISED))
    noise = sky.copy()
    noise[noisy] = np.maximum(sky[noisy], np.sqrt(np.maximum(exposure.variance[noisy], 0)))
    return noise


def _gaussian(fwhm: float) -> NDArray[np.float32]:
    half = int(np.clip(np.rint(0.9 * fwhm), 1, 7))
    offset = np.arange(-half, half + 1)
    line = np.exp(-0.5 * (offset * FWHM_PER_SIGMA / fwhm) ** 2)
    return np.outer(line, line).astype(np.float32)


def _noise_after(kernel: NDArray[np.float32]) -> float:
    """Factor by which white noise shrinks in a convolution with the kernel scaled to unit sum."""
    return float(np.sqrt(np.sum(kernel.astype(np.float64) ** 2)) / np.sum(kernel))


def _extract(
    data: NDArray[np.float32],
    noise: NDArray[np.float32],
    hidden: NDArray[np.bool_],
    kernel: NDArray[np.float32] | None,
    settings: ExtractSettings,
) -> NDArray[np.void]:
    """sep.extract with larger buffers on each overflow; UnusableData when the largest overflows too.

    With a kernel, what only the wings of brighter sources have lifted above the threshold is left out.
    """
    contrast = settings.deblend_contrast
    reduction = 1.0 if kernel is None else _noise_after(kernel)
    for buffer in (min(size, settings.max_buffer) for size in (1_000_000, 5_000_000, settings.max_buffer)):
        for limit in (2048, 20_000):
            sep.set_extract_pixstack(buffer)
            sep.set_sub_object_limit(limit)
            try:
                found = sep.extract(
                    data,
                    settings.threshold * reduction,
                    err=noise,
                    mask=hidden,
                    minarea=settings.min_pixels,
                    filter_kernel=kernel,
                    filter_type="conv",
                    deblend_nthresh=settings.deblend_levels,
                    deblend_cont=contrast,
                    clean=False,
                )
                return found if kernel is None else _cleaned(found, data, noise, hidden, kernel, settings)
            except Exception as error:
                if "pixel buffer full" in str(error):
                    break
                if "deblend" not in str(error):
                    raise
        else:
            contrast = 1.0  # one object with more parts than any buffer: keep it whole
    above = float(np.mean(data > settings.threshold * noise))
    raise UnusableData("too crowded to extract", {"above": above, "buffer": settings.max_buffer})


def _cleaned(
    found: NDArray[np.void],
    data: NDArray[np.float32],
    noise: NDArray[np.float32],
    hidden: NDArray[np.bool_],
    kernel: NDArray[np.float32],
    settings: ExtractSettings,
) -> NDArray[np.void]:
    """The sources that would stand out without the wings of brighter ones (SExtractor's rule).

    sep's own search for them compares every source with every other.
    """
    found = found[np.argsort(found["y"])]
    factor = settings.threshold * _noise_after(kernel)
    column, row = found["xcpeak"], found["ycpeak"]
    excess = np.empty(len(found))
    rank = min(max(settings.min_pixels, 1), 9)
    excess_over(data, hidden, noise, kernel / np.sum(kernel), factor, column, row, rank, excess)
    form = np.column_stack([found[name] for name in ("cxx", "cyy", "cxy")])
    extent = found["npix"] / (np.pi * found["a"] * found["b"])
    x, y, flux, peak, reach = (
        np.ascontiguousarray(found[name]) for name in ("x", "y", "cflux", "cpeak", "a")
    )
    lost = np.zeros(len(found), bool)
    limit = factor * noise[row, column]
    mark_in_wings(x, y, flux, peak, limit, extent, form, WING_ZONE * reach, excess, lost)
    return found[~lost]


def _table(
    found: NDArray[np.void],
    exposure: Exposure,
    background: Background,
    noise: NDArray[np.float32],
    fwhm: float,
    settings: ExtractSettings,
) -> Table:
    sources = new_table("sources", len(found))
    ny, nx = exposure.shape
    column = np.clip(np.rint(found["x"]).astype(int), 0, nx - 1)
    row = np.clip(np.rint(found["y"]).astype(int), 0, ny - 1)
    sources["id"][:] = np.arange(len(found))
    for name in ("x", "y", "flux", "peak", "a", "b", "theta", "npix"):
        sources[name][:] = found[name]
    sky = noise[row, column].astype(np.float64)
    sources["flux_err"][:] = np.sqrt(found["npix"] * sky**2 + np.maximum(found["flux"], 0))
    sources["snr"][:] = found["cpeak"] / (sky * _noise_after(_gaussian(fwhm)))
    sources["fwhm"][:] = 2 * np.sqrt(np.log(2) * (found["a"] ** 2 + found["b"] ** 2))
    sources["background"][:] = background.level[row, column]
    sources["extraction_flags"][:] = found["flag"]
    flags = np.empty(len(found), np.uint32)
    flags_around(exposure.mask, np.asarray(found["x"]), np.asarray(found["y"]), 2, flags)
    sources["flags"][:] = flags
    near = settings.edge - 0.5
    inside = (found["x"] > near) & (found["x"] < nx - 1 - near) & (found["y"] > near)
    sources["is_edge"][:] = ~(inside & (found["y"] < ny - 1 - near))
    return sources
