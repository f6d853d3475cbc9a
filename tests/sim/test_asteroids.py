import numpy as np
import pytest
from astropy.coordinates import EarthLocation, get_body_barycentric
from astropy.table import Table
from astropy.time import Time

from zsds.associate.solar_system import predict_positions
from zsds.core.camera import Site
from zsds.core.tables import new_table
from zsds.sim import asteroids

SITE = Site(-116.8598, 33.3573, 1712)


@pytest.mark.parametrize("near", [False, True])
def test_drawn_asteroids_stand_where_they_should(near):
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(149, 151, 20), rng.uniform(19, 21, 20)
    mags = rng.uniform(16, 20, 20)
    orbits = asteroids.draw_asteroids(ra, dec, mags, 58493.25, SITE, rng, near)
    seen = asteroids.apparent(orbits, 58493.25, SITE)
    miss = np.hypot((seen["ra"] - ra) * np.cos(np.radians(dec)), seen["dec"] - dec) * 3600
    assert miss.max() < 1e-3
    assert np.allclose(seen["mag"], mags, atol=1e-6)
    assert np.all(orbits["e"] < 0.9)
    later = asteroids.apparent(orbits, 58493.25 + 1 / 24, SITE)
    rate = np.hypot((later["ra"] - seen["ra"]) * np.cos(np.radians(dec)), later["dec"] - seen["dec"]) * 3600
    if near:
        assert np.median(rate) > 200
    else:
        assert np.all((rate > 1) & (rate < 90))


def test_elements_give_back_the_state():
    rng = np.random.default_rng(2)
    position = rng.normal(0, 1, (200, 3)) + 2 * np.sign(rng.normal(0, 1, (200, 3)))
    velocity = asteroids._belt_velocity(position, rng) * rng.uniform(0.7, 1.2, (200, 1))
    table = Table(asteroids.elements(position, velocity))
    table["epoch_mjd"] = 58000.0
    assert np.allclose(asteroids.heliocentric(table, 58000.0), position, atol=1e-9)
    step = 0.01
    moved = asteroids.heliocentric(table, 58000.0 + step) - asteroids.heliocentric(table, 58000.0 - step)
    assert np.allclose(moved / (2 * step), velocity, atol=1e-7)


def test_observer_is_at_one_au_and_turns_with_the_earth():
    first, half_day = asteroids.observer(58493.0, SITE), asteroids.observer(58493.5, SITE)
    times = (_time(58493.0), _time(58493.5))
    centre = [get_body_barycentric("earth", t) - get_body_barycentric("sun", t) for t in times]
    offsets = [
        (o - c.xyz.to_value("AU")) * 149597870.7 for o, c in zip((first, half_day), centre, strict=True)
    ]
    assert all(6360 < np.linalg.norm(offset) < 6390 for offset in offsets)
    assert np.dot(offsets[0][:2], offsets[1][:2]) < 0
    location = EarthLocation.from_geodetic(SITE.longitude_deg, SITE.latitude_deg, SITE.height_m)
    exact = location.get_gcrs_posvel(_time(58493.0))[0].xyz.to_value("km")
    assert np.linalg.norm(offsets[0] - exact) < 1.0


def _time(mjd):
    return Time(mjd, format="mjd", scale="utc")


def test_agrees_with_the_predictions_of_the_pipeline():
    rng = np.random.default_rng(3)
    ra, dec = rng.uniform(149, 151, 15), rng.uniform(19, 21, 15)
    orbits = asteroids.draw_asteroids(ra, dec, np.full(15, 19.0), 58493.25, SITE, rng)
    declared = new_table("orbits", 15)
    for name in ("name", "epoch_mjd", "a", "e", "incl", "node", "peri", "mean_anomaly", "H", "G"):
        declared[name][:] = orbits[name]
    predicted = predict_positions(declared, 58493.25, SITE)
    miss = np.hypot((predicted["ra"] - ra) * np.cos(np.radians(dec)), predicted["dec"] - dec) * 3600
    assert miss.max() < 0.01
    assert np.allclose(predicted["mag"], 19.0, atol=1e-3)
