"""Point-spread functions that vary over an image, kept as cubic B-splines finer than the pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import spline_filter

from zsds.core.psf import PsfModel
from zsds.kernels.psf_solve import grid_knots, spline_stamp, sum_terms


def n_terms(order: int) -> int:
    """Number of monomials in (x, y) up to the order."""
    return (order + 1) * (order + 2) // 2


def terms(u: ArrayLike, v: ArrayLike, order: int) -> NDArray[np.float64]:
    """Monomials [n, n_terms] 1, u, v, u^2, u v, ... of coordinates in [-1, 1]; outside they stay."""
    u = np.clip(np.atleast_1d(np.asarray(u, dtype=np.float64)), -1, 1)
    v = np.clip(np.atleast_1d(np.asarray(v, dtype=np.float64)), -1, 1)
    return np.stack([u ** (n - k) * v**k for n in range(order + 1) for k in range(n + 1)], axis=-1)


def knots_for(size: int, oversampling: int) -> int:
    """Side of the knot grid that covers stamps of this size at any shift of up to half a pixel."""
    return 2 * (oversampling * (size // 2 + 1) + 2) + 1


@dataclass(frozen=True)
class PolynomialPsf:
    """Effective PSF whose spline knots are polynomials of the position.

    Normalised so that a stamp (centred, averaged over sub-pixel shifts) sums to 1: a flux measured with it
    is all the light within the stamp. Light beyond the stamp, the same share for all stars, belongs to the
    zero point.

    Parameters
    ----------
    coefficients : ndarray of float32 [n_terms, K, K]
        Knots of each monomial; the first is the PSF in the middle.
    order : int
        Of the polynomials.
    size : int
        Side of the stamps in pixels, odd.
    oversampling : int
        Knots per pixel.
    geometry : tuple of float
        (x0, y0, x_scale, y_scale): monomials are of (x - x0) / x_scale and (y - y0) / y_scale.
    """

    coefficients: NDArray[np.float32]
    order: int
    size: int
    oversampling: int
    geometry: tuple[float, float, float, float]

    def knots(self, x: float, y: float) -> NDArray[np.float64]:
        """Spline knots [K, K] at an image position."""
        x0, y0, x_scale, y_scale = self.geometry
        u = min(max((x - x0) / x_scale, -1.0), 1.0)
        v = min(max((y - y0) / y_scale, -1.0), 1.0)
        values = np.array([u ** (n - k) * v**k for n in range(self.order + 1) for k in range(n + 1)])
        knots = np.empty(self.coefficients.shape[1:])
        sum_terms(values, self.coefficients, knots)
        return knots

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
        """Stamp [size, size] at (x, y), the star (dx, dy) pixels from the centre of its middle pixel."""
        return _stamp(self.knots(x, y), self.oversampling, self.size, dx, dy)

    def fwhm(self, x: float | None = None, y: float | None = None) -> float:
        """Full width at half maximum in pixels of the azimuthal mean at (x, y), by default in the middle."""
        if x is None and y is None:
            return self._middle_fwhm
        x = self.geometry[0] if x is None else x
        y = self.geometry[1] if y is None else y
        return profile_fwhm(self, x, y)

    @cached_property
    def _middle_fwhm(self) -> float:
        return profile_fwhm(self, *self.geometry[:2])

    def to_arrays(self) -> dict[str, NDArray]:
        """Arrays that hold everything; `from_arrays` reads them back."""
        shape = np.array([self.order, self.size, self.oversampling], dtype=np.int64)
        return {"coefficients": self.coefficients, "shape": shape, "geometry": np.array(self.geometry)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> "PolynomialPsf":
        """The model written by `to_arrays`."""
        order, size, oversampling = (int(n) for n in arrays["shape"])
        x0, y0, x_scale, y_scale = (float(n) for n in arrays["geometry"])
        coefficients = np.ascontiguousarray(arrays["coefficients"], dtype=np.float32)
        return cls(coefficients, order, size, oversampling, (x0, y0, x_scale, y_scale))

    @classmethod
    def from_model(
        cls, psf: PsfModel, shape: tuple[int, int], order: int = 3, oversampling: int = 2
    ) -> "PolynomialPsf":
        """Any PSF model, sampled on a grid of positions over an image of the shape (ny, nx)."""
        if isinstance(psf, PolynomialPsf):
            return psf
        geometry = image_geometry(shape)
        nodes = np.linspace(-1, 1, 1 if order == 0 else order + 3)
        u, v = (grid.ravel() for grid in np.meshgrid(nodes, nodes))
        knots = [
            model_knots(psf, geometry[0] + geometry[2] * a, geometry[1] + geometry[3] * b, oversampling)
            for a, b in zip(u, v, strict=True)
        ]
        flat = np.array(knots).reshape(len(knots), -1)
        fit = np.linalg.lstsq(terms(u, v, order), flat, rcond=None)[0]
        coefficients = fit.reshape(-1, *knots[0].shape).astype(np.float32)
        return cls(coefficients, order, psf.size, oversampling, geometry)


@dataclass(frozen=True)
class GridPsf:
    """PSF given by stamps at the nodes of a rectangular grid, bilinear between them.

    Parameters
    ----------
    knots : ndarray of float32 [n_y, n_x, K, K]
        Spline knots at each node.
    x_nodes, y_nodes : ndarray of float64 [n_x], [n_y]
        Ascending; positions outside take the nearest node.
    size : int
        Side of the stamps in pixels, odd.
    oversampling : int
        Knots per pixel.
    is_mean : bool
        Whether the stamps are mean stars (`zsds.psf.mean`), not those of stars on a pixel's centre.
    """

    knots: NDArray[np.float32]
    x_nodes: NDArray[np.float64]
    y_nodes: NDArray[np.float64]
    size: int
    oversampling: int
    is_mean: bool = False

    @classmethod
    def from_stamps(
        cls, stamps: ArrayLike, x_nodes: ArrayLike, y_nodes: ArrayLike, is_mean: bool = False
    ) -> "GridPsf":
        """From pixel-integrated stamps [n_y, n_x, k, k], k odd, each with its star on the middle pixel.

        The stamps are refined twofold by Fourier interpolation, exact for a PSF that the pixels sample,
        so shifts do not blur.
        """
        stamps = np.asarray(stamps, dtype=np.float64)
        n_y, n_x, size, _ = stamps.shape
        x_nodes = np.atleast_1d(np.asarray(x_nodes, dtype=np.float64))
        y_nodes = np.atleast_1d(np.asarray(y_nodes, dtype=np.float64))
        if size % 2 == 0 or (n_y, n_x) != (y_nodes.size, x_nodes.size):
            raise ValueError(
                f"stamps {stamps.shape} do not fit {y_nodes.size} x {x_nodes.size} nodes, or are even"
            )
        n = knots_for(size, 2)
        knots = np.zeros((n_y, n_x, n, n), np.float32)
        for i, j in np.ndindex(n_y, n_x):
            knots[i, j] = _knots_of_stamp(stamps[i, j], n)
        return cls(knots, x_nodes, y_nodes, size, 2, is_mean)

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
        """Stamp [size, size] at (x, y), the star (dx, dy) pixels from the centre of its middle pixel."""
        knots = np.empty(self.knots.shape[2:])
        grid_knots(self.knots, self.x_nodes, self.y_nodes, float(x), float(y), knots)
        return _stamp(knots, self.oversampling, self.size, dx, dy)

    def to_arrays(self) -> dict[str, NDArray]:
        """Arrays that hold everything; `from_arrays` reads them back."""
        shape = np.array([self.size, self.oversampling], dtype=np.int64)
        return {"knots": self.knots, "x_nodes": self.x_nodes, "y_nodes": self.y_nodes, "shape": shape}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> "GridPsf":
        """The model written by `to_arrays`."""
        size, oversampling = (int(n) for n in arrays["shape"])
        nodes = [np.ascontiguousarray(arrays[name], dtype=np.float64) for name in ("x_nodes", "y_nodes")]
        return cls(np.ascontiguousarray(arrays["knots"], dtype=np.float32), *nodes, size, oversampling)


def image_geometry(shape: tuple[int, int]) -> tuple[float, float, float, float]:
    """(x0, y0, x_scale, y_scale) that bring an image of the shape (ny, nx) to [-1, 1]."""
    ny, nx = shape
    return (nx - 1) / 2, (ny - 1) / 2, max((nx - 1) / 2, 1.0), max((ny - 1) / 2, 1.0)


def model_knots(psf: PsfModel, x: float, y: float, oversampling: int) -> NDArray[np.float64]:
    """Spline knots of any model's effective PSF at (x, y)."""
    half = psf.size // 2
    n = knots_for(psf.size, oversampling)
    middle = n // 2
    samples = np.zeros((n, n))
    for a, b in np.ndindex(oversampling, oversampling):
        stamp = psf.at(x, y, -b / oversampling, -a / oversampling)
        first = middle - oversampling * half
        rows = slice(first + a, first + a + oversampling * psf.size, oversampling)
        columns = slice(first + b, first + b + oversampling * psf.size, oversampling)
        samples[rows, columns] = stamp
    return spline_filter(samples, order=3, mode="constant")


def profile_fwhm(psf: PsfModel, x: float, y: float) -> float:
    """FWHM in pixels of the azimuthal mean of a model's effective PSF."""
    fine = fine_image(psf, x, y, 5)
    half = fine.shape[0] // 2
    offset = (np.arange(fine.shape[0]) - half) / 5
    radius = np.hypot(offset[:, None], offset[None, :])
    ring = np.rint(radius * 5).astype(int).ravel()
    count = np.bincount(ring)
    mean = np.bincount(ring, fine.ravel()) / count
    at = np.bincount(ring, radius.ravel()) / count
    below = int(np.argmax(mean < mean[0] / 2))
    if below == 0:
        return float(2 * at[-1])
    share = (mean[below - 1] - mean[0] / 2) / (mean[below - 1] - mean[below])
    return float(2 * (at[below - 1] + share * (at[below] - at[below - 1])))


def fine_image(psf: PsfModel, x: float, y: float, oversampling: int) -> NDArray[np.float64]:
    """Effective PSF sampled `oversampling` times per pixel, its centre on the middle sample; odd side."""
    size = psf.size
    fine = np.zeros((size * oversampling, size * oversampling))
    shift = (oversampling - 1) // 2
    for a, b in np.ndindex(oversampling, oversampling):
        stamp = psf.at(x, y, (shift - b) / oversampling, (shift - a) / oversampling)
        fine[a::oversampling, b::oversampling] = stamp
    if oversampling % 2 == 0:  # drop the last half pixel so that the centre is the middle sample
        fine = fine[:-1, :-1]
    return fine


def _stamp(knots: NDArray, oversampling: int, size: int, dx: float, dy: float) -> NDArray[np.float32]:
    stamp = np.empty((size, size), np.float32)
    spline_stamp(np.ascontiguousarray(knots, dtype=np.float64), oversampling, float(dx), float(dy), stamp)
    return stamp


def _knots_of_stamp(stamp: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    size = stamp.shape[0]
    padded = np.zeros((2 * size, 2 * size))
    padded[size // 2 + 1 : size // 2 + 1 + size, size // 2 + 1 : size // 2 + 1 + size] = stamp
    spectrum = np.fft.fftshift(np.fft.fft2(padded))
    wide = np.zeros((4 * size, 4 * size), complex)
    wide[size : 3 * size, size : 3 * size] = spectrum
    wide[size], wide[:, size] = wide[size] / 2, wide[:, size] / 2
    wide[3 * size], wide[:, 3 * size] = wide[size], wide[:, size]
    fine = 4 * np.fft.ifft2(np.fft.ifftshift(wide)).real
    centre = 2 * (size // 2 + 1 + size // 2)
    half = min(n // 2, centre, 4 * size - 1 - centre)
    samples = np.zeros((n, n))
    inside = slice(n // 2 - half, n // 2 + half + 1)
    around = slice(centre - half, centre + half + 1)
    samples[inside, inside] = fine[around, around]
    return spline_filter(samples, order=3, mode="constant")
