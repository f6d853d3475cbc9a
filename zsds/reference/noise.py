"""The noise of a reference on science pixels: two interpolations leave less of it at high frequencies."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from zsds.kernels.resample import LANCZOS_TAPS

FREQUENCIES = 65  # from 0 to half a cycle a pixel
_ALIASES = np.arange(-6, 7)


@cache
def resampled_power(oversampling: float, is_coadd: bool) -> NDArray[np.float64]:
    """Power of the noise along one axis of a sampled reference, [FREQUENCIES], from 0 to 0.5 cycles a pixel.

    White noise of an epoch's pixels, made continuous by Lanczos-3, has the power |L(f)|^2 of the kernel's
    transform. On the co-add's grid it aliases about ``oversampling``; so does what passes the cubic
    spline about every whole frequency. Dithers average over the sub-pixel phases, so powers add. The power at
    low frequencies is 1, which is what the variance of a reference means.

    Parameters
    ----------
    oversampling : float
        Co-add pixels per pixel, each way.
    is_coadd : bool
        Whether epochs were resampled before; the pixels of a single image have white noise.
    """
    frequency = np.linspace(0, 0.5, FREQUENCIES)
    seen = np.add.outer(frequency, _ALIASES)  # what the science pixels take for the first
    power = _spline_power(seen / oversampling)
    if is_coadd:
        power = power * sum(_lanczos_power(seen + alias * oversampling) for alias in _ALIASES)
    total: NDArray[np.float64] = power.sum(axis=1)
    return total / total[0]


def _spline_power(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the cardinal cubic spline, frequencies in cycles a knot."""
    response = np.sinc(frequency) ** 4 / (2 / 3 + np.cos(2 * np.pi * frequency) / 3)
    power: NDArray[np.float64] = response**2
    return power


def _lanczos_power(frequency: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of Lanczos-3, frequencies in cycles a pixel; by its Fourier integral."""
    reach = LANCZOS_TAPS // 2
    x = np.linspace(0, reach, 601)
    kernel = np.sinc(x) * np.sinc(x / reach)
    waves = np.cos(2 * np.pi * np.multiply.outer(frequency, x))
    power: NDArray[np.float64] = (2 * np.trapezoid(kernel * waves, x, axis=-1)) ** 2
    return power
