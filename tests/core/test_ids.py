"""Ids against numbers found in real ZTF packets and file names."""

import pytest

from zsds.core.errors import WrongCall
from zsds.core.ids import (
    QuadrantId,
    candidate_id,
    file_time,
    night_id,
    object_name,
    parse_night,
    processing_id,
    reference_id,
)


def test_night_ids_of_real_packets():
    assert night_id(58493.2) == 739  # 2019-01-10
    assert night_id(60229.4) == 2475  # 2023-10-12


def test_processing_and_candidate_id_of_a_real_packet():
    pid = processing_id(58493 + 0.260764, 31)  # candid 739260766315010006 begins with 739 26076
    assert pid == 739260763115
    assert candidate_id(pid, 6, positive=True) == 739260763115015006
    assert candidate_id(pid, 6, positive=False) == 739260763115010006


def test_reference_id():
    assert reference_id(249, 1, 32) == 249120132


def test_object_names_count_in_letters():
    assert object_name(0, 2026) == "ZTF26aaaaaaa"
    assert object_name(27, 2026) == "ZTF26aaaaabb"


def test_quadrant_id_round_trip():
    text = "ztf_20250120147292_000249_zg_c09_o_q1"
    found = QuadrantId.parse(text + "_sciimg.fits")
    assert str(found) == text
    assert found.channel == (9, 1)
    with pytest.raises(ValueError, match="not a quadrant id"):
        QuadrantId.parse("master_flat.fits")


def test_file_time_truncates():
    assert file_time(60695.1473264) == "20250120147326"


def test_nights_are_dates():
    assert parse_night("20240229") == "20240229"
    for wrong in ("20230229", "2023011", "tonight", "../../..", " 20230101", "2023010１", ""):
        with pytest.raises(WrongCall, match="YYYYMMDD"):
            parse_night(wrong)
