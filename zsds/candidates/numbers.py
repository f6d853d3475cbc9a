"""Numbers of candidates: within a sign by rank; in a later version of an image, sources keep theirs."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds.core.errors import UnusableData
from zsds.core.ids import ROWS_PER_SIGN, candidate_id

SAME_PX = 1.0  # peaks of one sign are resolved no closer than this


@dataclass(frozen=True)
class Numbered:
    """Candidates of one image with their numbers.

    Parameters
    ----------
    candidates : Table
        With the columns ``tblid`` and ``candid``.
    n_given : tuple of int
        Numbers that were ever given to negative and to positive candidates of the image.
    """

    candidates: Table
    n_given: tuple[int, int]


def number(found: Table, pid: int) -> Table:
    """Candidates numbered by their order in the table, within each sign."""
    positive = found["is_positive"]
    rank = np.where(positive, np.cumsum(positive), np.cumsum(~positive)) - 1
    return _with_numbers(found, rank, pid)


def numbers_of(candidates: Table) -> Numbered:
    """Candidates that have numbers, where no others were ever given."""
    positive, row = candidates["is_positive"], candidates["tblid"]
    negative_given, positive_given = (1 + max(row[chosen], default=-1) for chosen in (~positive, positive))
    return Numbered(candidates, (int(negative_given), int(positive_given)))


def number_again(found: Table, pid: int, before: Numbered) -> Numbered:
    """Candidates of an image that was made again: who was there before keeps the number.

    A candidate is one of those before if both are each other's nearest of the sign, closer than `SAME_PX`.
    Others get numbers that nobody ever had, so that no alert that went out can be taken for another source;
    only when these run out, such as are free now.

    Raises
    ------
    UnusableData
        With more candidates of one sign than there are numbers.
    """
    numbers = np.empty(len(found), np.int64)
    n_given = list(before.n_given)
    for sign, positive in enumerate((False, True)):
        here = np.flatnonzero(found["is_positive"] == positive)
        old = before.candidates[before.candidates["is_positive"] == positive]
        partner = _partners(_places(found[here]), _places(old))
        known = np.append(old["tblid"], -1)[partner]
        fresh = _fresh_numbers(int(np.sum(partner < 0)), n_given[sign], set(known.tolist()))
        known[partner < 0] = fresh
        numbers[here] = known
        n_given[sign] = max(n_given[sign], 1 + max(fresh, default=-1))
    return Numbered(_with_numbers(found, numbers, pid), (n_given[0], n_given[1]))


def _with_numbers(found: Table, numbers: NDArray[np.int64], pid: int) -> Table:
    numbered = found.copy()
    numbered["tblid"] = numbers
    signs = found["is_positive"].tolist()
    candids = [candidate_id(pid, row, sign) for row, sign in zip(numbers.tolist(), signs, strict=True)]
    numbered["candid"] = np.array(candids, np.int64)
    return numbered


def _places(table: Table) -> NDArray[np.float64]:
    return np.column_stack([table["x"], table["y"]]).astype(float)


def _partners(here: NDArray[np.float64], there: NDArray[np.float64]) -> NDArray[np.int64]:
    """Row of the partner of each place here, -1 without one."""
    if not len(here) or not len(there):
        return np.full(len(here), -1)
    apart, nearest = cKDTree(there).query(here)
    _, back = cKDTree(here).query(there)
    return np.where((apart < SAME_PX) & (back[nearest] == np.arange(len(here))), nearest, -1)


def _fresh_numbers(count: int, first: int, taken: set[int]) -> list[int]:
    never = range(first, ROWS_PER_SIGN)
    free = [*never, *(row for row in range(first) if row not in taken)]
    if count > len(free):
        raise UnusableData("too many candidates of one sign", {"candidates": float(count + len(taken))})
    return free[:count]
