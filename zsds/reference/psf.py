"""Point-spread functions that travel with the pixels: sampled wherever the image is."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from zsds.core.psf import PsfModel
from zsds.kernels.resample import lanczos_table, sample_lanczos
from zsds.psf.model import GridPsf
from zsds.reference.mapping import PixelMap

_PAD = 6  # empty pixels around a stamp before it is resampled
LEAST_NODES = 9  # along each axis: PSFs that bend over a small image bend between few nodes just as much


def phase_ramp(length: int, dx: float, dy: float) -> NDArray[np.complex64]:
    """Factor on an rfft2 spectrum that turns image(x, y) into image(x + dx, y + dy)."""
    fy = np.fft.fftfreq(length)[:, None]
    fx = np.fft.rfftfreq(length)[None, :]
    return np.exp(2j * np.pi * (fx * dx + fy * dy)).astype(np.complex64)


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
    nodes = [psf_nodes(n, spacing) for n in shape[::-1]]
    scale = np.sqrt(abs(np.linalg.det(pixels.matrix(shape[1] / 2, shape[0] / 2))))
    half = int(psf.size / 2 / scale)
    offset = np.arange(-half, half + 1, dtype=float)
    along, across = np.meshgrid(offset, offset)
    stamps = np.empty((nodes[1].size, nodes[0].size, offset.size, offset.size), np.float32)
    for i, y in enumerate(nodes[1]):
        for j, x in enumerate(nodes[0]):
            matrix = pixels.matrix(x, y)
            stamp = np.pad(psf.at(*pixels.at(x, y)), _PAD)
            centre = stamp.shape[0] // 2
            places = np.stack(
                [
                    centre + matrix[1, 0] * along + matrix[1, 1] * across,
                    centre + matrix[0, 0] * along + matrix[0, 1] * across,
                ]
            )
            sampled = map_coordinates(stamp, places, order=3, mode="constant")
            stamps[i, j] = sampled * abs(np.linalg.det(matrix))
    return GridPsf.from_stamps(stamps, *nodes)
