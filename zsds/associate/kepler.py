"""Undisturbed motion around the Sun from osculating elements: ellipses, parabolas, hyperbolas."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

GAUSS = 0.01720209895  # root of the Sun's GM, au^1.5 / d
OBLIQUITY = np.radians(84381.448 / 3600)  # of the ecliptic J2000 of orbital elements
CIRCLE = 2 * np.pi
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Elements:
    """Orbital elements as arrays [n]: au, radians, days TT.

    Parameters
    ----------
    q : ndarray of float64
        Perihelion distance.
    e : ndarray of float64
    tp : ndarray of float64
        Time of perihelion, modified Julian date TT; for ellipses the one nearest to the epoch.
    epoch : ndarray of float64
    axes : ndarray of float64 [n, 2, 3]
        Equatorial unit vectors towards perihelion and 90 degrees ahead of it.
    """

    q: Floats
    e: Floats
    tp: Floats
    epoch: Floats
    axes: NDArray[np.float64]

    @classmethod
    def of(cls, orbits: Table) -> "Elements":
        """Elements of table "orbits"; ``q`` and ``tp_mjd`` count only without ``a`` or anomaly."""
        e, a, epoch = (_column(orbits, name) for name in ("e", "a", "epoch_mjd"))
        with np.errstate(invalid="ignore", divide="ignore"):
            known = np.isfinite(a) & (a != 0) & (np.abs(e - 1) > 1e-9)
            a = np.where(e > 1, -np.abs(a), np.abs(a))
            q = np.where(known, a * (1 - e), _column(orbits, "q"))
            motion = GAUSS / np.abs(np.where(known, a, np.inf)) ** 1.5
            anomaly = np.radians(_column(orbits, "mean_anomaly"))
            anomaly = np.where(e < 1, (anomaly + np.pi) % CIRCLE - np.pi, anomaly)
            timed = known & np.isfinite(anomaly)
            tp = np.where(timed, epoch - anomaly / motion, _column(orbits, "tp_mjd"))
        axes = perihelion_axes(*(np.radians(_column(orbits, name)) for name in ("incl", "node", "peri")))
        return cls(q, e, tp, epoch, axes)

    def __len__(self) -> int:
        return len(self.q)

    def __getitem__(self, rows: NDArray[np.generic]) -> "Elements":
        return Elements(self.q[rows], self.e[rows], self.tp[rows], self.epoch[rows], self.axes[rows])

    def positions(self, mjd_tt: float | Floats) -> NDArray[np.float64]:
        """Heliocentric positions [n, 3], au, ICRS axes; NaN where elements make no orbit."""
        x, y = plane_positions(self.q, self.e, np.asarray(mjd_tt) - self.tp)
        return x[:, None] * self.axes[:, 0] + y[:, None] * self.axes[:, 1]


def _column(orbits: Table, name: str) -> Floats:
    if name not in orbits.colnames:
        return np.full(len(orbits), np.nan)
    return np.ma.filled(np.ma.asarray(orbits[name], dtype=np.float64), np.nan)


def perihelion_axes(incl: Floats, node: Floats, peri: Floats) -> NDArray[np.float64]:
    """Equatorial unit vectors [n, 2, 3] of the orbital plane (radians, ecliptic J2000)."""
    cn, sn, ci, si = np.cos(node), np.sin(node), np.cos(incl), np.sin(incl)
    axes = np.empty((len(incl), 2, 3))
    for k, angle in enumerate((peri, peri + np.pi / 2)):
        c, s = np.cos(angle), np.sin(angle)
        y, z = sn * c + cn * s * ci, s * si
        axes[:, k, 0] = cn * c - sn * s * ci
        axes[:, k, 1] = y * np.cos(OBLIQUITY) - z * np.sin(OBLIQUITY)
        axes[:, k, 2] = y * np.sin(OBLIQUITY) + z * np.cos(OBLIQUITY)
    return axes


def plane_positions(q: Floats, e: Floats, days: Floats) -> tuple[Floats, Floats]:
    """Coordinates in the orbital plane, au, x towards perihelion, some days after perihelion."""
    q, e, days = np.broadcast_arrays(q, e, days)
    x, y = np.full(q.shape, np.nan), np.full(q.shape, np.nan)
    usable = np.isfinite(q) & (q > 0) & (e >= 0) & np.isfinite(days)
    parabola = usable & (np.abs(e - 1) <= 1e-9)
    for chosen, conic in (
        (usable & ~parabola & (e < 1), _ellipse),
        (usable & ~parabola & (e > 1), _hyperbola),
        (parabola, _parabola),
    ):
        if chosen.any():
            x[chosen], y[chosen] = conic(q[chosen], e[chosen], days[chosen])
    return x, y


def _ellipse(q: Floats, e: Floats, days: Floats) -> tuple[Floats, Floats]:
    a = q / (1 - e)
    anomaly = (GAUSS / a**1.5 * days + np.pi) % CIRCLE - np.pi
    eccentric = solve_kepler(anomaly, e)
    return a * (np.cos(eccentric) - e), a * np.sqrt((1 - e) * (1 + e)) * np.sin(eccentric)


def solve_kepler(anomaly: Floats, e: Floats) -> Floats:
    """Eccentric anomaly of mean anomalies in [-pi, pi]: Danby (1987), quartic iteration."""
    found = anomaly + 0.85 * e * np.sign(anomaly)
    open_ = np.arange(len(found))
    for _ in range(30):
        m, ecc, guess = anomaly[open_], e[open_], found[open_]
        sine, cosine = ecc * np.sin(guess), ecc * np.cos(guess)
        f, f1 = guess - sine - m, 1 - cosine
        step = -f / f1
        step = -f / (f1 + step * sine / 2)
        step = -f / (f1 + step * sine / 2 + step**2 * cosine / 6)
        found[open_] = guess + step
        open_ = open_[np.abs(step) > 1e-13]
        if len(open_) == 0:
            break
    return found


def _hyperbola(q: Floats, e: Floats, days: Floats) -> tuple[Floats, Floats]:
    a = q / (e - 1)
    anomaly = GAUSS / a**1.5 * days
    found = np.arcsinh(anomaly / e)
    for _ in range(60):  # e sinh F - F = M is convex on each side of 0: Newton from outside cannot miss
        step = (e * np.sinh(found) - found - anomaly) / (e * np.cosh(found) - 1)
        found = found - np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-14:
            break
    return a * (e - np.cosh(found)), a * np.sqrt((e - 1) * (e + 1)) * np.sinh(found)


def _parabola(q: Floats, _: Floats, days: Floats) -> tuple[Floats, Floats]:
    """Barker's equation s + s**3 / 3 = W with s the tangent of half the true anomaly."""
    w = GAUSS * days / np.sqrt(2.0) / q**1.5
    root = np.cbrt(1.5 * w + np.sqrt(1 + 2.25 * w**2))
    s = root - 1 / root
    return q * (1 - s**2), 2 * q * s
