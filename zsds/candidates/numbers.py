"""Numbers of candidates: within a sign by rank; in a later version of an image, sources keep theirs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds.core.errors import UnusableData
from zsds.core.ids import ROWS_PER_SIGN, candidate_id

SAME_PX = 1.0  # peaks of one sign are resolved no closer than this
GONE = ["is_positive", "tblid", "x", "y"]  # what stays known of a candidate that is found no more


@dataclass(frozen=True)
class Numbered:
    """Candidates of one image with their numbers, and who else ever had one.

    Parameters
    ----------
    candidates : Table
        With the columns ``tblid`` and ``candid``.
    gone : Table
        Those of earlier versions that are not found now: `GONE`.
    """

    candidates: Table
    gone: Table

    def of_sign(self, positive: bool) -> list[Table]:
        """Candidates of a sign, then those that are gone."""
        return [table[table["is_positive"] == positive][GONE] for table in (self.candidates, self.gone)]


def number(found: Table, pid: int) -> Table:
    """Candidates numbered by their order in the table, within each sign."""
    positive = found["is_positive"]
    rank = np.where(positive, np.cumsum(positive), np.cumsum(~positive)) - 1
    return _with_numbers(found, rank, pid)


def numbers_of(candidates: Table, gone: Mapping[str, Sequence[Any]] | None = None) -> Numbered:
    """Candidates that have numbers, and columns of those that had some in earlier versions."""
    values = gone or dict.fromkeys(GONE, ())
    table = Table({name: np.array(values[name], candidates[name].dtype) for name in GONE})
    return Numbered(candidates, table)


def number_again(found: Table, pid: int, before: Numbered) -> Numbered:
    """Candidates of an image that was made again: who was ever there keeps the number.

    A candidate is one of those of the version before, or else of an earlier one, if both are each other's
    nearest of the sign, closer than `SAME_PX`. Others get numbers that nobody ever had, so that no alert that
    went out can be taken for another source; only when these run out, such as are free now.

    Raises
    ------
    UnusableData
        With more candidates of one sign than there are numbers.
    """
    numbers = np.full(len(found), -1)
    gone = []
    for positive in (False, True):
        here = np.flatnonzero(found["is_positive"] == positive)
        known = before.of_sign(positive)
        for old in known:
            unknown = here[numbers[here] < 0]
            partner = _partners(_places(found[unknown]), _places(old))
            numbers[unknown] = np.append(old["tblid"], -1)[partner]
        ever, unknown = vstack(known), here[numbers[here] < 0]
        n_given = 1 + int(max(ever["tblid"], default=-1))
        numbers[unknown] = _fresh_numbers(len(unknown), n_given, set(numbers[here].tolist()))
        gone.append(ever[~np.isin(ever["tblid"], numbers[here])])
    return Numbered(_with_numbers(found, numbers, pid), vstack(gone))


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
