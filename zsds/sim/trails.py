"""Trails: satellites that cross the whole field and asteroids so fast that they leave a streak."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds.sim.psf import TabulatedPsf
from zsds.sim.quadrant import add_points

STEP_PX = 0.4


@dataclass(frozen=True)
class Trail:
    """A straight trail on the focal plane.

    Parameters
    ----------
    kind : str
        ``satellite`` or ``streak``.
    x0, y0, x1, y1 : float
        Ends, pixels of the quadrant it is expressed in.
    flux_per_px : float
        Electrons per pixel of length.
    """

    kind: str
    x0: float
    y0: float
    x1: float
    y1: float
    flux_per_px: float


def add_trail(light: NDArray[np.float32], psf: TabulatedPsf, trail: Trail) -> bool:
    """Add a trail to ``light`` in place; True if any of it lies on the image."""
    ny, nx = light.shape
    margin = psf.radius + 1.0
    first, last = _overlap(trail, -margin, nx + margin, -margin, ny + margin)
    length = np.hypot(trail.x1 - trail.x0, trail.y1 - trail.y0)
    if last <= first:
        return False
    n = max(1, int(np.ceil((last - first) * length / STEP_PX)))
    t = first + (last - first) * (np.arange(n) + 0.5) / n
    flux = np.full(n, trail.flux_per_px * length * (last - first) / n)
    x, y = trail.x0 + t * (trail.x1 - trail.x0), trail.y0 + t * (trail.y1 - trail.y0)
    add_points(light, psf, np.stack([x, y, flux], axis=1))
    inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    return bool(inside.any())


def _overlap(trail: Trail, x0: float, x1: float, y0: float, y1: float) -> tuple[float, float]:
    """Part of the trail (0 to 1 along it) inside a box (Liang & Barsky 1984)."""
    first, last = 0.0, 1.0
    for start, end, low, high in ((trail.x0, trail.x1, x0, x1), (trail.y0, trail.y1, y0, y1)):
        step = end - start
        if abs(step) < 1e-9:
            if not low <= start <= high:
                return 1.0, 0.0
            continue
        near, far = sorted(((low - start) / step, (high - start) / step))
        first, last = max(first, near), min(last, far)
    return first, last


def satellite(
    middle: tuple[float, float], radius_px: float, rng: np.random.Generator, flux_per_px: float
) -> Trail:
    """A trail across the whole field, in the pixels of a quadrant whose boresight is at ``middle``."""
    angle = rng.uniform(0, 2 * np.pi)
    offset = rng.uniform(-0.7, 0.7) * radius_px
    x = middle[0] - offset * np.sin(angle)
    y = middle[1] + offset * np.cos(angle)
    dx, dy = 2 * radius_px * np.cos(angle), 2 * radius_px * np.sin(angle)
    return Trail("satellite", x - dx, y - dy, x + dx, y + dy, flux_per_px)
