"""Slow variation of the zero point over an image, from the calibrators' residuals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsds.core.robust import mad_width


@dataclass(frozen=True)
class StarFlatSettings:
    """How smooth the variation is taken to be."""

    max_order: int = 3  # of the polynomial in position
    stars_per_term: int = 15  # needed for each coefficient
    clip_sigma: float = 3.5  # calibrators farther from the surface are left out
    iterations: int = 6  # of fit and clipping at most
    gain: float = 0.98  # error of left-out stars must fall below this share for a higher order


@dataclass(frozen=True)
class StarFlat:
    """Polynomial surface in magnitudes with mean 0 over the calibrators.

    Parameters
    ----------
    coefficients : ndarray of float64 [n_terms]
        Of Legendre products P_i(u) P_j(v) with i + j up to the order; u, v run from -1 to 1 over the image.
    order : int
    shape : tuple of int
        (ny, nx) of the image.
    rms_before, rms_after : float
        Robust scatter of the calibrators, mag.
    n_stars : int
    """

    coefficients: NDArray[np.float64]
    order: int
    shape: tuple[int, int]
    rms_before: float
    rms_after: float
    n_stars: int

    def at(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Magnitudes to add to those measured at (x, y) pixels."""
        return _basis(x, y, self.shape, self.order) @ self.coefficients


def fit_star_flat(
    x: ArrayLike,
    y: ArrayLike,
    residual: ArrayLike,
    residual_err: ArrayLike,
    shape: tuple[int, int],
    settings: StarFlatSettings | None = None,
) -> StarFlat:
    """Surface through calibrators' residuals, catalogue minus calibrated magnitude.

    The order is the one whose left-out stars are predicted best; order 0 (no correction) when none helps,
    so noise is not imprinted on the photometry.

    Parameters
    ----------
    x, y : array_like [n]
        Pixels.
    residual, residual_err : array_like [n]
        Mag.
    shape : tuple of int
        (ny, nx).
    settings : StarFlatSettings
    """
    settings = settings or StarFlatSettings()
    x, y, residual, err = (np.asarray(a, dtype=np.float64) for a in (x, y, residual, residual_err))
    good = np.isfinite(x + y + residual + err) & (err > 0)
    before = mad_width(residual[good]) if good.any() else 0.0
    if good.any():
        good &= np.abs(residual - np.median(residual[good])) < settings.clip_sigma * max(before, 1e-6) + 0.05
    x, y, residual, err = x[good], y[good], residual[good], err[good]
    weight = 1 / (err**2 + before**2 + 1e-8)
    best = StarFlat(np.zeros(1), 0, shape, before, before, int(residual.size))
    if residual.size < 3 * settings.stars_per_term:
        return best
    error = _left_out(_basis(x, y, shape, 0), residual, weight, before)
    for order in range(1, settings.max_order + 1):
        basis = _basis(x, y, shape, order)
        if residual.size < settings.stars_per_term * basis.shape[1]:
            break
        now = _left_out(basis, residual, weight, before)
        if now < settings.gain * error:
            error = now
            best = _fit(basis, residual, weight, order, shape, before, settings)
    return best


def _basis(x: ArrayLike, y: ArrayLike, shape: tuple[int, int], order: int) -> NDArray[np.float64]:
    ny, nx = shape
    u = np.clip(2 * np.atleast_1d(np.asarray(x, float)) / max(nx - 1, 1) - 1, -1, 1)
    v = np.clip(2 * np.atleast_1d(np.asarray(y, float)) / max(ny - 1, 1) - 1, -1, 1)
    rows = np.polynomial.legendre.legvander(u, order)
    columns = np.polynomial.legendre.legvander(v, order)
    return np.stack([rows[:, n - k] * columns[:, k] for n in range(order + 1) for k in range(n + 1)], axis=1)


def _left_out(basis, residual, weight, scatter) -> float:
    """Mean squared error of each star predicted by the others, large errors bounded."""
    root = np.sqrt(weight)
    q, _ = np.linalg.qr(basis * root[:, None])
    left = (root * residual - q @ (q.T @ (root * residual))) / (1 - np.sum(q**2, axis=1)) / root
    return float(np.mean(np.minimum(np.abs(left), 3 * scatter) ** 2))


def _fit(basis, residual, weight, order, shape, before, settings) -> StarFlat:
    kept = np.ones(residual.size, bool)
    for _ in range(settings.iterations):
        root = np.sqrt(weight[kept])
        solution = np.linalg.lstsq(basis[kept] * root[:, None], residual[kept] * root, rcond=None)[0]
        left = residual - basis @ solution
        now = np.abs(left) < settings.clip_sigma * max(mad_width(left[kept]), 1e-6)
        if (now == kept).all():
            break
        kept = now
    solution[0] -= np.mean(basis[kept] @ solution)
    return StarFlat(solution, order, shape, before, mad_width(left[kept]), int(kept.sum()))
