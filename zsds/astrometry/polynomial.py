"""Polynomials in two variables that map one plane on another."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PlanePolynomial:
    """Map of a plane: sum of coefficients times (x / scale)**i (y / scale)**j, i + j <= order.

    Parameters
    ----------
    order : int
    scale : float
        Unit of the arguments, about the half size of the field.
    coefficients : ndarray of float64 [terms, 2]
        In the order of `exponents`.
    """

    order: int
    scale: float
    coefficients: NDArray[np.float64]

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Images [n, 2] of points [n, 2]."""
        return design(points / self.scale, self.order) @ self.coefficients

    @property
    def linear(self) -> NDArray[np.float64]:
        """Derivatives at the origin [2, 2]: row = output axis, column = input axis."""
        if self.order < 1:
            return np.zeros((2, 2))
        return self.coefficients[1:3].T / self.scale


def exponents(order: int) -> list[tuple[int, int]]:
    """Powers (i, j) of x and y of every term, by rising total power."""
    return [(total - j, j) for total in range(order + 1) for j in range(total + 1)]


def n_terms(order: int) -> int:
    """Terms of a polynomial in two variables."""
    return (order + 1) * (order + 2) // 2


def design(points: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Values of all terms [n, terms] at points [n, 2]."""
    x, y = np.ascontiguousarray(points.T)
    matrix = np.empty((n_terms(order), len(points)))
    matrix[0] = 1.0
    start = 0  # of the terms of the previous total power
    for total in range(1, order + 1):
        last = start + total
        matrix[last : last + total] = matrix[start:last] * x
        matrix[last + total] = matrix[last - 1] * y
        start = last
    return matrix.T


def fit_order(
    points: NDArray[np.float64],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
    order: int,
    scale: float,
) -> PlanePolynomial:
    """`fit_polynomial`, or `fit_similarity` for order 0."""
    if order == 0:
        return fit_similarity(points, targets, weights, scale)
    return fit_polynomial(points, targets, weights, order, scale)


def fit_polynomial(
    points: NDArray[np.float64],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
    order: int,
    scale: float,
) -> PlanePolynomial:
    """Weighted least squares; ``weights`` [n] are inverse variances, the same for both axes."""
    root = np.sqrt(weights)[:, None]
    matrix = design(points / scale, order) * root
    if len(points) > 200:  # normal equations: well conditioned for arguments within the unit square
        coefficients = np.linalg.lstsq(matrix.T @ matrix, matrix.T @ (targets * root), rcond=1e-14)[0]
    else:
        coefficients = np.linalg.lstsq(matrix, targets * root, rcond=None)[0]
    return PlanePolynomial(order, scale, coefficients)


def fit_similarity(
    points: NDArray[np.float64], targets: NDArray[np.float64], weights: NDArray[np.float64], scale: float
) -> PlanePolynomial:
    """Shift, rotation and magnification that keep the handedness, by weighted least squares."""
    weights = weights / weights.sum()
    z, w = points @ np.array([1, 1j]), targets @ np.array([1, 1j])
    z0, w0 = weights @ z, weights @ w
    norm = weights @ np.abs(z - z0) ** 2
    factor = (weights @ ((w - w0) * np.conj(z - z0))) / norm if norm > 0 else 1.0 + 0j
    return similarity(factor, w0 - factor * z0, scale)


def similarity(factor: complex, shift: complex, scale: float) -> PlanePolynomial:
    """The map z -> factor z + shift of the complex plane."""
    x = np.array([factor.real, factor.imag]) * scale
    y = np.array([-factor.imag, factor.real]) * scale
    return PlanePolynomial(1, scale, np.array([[shift.real, shift.imag], x, y]))
