"""Marks the halos of very bright stars."""

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, Mask
from zsds.core.robust import mad_width
from zsds.isr.pieces import find_pieces
from zsds.isr.settings import HaloSettings
from zsds.isr.sky import fill_holes
from zsds.kernels.cells import cell_percentiles

log = logging.getLogger(__name__)
_CELL = 64


@dataclass(frozen=True)
class Halo:
    """A disk around a very bright star: centre and radius in pixels, and its saturated pixels."""

    x: float
    y: float
    radius: float
    n_saturated: int


def find_halos(
    exposure: Exposure,
    settings: HaloSettings = HaloSettings(),  # noqa: B008
) -> list[Halo]:
    """Halos of stars with many saturated pixels, out to where the median of rings meets the sky."""
    halos = []
    plane = None
    for rows, cols in find_pieces(exposure.mask, Mask.SATURATED):
        if rows.size < settings.min_saturated:
            continue
        plane = _sky_plane(exposure) if plane is None else plane
        first_row, first_col = rows.min(), cols.min()
        piece = np.zeros((rows.max() - first_row + 1, cols.max() - first_col + 1), np.bool_)
        piece[rows - first_row, cols - first_col] = True
        y, x = _centre(piece)
        y, x = float(y + first_row), float(x + first_col)
        radius = settings.radius or _measured_radius(exposure, plane, x, y, float(_widest(piece)), settings)
        halos.append(Halo(x, y, float(radius), rows.size))
    return halos


def mark_halos(
    exposure: Exposure,
    settings: HaloSettings = HaloSettings(),  # noqa: B008
) -> Exposure:
    """The exposure with HALO set in the disks of `find_halos`."""
    halos = find_halos(exposure, settings)
    log.info("%d halos", len(halos))
    if not halos:
        return exposure
    mask = exposure.mask.copy()
    ny, nx = exposure.shape
    for halo in halos:
        y0, y1 = max(0, int(halo.y - halo.radius)), min(ny, int(halo.y + halo.radius) + 2)
        x0, x1 = max(0, int(halo.x - halo.radius)), min(nx, int(halo.x + halo.radius) + 2)
        rows, cols = np.ogrid[y0:y1, x0:x1]
        disk = (rows - halo.y) ** 2 + (cols - halo.x) ** 2 <= halo.radius**2
        mask[y0:y1, x0:x1] |= np.where(disk, np.uint32(Mask.HALO), np.uint32(0))
    return replace(exposure, mask=mask)


def _centre(piece: NDArray[np.bool_]) -> tuple[float, float]:
    """Row and column of the star: the middle of the widest rows, so that bleed trails do not count."""
    widths = piece.sum(axis=1)
    rows = np.nonzero(widths >= 0.8 * widths.max())[0]
    cols = np.nonzero(piece[rows].any(axis=0))[0]
    return float(rows.mean()), float(cols.mean())


def _widest(piece: NDArray[np.bool_]) -> int:
    return int(piece.sum(axis=1).max())


def _sky_plane(exposure: Exposure) -> NDArray[np.float64]:
    """Coefficients (constant, x, y) of the sky, from a clipped fit to block medians."""
    bad = np.uint32(DEFECTS & ~Mask.EDGE)
    grid = cell_percentiles(exposure.data, exposure.mask, bad, _CELL, 0.5, 2)
    grid = fill_holes(grid).astype(np.float64)
    rows, cols = np.mgrid[: grid.shape[0], : grid.shape[1]]
    design = np.stack(
        [np.ones(grid.size), (cols.ravel() + 0.5) * _CELL, (rows.ravel() + 0.5) * _CELL], axis=1
    )
    values, good = grid.ravel(), np.ones(grid.size, np.bool_)
    plane = np.array([np.median(values), 0.0, 0.0])
    for _ in range(5):
        if good.sum() < 9:
            break
        plane = np.linalg.lstsq(design[good], values[good], rcond=None)[0]
        residual = values - design @ plane
        good = residual < np.median(residual[good]) + 2.5 * mad_width(residual[good]) + 1e-6
    return plane


def _measured_radius(
    exposure: Exposure, plane: NDArray[np.float64], x: float, y: float, core: float, settings: HaloSettings
) -> float:
    """Radius at which the median of a ring falls below the level above the sky."""
    level = settings.level_sigma * float(np.sqrt(np.median(exposure.variance[::4, ::4])))
    inner = max(core, 3.0)
    while inner < settings.max_radius:
        outer = inner + max(3.0, 0.08 * inner)
        excess = _ring(exposure, plane, x, y, inner, outer)
        if excess.size >= 12 and np.median(excess) < level:
            return inner
        inner = outer
    return float(settings.max_radius)


def _ring(
    exposure: Exposure, plane: NDArray[np.float64], x: float, y: float, inner: float, outer: float
) -> NDArray[np.float64]:
    """Usable pixels between two radii, above the sky."""
    ny, nx = exposure.shape
    part = (
        slice(max(0, int(y - outer)), min(ny, int(y + outer) + 2)),
        slice(max(0, int(x - outer)), min(nx, int(x + outer) + 2)),
    )
    rows, cols = np.ogrid[part]
    distance = (rows - y) ** 2 + (cols - x) ** 2
    ring = (distance >= inner**2) & (distance < outer**2)
    ring &= (exposure.mask[part] & np.uint32(DEFECTS & ~Mask.EDGE)) == 0
    row, col = np.nonzero(ring)
    excess: NDArray[np.float64] = exposure.data[part][row, col] - (
        plane[0] + plane[1] * (col + part[1].start) + plane[2] * (row + part[0].start)
    )
    return excess
