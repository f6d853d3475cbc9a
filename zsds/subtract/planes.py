"""Sky, noise and defects of the two images before they are subtracted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.core.robust import median_and_width
from zsds.kernels.coverage import box_mean, hide_changes, keep_known, mark_both, mark_known, mark_undefined
from zsds.kernels.fourier import clipped_level, sparse_level
from zsds.kernels.resample import add_curvature_variance
from zsds.subtract.tiles import Planes

UNMEASURED = (  # bits of the science image whose pixels are replaced with the scaled reference
    Mask.TRAIL | Mask.LOW_RESPONSE | Mask.HIGH_RESPONSE | Mask.NOISY | Mask.BLEED | Mask.COSMIC_RAY
    | Mask.SATURATED | Mask.DEAD | Mask.NAN | Mask.NO_FLAT
)  # fmt: skip
UNKNOWN = Mask.NO_REFERENCE | Mask.NAN | Mask.DEAD  # bits of the reference with no number behind them
CHANGE_SIGMA = 4.0  # of the mean over a PSF's core: noise exceeds it in a few places of an image
CHANGE_CELL = 256  # pixels over which the scatter is taken to be the same
BLOCK = 8  # pixels; what has changed is left out with the blocks around it
DISTRUSTED = Mask.SATURATED | Mask.BLEED  # of the reference: the science image is not compared there


@dataclass(frozen=True)
class Coverage:
    """Where what is known, bool [ny, nx].

    Parameters
    ----------
    science, reference : ndarray
        The image has a number that can be trusted.
    both : ndarray
        Both have one, and the reference is not saturated.
    """

    science: NDArray[np.bool_]
    reference: NDArray[np.bool_]
    both: NDArray[np.bool_]


def find_coverage(science: Exposure, reference: Exposure) -> Coverage:
    """Pixels that can be compared."""
    known_n, known_r, both = (np.empty(science.shape, bool) for _ in range(3))
    mark_known(science.data, science.variance, science.mask, np.uint32(UNMEASURED), np.float32(0), known_n)
    negative = np.float32(-1e-30)  # no noise at all is possible, less is not
    mark_known(reference.data, reference.variance, reference.mask, np.uint32(UNKNOWN), negative, known_r)
    mark_both(known_n, known_r, reference.mask, np.uint32(DISTRUSTED), both)
    return Coverage(known_n, known_r, both)


def find_undefined(coverage: Coverage) -> NDArray[np.bool_]:
    """No reference, or the pixel and all four that are two away are filled: nothing to say there."""
    undefined = np.empty_like(coverage.both)
    mark_undefined(coverage.both, coverage.reference, undefined)
    return undefined


def sky_variances(
    variance: NDArray, known: NDArray[np.bool_], xs: NDArray, ys: NDArray, reach: float
) -> NDArray:
    """Variance of empty sky [len(ys), len(xs)] around nodes: the 30th percentile of the variance nearby."""
    everywhere = _sparse(variance, known, slice(None), slice(None), 11)
    fallback = float(np.percentile(everywhere, 30)) if everywhere.size else 1.0
    out = np.empty((ys.size, xs.size))
    for i, y in enumerate(ys):
        for j, x in enumerate(xs):
            rows, cols = _window(y, reach, variance.shape[0]), _window(x, reach, variance.shape[1])
            near = _sparse(variance, known, rows, cols, 5)
            out[i, j] = np.percentile(near, 30) if near.size > 200 else fallback
    return out


def constant_sky(
    science: Exposure, reference: Exposure, scale: float, both: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], float]:
    """What both images show, science electrons, and the noise of the science image.

    The mean by inverse variances: the noise of a difference does not go with it, so pixels chosen by it
    favour no sign of the difference. Those chosen by a noisy reference alone would.
    """
    sparse = (slice(None, None, 7), slice(None, None, 7))
    new, old = (float(np.median(one.variance[sparse][both[sparse]])) for one in (science, reference))
    share = new / max(new + scale**2 * old, 1e-30)
    constant = np.float32(share * scale) * reference.data
    constant += np.float32(1 - share) * science.data
    return constant, float(np.sqrt(new))


def sky_level(
    difference: NDArray, constant: NDArray, both: NDArray[np.bool_], noise: float, cell: int
) -> NDArray[np.float32] | None:
    """Smooth background of a difference, electrons; None where the image is too bare to say.

    Clipped means in cells, with a spline between. Only pixels where the constant sky shows less than
    ``noise`` count: starlight spreads differently in the two images.
    """
    edges = [np.round(np.linspace(0, n, max(1, round(n / cell)) + 1)).astype(int) for n in difference.shape]
    levels = np.full((edges[0].size - 1, edges[1].size - 1), np.nan)
    for i, j in np.ndindex(*levels.shape):
        part = (*edges[0][i : i + 2].tolist(), *edges[1][j : j + 2].tolist())
        levels[i, j] = _level(difference, constant, both, part, noise)
    if not np.isfinite(levels).any():
        return None
    levels[~np.isfinite(levels)] = np.nanmedian(levels)
    shares = [_spline_shares(edge) for edge in edges]
    smooth: NDArray[np.float32] = shares[0] @ levels.astype(np.float32) @ shares[1].T
    return smooth


def away_from_changes(
    difference: NDArray[np.float32], both: NDArray[np.bool_], fwhm: float
) -> NDArray[np.bool_]:
    """The pixels of ``both`` that are not within some 10 pixels of what has changed.

    Wings of new sources are too faint to be clipped, and would raise the sky: a change is where the mean of
    about as many pixels as a PSF's core departs from zero by `CHANGE_SIGMA`, by its own scatter nearby.
    """
    smooth = np.empty_like(difference)
    box_mean(difference, both, max(1, round(fwhm)), smooth)
    count = [max(1, round(n / CHANGE_CELL)) for n in smooth.shape]
    edges = [np.round(np.linspace(0, n, c + 1)).astype(int) for n, c in zip(smooth.shape, count, strict=True)]
    away = both.copy()
    for i, j in np.ndindex(*count):
        part = (*edges[0][i : i + 2].tolist(), *edges[1][j : j + 2].tolist())
        few = np.s_[part[0] : part[1] : 3, part[2] : part[3] : 3]
        middle, width = median_and_width(smooth[few][both[few]])
        hide_changes(smooth, part, np.float32(middle), np.float32(CHANGE_SIGMA * width), BLOCK, away)
    return away


def _level(
    difference: NDArray,
    constant: NDArray,
    both: NDArray[np.bool_],
    part: tuple[int, int, int, int],
    noise: float,
) -> float:
    """Level of one cell: from a sparse clipped median to the mean of all its empty pixels; NaN if too few."""
    step = max(1, min(part[1] - part[0], part[3] - part[2]) // 30)
    middle, level, width = sparse_level(difference, constant, both, part, step, noise)
    if np.isnan(width):
        return float(level)
    limit, sigma = np.float32(noise), width + 1e-30
    found, count = clipped_level(difference, constant, both, part, np.float32(middle), limit, level, sigma)
    return float(found) if count else float(level)


def _spline_shares(edges: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weight [n, n_cells] of each cell in a spline at every pixel, cubic if it may, constant beyond."""
    centres, pixels = (edges[:-1] + edges[1:] - 1) / 2, np.arange(edges[-1])
    if centres.size == 1:
        return np.ones((pixels.size, 1), np.float32)
    spline = make_interp_spline(centres, np.eye(centres.size), k=min(3, centres.size - 1))
    shares: NDArray[np.float32] = spline(np.clip(pixels, centres[0], centres[-1])).astype(np.float32)
    return shares


def make_planes(
    science: Exposure, reference: Exposure, coverage: Coverage, background: NDArray | None, curvature: float
) -> Planes:
    """Arrays ready for the transforms: background removed, unknown pixels zero, interpolation noise added."""
    known = coverage.reference
    nothing = np.zeros((1, 1), np.float32)
    less = nothing if background is None else background
    data = _known(science.data, less, coverage.science & known)
    reference_data = _known(reference.data, nothing, known)
    variance = _known(reference.variance, nothing, known)
    add_curvature_variance(reference_data, variance, np.float32(curvature), variance)
    if not known.all():
        variance[~known] = 0
    return Planes(
        data,
        reference_data,
        _known(science.variance, nothing, coverage.science),
        variance,
        coverage.both | ~known,
    )


def _known(
    values: NDArray[np.float32], less: NDArray[np.float32], known: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """The values less a level where known, zero elsewhere."""
    out = np.empty_like(values)
    keep_known(values, less, known, out)
    return out


def _window(centre: float, reach: float, n: int) -> slice:
    low = int(np.clip(centre - reach, 0, max(n - reach, 0)))
    return slice(low, int(min(max(centre + reach, reach), n)))


def _sparse(values: NDArray, known: NDArray[np.bool_], rows: slice, cols: slice, step: int) -> NDArray:
    part = (slice(rows.start, rows.stop, step), slice(cols.start, cols.stop, step))
    return values[part][known[part]]
