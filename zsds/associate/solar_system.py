"""Where known asteroids and comets stand in an exposure, and which candidates they are."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import erfa
import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from zsds.associate.kepler import Elements
from zsds.associate.perturbations import displacement
from zsds.astrometry.positions import match_positions
from zsds.core.camera import Site
from zsds.core.ids import JD_MINUS_MJD
from zsds.core.sphere import directions, local_axes, unit_vectors

LIGHT_DAYS_PER_AU = 499.00478384 / 86400
HOUR = 1 / 24
NEAR_ARCSEC = 30.0  # ZTF's radius for the body a packet mentions
SAME_ARCSEC = 5.0  # orbits of numbered bodies are good to this; users of ZTF cut here too
Vectors = NDArray[np.float64]


def predict_positions(
    orbits: Table, mjd: float, site: Site | None, near: tuple[float, float, float] | None = None
) -> Table:
    """Astrometric positions and magnitudes of bodies as seen from a site.

    Parameters
    ----------
    orbits : Table
        "orbits".
    mjd : float
        UTC, middle of the exposure.
    site : Site or None
        None for the centre of the Earth.
    near : tuple of float, optional
        (ra, dec, radius) in degrees: only bodies in this cone come back, and only those not far from it are
        worked out with care.

    Returns
    -------
    Table
        ``name``; ``ra dec`` in degrees ICRS, with light time, without aberration (as measured against stars);
        ``mag`` (V; phase function H, G of Bowell et al. 1989; comets: total, M1 + 5 log delta + 2.5 K log r);
        ``motion_arcsec_per_h``, ``position_angle_deg`` of the motion from north to east; ``distance_au``,
        ``sun_distance_au``. The planets' pull since the epoch of the elements is integrated.
    """
    elements = Elements.of(orbits)
    observer, sun, tt = observer_and_sun(mjd, site)
    rows = np.arange(len(orbits))
    if near is not None:
        rows = _rough_rows(elements, observer - sun, tt, near)
        elements = elements[rows]
    pulled = displacement(elements, tt)
    seen = _seen(elements, pulled, observer, sun, tt)
    later_observer, later_sun, later_tt = observer_and_sun(mjd + HOUR, site)
    later = _seen(elements, pulled, later_observer, later_sun, later_tt)
    table = _predictions(orbits[rows], seen, later, seen + observer - sun)
    if near is not None:
        ra, dec, radius = near
        with np.errstate(invalid="ignore"):
            table = table[_unit(seen) @ unit_vectors(ra, dec) >= np.cos(np.radians(radius))]
    return table[np.isfinite(table["ra"])]


@dataclass(frozen=True)
class NightOrbits:
    """Rough directions of all orbits for one night, so that each exposure looks at few of them.

    Parameters
    ----------
    orbits : Table
    mjd : float
        UTC for which the directions hold.
    vectors : ndarray of float64 [n, 3]
    speed_deg : ndarray of float64 [n]
        Degrees per day with a margin.
    """

    orbits: Table
    mjd: float
    vectors: Vectors
    speed_deg: NDArray[np.float64]

    @classmethod
    def at(cls, orbits: Table, mjd: float) -> "NightOrbits":
        """Work out the directions at a time, best the middle of the night."""
        elements = Elements.of(orbits)
        now, then = (_rough_directions(elements, mjd + shift) for shift in (0.0, 0.1))
        speed = 10 * np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(then - now, axis=1) / 2, 0, 1)))
        return cls(orbits, mjd, now, 1.5 * speed + 0.5)

    def near(self, ra: float, dec: float, radius_deg: float, mjd: float) -> Table:
        """Orbits that may stand within a cone (degrees) at a time of the same night."""
        cosine = self.vectors @ unit_vectors(ra, dec)
        reach = radius_deg + 0.5 + self.speed_deg * abs(mjd - self.mjd)
        with np.errstate(invalid="ignore"):
            return self.orbits[cosine >= np.cos(np.radians(np.minimum(reach, 180)))]


def match_solar_system(candidates: Table, predicted: Table, radius_arcsec: float = NEAR_ARCSEC) -> Table:
    """Nearest known body of each candidate.

    Parameters
    ----------
    candidates : Table
        With ``ra dec``, degrees.
    predicted : Table
        Of `predict_positions`.
    radius_arcsec : float

    Returns
    -------
    Table
        One row per candidate: ``ssdistnr`` (arcsec, NaN where no body is near; 0 is a match), ``ssmagnr``
        (NaN where none or not known), ``ssnamenr`` ("" where none).
    """
    matches = match_positions(
        candidates["ra"], candidates["dec"], predicted["ra"], predicted["dec"], radius_arcsec
    )
    names = np.asarray(predicted["name"], dtype=str)
    table = Table()
    table["ssdistnr"] = np.full(len(candidates), np.nan, dtype=np.float32)
    table["ssmagnr"] = np.full(len(candidates), np.nan, dtype=np.float32)
    table["ssnamenr"] = np.zeros(len(candidates), dtype="U32")
    table["ssdistnr"][matches.first] = matches.distance_arcsec
    table["ssmagnr"][matches.first] = np.asarray(predicted["mag"])[matches.second]
    table["ssnamenr"][matches.first] = names[matches.second]
    table["ssdistnr"].unit, table["ssmagnr"].unit = "arcsec", "mag"
    return table


def designations_of(
    names: Sequence[str],
    distance_arcsec: ArrayLike,
    is_positive: ArrayLike,
    radius_arcsec: float = SAME_ARCSEC,
) -> list[str]:
    """Designation of the body each candidate is; "" for those that merely have one nearby.

    A body is the nearest brightening within the radius of its predicted place, no other.

    Parameters
    ----------
    names : sequence of str [n]
        Nearest known body of each candidate of one exposure, "" without one.
    distance_arcsec, is_positive : array [n]
        How far it is, and whether the candidate is brighter than the reference.
    radius_arcsec : float
    """
    distance = np.where(np.asarray(is_positive, bool), np.asarray(distance_arcsec, float), np.nan)
    found = [""] * len(names)
    taken: set[str] = set()
    for row in np.argsort(distance, kind="stable").tolist():  # NaN comes last
        if names[row] and distance[row] <= radius_arcsec and names[row] not in taken:
            found[row] = names[row]
            taken.add(names[row])
    return found


def observer_and_sun(mjd: float, site: Site | None) -> tuple[Vectors, Vectors, float]:
    """Barycentric positions [3] of observer and Sun (au, ICRS axes) and the time as MJD TT.

    UTC stands for UT1: at most 0.9 s or 0.4 km.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", erfa.ErfaWarning)  # leap seconds years ahead are not known yet
        tai1, tai2 = erfa.utctai(JD_MINUS_MJD, mjd)
    tt = float(tai1 - JD_MINUS_MJD + tai2 + 32.184 / 86400)
    heliocentric, barycentric = erfa.epv00(JD_MINUS_MJD, tt)
    observer = barycentric["p"]
    if site is not None:
        longitude, latitude = np.radians(site.longitude_deg), np.radians(site.latitude_deg)
        ground = erfa.gd2gc(1, longitude, latitude, site.height_m)
        observer = observer + erfa.c2t06a(JD_MINUS_MJD, tt, JD_MINUS_MJD, mjd, 0.0, 0.0).T @ ground / erfa.DAU
    return observer, barycentric["p"] - heliocentric["p"], tt


def _seen(elements: Elements, pulled: Vectors, observer: Vectors, sun: Vectors, tt: float) -> Vectors:
    """From the observer to the bodies [n, 3] where their light left them, au."""
    delay = np.zeros(len(elements))
    for _ in range(3):
        body = elements.positions(tt - delay) + pulled + sun
        delay = LIGHT_DAYS_PER_AU * np.linalg.norm(body - observer, axis=1)
    return body - observer


def _rough_directions(elements: Elements, mjd: float) -> Vectors:
    observer, sun, tt = observer_and_sun(mjd, None)
    return _unit(elements.positions(tt) - (observer - sun))


def _rough_rows(
    elements: Elements, observer: Vectors, tt: float, near: tuple[float, float, float]
) -> NDArray[np.int64]:
    """Bodies within the cone and a margin for light time, the planets' pull and nearness to the Earth."""
    ra, dec, radius = near
    offset = elements.positions(tt) - observer
    distance = np.linalg.norm(offset, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        margin = 1.0 + 0.3 / distance
        cosine = offset @ unit_vectors(ra, dec) / distance
        return np.flatnonzero(cosine >= np.cos(np.radians(np.minimum(radius + margin, 180))))


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _predictions(orbits: Table, seen: Vectors, later: Vectors, from_sun: Vectors) -> Table:
    table = Table()
    table["name"] = np.asarray(orbits["name"], dtype=str)
    table["ra"], table["dec"] = directions(seen)
    table["mag"] = _magnitudes(orbits, seen, from_sun)
    east, north, _ = local_axes(table["ra"], table["dec"])
    step = _unit(later) - _unit(seen)
    dx, dy = (step * east).sum(axis=1), (step * north).sum(axis=1)
    table["motion_arcsec_per_h"] = np.degrees(np.hypot(dx, dy)) * 3600
    table["position_angle_deg"] = np.degrees(np.arctan2(dx, dy)) % 360
    table["distance_au"] = np.linalg.norm(seen, axis=1)
    table["sun_distance_au"] = np.linalg.norm(from_sun, axis=1)
    for name, unit in (("ra", "deg"), ("dec", "deg"), ("mag", "mag"), ("distance_au", "AU")):
        table[name].unit = unit
    return table


def _magnitudes(orbits: Table, seen: Vectors, from_sun: Vectors) -> NDArray[np.float64]:
    distance, sun_distance = np.linalg.norm(seen, axis=1), np.linalg.norm(from_sun, axis=1)
    absolute, g, slope = (
        np.asarray(orbits[name], dtype=np.float64)
        if name in orbits.colnames
        else np.full(len(orbits), default)
        for name, default in (("H", np.nan), ("G", 0.15), ("comet_slope", 0.0))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.clip((seen * from_sun).sum(axis=1) / (distance * sun_distance), -1, 1)
        half = np.tan(np.minimum(np.arccos(cosine), np.radians(179)) / 2)
        phase = (1 - g) * np.exp(-3.33 * half**0.63) + g * np.exp(-1.87 * half**1.22)
        asteroid = 5 * np.log10(distance * sun_distance) - 2.5 * np.log10(phase)
        comet = 5 * np.log10(distance) + 2.5 * slope * np.log10(sun_distance)
        return absolute + np.where(slope > 0, comet, asteroid)
