"""Which object a candidate belongs to: the nearest within a radius, else a new one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from zsds.astrometry.positions import match_positions
from zsds.core.sphere import chord, unit_vectors

RADIUS_ARCSEC = 1.5


@dataclass(frozen=True)
class Association:
    """What `associate_objects` found, one row per candidate.

    Parameters
    ----------
    known : ndarray of int [n]
        Row of the known object, -1 when none is near.
    new : ndarray of int [n]
        Number, from 0, of the new object the candidate founds or joins, -1 when it has a known one.
    founds : ndarray of bool [n]
        Whether the candidate is the first of its new object.
    """

    known: NDArray[np.int64]
    new: NDArray[np.int64]
    founds: NDArray[np.bool_]


def associate_objects(
    ra: ArrayLike,
    dec: ArrayLike,
    known_ra: ArrayLike,
    known_dec: ArrayLike,
    radius_arcsec: float = RADIUS_ARCSEC,
) -> Association:
    """Give each candidate the nearest known object, else a new one, in the order of the candidates.

    Candidates without a known object that lie within the radius of one another (a dipole, the overlap of two
    quadrants) share the new object of the first of them; a later one joins the nearest founded before it.

    Parameters
    ----------
    ra, dec : array [n]
        Candidates, degrees.
    known_ra, known_dec : array [m]
        Objects, degrees.
    radius_arcsec : float
        A distance equal to it still matches.
    """
    points = unit_vectors(np.atleast_1d(ra), np.atleast_1d(dec))
    known = nearest(ra, dec, known_ra, known_dec, radius_arcsec)
    new = np.full(len(points), -1, np.int64)
    founds = np.zeros(len(points), bool)
    founders: list[int] = []
    if len(points) == 0:
        return Association(known, new, founds)
    neighbours = cKDTree(points).query_ball_point(points, chord(radius_arcsec))
    for row in range(len(points)):
        if known[row] >= 0:
            continue
        near = [other for other in neighbours[row] if founds[other]]
        if near:
            distance = np.linalg.norm(points[near] - points[row], axis=1)
            new[row] = new[near[int(np.argmin(distance))]]
        else:
            new[row], founds[row] = len(founders), True
            founders.append(row)
    return Association(known, new, founds)


def nearest(
    ra: ArrayLike, dec: ArrayLike, other_ra: ArrayLike, other_dec: ArrayLike, radius_arcsec: float
) -> NDArray[np.int64]:
    """Row of the nearest other position within the radius, -1 without one."""
    matches = match_positions(ra, dec, other_ra, other_dec, radius_arcsec)
    row = np.full(len(np.atleast_1d(ra)), -1, np.int64)
    row[matches.first] = matches.second
    return row
