"""Asteroids on real orbits: drawn so that they cross a field, and where they appear at any time.

Two-body motion about the Sun, light time, and the observer on the rotating Earth; the positions of Sun and
Earth are those built into astropy (ERFA).
"""

import erfa
import numpy as np
from astropy.coordinates import get_body_barycentric_posvel
from astropy.table import Table
from astropy.time import Time
from numpy.typing import ArrayLike, NDArray

from zsds.core.camera import Site
from zsds.core.tables import new_table

GAUSS = 0.01720209895  # au**1.5 / day
LIGHT_DAY_PER_AU = 0.0057755183
OBLIQUITY = np.radians(84381.448 / 3600)  # J2000, as the Minor Planet Center and JPL use it
METRES_PER_AU = 149597870700.0
V_MINUS = {"g": -0.28, "r": 0.23, "i": 0.39, "z": 0.37}  # Sun-like colours


def observer(mjd: float, site: Site) -> NDArray[np.float64]:
    """Heliocentric position [3] of the site, au, ICRS axes, at a UTC MJD."""
    time = Time(mjd, format="mjd", scale="utc")
    tdb = time.tdb
    with_sun = get_body_barycentric_posvel("earth", tdb)[0] - get_body_barycentric_posvel("sun", tdb)[0]
    heliocentric = with_sun.xyz.to_value("AU")
    turn = erfa.era00(2400000.5, mjd)  # UT1 is taken as UTC
    fixed = erfa.pvtob(
        np.radians(site.longitude_deg), np.radians(site.latitude_deg), site.height_m, 0.0, 0.0, 0.0, turn
    )
    celestial = erfa.c2i06a(time.tt.jd1, time.tt.jd2).T @ fixed["p"]
    return heliocentric + celestial / METRES_PER_AU


def _ecliptic(vector: NDArray[np.float64], back: bool = False) -> NDArray[np.float64]:
    """Vectors [..., 3] turned from equatorial to ecliptic axes of J2000, or back."""
    c, s = np.cos(OBLIQUITY), np.sin(OBLIQUITY) * (-1 if back else 1)
    x, y, z = np.moveaxis(vector, -1, 0)
    return np.stack([x, c * y + s * z, -s * y + c * z], axis=-1)


def kepler(mean: NDArray[np.float64], e: NDArray[np.float64]) -> NDArray[np.float64]:
    """Eccentric anomaly of an ellipse, radians, by Newton's method from Danby's start."""
    mean = np.mod(mean + np.pi, 2 * np.pi) - np.pi
    eccentric = mean + 0.85 * e * np.sign(mean)
    for _ in range(50):
        step = (eccentric - e * np.sin(eccentric) - mean) / (1 - e * np.cos(eccentric))
        eccentric = eccentric - step
        if np.all(np.abs(step) < 1e-14):
            break
    return eccentric


def heliocentric(orbits: Table, mjd_tdb: ArrayLike) -> NDArray[np.float64]:
    """Positions [n, 3] in au, ICRS axes, at TDB times (one or n)."""
    a, e = np.asarray(orbits["a"]), np.asarray(orbits["e"])
    mean = np.radians(orbits["mean_anomaly"]) + GAUSS * a**-1.5 * (mjd_tdb - np.asarray(orbits["epoch_mjd"]))
    anomaly = kepler(mean, e)
    x, y = a * (np.cos(anomaly) - e), a * np.sqrt(1 - e * e) * np.sin(anomaly)
    node, incl, peri = (np.radians(np.asarray(orbits[name])) for name in ("node", "incl", "peri"))
    cn, sn, ci, si = np.cos(node), np.sin(node), np.cos(incl), np.sin(incl)
    cp, sp = np.cos(peri), np.sin(peri)
    first = np.stack([cn * cp - sn * sp * ci, sn * cp + cn * sp * ci, sp * si], axis=-1)
    second = np.stack([-cn * sp - sn * cp * ci, -sn * sp + cn * cp * ci, cp * si], axis=-1)
    return _ecliptic(x[:, None] * first + y[:, None] * second, back=True)


def apparent(orbits: Table, mjd: float, site: Site) -> Table:
    """Astrometric places and V magnitudes: columns name, ra, dec (degrees, ICRS), mag, distance (au)."""
    tdb = Time(mjd, format="mjd", scale="utc").tdb.mjd
    origin = observer(mjd, site)
    delay = np.zeros(len(orbits))
    for _ in range(4):
        sunward = heliocentric(orbits, tdb - delay)
        sight = sunward - origin
        distance = np.linalg.norm(sight, axis=1)
        delay = LIGHT_DAY_PER_AU * distance
    result = Table()
    result["name"] = np.asarray(orbits["name"])
    result["ra"] = np.mod(np.degrees(np.arctan2(sight[:, 1], sight[:, 0])), 360.0)
    result["dec"] = np.degrees(np.arcsin(np.clip(sight[:, 2] / distance, -1, 1)))
    result["mag"] = np.asarray(orbits["H"]) + _dimming(sunward, sight, distance, np.asarray(orbits["G"]))
    result["distance"] = distance
    return result


def _dimming(
    sunward: NDArray[np.float64],
    sight: NDArray[np.float64],
    distance: NDArray[np.float64],
    slope: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Magnitude minus H: distances and phase (Bowell et al. 1989)."""
    radius = np.linalg.norm(sunward, axis=1)
    phase = np.arccos(np.clip(np.sum(sunward * sight, axis=1) / (radius * distance), -1, 1))
    half = np.tan(phase / 2)
    light = (1 - slope) * np.exp(-3.33 * half**0.63) + slope * np.exp(-1.87 * half**1.22)
    return 5 * np.log10(radius * distance) - 2.5 * np.log10(np.maximum(light, 1e-9))


def elements(position: NDArray[np.float64], velocity: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Elliptic elements of heliocentric states [n, 3] (au, au / day, ICRS axes); angles in degrees.

    Standard vector formulas, for instance Danby, Fundamentals of Celestial Mechanics, chapter 6.
    """
    r, v = _ecliptic(position), _ecliptic(velocity)
    mu = GAUSS**2
    size = np.linalg.norm(r, axis=1)
    a = 1 / (2 / size - np.sum(v * v, axis=1) / mu)
    spin = np.cross(r, v)
    pole = spin / np.linalg.norm(spin, axis=1)[:, None]
    shape = np.cross(v, spin) / mu - r / size[:, None]
    e = np.linalg.norm(shape, axis=1)
    node = np.arctan2(pole[:, 0], -pole[:, 1])
    along = np.stack([np.cos(node), np.sin(node), 0 * node], axis=1)
    peri = np.arctan2(np.sum(np.cross(along, shape) * pole, axis=1), np.sum(along * shape, axis=1))
    lift = np.sum(r * v, axis=1) / np.sqrt(mu * a)  # e sin E
    mean = np.arctan2(lift, 1 - size / a) - lift
    angles = {
        "incl": np.arccos(np.clip(pole[:, 2], -1, 1)),
        "node": node,
        "peri": peri,
        "mean_anomaly": mean,
    }
    return {"a": a, "e": e, **{name: np.mod(np.degrees(x), 360.0) for name, x in angles.items()}}


def draw_asteroids(
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    mags: NDArray[np.float64],
    mjd: float,
    site: Site,
    rng: np.random.Generator,
    near: bool = False,
) -> Table:
    """``truth_asteroids`` that stand at given places with given V magnitudes at a UTC MJD.

    Main-belt distances and nearly circular, slightly inclined orbits; with ``near`` asteroids pass the
    Earth at 0.008 to 0.03 au and leave streaks.
    """
    n = len(ra)
    origin = observer(mjd, site)
    phi, delta = np.radians(ra), np.radians(dec)
    sight = np.stack([np.cos(delta) * np.cos(phi), np.cos(delta) * np.sin(phi), np.sin(delta)], axis=1)
    belt = _distance_to(sight, origin, rng.uniform(2.1, 3.3, n))
    distance = rng.uniform(0.008, 0.03, n) if near else belt
    position = origin + distance[:, None] * sight
    velocity = _belt_velocity(position, rng)
    if near:  # several km/s across the line of sight
        velocity += 0.0025 * np.cross(sight, rng.uniform(-1, 1, (n, 3)))
    table = new_table("truth_asteroids", n)
    table["name"] = np.array([f"{'N' if near else 'S'}{k:05d}" for k in range(n)], dtype=table["name"].dtype)
    tdb = Time(mjd, format="mjd", scale="utc").tdb.mjd
    table["epoch_mjd"] = tdb - LIGHT_DAY_PER_AU * distance
    for name, value in elements(position, velocity).items():
        table[name] = value
    table["G"] = 0.15
    table["H"] = np.asarray(mags) - _dimming(position, distance[:, None] * sight, distance, np.full(n, 0.15))
    table["known"] = True
    return table


def _distance_to(
    sight: NDArray[np.float64], origin: NDArray[np.float64], radius: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance from the observer at which a line of sight reaches a heliocentric radius."""
    along = sight @ origin
    return -along + np.sqrt(along**2 - origin @ origin + radius**2)


def _belt_velocity(position: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Velocities (au / day) of nearly circular prograde orbits inclined by some degrees."""
    n = len(position)
    radius = np.linalg.norm(position, axis=1)
    out = position / radius[:, None]
    north = _ecliptic(np.tile([0.0, 0.0, 1.0], (n, 1)), back=True)
    pole = north - np.sum(north * out, axis=1)[:, None] * out
    pole /= np.linalg.norm(pole, axis=1)[:, None]
    tilt = rng.normal(0, np.radians(7), n)[:, None]
    pole = np.cos(tilt) * pole + np.sin(tilt) * np.cross(out, pole)
    climb = rng.normal(0, 0.07, n)[:, None]
    speed = GAUSS / np.sqrt(radius) * (1 + rng.normal(0, 0.04, n))
    return speed[:, None] * (np.cos(climb) * np.cross(pole, out) + np.sin(climb) * out)
