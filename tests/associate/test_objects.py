"""Association against brute force and in the cases that decide names."""

import numpy as np
import pytest

from zsds.associate.objects import associate_objects, nearest

ARCSEC = 1 / 3600


def brute_nearest(ra, dec, other_ra, other_dec, radius):
    found = []
    for r, d in zip(ra, dec, strict=True):
        a, b = np.radians(other_dec), np.radians(d)
        h = np.sin((a - b) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(other_ra - r) / 2) ** 2
        distance = np.degrees(2 * np.arcsin(np.sqrt(h))) * 3600
        found.append(int(np.argmin(distance)) if distance.min() <= radius else -1)
    return found


@pytest.mark.parametrize(("ra", "dec"), [(10.0, 0.0), (359.9999, 45.0), (77.0, 89.9995), (200.0, -89.9999)])
def test_nearest_is_that_of_brute_force(ra, dec):
    rng = np.random.default_rng(4)
    spread = 20 * ARCSEC
    other_ra = (ra + rng.uniform(-spread, spread, 200) / max(np.cos(np.radians(dec)), 1e-4)) % 360
    other_dec = np.clip(dec + rng.uniform(-spread, spread, 200), -90, 90)
    my_ra, my_dec = rng.permutation(other_ra)[:90], np.clip(other_dec[:90] + 0.5 * ARCSEC, -90, 90)
    expected = brute_nearest(my_ra, my_dec, other_ra, other_dec, 1.5)
    assert nearest(my_ra, my_dec, other_ra, other_dec, 1.5).tolist() == expected


def test_the_radius_itself_still_matches():
    for distance, expected in ((1.4999, 0), (1.5, 0), (1.5002, -1)):
        assert nearest([30.0], [20.0 + distance * ARCSEC], [30.0], [20.0], 1.5).tolist() == [expected]


def test_known_objects_come_first_and_new_ones_are_shared():
    dec = np.array([0.0, 1.0, 1.0 + 1.2 * ARCSEC, 1.0 + 2.4 * ARCSEC, 5.0])
    found = associate_objects(np.zeros(5), dec, [0.0], [0.5 * ARCSEC])
    assert found.known.tolist() == [0, -1, -1, -1, -1]
    assert found.new.tolist() == [-1, 0, 0, 1, 2]
    assert found.founds.tolist() == [False, True, False, True, True]


@pytest.mark.parametrize("n_known", [0, 3])
def test_nothing_to_associate(n_known):
    found = associate_objects([], [], np.zeros(n_known), np.zeros(n_known))
    assert len(found.known) == len(found.new) == len(found.founds) == 0
