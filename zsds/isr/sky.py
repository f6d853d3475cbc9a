"""A quick level of the sky for the masks; the careful one is measured in `zsds.extract`."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter

from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, Mask
from zsds.kernels.cells import cell_percentiles, spread_cells


def quick_sky(
    exposure: Exposure, cell: int, fraction: float = 0.5, lowest: bool = False, samples: int = 24
) -> NDArray[np.float32]:
    """Level of the sky [ny, nx], electrons, from percentiles of blocks of pixels.

    Parameters
    ----------
    exposure : Exposure
    cell : int
        Side of the blocks.
    fraction : float
        Percentile / 100.
    lowest : bool
        Take the lowest of neighbouring blocks, so that the level is rather too low near large objects.
    samples : int
        Pixels used along each side of a block.
    """
    bad = np.uint32(DEFECTS & ~Mask.EDGE)
    grid = cell_percentiles(exposure.data, exposure.mask, bad, cell, fraction, max(1, cell // samples))
    grid = fill_holes(grid)
    if lowest:
        grid = minimum_filter(grid, 3, mode="nearest")
    sky: NDArray[np.float32] = spread_cells(grid, cell, *exposure.shape)
    return sky


def fill_holes(grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """The grid with its median where it has no number (0 if it has none at all)."""
    hole = ~np.isfinite(grid)
    if not hole.any():
        return grid
    return np.where(hole, np.float32(0 if hole.all() else np.median(grid[~hole])), grid)
