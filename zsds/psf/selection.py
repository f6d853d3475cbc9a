"""Which sources are single, unsaturated stars that show the PSF."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds.core.exposure import Exposure
from zsds.core.flags import is_defect
from zsds.core.psf import FWHM_PER_SIGMA
from zsds.core.robust import MAD_TO_SIGMA
from zsds.extract.detection import is_spread, stellar_size
from zsds.kernels.shapes import weighted_moments
from zsds.psf.model import n_terms, terms


@dataclass(frozen=True)
class SelectionSettings:
    """Which stars make the PSF."""

    min_snr: float = 20.0  # of the flux
    max_peak: float = 0.75  # of the saturation level, sky included
    neighbour_fwhm: float = 3.0  # a brighter neighbour within this many FWHM excludes a star
    neighbour_flux: float = 0.03  # flux of a neighbour that counts, relative to the star
    locus_width: float = 0.25  # widest departure of ln(size) and shape from the stars' locus
    max_stars: int = 300  # spread over the image
    cells: int = 8  # per axis, over which they are spread


@dataclass(frozen=True)
class StarSample:
    """Chosen stars and what their shapes say.

    Parameters
    ----------
    index : ndarray of int64 [n]
        Rows of the source table.
    x, y : ndarray of float64 [n]
        Windowed centroids.
    shapes : ndarray of float64 [n, 3]
        ln of the size, and the two shape components.
    """

    index: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    shapes: NDArray[np.float64]


def select_stars(
    exposure: Exposure, sources: Table, fwhm: float, geometry: tuple, settings: SelectionSettings
) -> StarSample:
    """Isolated, unsaturated sources on the locus of the point sources, spread over the image.

    The locus is the stars' peak of sizes among the bright candidates; size and shape may vary smoothly.
    """
    index = _candidates(exposure, sources, fwhm, settings)
    usable = ~is_defect(exposure.mask) & np.isfinite(exposure.data)
    moments = np.empty((index.size, 6))
    x, y = (np.asarray(sources[name], np.float64)[index] for name in "xy")
    weighted_moments(
        np.ascontiguousarray(exposure.data), usable, x, y, max(fwhm / FWHM_PER_SIGMA, 1.1), moments
    )  # narrower ones feel the pixels
    trace = moments[:, 2] + moments[:, 4]
    with np.errstate(invalid="ignore", divide="ignore"):
        shapes = np.column_stack(
            [np.log(trace) / 2, (moments[:, 2] - moments[:, 4]) / trace, 2 * moments[:, 3] / trace]
        )
    known = np.isfinite(shapes).all(axis=1) & is_spread(moments)
    index, moments, shapes = index[known], moments[known], shapes[known]
    u, v = (moments[:, 0] - geometry[0]) / geometry[2], (moments[:, 1] - geometry[1]) / geometry[3]
    snr = np.asarray(sources["flux"] / sources["flux_err"], np.float64)[index]
    on_locus = _locus(u, v, shapes, snr, settings)
    chosen = np.flatnonzero(on_locus)
    chosen = chosen[_spread(u[chosen], v[chosen], snr[chosen], settings)]
    return StarSample(index[chosen], moments[chosen, 0], moments[chosen, 1], shapes[chosen])


def choose_order(u: NDArray, v: NDArray, shapes: NDArray[np.float64], max_order: int) -> int:
    """Order of the polynomial in position that predicts left-out stars' shapes best."""
    best, best_error = 0, np.inf
    for order in range(max_order + 1):
        if u.size < 4 * n_terms(order):
            break
        basis = terms(u, v, order)
        q, _ = np.linalg.qr(basis)
        left_out = (shapes - q @ (q.T @ shapes)) / (1 - np.sum(q**2, axis=1))[:, None]
        spread = np.median(np.abs(left_out), axis=0)
        error = float(np.mean(np.minimum(np.abs(left_out / np.maximum(spread, 1e-6)), 3) ** 2 * spread**2))
        if error < 0.995 * best_error:
            best, best_error = order, error
    return best


def _candidates(
    exposure: Exposure, sources: Table, fwhm: float, settings: SelectionSettings
) -> NDArray[np.int64]:
    """Rows of sources that are bright, clean and alone; the demand for loneliness yields in crowds."""
    x, y, flux = (np.asarray(sources[name], np.float64) for name in ("x", "y", "flux"))
    ny, nx = exposure.shape
    margin = 2 * fwhm
    inside = (x > margin) & (x < nx - 1 - margin) & (y > margin) & (y < ny - 1 - margin)
    clean = ~is_defect(np.asarray(sources["flags"])) & ((sources["extraction_flags"] & 2) == 0)
    level = np.asarray(sources["peak"] + np.maximum(sources["background"], 0))
    unsaturated = level < settings.max_peak * exposure.info.saturation
    bright = flux > settings.min_snr * np.asarray(sources["flux_err"])
    index = np.flatnonzero(inside & clean & unsaturated & bright)
    index = index[np.argsort(-flux[index])][: 10 * settings.max_stars]
    if index.size == 0:
        return index
    worst = _neighbours(x, y, flux, index, settings.neighbour_fwhm * fwhm)
    for share in (1, 2, 4, 8):
        alone = worst < share * settings.neighbour_flux
        if alone.sum() >= 100 or share == 8:
            break
    return index[alone]


def _neighbours(x, y, flux, index, radius) -> NDArray[np.float64]:
    """Flux of the brightest neighbour within the radius, relative to each star of `index`."""
    places = np.column_stack([x, y])
    pairs = cKDTree(places).query_ball_point(places[index], radius)
    worst = np.zeros(index.size)
    for k, near in enumerate(pairs):
        others = flux[near].sum() - flux[index[k]]
        worst[k] = others / flux[index[k]]
    return worst


def _locus(u, v, shapes, snr, settings) -> NDArray[np.bool_]:
    """True for sources whose size and shape follow the smooth locus of the point sources."""
    n = snr.size
    if n < 5:
        return np.ones(n, bool)
    brightest = np.argsort(-snr)[: max(20, n // 2)]
    size = shapes[:, 0]
    kept = np.abs(size - np.log(stellar_size(np.exp(size[brightest])))) < settings.locus_width / 2
    for _ in range(6):
        if kept.sum() < 5:
            break
        order = 2 if kept.sum() >= 40 else 1 if kept.sum() >= 15 else 0
        basis = terms(u, v, order)
        fit = np.linalg.lstsq(basis[kept], shapes[kept], rcond=None)[0]
        off = shapes - basis @ fit
        narrow = kept & (off[:, 0] <= 0)  # galaxies are only on the other side
        off = np.abs(off)
        width = MAD_TO_SIGMA * np.median(off[narrow], axis=0) if narrow.any() else off.max(axis=0)
        limit = np.minimum(np.maximum(3.5 * width, 0.015), settings.locus_width)
        now = (off < limit).all(axis=1)
        if (now == kept).all():
            break
        kept = now
    return kept


def _spread(u, v, snr, settings) -> NDArray[np.int64]:
    """Up to max_stars rows, the best of every cell in turn."""
    cell = np.clip(((u + 1) / 2 * settings.cells).astype(int), 0, settings.cells - 1)
    cell += settings.cells * np.clip(((v + 1) / 2 * settings.cells).astype(int), 0, settings.cells - 1)
    order = np.lexsort([-snr, cell])
    ordered = cell[order]
    first = np.searchsorted(ordered, ordered)
    rank = np.arange(order.size) - first
    return order[np.lexsort([-snr[order], rank])][: settings.max_stars]
