"""Weighted, clipped polynomial fits of matched stars; the data choose the order."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds.astrometry.polynomial import PlanePolynomial, design, fit_order, n_terms
from zsds.astrometry.settings import AstrometrySettings

Points = NDArray[np.float64]
MAX_ROUNDS = 8  # of fit and clipping
LARGEST_SQUARE = (
    3.0  # of a star's squared offset, in units of its expectation, when the common error is found
)


@dataclass(frozen=True)
class Fit:
    """A map with the matches it kept.

    Parameters
    ----------
    map : PlanePolynomial
    used : ndarray of bool [n]
    sigma : ndarray of float64 [n]
        Error of each match per axis including ``jitter``, arcsec.
    jitter : float
        Error per axis common to all stars that makes chi-squared 1 per degree of freedom, arcsec.
    bic : float
        Bayesian information criterion.
    order : int
        Of the polynomial; 0 a similarity.
    """

    map: PlanePolynomial
    used: NDArray[np.bool_]
    sigma: NDArray[np.float64]
    jitter: float
    bic: float
    order: int


def fit_best_order(
    points: Points,
    targets: Points,
    errors: Points,
    scale: float,
    settings: AstrometrySettings,
    proven: int = 0,
) -> Fit:
    """Fit of the order with the lowest Bayesian information criterion.

    Parameters
    ----------
    points, targets : ndarray of float64 [n, 2]
        Matched positions, arcsec.
    errors : ndarray of float64 [n]
        Known error per axis, arcsec.
    scale : float
        Half size of the field, arcsec.
    settings : AstrometrySettings
    proven : int
        Order that the pattern needed, tried even if matches are few.

    Returns
    -------
    Fit
    """
    pairs = _Pairs(points, targets, errors, scale, settings.clip_sigma, settings.usual_error_arcsec)
    everything = np.ones(len(points), dtype=bool)
    needed = [2 if k <= proven else settings.matches_per_term for k in range(settings.max_order + 1)]
    allowed = [k for k in range(1, settings.max_order + 1) if len(points) >= needed[k] * n_terms(k)]
    if not allowed:
        return _clipped_fit(pairs, 0, everything)
    richest = _clipped_fit(pairs, allowed[-1], everything)
    fits = [_clipped_fit(pairs, order, richest.used, richest.jitter, fixed=True) for order in allowed]
    best = min(fits, key=lambda fit: fit.bic)
    return _clipped_fit(pairs, best.order, richest.used, richest.jitter)


@dataclass(frozen=True)
class _Pairs:
    points: Points
    targets: Points
    errors: Points
    scale: float
    clip_sigma: float
    usual_error: float

    def common_error(self, squares: Points, used: NDArray[np.bool_]) -> float:
        """Of the stars used and one more of usual offset: a few precise ones may agree by chance."""
        usual = self.usual_error
        return common_error(np.append(squares[used], 2 * usual**2), np.append(self.errors[used], usual / 10))


def _clipped_fit(
    pairs: _Pairs, order: int, used: NDArray[np.bool_], level: float | None = None, fixed: bool = False
) -> Fit:
    """Fit of one order (0: a similarity), clipped, that starts from the stars ``used`` and the common error.

    Without a ``level`` of that error all stars weigh alike at first: a blend of tiny formal error would draw
    the map to itself, and widen the error of all others until it looks like the best of matches.
    """
    points, errors = pairs.points, pairs.errors
    sigma = np.ones(len(points)) if level is None else np.hypot(errors, level)
    for _ in range(MAX_ROUNDS):
        chosen = fit_order(points[used], pairs.targets[used], 1 / sigma[used] ** 2, order, pairs.scale)
        squares = ((pairs.targets - chosen(points)) ** 2).sum(axis=1)
        freedom = max(2 * used.sum() - 2 * max(n_terms(order), 2), 1) / (2 * used.sum())
        before = level
        if level is None or not fixed:
            level = pairs.common_error(squares / freedom, used)
        sigma = np.hypot(errors, level)
        kept = squares < (pairs.clip_sigma * sigma) ** 2
        settled = before is not None and abs(level - before) <= 0.01 * before
        if kept.sum() < max(3, n_terms(order)) or (settled and np.array_equal(kept, used)):
            break
        used = kept
    limited = np.minimum(squares / sigma**2, pairs.clip_sigma**2)
    bic = float(limited.sum() + 2 * n_terms(order) * np.log(2 * len(points)))
    return Fit(chosen, used, sigma, level, bic, order)


def map_errors(fit: Fit, points: Points, places: Points) -> Points:
    """Errors per axis, arcsec, of a fit to ``points`` [n, 2] at places [m, 2], from those of its matches."""
    used, weight = points[fit.used], 1 / fit.sigma[fit.used] ** 2
    if fit.order == 0:
        middle = np.average(used, axis=0, weights=weight)
        spread = weight @ ((used - middle) ** 2).sum(axis=1)
        return np.sqrt(1 / weight.sum() + ((places - middle) ** 2).sum(axis=1) / spread)
    basis = design(used / fit.map.scale, fit.order)
    covariance = np.linalg.pinv(basis.T @ (weight[:, None] * basis))
    there = design(places / fit.map.scale, fit.order)
    return np.sqrt(np.einsum("ij,jk,ik->i", there, covariance, there))


def common_error(squares: Points, errors: Points) -> float:
    """Most probable error per axis beside each ``errors``, arcsec, given squared offsets of both axes.

    Precise stars decide: those whose own errors are larger say little. The squares of single stars count no
    more than `LARGEST_SQUARE` times their expectation, so outliers do not widen it.
    """
    expected = 1 - np.exp(-LARGEST_SQUARE)

    def excess(jitter: float) -> float:
        variance = errors**2 + jitter**2
        return float(np.sum((np.minimum(squares / (2 * variance), LARGEST_SQUARE) - expected) / variance))

    low, high = 0.0, float(np.sqrt(np.median(squares))) + 1e-6
    if excess(low) <= 0:
        return 0.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return high
