"""Finds how a pattern of stars lies on a pattern of catalog stars, and how sure that is.

A search votes for shifts over a grid of rotations and scales with the brightest stars; each good shift
is refined with all stars; it counts as found only if so many matches by chance are improbable.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zsds.astrometry.polynomial import PlanePolynomial, fit_order, n_terms, similarity
from zsds.astrometry.positions import nearest
from zsds.astrometry.settings import AstrometrySettings
from zsds.kernels.match import vote

Points = NDArray[np.float64]
MAX_REFINED = 4000  # brightest stars that lead to the final radius
LOW_COMPLETENESS = 0.2  # of the matches possible: perhaps right in a part of the image only
HOPELESS = -4.0  # log odds of a start that richer maps will not save
MIRRORS = (np.eye(2), np.diag([-1.0, 1.0]))


@dataclass(frozen=True)
class Patterns:
    """Two lists of points in one tangent plane, arcsec about the middle of the image, brightest first.

    Parameters
    ----------
    stars, catalog : ndarray of float64 [n, 2], [m, 2]
    half_size : float
        Largest distance of the image's edge from the middle along an axis, arcsec.
    rough, final : float
        Radii of the first and the last matches, arcsec.
    """

    stars: Points
    catalog: Points
    half_size: float
    rough: float
    final: float


@dataclass(frozen=True)
class Search:
    """Ranges of a search and the number of bright stars that vote in it."""

    shift: float
    rotation: float
    scale: float
    n_stars: int = 0
    catalog_factor: float = 1.5
    orientation: Points = field(default_factory=lambda: np.eye(2))


@dataclass(frozen=True)
class Pattern:
    """A map of the stars' plane on the catalog's, with its matches.

    Parameters
    ----------
    orientation : ndarray [2, 2]
        Applied to the stars before ``map``.
    map : PlanePolynomial
    order : int
        Of the map; 0 a similarity.
    stars, catalog : ndarray of int64
        Rows of `Patterns` that match.
    expected : float
        Matches expected by chance.
    log_odds : float
        Minus log10 of the number of equally good chance solutions expected in the whole search.
    uneven : int
        Of 3 x 3 cells, those with far fewer matches than the others let expect.
    completeness : float
        Matches over those possible if the shorter list of each cell were all found.
    """

    orientation: Points
    map: PlanePolynomial
    order: int
    stars: NDArray[np.int64]
    catalog: NDArray[np.int64]
    expected: float
    log_odds: float
    uneven: int
    completeness: float

    def __call__(self, points: Points) -> Points:
        """Where points of the stars' plane lie in the catalog's."""
        return self.map(points @ self.orientation.T)


def find_pattern(patterns: Patterns, settings: AstrometrySettings) -> Pattern | None:
    """The most certain map, or None if no search came upon any.

    The caller judges ``log_odds``; searches go from cheap to costly and end with the first sure one.
    """
    best = None
    for number, search in enumerate(searches(patterns, settings)):
        for start in _starts(patterns, search):
            found = refine(patterns, search, start)
            if found is not None and (best is None or _quality(found) > _quality(best)):
                best = found
            sure = best is not None and best.log_odds >= settings.min_log_odds + 2 and best.uneven == 0
            if sure and (best.completeness > LOW_COMPLETENESS or number > 2):
                return best
    return best


def _quality(pattern: Pattern) -> float:
    return pattern.log_odds / (1 + pattern.uneven)


def searches(patterns: Patterns, settings: AstrometrySettings) -> Iterator[Search]:
    """From the guess itself to far off, and from few bright stars to many."""
    n, turn = settings.n_bright, np.radians(settings.max_rotation_deg)
    wide = settings.wide_factor
    yield Search(2 * patterns.rough, patterns.rough / patterns.half_size, patterns.rough / patterns.half_size)
    for n_stars, factor in ((n, 1.5), (n // 5, 1.5), (n // 2, 5.0), (3 * n, 1.5)):
        yield Search(settings.max_shift_arcsec, turn, settings.max_scale_change, n_stars, factor)
    for n_stars, factor in ((n // 3, 1.5), (n // 3, 5.0)):
        ranges = settings.max_shift_arcsec * wide, turn * wide, settings.max_scale_change * wide
        yield Search(*ranges, n_stars, factor)
    if settings.try_orientations:
        for mirror in MIRRORS:
            ranges = settings.max_shift_arcsec, np.pi, settings.max_scale_change
            yield Search(*ranges, n // 3, 1.5, mirror)


def _starts(patterns: Patterns, search: Search) -> list[PlanePolynomial]:
    """Maps worth refining, best first."""
    if search.n_stars == 0:
        return [similarity(1 + 0j, 0j, patterns.half_size)]
    stars = _spread(patterns.stars, patterns.rough)[: search.n_stars] @ search.orientation.T
    half = patterns.half_size + search.shift
    catalog = patterns.catalog[(np.abs(patterns.catalog) < half).all(axis=1)]
    wanted = len(stars) * search.catalog_factor * (half / patterns.half_size) ** 2
    catalog = _spread(catalog, patterns.rough)[: int(np.ceil(wanted))]
    if len(stars) < 3 or len(catalog) < 3:
        return []
    catalog = np.ascontiguousarray(catalog[np.argsort(catalog[:, 0])])
    step = 1.5 * patterns.rough / patterns.half_size
    angles, scales = _grid(search.rotation, step), 1 + _grid(search.scale, step)
    votes = vote(np.ascontiguousarray(stars), catalog, angles, scales, search.shift, patterns.rough)
    return _peaks(votes, angles, scales, patterns)


def _grid(limit: float, step: float) -> NDArray[np.float64]:
    n = int(np.ceil(limit / step))
    return np.linspace(-limit, limit, 2 * n + 1)


def _spread(points: Points, distance: float) -> Points:
    """The brightest point in each cell: clumps of false detections must not vote together."""
    cells = np.floor(points / (2 * distance)).astype(np.int64)
    _, first = np.unique(cells[:, 0] * 2_000_003 + cells[:, 1], return_index=True)
    return points[np.sort(first)]


def _peaks(
    votes: NDArray[np.float64], angles: Points, scales: Points, patterns: Patterns, n_peaks: int = 4
) -> list[PlanePolynomial]:
    """Distinct peaks of the votes as similarity maps, highest first."""
    chosen: list[tuple[complex, complex]] = []
    for flat in np.argsort(-votes[..., 0], axis=None, kind="stable")[: 40 * n_peaks]:
        k, m = np.unravel_index(flat, votes.shape[:2])
        shift = complex(votes[k, m, 1], votes[k, m, 2])
        factor = scales[m] * np.exp(1j * angles[k])
        near = [abs(shift - s) + abs(factor - f) * patterns.half_size < 6 * patterns.rough for f, s in chosen]
        if not any(near):
            chosen.append((factor, shift))
        if len(chosen) == n_peaks:
            break
    return [similarity(factor, shift, patterns.half_size) for factor, shift in chosen]


def refine(patterns: Patterns, search: Search, start: PlanePolynomial) -> Pattern | None:
    """Better map and its matches, by fits with a shrinking radius; None if it falls apart.

    Few matches allow no distortion at first; once the middle is right a richer map may reach the corners.
    """
    found = _anneal(patterns, search, start, 2 * patterns.rough, 8.0)
    for _ in range(3):
        hopeless = found is None or (found.log_odds < HOPELESS and len(patterns.stars) > 200)
        if hopeless or len(found.stars) >= 10 * n_terms(3):
            break
        richer = _anneal(patterns, search, found.map, patterns.rough, 2.0)
        if richer is None or _quality(richer) <= _quality(found):
            break
        found = richer
    return found


def _anneal(
    patterns: Patterns, search: Search, current: PlanePolynomial, first_radius: float, matches_per_term: float
) -> Pattern | None:
    stars, order = patterns.stars @ search.orientation.T, 0
    area = 4 * (patterns.half_size + search.shift) ** 2
    steps = max(2, int(np.ceil(np.log(first_radius / patterns.final) / np.log(1.6))))
    for radius in np.geomspace(first_radius, patterns.final, steps + 1):
        limit = min(MAX_REFINED, max(30, int(0.25 * area / (np.pi * radius**2))))
        for _ in range(2):
            moved = current(stars[:limit])
            index, neighbour, distance = nearest(moved, patterns.catalog[:limit], radius, one_to_one=True)
            if len(index) < 3:
                return None
            weights = (1 - np.minimum(distance / radius, 0.999) ** 2) ** 2
            order = max(k for k in range(4) if k == 0 or len(index) >= matches_per_term * n_terms(k))
            current = fit_order(stars[index], patterns.catalog[neighbour], weights, order, patterns.half_size)
    return judge(patterns, search, current, order)


def judge(patterns: Patterns, search: Search, current: PlanePolynomial, order: int) -> Pattern | None:
    """Matches within the final radius, and how many chance alone would give."""
    moved = current(patterns.stars @ search.orientation.T)
    index, neighbour, _ = nearest(moved, patterns.catalog, patterns.final, one_to_one=True)
    low, high = moved.min(axis=0), moved.max(axis=0)
    inside = ((patterns.catalog >= low) & (patterns.catalog <= high)).all(axis=1)
    if len(index) < 3 or not inside.any():
        return None
    rows = np.flatnonzero(inside)
    area = max(float(np.prod(high - low)), np.pi * patterns.final**2)
    subsets = []
    for n_stars, n_catalog in _subsets(len(moved), len(rows)):
        found = int(((index < n_stars) & (neighbour <= rows[n_catalog - 1])).sum())
        mean = n_stars * n_catalog * np.pi * patterns.final**2 / area
        subsets.append((-_log_tail(found, mean), found, n_stars, n_catalog, mean))
    _, found, n_stars, n_catalog, mean = max(subsets)
    expected = _chance(moved[:n_stars], patterns.catalog[rows[:n_catalog]], patterns.final, mean)
    log_odds = -_log_tail(found, expected) - _log_trials(patterns, search, order)
    uneven, completeness = evenness(moved, patterns.catalog[rows], moved[index])
    return Pattern(
        search.orientation, current, order, index, neighbour, expected, log_odds, uneven, completeness
    )


def _subsets(n_stars: int, n_catalog: int) -> list[tuple[int, int]]:
    """Numbers of the brightest of each list to compare: their depths may differ."""
    pairs = {(n_stars, n_catalog)}
    for factor in (1, 3):
        pairs.add((n_stars, min(n_catalog, factor * n_stars)))
        pairs.add((min(n_stars, factor * n_catalog), n_catalog))
    return sorted(pairs)


def _chance(stars: Points, catalog: Points, radius: float, mean: float) -> float:
    """Matches expected by chance: by the mean density, or as counted in shifted lists if that is more."""
    if mean < 0.3:
        return mean
    shifts = radius * np.array([[5, 0], [0, 6], [-7, 0], [0, -8]])
    counts = [len(nearest(stars + shift, catalog, radius, one_to_one=True)[0]) for shift in shifts]
    return max(0.5 * mean, float(np.mean(counts)))


def _log_tail(found: int, expected: float) -> float:
    """Log10 of the Chernoff bound on finding so many where a Poisson law expects ``expected``."""
    if found <= expected:
        return 0.0
    return (found - expected + found * np.log(expected / found)) / np.log(10)


def _log_trials(patterns: Patterns, search: Search, order: int) -> float:
    """Log10 of the independent solutions within a search; each free coefficient multiplies them."""
    radius, size = patterns.final, patterns.half_size
    cells = (2 * search.shift / radius) ** 2
    turns = (2 * search.rotation * size / radius + 1) * (2 * search.scale * size / radius + 1)
    more = 2 * (n_terms(order) - 2) if order else 0
    return float(np.log10(cells * turns) + more * np.log10(patterns.rough / radius))


def evenness(stars: Points, catalog: Points, matched: Points) -> tuple[int, float]:
    """Cells of 3 x 3 that lack the matches expected there, and the part of the possible matches found."""
    edges = [np.linspace(stars[:, k].min(), stars[:, k].max(), 4) for k in range(2)]
    n_stars, n_catalog, found = (
        np.histogram2d(*points.T, bins=edges)[0] for points in (stars, catalog, matched)
    )
    possible = np.minimum(n_stars, n_catalog)
    completeness = found.sum() / max(possible.sum(), 1)
    expected = possible * completeness
    lacking = (expected >= 5) & (found < 0.2 * expected) & (expected - found > 2.2 * np.sqrt(expected))
    return int(lacking.sum()), float(completeness)
