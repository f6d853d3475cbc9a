import numpy as np
import pytest

from zsds.astrometry import match_positions


def test_nearest_within_the_radius():
    found = match_positions([10.0, 20.0, 30.0], [0, 0, 0], [20.0001, 10.0, 20.0002], [0, 0.0002, 0], 1.0)
    assert found.first.tolist() == [0, 1]
    assert found.second.tolist() == [1, 0]
    assert found.distance_arcsec == pytest.approx([0.72, 0.36])


@pytest.mark.parametrize(("radius", "n"), [(1.7999, 0), (1.8001, 1)])
def test_both_sides_of_the_radius(radius, n):
    assert len(match_positions([10.0], [60.0], [10.001], [60.0], radius)) == n


def test_wraps_in_ra_and_at_the_poles():
    assert match_positions([359.9999], [0], [0.0001], [0], 1).distance_arcsec == pytest.approx([0.72])
    assert match_positions([10.0], [89.9999], [190.0], [89.9999], 1).distance_arcsec == pytest.approx([0.72])


def test_one_to_one_keeps_the_closest():
    many = match_positions([1.0, 1.0001, 5], [0, 0, 0], [1.00008, 5], [0, 0], 1)
    one = match_positions([1.0, 1.0001, 5], [0, 0, 0], [1.00008, 5], [0, 0], 1, one_to_one=True)
    assert many.first.tolist() == [0, 1, 2]
    assert one.first.tolist() == [1, 2]
    assert one.second.tolist() == [0, 1]


def test_empty_and_unusable_positions():
    assert len(match_positions([], [], [1], [1], 5)) == 0
    assert len(match_positions([1], [1], [], [], 5)) == 0
    assert match_positions([np.nan, 1], [0, 1], [1, np.nan], [1, 0], 5).first.tolist() == [1]


def test_same_as_comparing_all_pairs():
    rng = np.random.default_rng(1)
    ra1, dec1, ra2, dec2 = rng.uniform(0, 1, (4, 200))
    found = match_positions(ra1, dec1, ra2, dec2, 60)
    dx = (ra1[:, None] - ra2) * np.cos(np.radians((dec1[:, None] + dec2) / 2))
    distance = np.hypot(dx, dec1[:, None] - dec2) * 3600
    assert found.first.tolist() == np.flatnonzero(distance.min(axis=1) < 60).tolist()
    assert found.second.tolist() == distance.argmin(axis=1)[found.first].tolist()
    assert found.distance_arcsec == pytest.approx(distance.min(axis=1)[found.first], rel=1e-3)
