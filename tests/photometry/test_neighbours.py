import numpy as np
import pytest

from zsds.photometry import neighbour_light


def test_light_taken_up_from_a_neighbour():
    dec = np.array([10.0, 10.0 + 2.0 / 3600, 10.0 + 1.0])
    light = neighbour_light(np.full(3, 40.0), dec, np.array([15.0, 17.5, 16.0]), np.array([0, 1, 2]), 2.3548)
    assert light == pytest.approx([0.1 * np.exp(-1), 10 * np.exp(-1), 0.0], rel=1e-3)


def test_unknown_magnitudes_give_no_light():
    ra, dec = np.array([0.0, 359.9999]), np.zeros(2)
    assert neighbour_light(ra, dec, np.array([15.0, np.nan]), np.array([0]), 2.0) == [0.0]
    assert neighbour_light(ra, dec, np.array([15.0, 15.0]), np.array([0]), 2.0) > 0.5
    assert neighbour_light(ra, dec, np.array([15.0, 15.0]), np.array([], np.intp), 2.0).size == 0
