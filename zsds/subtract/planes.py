"""Sky, noise and defects of the two images before they are subtracted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline
from scipy.ndimage import binary_dilation, uniform_filter

from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.core.robust import median_and_width
from zsds.kernels.fourier import clipped_level
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
        part = (slice(*edges[0][i : i + 2]), slice(*edges[1][j : j + 2]))
        levels[i, j] = _level(difference[part], constant[part], both[part], noise)
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
    smooth = uniform_filter(np.where(both, difference, np.float32(0)), max(1, round(fwhm)))
    count = [max(1, round(n / CHANGE_CELL)) for n in smooth.shape]
    edges = [np.round(np.linspace(0, n, c + 1)).astype(int) for n, c in zip(smooth.shape, count, strict=True)]
    away = both.copy()
    for i, j in np.ndindex(*count):
        part = (slice(*edges[0][i : i + 2]), slice(*edges[1][j : j + 2]))
        middle, width = median_and_width(smooth[part][::3, ::3][both[part][::3, ::3]])
        changed = np.abs(smooth[part] - np.float32(middle)) > CHANGE_SIGMA * width
        away[part] &= ~_grown(changed)
    return away


def _grown(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True in all blocks of `BLOCK` pixels that hold one, or touch such a block."""
    shape = [-(-n // BLOCK) for n in pixels.shape]
    padded = np.zeros([n * BLOCK for n in shape], bool)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    blocks = binary_dilation(
        padded.reshape(shape[0], BLOCK, shape[1], BLOCK).any(axis=(1, 3)), np.ones((3, 3), bool)
    )
    grown: NDArray[np.bool_] = blocks.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)
    return grown[: pixels.shape[0], : pixels.shape[1]]


def _level(difference: NDArray, constant: NDArray, both: NDArray[np.bool_], noise: float) -> float:
    """Level of one cell: from a sparse clipped median to the mean of all its empty pixels; NaN if too few."""
    step = max(1, min(difference.shape) // 30)
    good = both[::step, ::step]
    if good.sum() < 100:
        return float("nan")
    sparse, steady = difference[::step, ::step][good], constant[::step, ::step][good]
    middle = float(np.median(steady))
    bare = np.abs(steady - middle) <= noise
    if bare.sum() < 50:
        return float(np.median(sparse))
    level, width = median_and_width(sparse[bare])
    limit, sigma = np.float32(noise), width + 1e-30
    found, count = clipped_level(difference, constant, both, np.float32(middle), limit, level, sigma)
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
    )


def _zeroed(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The array itself where all is known, else a copy with zeros where it is not."""
    if known.all():
        return values
    copy = values.copy()
    copy[~known] = 0
    return copy


def _window(centre: float, reach: float, n: int) -> slice:
    low = int(np.clip(centre - reach, 0, max(n - reach, 0)))
    return slice(low, int(min(max(centre + reach, reach), n)))


def _sparse(values: NDArray, known: NDArray[np.bool_], rows: slice, cols: slice, step: int) -> NDArray:
    part = (slice(rows.start, rows.stop, step), slice(cols.start, cols.stop, step))
    return values[part][known[part]]
