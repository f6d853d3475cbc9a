"""Sky, noise and defects of the two images before they are subtracted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import median_filter

from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.kernels.resample import add_curvature_variance
from zsds.subtract.tiles import Planes

UNMEASURED = (  # bits of the science image whose pixels are replaced with the scaled reference
    Mask.TRAIL | Mask.LOW_RESPONSE | Mask.HIGH_RESPONSE | Mask.NOISY | Mask.BLEED | Mask.COSMIC_RAY
    | Mask.SATURATED | Mask.DEAD | Mask.NAN | Mask.NO_FLAT
)  # fmt: skip
UNKNOWN = Mask.NO_REFERENCE | Mask.NAN | Mask.DEAD  # bits of the reference with no number behind them
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
    known_n = (science.mask & np.uint32(UNMEASURED)) == 0
    known_n &= np.isfinite(science.data) & np.isfinite(science.variance) & (science.variance > 0)
    known_r = (reference.mask & np.uint32(UNKNOWN)) == 0
    known_r &= np.isfinite(reference.data) & np.isfinite(reference.variance)
    both = known_n & known_r & ((reference.mask & np.uint32(DISTRUSTED)) == 0)
    return Coverage(known_n, known_r, both)


def find_undefined(coverage: Coverage) -> NDArray[np.bool_]:
    """No reference, or the pixel and all four that are two away are filled: nothing to say there."""
    filled = ~coverage.both
    wide = filled.copy()
    for axis in (0, 1):
        for shift in (-2, 2):
            moved = np.roll(filled, shift, axis)
            edge = (slice(None),) * axis + (slice(0, 2) if shift > 0 else slice(-2, None),)
            moved[edge] = True
            wide &= moved
    undefined: NDArray[np.bool_] = wide | ~coverage.reference
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


def sky_difference(
    science: NDArray, reference: NDArray, both: NDArray[np.bool_], flux_scale: float, noise: float, cell: int
) -> NDArray[np.float32] | None:
    """Smooth difference of the two backgrounds, electrons; None where the image is too small or bare.

    Clipped medians of science - scale * reference in cells, median-filtered, with a spline between. Only
    pixels where the reference shows less than ``noise`` (one standard deviation of the science sky) count:
    starlight spreads differently in the two and would lean on the median.
    """
    ny, nx = science.shape
    counts = [max(1, round(n / cell)) for n in (ny, nx)]
    if min(counts) < 4:
        counts = [1, 1]
    edges = [
        np.round(np.linspace(0, n, count + 1)).astype(int) for n, count in zip((ny, nx), counts, strict=True)
    ]
    levels = np.full(counts, np.nan)
    for i in range(counts[0]):
        for j in range(counts[1]):
            rows, cols = slice(*edges[0][i : i + 2]), slice(*edges[1][j : j + 2])
            step = 3 if (rows.stop - rows.start) > 30 else 1
            good = both[rows, cols][::step, ::step]
            if good.sum() > 100:
                constant = flux_scale * reference[rows, cols][::step, ::step][good]
                delta = science[rows, cols][::step, ::step][good] - constant
                bare = np.abs(constant - np.median(constant)) <= noise
                levels[i, j] = _clipped_median(delta[bare] if bare.sum() > 50 else delta)
    if not np.isfinite(levels).any():
        return None
    levels[~np.isfinite(levels)] = np.nanmedian(levels)
    if counts == [1, 1]:
        return np.full((ny, nx), levels[0, 0], np.float32)
    levels = median_filter(levels, 3)
    centres = [(edge[:-1] + edge[1:] - 1) / 2 for edge in edges]
    shares = [_spline_shares(middle, n) for middle, n in zip(centres, (ny, nx), strict=True)]
    smooth: NDArray[np.float32] = shares[0] @ levels.astype(np.float32) @ shares[1].T
    return smooth


def _spline_shares(centres: NDArray, n: int) -> NDArray[np.float32]:
    """Weight [n, len(centres)] of each cell in a cubic spline at every pixel, constant beyond the centres."""
    inside = np.clip(np.arange(n), centres[0], centres[-1])
    shares: NDArray[np.float32] = CubicSpline(centres, np.eye(centres.size))(inside).astype(np.float32)
    return shares


def make_planes(
    science: Exposure, reference: Exposure, coverage: Coverage, background: NDArray | None, curvature: float
) -> Planes:
    """Arrays ready for the transforms: background removed, unknown pixels zero, interpolation noise added.

    ``background`` is used up.
    """
    known = coverage.reference
    usable = coverage.science & known
    if background is None:
        data = _zeroed(science.data, usable)
    else:
        data = np.subtract(science.data, background, out=background)
        data[~usable] = 0
    reference_data = _zeroed(reference.data, known)
    reference_variance = np.empty_like(reference_data)
    variance = _zeroed(reference.variance, known)
    add_curvature_variance(reference_data, variance, np.float32(curvature), reference_variance)
    if not known.all():
        reference_variance[~known] = 0
    return Planes(
        data,
        reference_data,
        _zeroed(science.variance, coverage.science),
        reference_variance,
        coverage.both | ~known,
        find_undefined(coverage),
    )


def _zeroed(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The array itself where all is known, else a copy with zeros where it is not."""
    if known.all():
        return values
    copy = values.copy()
    copy[~known] = 0
    return copy


def _clipped_median(values: NDArray) -> float:
    middle = float(np.median(values))
    low, high = np.percentile(values, [15.865, 84.135])
    kept = values[np.abs(values - middle) < 1.5 * (high - low) + 1e-30]  # three standard deviations
    return float(np.median(kept)) if kept.size else middle


def _window(centre: float, reach: float, n: int) -> slice:
    low = int(np.clip(centre - reach, 0, max(n - reach, 0)))
    return slice(low, int(min(max(centre + reach, reach), n)))


def _sparse(values: NDArray, known: NDArray[np.bool_], rows: slice, cols: slice, step: int) -> NDArray:
    part = (slice(rows.start, rows.stop, step), slice(cols.start, cols.stop, step))
    return values[part][known[part]]
