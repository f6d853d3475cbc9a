"""Marks the halos of very bright stars."""

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, Mask
from zsds.core.robust import mad_width
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
    saturated = (exposure.mask & np.uint32(Mask.SATURATED)) != 0
    labels, _ = ndimage.label(saturated, np.ones((3, 3)))
    halos = []
    plane = None
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        piece = labels[box] == number
        area = int(np.count_nonzero(piece))
        if area < settings.min_saturated:
            continue
        plane = _sky_plane(exposure) if plane is None else plane
        y, x = _centre(piece)
        y, x = y + box[0].start, x + box[1].start
        core = float(_widest(piece))
        radius = settings.radius or _measured_radius(exposure, plane, x, y, core, settings)
        halos.append(Halo(x, y, float(radius), area))
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
    ny, nx = exposure.shape
    reach = settings.max_radius + 4
    y0, y1, x0, x1 = (
        max(0, int(y) - reach),
        min(ny, int(y) + reach),
        max(0, int(x) - reach),
        min(nx, int(x) + reach),
    )
    rows, cols = np.mgrid[y0:y1, x0:x1]
    excess = exposure.data[y0:y1, x0:x1] - (plane[0] + plane[1] * cols + plane[2] * rows)
    usable = (exposure.mask[y0:y1, x0:x1] & np.uint32(DEFECTS & ~Mask.EDGE)) == 0
    distance = np.hypot(rows - y, cols - x)
    level = settings.level_sigma * float(np.sqrt(np.median(exposure.variance[::4, ::4])))
    inner = max(core, 3.0)
    while inner < settings.max_radius:
        outer = inner + max(3.0, 0.08 * inner)
        ring = usable & (distance >= inner) & (distance < outer)
        if ring.sum() >= 12 and np.median(excess[ring]) < level:
            return inner
        inner = outer
    return float(settings.max_radius)
