"""What the planets do to an orbit between the epoch of its elements and now (Encke's method)."""

import erfa
import numpy as np
from numpy.typing import NDArray

from zsds.associate.kepler import GAUSS, Elements
from zsds.core.ids import JD_MINUS_MJD

# Sun's mass over the planet's, Mercury to Neptune, Earth with the Moon (IAU 2009)
MASS_RATIOS = (6023600.0, 408523.719, 328900.5596, 3098703.59, 1047.348644, 3497.9018, 22902.98, 19412.26)
STEP_DAYS = 4.0
MAX_DAYS = 4000.0  # beyond this the elements are too old to be worth it
Vectors = NDArray[np.float64]


def displacement(elements: Elements, mjd_tt: float) -> Vectors:
    """Displacement [n, 3] in au of bodies from the orbits of their elements.

    Parameters
    ----------
    elements : Elements
    mjd_tt : float

    Returns
    -------
    ndarray of float64 [n, 3]
        Heliocentric, ICRS axes; zero for elements more than 4000 days old. Fixed steps of about four days
        of a fourth-order Runge-Kutta integration of the difference to the undisturbed motion
        (Danby 1988, section 11.4); close encounters with planets are not resolved.
    """
    result = np.zeros((len(elements), 3))
    for epoch in np.unique(elements.epoch[np.isfinite(elements.epoch)]):
        rows = np.flatnonzero(elements.epoch == epoch)
        if 0 < abs(mjd_tt - epoch) <= MAX_DAYS:
            result[rows] = _integrate(elements[rows], epoch, mjd_tt)
    return np.nan_to_num(result)


def _integrate(elements: Elements, start: float, end: float) -> Vectors:
    n_steps = int(np.ceil(abs(end - start) / STEP_DAYS))
    times = np.linspace(start, end, 2 * n_steps + 1)
    step = (end - start) / n_steps
    planets = _planets(times)
    shift, speed = np.zeros((2, len(elements), 3))
    reference = [elements.positions(times[0])]
    for k in range(n_steps):
        reference = [
            reference[-1],
            elements.positions(times[2 * k + 1]),
            elements.positions(times[2 * k + 2]),
        ]
        a1 = _acceleration(shift, reference[0], planets[2 * k])
        a2 = _acceleration(shift + step / 2 * speed, reference[1], planets[2 * k + 1])
        half = shift + step / 2 * speed + step**2 / 4 * a1
        a3 = _acceleration(half, reference[1], planets[2 * k + 1])
        full = shift + step * speed + step**2 / 2 * a2
        a4 = _acceleration(full, reference[2], planets[2 * k + 2])
        shift = shift + step * speed + step**2 / 6 * (a1 + a2 + a3)
        speed = speed + step / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
    return shift


def _planets(times: NDArray[np.float64]) -> Vectors:
    """Heliocentric positions [times, 8, 3], au, of the planets (Simon et al. 1994)."""
    numbers = np.arange(1, 9)
    return erfa.plan94(JD_MINUS_MJD, times[:, None], numbers[None, :])["p"]


def _acceleration(shift: Vectors, reference: Vectors, planets: Vectors) -> Vectors:
    """Of the displacement: the Sun's pull on the displaced body less that on the orbit, and the planets'."""
    body = reference + shift
    total = GAUSS**2 * (_pull(reference) - _pull(body))
    for ratio, planet in zip(MASS_RATIOS, planets, strict=True):
        total -= GAUSS**2 / ratio * (_pull(body - planet) + _pull(planet))
    return total


def _pull(vector: Vectors) -> Vectors:
    return vector / (vector**2).sum(axis=-1, keepdims=True) ** 1.5
