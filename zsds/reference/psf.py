"""Point-spread functions that travel with the pixels: sampled wherever the image is."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import map_coordinates

from zsds.core.psf import PsfModel
from zsds.kernels.resample import lanczos_table, sample_lanczos
from zsds.reference.mapping import PixelMap

_PAD = 6  # empty pixels around a stamp before it is resampled


@dataclass(frozen=True)
class GridPsf:
    """Stamps at the nodes of a rectangular grid, linear between them and constant beyond.

    Parameters
    ----------
    x, y : ndarray of float64 [mx], [my]
        Node positions, pixels, increasing.
    stamps : ndarray of float32 [my, mx, size, size]
        PSF centred on the middle pixel of each stamp.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    stamps: NDArray[np.float32]

    def __post_init__(self) -> None:
        my, mx, ny, nx = self.stamps.shape
        if (my, mx) != (self.y.size, self.x.size) or ny != nx or ny % 2 == 0:
            raise ValueError(f"stamps {self.stamps.shape} do not fit {self.x.size} x {self.y.size} nodes")

    @property
    def size(self) -> int:
        """Side of the stamps, odd."""
        return int(self.stamps.shape[-1])

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
        """Stamp for a position; shifted by (dx, dy) exactly for a band-limited PSF."""
        j, u = _bracket(self.x, x)
        i, v = _bracket(self.y, y)
        next_i, next_j = min(i + 1, self.y.size - 1), min(j + 1, self.x.size - 1)
        low = (1 - u) * self.stamps[i, j] + u * self.stamps[i, next_j]
        high = (1 - u) * self.stamps[next_i, j] + u * self.stamps[next_i, next_j]
        stamp = np.asarray((1 - v) * low + v * high, dtype=np.float32)
        return shift_stamp(stamp, dx, dy) if dx or dy else stamp

    def to_arrays(self) -> dict[str, NDArray]:
        """Arrays that `from_arrays` understands."""
        return {"x": self.x, "y": self.y, "stamps": self.stamps}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> "GridPsf":
        """Inverse of `to_arrays`."""
        return cls(
            np.asarray(arrays["x"], dtype=np.float64),
            np.asarray(arrays["y"], dtype=np.float64),
            np.asarray(arrays["stamps"], dtype=np.float32),
        )


def shift_stamp(stamp: NDArray, dx: float, dy: float) -> NDArray[np.float32]:
    """Stamp moved by (dx, dy) pixels with a phase ramp; zero beyond its edges."""
    size = stamp.shape[0]
    length = next_fast_len(size + 2 * _PAD, real=True)
    spectrum = rfft2(stamp, (length, length))
    spectrum = spectrum * phase_ramp(length, -dx, -dy)
    return irfft2(spectrum, (length, length))[:size, :size].astype(np.float32)


def phase_ramp(length: int, dx: float, dy: float) -> NDArray[np.complex64]:
    """Factor on an rfft2 spectrum that turns image(x, y) into image(x + dx, y + dy)."""
    fy = np.fft.fftfreq(length)[:, None]
    fx = np.fft.rfftfreq(length)[None, :]
    return np.exp(2j * np.pi * (fx * dx + fy * dy)).astype(np.complex64)


def effective_fwhm(stamp: NDArray) -> float:
    """FWHM of the Gaussian of the same noise area, 1 / sum(P^2), pixels."""
    total = float(np.sum(stamp, dtype=float))
    area = total**2 / float(np.sum(np.square(stamp, dtype=float)))
    return 2.3548 * float(np.sqrt(area / (4 * np.pi)))


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
    return GridPsf(np.asarray(nodes[0], float), np.asarray(nodes[1], float), stamps)


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
    sample_lanczos(
        stamp,
        stamp,
        empty,
        empty.astype(np.uint8),
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
    nodes = [np.linspace(0, n - 1, max(2, int(np.ceil(n / spacing)) + 1)) for n in shape[::-1]]
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
    return GridPsf(nodes[0], nodes[1], stamps)


def _bracket(nodes: NDArray[np.float64], value: float) -> tuple[int, float]:
    """Index of the node below and the fraction of the way to the next, within the grid."""
    if nodes.size == 1:
        return 0, 0.0
    i = int(np.clip(np.searchsorted(nodes, value) - 1, 0, nodes.size - 2))
    return i, float(np.clip((value - nodes[i]) / (nodes[i + 1] - nodes[i]), 0, 1))
