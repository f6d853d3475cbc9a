"""Numbers that sources keep when their image is made again."""

import numpy as np
import pytest

from zsds.candidates.numbers import Numbered, number, number_again, numbers_of
from zsds.core.errors import UnusableData
from zsds.core.ids import ROWS_PER_SIGN
from zsds.core.tables import new_table

PID = 739260763115


def candidates(places, positive=None):
    table = new_table("candidates", len(places))
    if places:
        table["x"], table["y"] = np.array(places, float).T
    table["is_positive"] = np.ones(len(places), bool) if positive is None else np.array(positive)
    return table


def test_numbers_count_within_a_sign_in_the_order_of_the_table():
    found = number(candidates([(1, 1), (2, 2), (3, 3)], [True, False, True]), PID)
    assert found["tblid"].tolist() == [0, 0, 1]
    assert found["candid"].tolist() == [PID * 10**6 + row for row in (15000, 10000, 15001)]
    assert numbers_of(found).n_given == (1, 2)
    empty = number(candidates([]), PID)
    assert numbers_of(empty).n_given == (0, 0)
    assert empty["candid"].dtype == np.int64


def test_sources_keep_their_numbers_and_new_ones_get_fresh_ones():
    before = numbers_of(number(candidates([(10, 10), (20, 20), (30, 30)]), PID))
    found = candidates([(30.3, 29.9), (50, 50), (10, 10.9), (20, 21.1)])  # the last is no longer the same
    after = number_again(found, PID, before)
    assert after.candidates["tblid"].tolist() == [2, 3, 0, 4]
    assert after.n_given == (0, 5)
    third = number_again(candidates([(50, 50), (70, 70)]), PID, after)
    assert third.candidates["tblid"].tolist() == [3, 5]  # 4 was given once, to a source that is gone
    assert third.n_given == (0, 6)


def test_signs_do_not_mix_and_each_source_has_one_partner():
    before = numbers_of(number(candidates([(10, 10), (40, 40)], [False, True]), PID))
    found = candidates([(10, 10), (40.2, 40), (40.6, 40)], [True, True, True])
    after = number_again(found, PID, before)
    assert after.candidates["tblid"].tolist() == [1, 0, 2]
    assert len(set(after.candidates["candid"].tolist())) == 3


def test_the_same_table_again_changes_nothing():
    rng = np.random.default_rng(3)
    first = number(candidates(rng.uniform(0, 300, (200, 2)).tolist(), rng.random(200) < 0.5), PID)
    again = number_again(first, PID, numbers_of(first))
    assert again.candidates["candid"].tolist() == first["candid"].tolist()
    assert again.n_given == numbers_of(first).n_given


def test_numbers_that_run_out_are_those_that_are_free():
    known = number(candidates([(10, 10), (20, 20)]), PID)
    after = number_again(candidates([(20, 20), (90, 90)]), PID, Numbered(known, (0, ROWS_PER_SIGN)))
    assert after.candidates["tblid"].tolist() == [1, 0]
    crowd = candidates([(float(x), 0.0) for x in range(0, 2 * ROWS_PER_SIGN + 2, 2)])
    with pytest.raises(UnusableData, match="too many candidates of one sign"):
        number_again(crowd, PID, numbers_of(known))
