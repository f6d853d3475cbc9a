"""Nearest neighbours between two lists of positions, on the sphere or in a plane."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from zsds.core.sphere import angle_arcsec, chord, unit_vectors
from zsds.kernels.match import nearest_points


@dataclass(frozen=True)
class Matches:
    """Pairs of rows: indices into the first and the second list, and their distance.

    Parameters
    ----------
    first, second : ndarray of int64 [n]
        Sorted by ``first``.
    distance_arcsec : ndarray of float64 [n]
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance_arcsec: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)


def match_positions(
    ra1: ArrayLike,
    dec1: ArrayLike,
    ra2: ArrayLike,
    dec2: ArrayLike,
    radius_arcsec: float,
    one_to_one: bool = False,
) -> Matches:
    """For each position of the first list its nearest neighbour in the second.

    Parameters
    ----------
    ra1, dec1, ra2, dec2 : array_like [n], [m]
        Degrees; rows that are not finite match nothing.
    radius_arcsec : float
        Largest distance, inclusive.
    one_to_one : bool
        Keep a pair only if each is the other's nearest.

    Returns
    -------
    Matches
    """
    first, second = (unit_vectors(np.atleast_1d(a), np.atleast_1d(b)) for a, b in ((ra1, dec1), (ra2, dec2)))
    index, neighbour, distance = nearest(first, second, chord(radius_arcsec), one_to_one)
    return Matches(index, neighbour, angle_arcsec(distance))


def nearest(
    first: NDArray[np.float64], second: NDArray[np.float64], radius: float, one_to_one: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Rows of ``first`` [n, d] with a neighbour in ``second`` [m, d]: both indices and the distance."""
    rows1 = np.flatnonzero(np.isfinite(first).all(axis=1))
    rows2 = np.flatnonzero(np.isfinite(second).all(axis=1))
    if len(rows1) == 0 or len(rows2) == 0:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    reach = np.nextafter(radius * (1 + 1e-12), np.inf)
    if first.shape[1] == 2:  # on a plane
        neighbour, distance = np.empty(len(rows1), np.int64), np.empty(len(rows1))
        nearest_points(first[rows1], second[rows2], reach, neighbour, distance)
    else:
        distance, neighbour = cKDTree(second[rows2]).query(first[rows1], distance_upper_bound=reach)
    index = np.flatnonzero(neighbour < len(rows2))
    if one_to_one:
        index = _mutual(index, neighbour, distance, len(rows2))
    return rows1[index], rows2[neighbour[index]], distance[index]


def _mutual(
    index: NDArray[np.int64], neighbour: NDArray[np.int64], distance: NDArray[np.float64], size: int
) -> NDArray[np.int64]:
    """Of those with the same neighbour, the closest."""
    order = index[np.argsort(distance[index], kind="stable")]
    winner = np.full(size, -1, dtype=np.int64)
    winner[neighbour[order[::-1]]] = order[::-1]
    return np.sort(winner[winner >= 0])
