"""Slow variation of the zero point over an image, from the calibrators' residuals."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from zsds.core.robust import mad_width

WORST_CONDITION = 1e4  # of the terms at the calibrators' places; beyond it they do not tell them apart
LEAST_ERROR = 0.003  # mag, of a star: variability and what the PSF leaves
MEDIAN_OFFSET = 0.6745  # standard deviations, of a normal distribution
LEAST_IN_PLACE = 6  # calibrators of one place; of fewer, two or three strays might be the majority


@dataclass(frozen=True)
class StarFlatSettings:
    """How smooth the variation is taken to be."""

    max_order: int = 5  # of the polynomial in position
    stars_per_term: int = 15  # needed for each coefficient
    clip_sigma: float = 3.5  # calibrators farther from the surface are left out
    iterations: int = 6  # of fit and clipping at most
    gain: float = 0.02  # squared error of left-out stars must fall by this share for a higher order,
    chance: float = 12.0  # and by more than noise gives: this over the number of stars


@dataclass(frozen=True)
class StarFlat:
    """Polynomial surface in magnitudes with mean 0 over the calibrators.

    Parameters
    ----------
    coefficients : ndarray of float64 [n_terms]
        Of Legendre products P_i(u) P_j(v) with i + j up to the order; u, v run from -1 to 1 over the image.
    limits : tuple of float
        Least and largest value at the calibrators; where there are none the surface does not go beyond.
    order : int
    shape : tuple of int
        (ny, nx) of the image.
    rms_before, rms_after : float
        Robust scatter of the calibrators, mag.
    n_stars : int
    """

    coefficients: NDArray[np.float64]
    limits: tuple[float, float]
    order: int
    shape: tuple[int, int]
    rms_before: float
    rms_after: float
    n_stars: int

    def at(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Magnitudes to add to those measured at (x, y) pixels."""
        return np.clip(_basis(x, y, self.shape, self.order) @ self.coefficients, *self.limits)

    def factors_at(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """Factors of fluxes measured at (x, y) pixels."""
        return 10 ** (
            -0.4 * self.at(np.nan_to_num(np.asarray(x, float)), np.nan_to_num(np.asarray(y, float)))
        )

    @property
    def factors(self) -> NDArray[np.float32]:
        """Factor [ny, nx] of the flux in every pixel."""
        ny, nx = self.shape
        table = np.zeros((self.order + 1, self.order + 1))
        for (row, column), value in zip(_powers(self.order), self.coefficients, strict=True):
            table[column, row] = value
        columns = np.polynomial.legendre.legvander(_scaled(np.arange(nx), nx), self.order).T
        rows = np.polynomial.legendre.legvander(_scaled(np.arange(ny), ny), self.order)
        surface = (rows @ table).astype(np.float32) @ columns.astype(np.float32)
        np.clip(surface, *np.float32(self.limits), out=surface)
        surface *= np.float32(-0.4 * np.log(10))
        return np.exp(surface, out=surface)

    @property
    def range(self) -> float:
        """From the least to the largest correction on the image, mag."""
        ny, nx = self.shape
        x, y = np.meshgrid(np.linspace(0, nx - 1, 21), np.linspace(0, ny - 1, 21))
        return float(np.ptp(self.at(x.ravel(), y.ravel())))


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
    best = StarFlat(np.zeros(1), (0.0, 0.0), 0, shape, before, before, int(residual.size))
    if residual.size < 3 * settings.stars_per_term:
        return best
    error = _left_out(_basis(x, y, shape, 0), residual, weight, before)
    for order in range(1, settings.max_order + 1):
        basis = _basis(x, y, shape, order)
        if residual.size < settings.stars_per_term * basis.shape[1] or not _is_determined(basis):
            break
        now = _left_out(basis, residual, weight, before)
        if now < (1 - max(settings.gain, settings.chance / residual.size)) * error:
            error = now
            best = _fit(basis, residual, weight, order, shape, before, settings)
    return best


def _powers(order: int) -> list[tuple[int, int]]:
    """Orders in x and y of every term."""
    return [(n - k, k) for n in range(order + 1) for k in range(n + 1)]


def _scaled(pixels: ArrayLike, size: int) -> NDArray[np.float64]:
    """From -1 to 1 over the image."""
    return np.clip(2 * np.atleast_1d(np.asarray(pixels, float)) / max(size - 1, 1) - 1, -1, 1)


def _basis(x: ArrayLike, y: ArrayLike, shape: tuple[int, int], order: int) -> NDArray[np.float64]:
    ny, nx = shape
    columns = np.polynomial.legendre.legvander(_scaled(x, nx), order)
    rows = np.polynomial.legendre.legvander(_scaled(y, ny), order)
    return np.stack([columns[:, i] * rows[:, j] for i, j in _powers(order)], axis=1)


def _is_determined(basis: NDArray[np.float64]) -> bool:
    """Whether stars at these places tell all terms apart: on a line they say nothing of what lies beside."""
    return bool(np.linalg.cond(basis) < WORST_CONDITION)


def _left_out(basis, residual, weight, scatter) -> float:
    """Mean squared error of each star predicted by the others, large errors bounded.

    A star without which a term would not be known cannot be predicted; its error is the bound.
    """
    root = np.sqrt(weight)
    q, _ = np.linalg.qr(basis * root[:, None])
    free = 1 - np.sum(q**2, axis=1)
    left = np.abs(root * residual - q @ (q.T @ (root * residual))) / root
    left = np.where(free > 1e-9, left / np.maximum(free, 1e-9), np.inf)
    return float(np.mean(np.minimum(left, 3 * scatter) ** 2))


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
    values = basis[kept] @ solution
    limits = float(values.min()), float(values.max())
    return StarFlat(solution, limits, order, shape, before, mad_width(left[kept]), int(kept.sum()))


@dataclass(frozen=True)
class Patchiness:
    """What calibrators of different places disagree by beyond their noise.

    Parameters
    ----------
    scatter : float
        Between places, mag; 0 where noise explains it.
    n_places : int
    """

    scatter: float
    n_places: int


def _intrinsic(left: NDArray[np.float64], err: NDArray[np.float64]) -> float:
    """Scatter of single stars beyond their errors, mag (colours, variability), by the better half of them."""
    sharp = err <= np.median(err)
    left, err = left[sharp], err[sharp]

    def excess(intrinsic: float) -> float:
        return float(np.median(np.abs(left) / np.hypot(err, intrinsic))) - MEDIAN_OFFSET

    if excess(0.0) <= 0:
        return 0.0
    return float(brentq(excess, 0.0, 2 * float(np.median(np.abs(left)))))


def measure_patchiness(
    x: ArrayLike,
    y: ArrayLike,
    residual: ArrayLike,
    residual_err: ArrayLike,
    shape: tuple[int, int],
    stars_per_place: int = 10,
) -> Patchiness:
    """Scatter between the cells of a grid, by the moments of DerSimonian & Laird (1986).

    Stars far from the others of their cell are left out, those far from the whole image are not: where a
    cloud has an edge they are all the stars of a place.

    Parameters
    ----------
    x, y : array_like [n]
        Pixels.
    residual, residual_err : array_like [n]
        Catalogue minus calibrated magnitude, mag; what stars scatter beyond the errors is found.
    shape : tuple of int
        (ny, nx).
    stars_per_place : int
        Mean number of calibrators in a cell; the grid has at most 8 x 8.
    """
    x, y, residual, err = (np.asarray(a, dtype=np.float64) for a in (x, y, residual, residual_err))
    known = np.isfinite(x + y + residual + err)
    per_side = min(8, int(np.sqrt(known.sum() / stars_per_place)))
    if per_side < 2:
        return Patchiness(0.0, 1)
    residual, err = residual[known], np.hypot(err[known], LEAST_ERROR)
    row, column = (
        np.clip(((a[known] + 0.5) * per_side / size).astype(int), 0, per_side - 1)
        for a, size in ((y, shape[0]), (x, shape[1]))
    )
    cell, n_cells = row * per_side + column, per_side**2
    middle = np.array([np.median(residual[cell == k]) if (cell == k).any() else 0.0 for k in range(n_cells)])
    left = residual - middle[cell]
    err = np.hypot(err, _intrinsic(left, err))
    left /= err
    kept = np.abs(left) < 3.5 * max(mad_width(left), 1e-6)
    number = np.bincount(cell[kept], minlength=n_cells)
    filled = number >= LEAST_IN_PLACE
    n = int(filled.sum())
    if n < 2:
        return Patchiness(0.0, max(n, 1))
    share = np.bincount(cell[kept], weights=err[kept] ** -2, minlength=n_cells)
    mean = np.bincount(cell[kept], weights=residual[kept] / err[kept] ** 2, minlength=n_cells)
    mean /= np.maximum(share, 1e-30)
    inside = np.sum(((residual - mean[cell]) / err)[kept] ** 2) / (kept.sum() - np.count_nonzero(number))
    mean, weight = mean[filled], share[filled] / max(inside, 1e-12)
    chi_square = float(np.sum(weight * (mean - np.average(mean, weights=weight)) ** 2))
    if chi_square < n - 1 + 3 * np.sqrt(2 * (n - 1)):
        return Patchiness(0.0, n)
    excess = (chi_square - (n - 1)) / (weight.sum() - np.sum(weight**2) / weight.sum())
    return Patchiness(float(np.sqrt(excess)), n)
