"""The stars on which a reference is tied to a science image."""

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, is_defect
from zsds.kernels.coverage import mark_clean


def choose_stars(
    science: Exposure, reference: Exposure, stars: Table | None, reach: int, cell: int, max_stars: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels (x, y) of bright, unmasked stars, spread over the image.

    Parameters
    ----------
    science, reference : Exposure
        On the same pixels.
    stars : Table, optional
        With x, y, flux; the brightest pixels of the reference when not given.
    reach : int
        Stars are at least so far from the edges, pixels.
    cell : int
        Side in pixels of the cells over which they are spread.
    max_stars : int
    """
    if stars is not None and len(stars):
        x, y = np.rint(np.asarray(stars["x"], float)), np.rint(np.asarray(stars["y"], float))
        bright = np.asarray(stars["flux"], float)
        known = np.isfinite(x) & np.isfinite(y) & np.isfinite(bright)
        x, y, bright = x[known].astype(int), y[known].astype(int), bright[known]
    else:
        x, y = _peaks(reference, max(16, cell // 3))
        bright = reference.data[y, x]
    ny, nx = science.shape
    inside = (x >= reach) & (x < nx - reach) & (y >= reach) & (y < ny - reach)
    x, y, bright = x[inside], y[inside], bright[inside]
    clean = _clean(science, x, y) & _clean(reference, x, y)  # in the order of the table, row by row: by cache
    order = np.argsort(-bright[clean], kind="stable")
    x, y = x[clean][order], y[clean][order]
    rank = _rank_in_group((y // cell) * (nx // cell + 1) + x // cell)
    spread = np.argsort(rank, kind="stable")[:max_stars]  # the brightest of each cell come first
    return x[spread], y[spread]


def _rank_in_group(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many members of the same group stand before each."""
    rank = np.zeros(groups.size, int)
    seen: dict[int, int] = {}
    for k, group in enumerate(groups.tolist()):
        rank[k] = seen.get(group, 0)
        seen[group] = rank[k] + 1
    return rank


def _peaks(exposure: Exposure, cell: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The brightest unmasked pixel of every cell."""
    ny, nx = exposure.shape
    my, mx = ny // cell, nx // cell
    if not my or not mx:
        return np.zeros(0, int), np.zeros(0, int)
    values = exposure.data[: my * cell, : mx * cell]
    bad = is_defect(exposure.mask[: my * cell, : mx * cell]) | ~np.isfinite(values)
    values = np.where(bad, np.float32(-np.inf), values)
    blocks = values.reshape(my, cell, mx, cell).swapaxes(1, 2).reshape(my * mx, -1)
    best = blocks.argmax(axis=1)
    row, col = np.divmod(np.arange(my * mx), mx)
    return col * cell + best % cell, row * cell + best // cell


def _clean(exposure: Exposure, x: NDArray, y: NDArray, reach: int = 5) -> NDArray[np.bool_]:
    """True where no pixel within ``reach`` has a defect."""
    clean = np.empty(x.size, bool)
    mark_clean(exposure.data, exposure.mask, np.uint32(DEFECTS), x, y, reach, clean)
    return clean
