"""The shift between two star lists, by a vote."""

import numpy as np
import pytest

from zsds.astrometry import find_offset


@pytest.mark.parametrize(("n", "shift"), [(4, (0.3, -0.2)), (40, (12.0, 9.0)), (200, (-5.5, 0.0))])
def test_shift_is_found(n, shift):
    rng = np.random.default_rng(n)
    first = rng.uniform(0, 500, (n, 2))
    second = np.concatenate([first + shift + rng.normal(0, 0.05, (n, 2)), rng.uniform(0, 500, (n // 2, 2))])
    found = find_offset(first, rng.permutation(second))
    assert found.dx == pytest.approx(shift[0], abs=5 * 0.06 / np.sqrt(n) + 0.01)
    assert found.dy == pytest.approx(shift[1], abs=5 * 0.06 / np.sqrt(n) + 0.01)
    assert len(found.first) >= 0.9 * n
    assert len(set(found.first.tolist())) == len(found.first) == len(set(found.second.tolist()))


def test_nothing_in_common_is_no_offset():
    rng = np.random.default_rng(5)
    found = find_offset(rng.uniform(0, 500, (100, 2)), rng.uniform(0, 500, (100, 2)))
    assert (found.dx, found.dy, len(found.first)) == (0, 0, 0)


def test_too_few_and_empty_lists():
    pair = np.array([[10.0, 20.0], [30.0, 40.0]])
    assert len(find_offset(pair, pair).first) == 0  # two agree by chance too easily
    three = np.array([[10.0, 20.0], [130.0, 40.0], [20.0, 240.0]])
    assert len(find_offset(three, three + 1).first) == 3
    assert len(find_offset(three, np.empty((0, 2))).first) == 0
    lost = np.vstack([three, [np.nan, 1.0]])
    lost.flags.writeable = False
    assert len(find_offset(lost, three + 1).first) == 3


def test_beyond_the_radius_is_not_found():
    rng = np.random.default_rng(6)
    first = rng.uniform(0, 500, (50, 2))
    assert len(find_offset(first, first + np.array([25.0, 0.0])).first) == 0
    assert len(find_offset(first, first + np.array([19.0, 0.0])).first) >= 48
