"""Numbers that sources keep when their image is made again."""

import numpy as np
import pytest

from zsds.candidates.numbers import number, number_again, numbers_of
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
    assert len(numbers_of(found).gone) == 0
    empty = number(candidates([]), PID)
    assert empty["candid"].dtype == np.int64


def test_sources_keep_their_numbers_and_new_ones_get_fresh_ones():
    before = numbers_of(number(candidates([(10, 10), (20, 20), (30, 30)]), PID))
    found = candidates([(30.3, 29.9), (50, 50), (10, 10.9), (20, 21.1)])  # the last is no longer the same
    after = number_again(found, PID, before)
    assert after.candidates["tblid"].tolist() == [2, 3, 0, 4]
    assert after.gone["tblid"].tolist() == [1]
    third = number_again(candidates([(50, 50), (70, 70)]), PID, after)
    assert third.candidates["tblid"].tolist() == [3, 5]  # 4 was given once, to a source that is gone
    assert sorted(third.gone["tblid"]) == [0, 1, 2, 4]


def test_a_source_that_was_lost_and_is_found_again_has_its_number_again():
    first = numbers_of(number(candidates([(10, 10), (20, 20), (30, 30)]), PID))
    second = number_again(candidates([(20, 20), (10.7, 10)]), PID, first)
    assert second.candidates["tblid"].tolist() == [1, 0]
    kept = {name: second.gone[name].tolist() for name in second.gone.colnames}
    third = number_again(
        candidates([(30.1, 30), (10, 10), (90, 90)]), PID, numbers_of(second.candidates, kept)
    )
    assert third.candidates["tblid"].tolist() == [2, 0, 3]
    assert third.gone["tblid"].tolist() == [1]


def test_those_of_the_version_before_come_first():
    first = numbers_of(number(candidates([(10, 10), (50, 50)]), PID))
    second = number_again(candidates([(11.2, 10)]), PID, first)
    assert second.candidates["tblid"].tolist() == [2]
    third = number_again(candidates([(10.5, 10)]), PID, second)
    assert third.candidates["tblid"].tolist() == [2]
    assert sorted(third.gone["tblid"]) == [0, 1]


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
    assert len(again.gone) == 0


def test_numbers_that_run_out_are_those_that_are_free():
    known = number(candidates([(10, 10), (20, 20)]), PID)
    gone = {"is_positive": [True], "tblid": [ROWS_PER_SIGN - 1], "x": [70.0], "y": [70.0]}
    after = number_again(candidates([(20, 20), (90, 90)]), PID, numbers_of(known, gone))
    assert after.candidates["tblid"].tolist() == [1, 0]
    assert after.gone["tblid"].tolist() == [ROWS_PER_SIGN - 1]
    crowd = candidates([(float(x), 0.0) for x in range(0, 2 * ROWS_PER_SIGN + 2, 2)])
    with pytest.raises(UnusableData, match="too many candidates of one sign"):
        number_again(crowd, PID, numbers_of(known))
