"""The shift between two lists of pixel positions of the same sky."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import poisson

MOST_CHANCE = 1e-3  # probability that unrelated lists agree as well somewhere within the radius
Positions = NDArray[np.float64]


@dataclass(frozen=True)
class Offset:
    """Second minus first position, pixels, and the rows of the pairs it was taken from.

    Parameters
    ----------
    dx, dy : float
        Median of the pairs; 0 when there is no offset to be found.
    first, second : ndarray of int64 [n]
        Rows of the two lists; empty when nothing was found.
    chance : float
        Pairs that a random place within the radius would have collected.
    """

    dx: float
    dy: float
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    chance: float


def find_offset(
    first: Positions, second: Positions, radius: float = 20.0, tolerance: float = 1.0, min_pairs: int = 3
) -> Offset:
    """The shift that brings most positions together, by a vote of all pairs within ``radius``.

    Parameters
    ----------
    first, second : ndarray of float64 [n, 2], [m, 2]
        Positions in the same pixels; rows that are not finite are left out.
    radius : float
        Largest shift, pixels.
    tolerance : float
        Pairs that agree lie within this distance of their median, pixels.
    min_pairs : int
        Fewer pairs, or no more than chance may give, are no offset.
    """
    rows_a, rows_b = (np.flatnonzero(np.isfinite(p).all(axis=1)) for p in (first, second))
    none = Offset(0.0, 0.0, np.empty(0, np.int64), np.empty(0, np.int64), 0.0)
    if not rows_a.size or not rows_b.size:
        return none
    near = cKDTree(first[rows_a]).query_ball_tree(cKDTree(second[rows_b]), radius)
    a = np.repeat(np.arange(rows_a.size), [len(found) for found in near])
    b = np.array([j for found in near for j in found], dtype=np.int64)
    if not b.size:
        return none
    shift = second[rows_b[b]] - first[rows_a[a]]
    votes = cKDTree(shift).query_ball_point(shift, tolerance, return_length=True)
    centre = shift[int(np.argmax(votes))]
    for _ in range(3):
        agree = np.hypot(*(shift - centre).T) < tolerance
        centre = np.median(shift[agree], axis=0)
    pairs = _each_once(a[agree], b[agree], np.hypot(*(shift[agree] - centre).T))
    chance = b.size * (tolerance / radius) ** 2
    by_chance = poisson.sf(len(pairs[0]) - 1, chance) * (radius / tolerance) ** 2
    if len(pairs[0]) < min_pairs or by_chance > MOST_CHANCE:
        return none
    return Offset(float(centre[0]), float(centre[1]), rows_a[pairs[0]], rows_b[pairs[1]], float(chance))


def _each_once(
    a: NDArray[np.int64], b: NDArray[np.int64], distance: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The closest pairs, no row of either list twice."""
    order = np.argsort(distance, kind="stable")
    seen_a: set[int] = set()
    seen_b: set[int] = set()
    kept = []
    for k in order.tolist():
        if int(a[k]) not in seen_a and int(b[k]) not in seen_b:
            seen_a.add(int(a[k]))
            seen_b.add(int(b[k]))
            kept.append(k)
    return a[kept], b[kept]
