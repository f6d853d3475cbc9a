"""Galaxies as the pixels see them: Sersic profiles convolved with the PSF of their place."""

from math import gamma

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

from zsds.kernels import render
from zsds.sim.psf import TabulatedPsf

END = {1.0: 6.0, 4.0: 12.0}  # where profiles stop, in half-light radii; all the flux lies inside
LARGEST_PX = 120  # half-size of a galaxy's box
FAINTEST = 0.01  # surface brightness left out, electrons per pixel


def sersic_factor(index: float) -> float:
    """b_n such that half of the light lies inside the half-light radius (Ciotti & Bertin 1999)."""
    return 2 * index - 1 / 3 + 4 / (405 * index) + 46 / (25515 * index**2)


def half_light_form(
    half_light_arcsec: float, axis_ratio: float, angle_deg: float, pixels: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(qxx, qxy, qyy) of the squared radius in half-light radii, as a function of pixel offsets.

    ``pixels`` is the matrix that turns offsets (east, north) in arcseconds into pixels.
    """
    angle = np.radians(angle_deg)
    axes = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])
    size = np.diag([half_light_arcsec, half_light_arcsec * axis_ratio])
    spread = pixels @ axes.T @ size
    form = np.linalg.inv(spread @ spread.T)
    return np.array([form[0, 0], form[0, 1], form[1, 1]])


def add_galaxy(
    image: NDArray[np.float32],
    psf: TabulatedPsf,
    place: tuple[float, float],
    flux: float,
    form: NDArray[np.float64],
    index: float,
) -> None:
    """Add one galaxy to ``image`` in place.

    Light is gathered in cells of half a pixel about the centre, each convolved with the pixels' PSF.
    """
    x, y = place
    size = 1 / np.sqrt(np.linalg.eigvalsh([[form[0], form[1]], [form[1], form[2]]])[0])
    half = int(np.clip(np.ceil(_reach(flux, size, index) * size), 3, LARGEST_PX))
    column, line = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
    radius = min(psf.radius, 8 + half // 2)
    box = half + radius
    ny, nx = image.shape
    if column + box < 0 or line + box < 0 or column - box >= nx or line - box >= ny:
        return
    light = np.empty((4 * half + 1, 4 * half + 1))
    render.sersic_cells(light, half, half, 0.5, form, index, sersic_factor(index), END[index])
    light *= flux / light.sum()
    stamp = _convolved(light, psf.doubled(x, y, x - column, y - line, radius))[::2, ::2]
    rows = slice(max(0, line - box), min(ny, line + box + 1))
    columns = slice(max(0, column - box), min(nx, column + box + 1))
    image[rows, columns] += stamp[
        rows.start - line + box : rows.stop - line + box,
        columns.start - column + box : columns.stop - column + box,
    ]


def _reach(flux: float, size: float, index: float) -> float:
    """Half-light radii out to which the galaxy is brighter than FAINTEST, at most its end."""
    b = sersic_factor(index)
    central = flux * b ** (2 * index) / (2 * np.pi * index * size**2 * gamma(2 * index))
    if central <= FAINTEST:
        return 1.0
    return float(min(END[index], (np.log(central / FAINTEST) / b) ** index))


def _convolved(light: NDArray[np.float64], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Full convolution on the half-pixel grid; what the kernel's cut lost is given back."""
    kernel = kernel * np.float32(4 / kernel.sum())
    n = light.shape[0] + kernel.shape[0] - 1
    size = next_fast_len(n, real=True)
    product = rfft2(light.astype(np.float32), (size, size)) * rfft2(kernel, (size, size))
    return irfft2(product, (size, size))[:n, :n]
