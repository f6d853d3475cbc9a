"""Co-adds epochs on a finer grid into a reference."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, spline_filter

from zsds.core.errors import UnusableData
from zsds.core.exposure import Epoch, Exposure, ZeroPoint
from zsds.core.flags import DEFECTS, Mask
from zsds.core.psf import PsfModel, effective_fwhm
from zsds.kernels.resample import LANCZOS_TAPS, clipped_mean, lanczos_table, sample_lanczos, stack_median
from zsds.psf.model import GridPsf
from zsds.reference.mapping import PixelMap, finer_wcs, map_pixels, tangent_wcs
from zsds.reference.model import Reference
from zsds.reference.psf import combine_psfs, psf_nodes

_KEPT = Mask.SATURATED | Mask.BLEED | Mask.HALO | Mask.GHOST  # defects whose values are still the best guess


STRIP_BYTES = 19  # a pixel of one epoch on the fine grid: data, variance, mask, lost weight, three flags


@dataclass(frozen=True)
class ReferenceSettings:
    """How epochs are co-added."""

    oversampling: float = 1.5  # co-add pixels per pixel, each way
    min_epochs: int = 15  # fewer make no reference
    clip_sigma: float = 5.0  # epochs farther from the median are left out of a pixel
    clip_fraction: float = 0.8  # and farther than this part of the brightest neighbour: spares star cores
    max_lost_weight: float = 0.3  # an epoch whose footprint loses more kernel weight to defects is left out
    max_flagged: float = 0.2  # a pixel saturated, bled into, ... in more of its epochs is flagged so
    seeing_power: float = 2.0  # epochs weigh 1 / (variance * fwhm^power)
    strip_gb: float = 1.0  # memory for the co-add rows that are held of all epochs at once
    psf_spacing: float = 512.0  # pixels between nodes of the combined PSF


@dataclass(frozen=True)
class _Epoch:
    """One epoch with what turns it into reference units."""

    exposure: Epoch
    pixels: PixelMap
    scale: np.float32
    weight: float


def build_reference(
    epochs: Sequence[Epoch],
    wcs: WCS,
    shape: tuple[int, int],
    settings: ReferenceSettings | None = None,
    rfid: int = 0,
    psf: PsfModel | None = None,
) -> Reference:
    """Co-add epochs on a grid finer than the pixels: Lanczos-3, common flux scale, clipped weighted mean.

    Parameters
    ----------
    epochs : sequence of Epoch
        Exposures, background-subtracted, calibrated, with ``wcs`` and ``zero_point``; ``psf`` where known.
        Their pixels are taken in strips, so those of `zsds.io.images.open_exposure` need little memory.
    wcs, shape : WCS, (ny, nx)
        Nominal grid at the scale of the pixels; the co-add covers it, tangential, ``oversampling`` times
        finer.
    settings : ReferenceSettings, optional
    rfid : int
        Id of the reference.
    psf : PsfModel, optional
        Of the co-add on its fine grid; otherwise the epochs' PSFs are combined, if all have one.

    Returns
    -------
    Reference

    Raises
    ------
    UnusableData
        If there are fewer than ``min_epochs``, or none covers the grid.
    """
    settings = settings or ReferenceSettings()
    if len(epochs) < settings.min_epochs:
        raise UnusableData(
            "too few epochs for a reference", {"epochs": len(epochs), "needed": settings.min_epochs}
        )
    fine = finer_wcs(tangent_wcs(wcs, shape), settings.oversampling)
    fine_shape = (round(shape[0] * settings.oversampling), round(shape[1] * settings.oversampling))
    zero_point = _common_zero_point(epochs)
    prepared = _prepared(epochs, fine, fine_shape, zero_point.value, settings)
    data, variance, mask, coverage = _coadd(prepared, fine_shape, settings)
    covered = coverage > 0
    if not covered.any():
        raise UnusableData("no epoch covers the grid of the reference", {"epochs": len(epochs)})
    deepest = int(np.argmax([epoch.weight for epoch in prepared]))
    return Reference(
        coefficients=spline_filter(data, 3, output=np.float32, mode="mirror"),
        variance=variance,
        mask=mask,
        coverage=coverage,
        wcs=fine,
        zero_point=zero_point,
        info=epochs[deepest].info,
        psf=psf if psf is not None else _combined_psf(prepared, fine_shape, settings),
        oversampling=settings.oversampling,
        epochs=tuple(str(epoch.info.id) for epoch in epochs),
        start_mjd=min(epoch.info.start_mjd for epoch in epochs),
        end_mjd=max(epoch.info.start_mjd + epoch.info.exposure_s / 86400 for epoch in epochs),
        rfid=rfid,
        metrics={"covered": float(covered.mean()), "median_coverage": float(np.median(coverage[covered]))},
    )


def _common_zero_point(epochs: Sequence[Epoch]) -> ZeroPoint:
    values, errors = [], []
    for epoch in epochs:
        if epoch.zero_point is None or epoch.wcs is None:
            raise UnusableData("an epoch has no zero point or no astrometric solution", {})
        values.append(epoch.zero_point.value)
        errors.append(epoch.zero_point.err)
    err = float(np.sqrt(np.mean(np.square(errors)) / len(errors)))
    return ZeroPoint(float(np.median(values)), err, rms=float(np.std(values)), n_stars=0)


def _prepared(
    epochs: Sequence[Epoch],
    wcs: WCS,
    shape: tuple[int, int],
    zero_point: float,
    settings: ReferenceSettings,
) -> list[_Epoch]:
    """Maps, flux scales and weights (summing to 1)."""
    prepared = []
    for epoch in epochs:
        if epoch.zero_point is None or epoch.wcs is None:
            raise UnusableData("an epoch has no zero point or no astrometric solution", {})
        scale = 10 ** (0.4 * (zero_point - epoch.zero_point.value))
        ny, nx = epoch.shape
        fwhm = 1.0 if epoch.psf is None else effective_fwhm(epoch.psf.at(nx / 2, ny / 2))
        weight = 1 / (_noise(epoch) * scale**2 * fwhm**settings.seeing_power)
        pixels = map_pixels(wcs, epoch.wcs, shape)
        prepared.append(_Epoch(epoch, pixels, np.float32(scale), weight))
    total = sum(epoch.weight for epoch in prepared)
    if not total > 0:
        raise UnusableData("no epoch has usable pixels", {"epochs": len(epochs)})
    return [replace(epoch, weight=epoch.weight / total) for epoch in prepared]


def _noise(epoch: Epoch) -> float:
    """Median variance of the pixels that take part; infinite when none does."""
    whole = epoch.rows(0, epoch.shape[0])
    usable = ~_excluded(whole)
    sample = usable[::7, ::7]
    if not sample.any():
        return float(np.median(whole.variance[usable])) if usable.any() else float("inf")
    return float(np.median(whole.variance[::7, ::7][sample]))


def _excluded(exposure: Exposure) -> NDArray[np.bool_]:
    """Pixels that take no part."""
    defect = (exposure.mask & np.uint32(DEFECTS & ~_KEPT)) != 0
    unknown = ~np.isfinite(exposure.data) | ~np.isfinite(exposure.variance)
    return defect | unknown | ~(exposure.variance > 0)


def _coadd(
    epochs: list[_Epoch], shape: tuple[int, int], settings: ReferenceSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint32], NDArray[np.uint16]]:
    """Data, variance, mask and coverage of the fine grid, strip by strip."""
    data, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    mask, coverage = np.empty(shape, np.uint32), np.empty(shape, np.uint16)
    n_rows = max(1, int(settings.strip_gb * 2**30 / (STRIP_BYTES * len(epochs) * shape[1])))
    for first in range(0, shape[0], n_rows):
        rows = slice(first, min(first + n_rows, shape[0]))
        wider = slice(max(first - 1, 0), min(rows.stop + 1, shape[0]))  # neighbours decide what is clipped
        stack = _resampled_strip(epochs, wider, shape[1], settings)
        inner = slice(first - wider.start, rows.stop - wider.start)
        combined = _combine(stack, epochs, settings)
        data[rows], variance[rows], mask[rows], coverage[rows] = (plane[inner] for plane in combined)
    return data, variance, mask, coverage


@dataclass(frozen=True)
class _Strip:
    """Some rows of every epoch on the fine grid, [n_epochs, n_rows, mx]."""

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    mask: NDArray[np.uint32]
    usable: NDArray[np.bool_]


def _resampled_strip(epochs: list[_Epoch], rows: slice, width: int, settings: ReferenceSettings) -> _Strip:
    shape = (len(epochs), rows.stop - rows.start, width)
    data, variance, lost = (np.empty(shape, np.float32) for _ in range(3))
    mask = np.empty(shape, np.uint32)
    table = lanczos_table()
    for k, epoch in enumerate(epochs):
        pixels = epoch.pixels
        first, stop = _rows_below(pixels, rows, epoch.exposure.shape[0])
        part = epoch.exposure.rows(first, stop)
        excluded = _excluded(part)
        flagged = (excluded | (part.mask != 0)).astype(np.uint8)
        sample_lanczos(
            part.data,
            part.variance,
            part.mask,
            excluded.view(np.uint8),
            maximum_filter(flagged, LANCZOS_TAPS, origin=-1),  # the footprint's 2 pixels before, 3 after
            pixels.x,
            pixels.y - first,
            pixels.area,
            pixels.step,
            rows.start,
            table,
            data[k],
            variance[k],
            mask[k],
            lost[k],
        )
        data[k] *= epoch.scale
        variance[k] *= epoch.scale**2
    return _Strip(data, variance, mask, lost <= settings.max_lost_weight)


def _rows_below(pixels: PixelMap, rows: slice, ny: int) -> tuple[int, int]:
    """First row of an epoch that rows of the fine grid are made from, and the row after the last."""
    nodes = pixels.y[rows.start // pixels.step : -(-rows.stop // pixels.step) + 1]
    first = int(np.clip(np.floor(nodes.min()) - LANCZOS_TAPS, 0, ny - 1))
    return first, int(np.clip(np.ceil(nodes.max()) + LANCZOS_TAPS, first + 1, ny))


def _combine(
    strip: _Strip, epochs: list[_Epoch], settings: ReferenceSettings
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint32], NDArray[np.uint16]]:
    """Clipped weighted mean; where every epoch has a defect that keeps its value, the mean of those."""
    shape = strip.data.shape[1:]
    clean = strip.usable & ((strip.mask & np.uint32(DEFECTS)) == 0)
    chosen = clean | (strip.usable & ~clean.any(axis=0))
    median, data, variance = (np.empty(shape, np.float32) for _ in range(3))
    coverage = np.empty(shape, np.uint16)
    stack_median(strip.data, chosen, median)
    spread = np.float32(settings.clip_fraction) * maximum_filter(np.abs(median), size=3)
    weights = np.array([epoch.weight for epoch in epochs], np.float32)
    areas = np.array([epoch.pixels.area.mean() for epoch in epochs], np.float32)
    sigma = np.float32(settings.clip_sigma)
    clipped_mean(
        strip.data, strip.variance, chosen, weights, areas, median, spread, sigma, data, variance, coverage
    )
    # where some epochs saturate the others alone make the pixel, with a PSF that is not the co-add's
    usable = strip.usable.sum(axis=0)
    mask = np.zeros(shape, np.uint32)
    if (strip.mask & np.uint32(_KEPT)).any():
        for bit in (Mask.SATURATED, Mask.BLEED, Mask.HALO, Mask.GHOST):
            flagged = (strip.usable & ((strip.mask & np.uint32(bit)) != 0)).sum(axis=0)
            mask |= np.where(flagged > settings.max_flagged * usable, np.uint32(bit), np.uint32(0))
    mask |= np.where(coverage > 0, np.uint32(0), np.uint32(Mask.NO_REFERENCE))
    return data, variance, mask, coverage


def _combined_psf(
    epochs: list[_Epoch], shape: tuple[int, int], settings: ReferenceSettings
) -> GridPsf | None:
    psfs = [epoch.exposure.psf for epoch in epochs]
    if any(psf is None for psf in psfs):
        return None
    known = [psf for psf in psfs if psf is not None]
    size = 2 * int(np.ceil(max(psf.size for psf in known) / 2 * settings.oversampling)) + 1
    spacing = settings.psf_spacing * settings.oversampling
    nodes = [np.round(psf_nodes(n, spacing)) for n in shape[::-1]]
    maps = [epoch.pixels for epoch in epochs]
    return combine_psfs(known, maps, [epoch.weight for epoch in epochs], (nodes[0], nodes[1]), size)
