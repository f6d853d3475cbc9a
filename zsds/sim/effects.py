"""What happens between the sky and the pixels' charge: noise, cosmic rays, bleeding, ghosts."""

import numpy as np
from numpy.typing import NDArray

from zsds.kernels import render

MANY = 100.0  # electrons from which counting noise is drawn as a skewed Gaussian


def counted(expected: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Poisson counts of the expected electrons.

    Above 100 electrons the counts are rounded Gaussian deviates with the Poisson mean, variance and
    skewness (Cornish & Fisher 1938), which a test could only tell apart with billions of pixels.
    """
    deviate = rng.standard_normal(expected.shape, dtype=np.float32)
    mean = np.maximum(expected, 0)
    counts = mean + np.sqrt(mean) * deviate + (deviate * deviate - 1) / 6
    np.rint(counts, out=counts)
    few = mean < MANY
    if few.any():
        counts[few] = rng.poisson(mean[few])
    return counts


def cosmic_ray_tracks(
    n: int, shape: tuple[int, int], rng: np.random.Generator, charge_per_px: float = 600.0
) -> NDArray[np.float64]:
    """Rows (x, y, dx, dy, charge) of n tracks: most a few pixels long, some tens, skewed charges."""
    ny, nx = shape
    length = np.minimum(1.0 / np.sqrt(rng.random(n) + 1e-3), 30) * rng.uniform(0.5, 2.5, n)
    angle = rng.uniform(0, 2 * np.pi, n)
    deposit = charge_per_px * np.exp(rng.gumbel(0, 0.45, n))
    return np.stack(
        [
            rng.uniform(-0.5, nx - 0.5, n),
            rng.uniform(-0.5, ny - 0.5, n),
            length * np.cos(angle),
            length * np.sin(angle),
            deposit * np.maximum(length, 1.0),
        ],
        axis=1,
    )


def hit_by_cosmic_rays(tracks: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Image of the charge of cosmic-ray tracks, electrons; neighbours get 4 % by diffusion."""
    charge = np.zeros(shape, dtype=np.float32)
    render.add_tracks(charge, tracks)
    spread = charge * np.float32(0.92)
    share = np.float32(0.02) * charge
    spread[1:] += share[:-1]
    spread[:-1] += share[1:]
    spread[:, 1:] += share[:, :-1]
    spread[:, :-1] += share[:, 1:]
    return spread


def bled(charge: NDArray[np.float32], full_well: float) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Charge with the excess over the full well spilled along columns, and where that happened."""
    result = np.array(charge, dtype=np.float32)
    spilled = np.zeros(charge.shape, dtype=np.uint8)
    if np.isfinite(full_well):
        render.bleed_columns(result, float(full_well), spilled)
    return result, spilled
