"""Difference and score of a whole image, tile by tile.

The image is cut into tiles whose corners are the nodes of a grid. At each node the kernels are those of its
own PSFs, noise, flux scale and registration; within a tile the difference is the bilinear mean of what the
four corners' kernels give, so it has no seams and follows the PSF to second order. Every transform holds a
margin as wide as the kernels, so what wraps around is thrown away: tiles equal the whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

from zsds.kernels.fourier import (
    add_corner,
    add_spectra,
    fill_bad,
    finish_score,
    put_variance,
    remove_own_noise,
    shift_variance,
    subtract_spectra,
)
from zsds.subtract.zogy import Kernels, kernel_spectrum


@dataclass(frozen=True)
class Layout:
    """Tiles between the nodes of a grid.

    Parameters
    ----------
    rows, cols : ndarray of int
        Edges of the tiles, pixels: tile i covers rows[i] ... rows[i + 1] - 1.
    margin : int
        Pixels around a tile that its transforms hold as well.
    length : int
        Side of the transforms, pixels.
    """

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    margin: int
    length: int

    @property
    def nodes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(x, y) of the nodes: the corners of the tiles."""
        return self.cols - 0.5, self.rows - 0.5

    def tiles(self) -> Iterator["Tile"]:
        """All tiles, row by row."""
        for i in range(self.rows.size - 1):
            for j in range(self.cols.size - 1):
                rows = slice(int(self.rows[i]), int(self.rows[i + 1]))
                yield Tile(i, j, rows, slice(int(self.cols[j]), int(self.cols[j + 1])), self)


@dataclass(frozen=True)
class Tile:
    """Tile (i, j) of a layout."""

    i: int
    j: int
    rows: slice
    cols: slice
    layout: Layout

    def cut(self, image: NDArray, beyond: float = 0) -> NDArray:
        """The tile with its margins on a square of the transform's size; ``beyond`` outside the image."""
        layout = self.layout
        out = np.empty((layout.length, layout.length), image.dtype)
        top, left = self.rows.start - layout.margin, self.cols.start - layout.margin
        rows = slice(max(top, 0), min(self.rows.stop + layout.margin, image.shape[0]))
        cols = slice(max(left, 0), min(self.cols.stop + layout.margin, image.shape[1]))
        first, end = rows.start - top, rows.stop - top
        out[:first], out[end:] = beyond, beyond
        out[first:end, : cols.start - left], out[first:end, cols.stop - left :] = beyond, beyond
        out[first:end, cols.start - left : cols.stop - left] = image[rows, cols]
        return out

    @property
    def part(self) -> tuple[int, int, int, int]:
        """First row, row after the last, first and after the last column."""
        return self.rows.start, self.rows.stop, self.cols.start, self.cols.stop


def make_layout(shape: tuple[int, int], tile_size: int, kernel_size: int) -> Layout:
    """Tiles of at most ``tile_size`` pixels, as equal as may be."""
    edges = []
    for n in shape:
        count = max(1, int(np.ceil(n / tile_size)))
        edges.append(np.round(np.linspace(0, n, count + 1)).astype(np.int64))
    margin = kernel_size // 2 + 1
    largest = max(int(np.diff(edge).max()) for edge in edges)
    return Layout(edges[0], edges[1], margin, next_fast_len(largest + 2 * margin, real=True))


@dataclass(frozen=True)
class Planes:
    """What is subtracted, all [ny, nx]; reference in its own units, both with background removed.

    Parameters
    ----------
    science, reference : ndarray of float32
        Zero where nothing is known.
    science_variance, reference_variance : ndarray of float32
    measured : ndarray of bool
        False where the science image is to be replaced with the reference.
    """

    science: NDArray[np.float32]
    reference: NDArray[np.float32]
    science_variance: NDArray[np.float32]
    reference_variance: NDArray[np.float32]
    measured: NDArray[np.bool_]


@dataclass(frozen=True)
class Products:
    """Planes of the result, float32 [ny, nx].

    Parameters
    ----------
    difference, variance : ndarray
    score : ndarray
        S_corr: S, P_D correlated with D, over its noise from sources, registration and interpolation.
    flux_err : ndarray
        Error of the flux of a point source.
    """

    difference: NDArray[np.float32]
    variance: NDArray[np.float32]
    score: NDArray[np.float32]
    flux_err: NDArray[np.float32]


def subtract_tiles(
    planes: Planes,
    layout: Layout,
    kernels_at: Callable[[float, float], Kernels],
    shift_rms: tuple[float, float],
    flux_scale: float,
) -> Products:
    """Difference and its variance; ``flux_err`` holds the variance of the score for `score_tiles`.

    Only two rows of nodes are held at a time.

    Parameters
    ----------
    planes : Planes
    layout : Layout
    kernels_at : callable
        Kernels at a position (x, y).
    shift_rms : (x, y)
        Registration that remains, pixels.
    flux_scale : float
        Typical science electrons per unit of the reference, for the variance of filled pixels.
    """
    shape = planes.science.shape
    out = Products(np.zeros(shape, np.float32), *(np.empty(shape, np.float32) for _ in range(3)))
    spectra: dict[tuple[int, int], _Corner] = {}
    xs, ys = layout.nodes
    for tile in layout.tiles():
        if tile.j == 0:
            spectra = {key: corner for key, corner in spectra.items() if key[0] >= tile.i}
        corners = []
        for key in ((tile.i, tile.j), (tile.i, tile.j + 1), (tile.i + 1, tile.j), (tile.i + 1, tile.j + 1)):
            if key not in spectra:
                spectra[key] = _corner(kernels_at(float(xs[key[1]]), float(ys[key[0]])), layout.length)
            corners.append(spectra[key])
        _subtract_tile(tile, planes, corners, shift_rms, flux_scale, out)
    return out


def score_tiles(
    products: Products,
    undefined: NDArray[np.bool_],
    layout: Layout,
    kernels_at: Callable[[float, float], Kernels],
    slopes: tuple[float, float],
) -> None:
    """Fill in ``score`` and ``flux_err`` of the products from their difference; NaN where undefined.

    ``slopes`` are the variances of science image and reference that go with an electron of the difference:
    the score has the noise that either leads to expect of the other. A variance made from the counts is
    smaller where the noise is negative, and negative peaks would be twice as many as positive ones.
    """
    for tile in layout.tiles():
        _score_tile(tile, undefined, kernels_at, slopes, products)


@dataclass(frozen=True)
class _Corner:
    kernels: Kernels
    science: NDArray[np.complex64]
    reference: NDArray[np.complex64]


def _corner(kernels: Kernels, length: int) -> _Corner:
    return _Corner(
        kernels, kernel_spectrum(kernels.science, length), kernel_spectrum(kernels.reference, length)
    )


def _subtract_tile(
    tile: Tile,
    planes: Planes,
    corners: list[_Corner],
    shift_rms: tuple[float, float],
    flux_scale: float,
    out: Products,
) -> None:
    """Fill, subtract and carry variances for one tile; ``flux_err`` holds the variance of S meanwhile."""
    length = tile.layout.length
    square = (length, length)
    middle = _mean_kernels([corner.kernels for corner in corners])
    centre = middle.science.shape[0] // 2
    start = tile.layout.margin + centre
    science, variance = tile.cut(planes.science), tile.cut(planes.science_variance)
    reference_variance = tile.cut(planes.reference_variance)
    reference_hat = rfft2(tile.cut(planes.reference))
    measured = tile.cut(planes.measured, beyond=True)
    if not measured.all():
        model = irfft2(reference_hat * kernel_spectrum(middle.match, length), square)
        scaled = reference_variance * np.float32(flux_scale**2)
        fill_bad(science, variance, measured, model, scaled, centre)
    science_hat = rfft2(science)
    spectrum = np.empty_like(science_hat)
    for k, corner in enumerate(corners):
        subtract_spectra(science_hat, corner.science, reference_hat, corner.reference, spectrum)
        add_corner(irfft2(spectrum, square), start, k % 2 == 1, k >= 2, tile.part, out.difference)
    _carry_variances(tile, (variance, reference_variance), middle, out)
    np.multiply(reference_hat, kernel_spectrum(middle.score_reference, length), out=spectrum)
    var_x, var_y = (np.float32(rms**2) for rms in shift_rms)
    shift_variance(irfft2(spectrum, square), start, var_x, var_y, tile.part, out.flux_err)


def _carry_variances(tile: Tile, variances: tuple[NDArray, NDArray], middle: Kernels, out: Products) -> None:
    """Variance of D and of S: each image's variance convolved with the squared kernels."""
    length = tile.layout.length
    start = tile.layout.margin + middle.science.shape[0] // 2
    hats = [rfft2(variance) for variance in variances]
    spectrum = np.empty_like(hats[0])
    for target, kernels in (
        (out.variance, (middle.noise_science, middle.noise_reference)),
        (out.flux_err, (middle.score_noise_science, middle.score_noise_reference)),
    ):
        squares = [kernel_spectrum(kernel**2, length) for kernel in kernels]
        add_spectra(hats[0], squares[0], hats[1], squares[1], spectrum)
        put_variance(irfft2(spectrum, (length, length)), start, tile.part, target)


def _score_tile(
    tile: Tile,
    undefined: NDArray[np.bool_],
    kernels_at: Callable[[float, float], Kernels],
    slopes: tuple[float, float],
    out: Products,
) -> None:
    """Correlate the difference with its PSF, and divide by the noise."""
    xs, ys = tile.layout.nodes
    kernels = [
        kernels_at(float(xs[tile.j + right]), float(ys[tile.i + up])) for up in (0, 1) for right in (0, 1)
    ]
    middle = np.mean([kernel.psf for kernel in kernels], axis=0, dtype=np.float32)
    length, size = tile.layout.length, middle.shape[0]
    spectrum = rfft2(tile.cut(out.difference))
    square = (length, length)
    start = tile.layout.margin + size // 2
    if any(slopes):
        own = irfft2(spectrum * kernel_spectrum(_own_kernel(kernels, slopes), length), square)
        remove_own_noise(own, start, tile.part, out.flux_err)
    score = irfft2(spectrum * kernel_spectrum(middle[::-1, ::-1], length), square)
    norms = np.array([np.sum(middle * kernel.psf, dtype=float) for kernel in kernels], np.float32)
    start = tile.layout.margin + size - 1 - size // 2
    finish_score(score, start, norms.reshape(2, 2), undefined, tile.part, out.flux_err, out.score)


def _own_kernel(kernels: list[Kernels], slopes: tuple[float, float]) -> NDArray[np.float32]:
    """What gives, convolved with the difference, its own noise in the variance of the score."""
    science, reference = (
        np.mean([getattr(kernel, name) for kernel in kernels], axis=0)
        for name in ("score_noise_science", "score_noise_reference")
    )
    own: NDArray[np.float32] = (slopes[0] * science**2 + slopes[1] * reference**2).astype(np.float32)
    return own


def _mean_kernels(kernels: list[Kernels]) -> Kernels:
    return Kernels(
        *(
            np.mean([getattr(k, part.name) for k in kernels], axis=0, dtype=np.float32)
            for part in fields(Kernels)
        )
    )
