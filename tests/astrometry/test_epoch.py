import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord, get_body_barycentric
from astropy.table import Table
from astropy.time import Time

from zsds.astrometry import moved_to_epoch


def gaia(**columns):
    row = {
        "ra": 83.0,
        "dec": -61.0,
        "pmra": 0.0,
        "pmdec": 0.0,
        "parallax": 0.0,
        "ref_epoch": 2016.0,
    } | columns
    return Table({name: np.atleast_1d(value) for name, value in row.items()})


@pytest.mark.parametrize("dec", [-89.999, -61.0, 0.0, 80.0])
def test_agrees_with_astropy_for_fast_stars(dec):
    star = gaia(ra=359.9999, dec=dec, pmra=3500.0, pmdec=-2200.0)
    ra, dec_moved = moved_to_epoch(star, 58849.0)
    years = (58849.0 - 51544.5) / 365.25 - 16.0
    start = SkyCoord(359.9999 * u.deg, dec * u.deg)
    angle = np.arctan2(3500.0, -2200.0) * u.rad
    wanted = start.directional_offset_by(angle, years * np.hypot(3500.0, 2200.0) * u.mas)
    assert SkyCoord(ra * u.deg, dec_moved * u.deg).separation(wanted).arcsec.max() < 1e-5


def test_parallax_moves_stars_away_from_the_earth():
    ra, dec = moved_to_epoch(gaia(parallax=750.0), 58900.0)
    earth = get_body_barycentric("earth", Time(58900.0, format="mjd")).xyz.to_value(u.au)
    parsec = 206264.806 / 0.75
    seen = SkyCoord(83 * u.deg, -61 * u.deg, distance=parsec * u.au).cartesian.xyz.to_value(u.au) - earth
    wanted = SkyCoord(*seen, representation_type="cartesian").spherical
    assert (ra[0] - wanted.lon.deg) * 3600 * np.cos(np.radians(61)) == pytest.approx(0, abs=1e-3)
    assert (dec[0] - wanted.lat.deg) * 3600 == pytest.approx(0, abs=1e-3)


def test_missing_motions_count_as_none():
    for star in (gaia(pmra=np.nan, pmdec=np.nan, parallax=np.nan), gaia(parallax=-3.0), gaia()["ra", "dec"]):
        assert np.allclose(moved_to_epoch(star, 60000.0), [[83.0], [-61.0]], atol=1e-10)


def test_empty_table():
    assert len(moved_to_epoch(gaia()[:0], 60000.0)[0]) == 0
