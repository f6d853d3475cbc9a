"""Angles on the sky in exact cases, tiny and large."""

import numpy as np
import pytest
from astropy.wcs import WCS

from zsds.core.sphere import (
    angle_arcsec,
    chord,
    directions,
    pixel_scale_arcsec,
    separation_arcsec,
    unit_vectors,
)


@pytest.mark.parametrize("angle", [1e-3, 1.5, 3600.0, 90 * 3600.0, 180 * 3600.0])
def test_chord_and_angle_are_inverse(angle):
    assert angle_arcsec(chord(angle)) == pytest.approx(angle, rel=1e-9, abs=3e-5)


def test_separations():
    assert separation_arcsec(10.0, 0.0, 10.0, 1 / 3600) == pytest.approx(1.0, rel=1e-9)
    assert separation_arcsec(359.9999, 60.0, 0.0001, 60.0) == pytest.approx(0.36, rel=1e-6)
    apart = separation_arcsec([0.0, 0.0], [90.0, -90.0], [77.0, 12.0], [90.0, 90.0])
    assert apart == pytest.approx([0, 648000], abs=0.01)  # opposite directions are the worst case


def test_directions_invert_unit_vectors():
    ra, dec = np.array([0.0, 123.4, 359.99]), np.array([-89.0, 0.0, 45.0])
    back = directions(3.0 * unit_vectors(ra, dec))
    np.testing.assert_allclose(back, (ra, dec), atol=1e-12)


def test_pixel_scale_of_a_turned_grid():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    angle = np.radians(30)
    wcs.wcs.cd = 1.01 / 3600 * np.array([[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert pixel_scale_arcsec(wcs) == pytest.approx(1.01)
