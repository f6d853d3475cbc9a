"""Point-spread functions that travel with the pixels: sampled wherever the image is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from zsds.core.psf import PsfModel
from zsds.kernels.resample import lanczos_table, sample_lanczos
from zsds.psf.mean import mean_psf
from zsds.psf.model import GridPsf
from zsds.reference.mapping import PixelMap

_PAD = 6  # empty pixels around a stamp before it is resampled
LEAST_NODES = 9  # along each axis: PSFs that bend over a small image bend between few nodes just as much


def psf_nodes(length: int, spacing: float) -> NDArray[np.float64]:
    """Places of nodes along an axis of ``length`` pixels, at most ``spacing`` apart."""
    return np.linspace(0, length - 1, max(LEAST_NODES, int(np.ceil(length / spacing)) + 1))


def combine_psfs(
    psfs: list[PsfModel],
    maps: list[PixelMap],
    weights: list[float],
    nodes: tuple[NDArray, NDArray],
    size: int,
) -> GridPsf:
    """PSF of a co-add: every epoch's PSF resampled as its pixels were, then averaged.

    Parameters
    ----------
    psfs, maps, weights : lists
        One entry an epoch; maps lead from co-add pixels to epoch pixels; weights sum to 1.
    nodes : (x, y)
        Node positions on the co-add, whole pixels.
    size : int
        Side of the stamps, odd.
    """
    stamps = np.zeros((nodes[1].size, nodes[0].size, size, size), np.float32)
    table = lanczos_table()
    for i, y in enumerate(nodes[1]):
        for j, x in enumerate(nodes[0]):
            for psf, pixels, weight in zip(psfs, maps, weights, strict=True):
                stamps[i, j] += np.float32(weight) * _resampled(psf, pixels, x, y, size, table)
    return GridPsf.from_stamps(stamps, *nodes)


def _resampled(psf: PsfModel, pixels: PixelMap, x: float, y: float, size: int, table: NDArray) -> NDArray:
    """Lanczos-3 of an epoch's PSF, star at the centre of the stamp's middle pixel."""
    star_x, star_y = pixels.at(x, y)
    dx, dy = star_x - round(star_x), star_y - round(star_y)
    stamp = np.pad(psf.at(star_x, star_y, dx, dy), _PAD).astype(np.float32)
    centre = stamp.shape[0] // 2
    matrix = pixels.matrix(x, y)
    ends = np.array([0.0, size]) - size // 2
    along, across = np.meshgrid(ends, ends)
    xs = centre + dx + matrix[0, 0] * along + matrix[0, 1] * across
    ys = centre + dy + matrix[1, 0] * along + matrix[1, 1] * across
    areas = np.full((2, 2), abs(np.linalg.det(matrix)))
    out, spare = np.empty((size, size), np.float32), np.empty((size, size), np.float32)
    bits, empty = np.empty((size, size), np.uint32), np.zeros(stamp.shape, np.uint32)
    clean = empty.astype(np.uint8)
    sample_lanczos(
        stamp,
        stamp,
        empty,
        clean,
        clean,
        xs,
        ys,
        areas,
        size,
        0,
        table,
        out,
        spare,
        bits,
        spare.copy(),
    )
    return out


def sample_psf(psf: PsfModel, pixels: PixelMap, shape: tuple[int, int], spacing: float) -> GridPsf:
    """A finer grid's PSF as the science pixels see it, sampled with the same cubic B-spline.

    Parameters
    ----------
    psf : PsfModel
        On the finer grid.
    pixels : PixelMap
        From science pixels to the finer grid.
    shape : (ny, nx)
        Of the science grid.
    spacing : float
        Largest distance between nodes, science pixels.
    """
    x_nodes, y_nodes = (psf_nodes(n, spacing) for n in shape[::-1])
    x, y = shape[1] / 2, shape[0] / 2
    scale = np.sqrt(abs(np.linalg.det(pixels.matrix(x, y))))
    sampled = mean_psf(SampledPsf(psf, pixels, 2 * int(psf.size / 2 / scale) + 1), shape)
    stamps = [[sampled.at(node_x, node_y) for node_x in x_nodes] for node_y in y_nodes]
    return GridPsf.from_stamps(np.array(stamps), x_nodes, y_nodes, is_mean=True)


@dataclass(frozen=True)
class SampledPsf:
    """A finer grid's PSF on the science pixels, by the cubic B-spline that samples the pixels.

    Parameters
    ----------
    psf : PsfModel
        On the finer grid.
    pixels : PixelMap
        From science pixels to the finer grid.
    size : int
        Side of the stamps in science pixels, odd.
    """

    psf: PsfModel
    pixels: PixelMap
    size: int

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
        """Stamp at a science position; its middle pixel's centre is taken to be that of a fine pixel too."""
        matrix = self.pixels.matrix(x, y)
        star = matrix @ (dx, dy)
        whole = np.rint(star)
        fine = np.pad(self.psf.at(*self.pixels.at(x, y), *(star - whole)), _PAD)
        offset = np.arange(self.size) - self.size // 2
        along, across = np.meshgrid(offset, offset)
        middle = fine.shape[0] // 2 - whole
        places = [middle[axis] + matrix[axis, 0] * along + matrix[axis, 1] * across for axis in (1, 0)]
        sampled = map_coordinates(fine, places, order=3, mode="constant")
        stamp: NDArray[np.float32] = sampled * np.float32(abs(np.linalg.det(matrix)))
        return stamp
