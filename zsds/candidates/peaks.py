"""Where the score image stands out, on both sides."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds.kernels.label import count_above, flood, list_above


@dataclass(frozen=True)
class Peaks:
    """Significant extrema of a score image; all arrays [n].

    Parameters
    ----------
    row, col : ndarray of int64
        Peak pixel.
    x, y : ndarray of float64
        Sub-pixel position, from a parabola through the peak and its neighbours.
    score : ndarray of float32
        At the peak pixel, signed.
    is_positive : ndarray of bool
    npix, nblend : ndarray of int64
        Pixels of the patch above the threshold; peaks that stand on it.
    patch_x, patch_y : ndarray of float64
        Middle of the patch.
    extent : ndarray of float64
        RMS length of the patch along its longest direction, pixels.
    angle : ndarray of float64
        That direction, radians from the x axis towards y.
    """

    row: NDArray[np.int64]
    col: NDArray[np.int64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    score: NDArray[np.float32]
    is_positive: NDArray[np.bool_]
    npix: NDArray[np.int64]
    nblend: NDArray[np.int64]
    patch_x: NDArray[np.float64]
    patch_y: NDArray[np.float64]
    extent: NDArray[np.float64]
    angle: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)


def find_peaks(score: NDArray[np.float32], threshold: float, min_prominence: float) -> Peaks:
    """Peaks at least ``threshold`` high of both signs; NaN pixels are never part of one.

    Parameters
    ----------
    score : ndarray of float32 [ny, nx]
    threshold : float
    min_prominence : float
        On one connected patch, a second peak counts only if it rises this far above the saddle towards
        a higher one.
    """
    score = np.ascontiguousarray(score, dtype=np.float32)
    sides = [_one_side(score, threshold, min_prominence), _one_side(-score, threshold, min_prominence)]
    is_positive = np.repeat([True, False], [len(side["row"]) for side in sides])
    joined = {name: np.concatenate([side[name] for side in sides]) for name in sides[0]}
    joined["score"] = np.where(is_positive, joined["score"], -joined["score"]).astype(np.float32)
    return Peaks(is_positive=is_positive, **joined)


def _one_side(image: NDArray[np.float32], threshold: float, min_prominence: float) -> dict[str, NDArray]:
    n = count_above(image, threshold)
    rows, cols, values = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.float32)
    list_above(image, threshold, rows, cols, values)
    node_of = np.full((image.shape[0] + 2, image.shape[1] + 2), -1, dtype=np.int32)
    node_of[rows + 1, cols + 1] = np.arange(n)
    prominence, patch = np.zeros(n), np.zeros(n, np.int64)
    flood(np.argsort(-values, kind="stable"), rows, cols, values, node_of, prominence, patch)
    summit = np.flatnonzero(prominence >= min_prominence)
    shapes = _patch_shapes(rows, cols, patch)
    nblend = np.bincount(patch[summit], minlength=n)
    dx, dy = _parabola_offsets(image, rows[summit], cols[summit])
    home = patch[summit]
    return {
        "row": rows[summit],
        "col": cols[summit],
        "x": cols[summit] + dx,
        "y": rows[summit] + dy,
        "score": values[summit],
        "nblend": nblend[home],
        **{name: values[home] for name, values in shapes.items()},
    }


def _patch_shapes(rows: NDArray, cols: NDArray, patch: NDArray) -> dict[str, NDArray]:
    n = len(patch)
    npix = np.bincount(patch, minlength=n)

    def mean(values: NDArray) -> NDArray[np.float64]:
        return np.bincount(patch, weights=values, minlength=n) / np.maximum(npix, 1)

    patch_x, patch_y = mean(cols), mean(rows)
    x, y = cols - patch_x[patch], rows - patch_y[patch]
    xx, yy, xy = mean(x * x) + 1 / 12, mean(y * y) + 1 / 12, mean(x * y)
    extent = np.sqrt((xx + yy) / 2 + np.hypot((xx - yy) / 2, xy))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    return {"npix": npix, "patch_x": patch_x, "patch_y": patch_y, "extent": extent, "angle": angle}


def _parabola_offsets(
    image: NDArray[np.float32], row: NDArray[np.int64], col: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    middle, last_row, last_col = image[row, col], image.shape[0] - 1, image.shape[1] - 1
    left, right = image[row, np.maximum(col - 1, 0)], image[row, np.minimum(col + 1, last_col)]
    below, above = image[np.maximum(row - 1, 0), col], image[np.minimum(row + 1, last_row), col]
    return _vertex(left, middle, right), _vertex(below, middle, above)


def _vertex(before: NDArray, middle: NDArray, after: NDArray) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = 0.5 * (before - after) / (before - 2.0 * middle + after)
    return np.clip(np.where(np.isfinite(offset), offset, 0.0), -0.5, 0.5)
