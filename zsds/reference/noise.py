"""The noise of a reference on science pixels: two interpolations leave less of it at high frequencies."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from zsds.kernels.resample import LANCZOS_TAPS
from zsds.reference.mapping import PixelMap

FREQUENCIES = 65  # from 0 to half a cycle a pixel
PLACES = 2000  # at which the sub-pixel phase of an interpolation is looked at
GOLDEN = (np.sqrt(5) - 1) / 2
_ALIASES = np.arange(-6, 7)


@cache
def resampled_power(oversampling: float) -> NDArray[np.float64]:
    """Power of the noise along one axis of a sampled co-add, [FREQUENCIES], from 0 to 0.5 cycles a pixel.

    White noise of an epoch's pixels, made continuous by Lanczos-3, has the power |L(f)|^2 of the kernel's
    transform. On the co-add's grid it aliases about ``oversampling``; so does what passes the cubic
    spline about every whole frequency. Dithers average over the sub-pixel phases, so powers add. The power at
    low frequencies is 1, which is what the variance of a reference means.

    Parameters
    ----------
    oversampling : float
        Co-add pixels per pixel, each way.
    """
    frequency = np.linspace(0, 0.5, FREQUENCIES)
    seen = np.add.outer(frequency, _ALIASES)  # what the science pixels take for the first
    power = _spline_power(seen / oversampling)
    power *= sum(_lanczos_power(seen + alias * oversampling) for alias in _ALIASES)
    total: NDArray[np.float64] = power.sum(axis=1)
    return total / total[0]


def interpolated_power(pixels: PixelMap, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Power of the noise of a single image read at other places, [2, FREQUENCIES]: along y, and along x.

    Its own pixels have white noise, and so has what is moved by whole pixels. Between pixels the spline
    leaves less at high frequencies, none of the highest half-way: mean over the sub-pixel phases there are.
    """
    ny, nx = shape
    matrix = np.abs(pixels.matrix(nx / 2, ny / 2))
    turned = matrix[0, 0] < matrix[1, 0]  # the image's columns are the other's rows
    along_y, along_x = (pixels.x, pixels.y) if turned else (pixels.y, pixels.x)
    return np.stack(
        [
            _phase_power(_places(along_y.T, pixels.step, ny)),
            _phase_power(_places(along_x, pixels.step, nx)),
        ]
    )


def _places(nodes: NDArray[np.float64], step: int, n: int) -> NDArray[np.float64]:
    """Coordinates of `PLACES` pixels: those of all n along the middle row, and its drift over the rows."""
    middle = nodes.shape[0] // 2
    line = np.interp(np.arange(n), np.arange(nodes.shape[1]) * step, nodes[middle])
    drift = nodes[:, nodes.shape[1] // 2] - nodes[middle, nodes.shape[1] // 2]
    places = np.add.outer(drift, line).ravel()
    spread = np.arange(PLACES) * GOLDEN % 1  # in step with no scale
    return places[(spread * places.size).astype(np.int64)]


def _phase_power(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean power [FREQUENCIES] of the cubic spline through pixels at places between them."""
    frequency = np.linspace(0, 0.5, FREQUENCIES)
    taps = np.arange(-1, 3)
    distance = np.abs((places % 1)[:, None] - taps)
    inner, outer = 2 / 3 - distance**2 + distance**3 / 2, np.maximum(2 - distance, 0) ** 3 / 6
    response = np.where(distance < 1, inner, outer) @ np.exp(2j * np.pi * np.outer(taps, frequency))
    response /= 2 / 3 + np.cos(2 * np.pi * frequency) / 3
    power: NDArray[np.float64] = np.mean(np.abs(response) ** 2, axis=0)
    return power


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
