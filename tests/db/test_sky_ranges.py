"""HEALPix ranges find everything, everywhere on the sky; footprints contain what they cover."""

import numpy as np
import pytest
from astropy.units import deg
from astropy_healpix import HEALPix

from zsds.db.sky import (
    CELL_ORDER,
    cone_ranges,
    footprint_cells,
    footprint_contains,
    healpix_index,
    pixel_ranges,
)

RNG = np.random.default_rng(8)


def random_sky(n):
    ra = RNG.uniform(0, 360, n)
    dec = np.degrees(np.arcsin(RNG.uniform(-1, 1, n)))
    return np.concatenate([ra, [0, 360, 45, 123, 359.9999999]]), np.concatenate(
        [dec, [0, 90, -90, 89.9999, 41.8103]]
    )


def moved(ra, dec, distance_arcsec, angle):
    """Positions at a distance and position angle (tangent plane of each, exact on the sphere)."""
    d = np.radians(distance_arcsec / 3600)
    dec1, ra1 = np.radians(dec), np.radians(ra)
    dec2 = np.arcsin(np.sin(dec1) * np.cos(d) + np.cos(dec1) * np.sin(d) * np.cos(angle))
    x = np.cos(d) - np.sin(dec1) * np.sin(dec2)
    ra2 = ra1 + np.arctan2(np.sin(angle) * np.sin(d) * np.cos(dec1), x)
    return np.degrees(ra2) % 360, np.degrees(dec2)


@pytest.mark.parametrize("radius", [0.3, 1.5, 30.0, 3600.0])
def test_cones_hold_everything_within_their_radius(radius):
    ra, dec = random_sky(3000)
    angle = RNG.uniform(0, 2 * np.pi, len(ra))
    for fraction in (0, 0.5, 0.999999):
        index = healpix_index(*moved(ra, dec, fraction * radius, angle))
        for i in range(0, len(ra), 7):
            ranges = cone_ranges(ra[i], dec[i], radius)
            assert ((ranges[:, 0] <= index[i]) & (index[i] < ranges[:, 1])).any()


def test_cones_are_small():
    ra, dec = random_sky(300)
    for i in range(len(ra)):
        ranges = cone_ranges(ra[i], dec[i], 1.5)
        area = (ranges[:, 1] - ranges[:, 0]).sum() * 4 * np.pi / (12 * 4.0**29)
        assert area * (206264.8**2) < 9 * (6 * 3 * 1.5) ** 2
        assert len(ranges) <= 9


def test_index_is_that_of_astropy_healpix():
    ra, dec = random_sky(100)
    expected = HEALPix(2**29, order="nested").lonlat_to_healpix(ra * deg, dec * deg)
    np.testing.assert_array_equal(healpix_index(ra, dec), expected)


def test_no_position_has_no_ranges():
    assert cone_ranges([], [], 1.5).shape == (0, 2)


def test_ranges_merge_neighbours():
    np.testing.assert_array_equal(pixel_ranges(np.array([3, 4, 7]), 28), [[12, 20], [28, 32]])


def square(ra, dec, side_deg, angle=0.3):
    half = side_deg / np.sqrt(2) * 3600
    corners = [moved(np.array([ra]), np.array([dec]), half, angle + k * np.pi / 2) for k in range(4)]
    return [(float(r[0]), float(d[0])) for r, d in corners]


@pytest.mark.parametrize(
    ("ra", "dec"), [(0.0, 0.0), (359.95, 35.0), (120.0, 89.8), (10.0, -89.99), (45.0, 41.8)]
)
@pytest.mark.parametrize("side", [0.05, 0.86, 3.0])
def test_footprints(ra, dec, side):
    for corners in (square(ra, dec, side), square(ra, dec, side)[::-1]):
        angle = RNG.uniform(0, 2 * np.pi, 2000)
        inner = side / 2 * 3600 * np.sqrt(RNG.uniform(0, 1, 2000))
        inside = moved(np.full(2000, ra), np.full(2000, dec), inner * 0.999, angle)
        outside = moved(np.full(2000, ra), np.full(2000, dec), side * 3600 * 0.72, angle)
        assert footprint_contains([corners], *inside).all()
        assert not footprint_contains([corners], *outside).any()
        antipode = moved(np.array([ra]), np.array([dec]), 180 * 3600, np.array([0.0]))
        assert not footprint_contains([corners], *antipode).any()
        cells = footprint_cells(corners)
        assert set(healpix_index(*inside, CELL_ORDER)) <= set(cells)
        assert len(cells) <= 4 + (side / 0.458 + 3) ** 2
