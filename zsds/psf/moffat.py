"""Elliptical Moffat profile: the first guess and the prior of the empirical PSF."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from zsds.kernels.shapes import moffat_slopes, moffat_stamps

FINE = tuple(a / 2 for a in np.polynomial.legendre.leggauss(4))  # quadrature over a pixel
COARSE = tuple(a / 2 for a in np.polynomial.legendre.leggauss(3))


@dataclass(frozen=True)
class MoffatPsf:
    """(1 + xx u^2 + 2 xy u v + yy v^2)^-beta (Moffat 1969), integrated over pixels, the same everywhere.

    Parameters
    ----------
    xx, xy, yy : float
        Inverse squared widths, 1/px^2.
    beta : float
    size : int
        Side of the stamps, odd; the light within sums to 1.
    """

    xx: float
    xy: float
    yy: float
    beta: float
    size: int

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:  # noqa: ARG002
        """Stamp [size, size], the star (dx, dy) pixels from the centre of its middle pixel."""
        stamps = np.empty((2, self.size, self.size))
        shift_x, shift_y = np.array([dx, 0.0]), np.array([dy, 0.0])
        shape = (self.xx, self.xy, self.yy, self.beta)
        moffat_stamps(*shape, shift_x, shift_y, self.size // 2, *FINE, stamps)
        return (stamps[0] / stamps[1].sum()).astype(np.float32)

    @classmethod
    def of_fwhm(
        cls, fwhm: float, beta: float, size: int, ratio: float = 1.0, theta: float = 0.0
    ) -> "MoffatPsf":
        """From the mean FWHM in pixels before pixel integration, axis ratio, and angle of the major axis."""
        alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
        major, minor = ratio / alpha**2, 1 / (ratio * alpha**2)
        c, s = np.cos(theta), np.sin(theta)
        xx, yy, xy = major * c * c + minor * s * s, major * s * s + minor * c * c, (major - minor) * c * s
        return cls(xx, xy, yy, beta, size)


def fit_moffat(
    stamps: NDArray[np.float64],
    weights: NDArray[np.float64],
    dx: NDArray[np.float64],
    dy: NDArray[np.float64],
    fwhm: float,
    size: int,
) -> MoffatPsf:
    """Least-squares Moffat of several stars, each with its own flux.

    Parameters
    ----------
    stamps, weights : ndarray of float64 [n, k, k]
        Data and inverse variances.
    dx, dy : ndarray of float64 [n]
        Star positions from the middle pixel.
    fwhm : float
        First guess, pixels.
    size : int
        Side of the stamps of the result.
    """
    root = np.sqrt(weights)
    shapes = np.empty((5, *stamps.shape))

    def explained(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Norm and flux [n, 1, 1] of each star's profile; fills ``shapes``."""
        moffat_slopes(*_shape(p), dx, dy, stamps.shape[1] // 2, *COARSE, shapes)
        norm = np.maximum(np.sum(weights * shapes[0] ** 2, axis=(1, 2), keepdims=True), 1e-300)
        return norm, np.sum(weights * shapes[0] * stamps, axis=(1, 2), keepdims=True) / norm

    def misfit(p: NDArray[np.float64]) -> NDArray[np.float64]:
        return (root * (stamps - explained(p)[1] * shapes[0])).ravel()

    def jacobian(p: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the fluxes do not absorb of each change (Kaufman 1975, BIT 15, 49)."""
        norm, flux = explained(p)
        step = 1e-5
        ahead, behind = (np.array([_shape(p + s * step * e) for e in np.eye(4)]) for s in (1, -1))
        slopes = np.tensordot((ahead - behind) / (2 * step), shapes[1:], axes=1)
        slopes -= np.sum(weights * shapes[0] * slopes, axis=(2, 3), keepdims=True) / norm * shapes[0]
        return -(root * flux * slopes).reshape(4, -1).T

    bounds = ([np.log(0.5), -1, -1, np.log(0.3)], [np.log(30.0), 1, 1, np.log(15.0)])
    first = np.clip([np.log(fwhm), 0, 0, np.log(1.8)], *bounds)
    result = least_squares(
        misfit, first, jacobian, bounds=bounds, loss="soft_l1", f_scale=3.0, ftol=1e-5, max_nfev=40
    )
    return MoffatPsf(*_shape(result.x), size)


def _shape(p: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """(xx, xy, yy, beta) of ln(FWHM), two stretches, and ln(beta - 1.5)."""
    beta = 1.5 + np.exp(p[3])
    alpha = np.exp(p[0]) / (2 * np.sqrt(2 ** (1 / beta) - 1))
    stretch = np.hypot(p[1], p[2])
    share = np.sinh(stretch) / stretch if stretch > 1e-9 else 1.0
    scale = np.cosh(stretch)
    return (
        (scale - share * p[1]) / alpha**2,
        -share * p[2] / alpha**2,
        (scale + share * p[1]) / alpha**2,
        beta,
    )
