"""The simulated instrument behind the light: response, bias, defects, and the readout into DN."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zsds.core.camera import Amplifier, Camera
from zsds.kernels import render
from zsds.sim import effects

DEFERRED = 3e-4  # part of the last pixel that the first overscan column still holds


@dataclass(frozen=True)
class DetectorSettings:
    """How imperfect the detectors are.

    Parameters
    ----------
    pixel_response_rms : float
        Pixel-to-pixel scatter of the response.
    vignetting : float
        Loss of light at the edge of the field.
    dust_per_mpx : float
        Rings of dust on the window, per million pixels.
    hot_per_mpx, dead_per_mpx : float
        Single bad pixels per million.
    bias_dn : float
        Mean electronic level.
    bias_structure_dn : float
        Scatter of the columns' offsets.
    """

    pixel_response_rms: float = 0.007
    vignetting: float = 0.10
    dust_per_mpx: float = 2.0
    hot_per_mpx: float = 60.0
    dead_per_mpx: float = 60.0
    bias_dn: float = 1000.0
    bias_structure_dn: float = 0.8


@dataclass(frozen=True)
class QuadrantDetector:
    """What is fixed of one quadrant.

    Parameters
    ----------
    response : ndarray of float32 [ny, nx]
        Relative to the middle of the field.
    bias : ndarray of float32 [ny, nx]
        Structure above the overscan, DN.
    dark : ndarray of float32 [ny, nx]
        Charge of hot pixels, electrons per second.
    level_dn : float
        Electronic level.
    """

    response: NDArray[np.float32] = field(repr=False)
    bias: NDArray[np.float32] = field(repr=False)
    dark: NDArray[np.float32] = field(repr=False)
    level_dn: float


def make_detector(
    camera: Camera, ccd: int, quadrant: int, seed: int, settings: DetectorSettings | None = None
) -> QuadrantDetector:
    """The fixed properties of a quadrant; the same for the same seed."""
    settings = settings or DetectorSettings()
    rng = np.random.default_rng([seed, 7001, ccd, quadrant])
    amplifier = camera.amplifier(ccd, quadrant)
    return QuadrantDetector(
        _response(camera, ccd, amplifier, settings, rng),
        _bias_structure(amplifier.shape, settings, rng),
        _hot_pixels(amplifier.shape, settings, rng),
        settings.bias_dn + rng.normal(0, 30),
    )


def _response(
    camera: Camera, ccd: int, amplifier: Amplifier, settings: DetectorSettings, rng: np.random.Generator
) -> NDArray[np.float32]:
    ny, nx = amplifier.shape
    middle = camera.nominal_wcs(ccd, amplifier.quadrant, 0.0, 0.0).wcs.crpix - 1
    y, x = np.mgrid[:ny, :nx].astype(np.float32)
    edge = field_radius_px(camera)
    square = ((x - np.float32(middle[0])) ** 2 + (y - np.float32(middle[1])) ** 2) / np.float32(edge**2)
    response = 1 - np.float32(settings.vignetting) * square
    response *= 1 + np.float32(0.01) * np.float32(rng.normal()) * (x / nx - np.float32(0.5))
    response += np.float32(settings.pixel_response_rms) * rng.standard_normal((ny, nx), dtype=np.float32)
    n_dust = rng.poisson(settings.dust_per_mpx * ny * nx / 1e6)
    outer = rng.uniform(12, 45, n_dust)
    rings = np.stack(
        [
            rng.uniform(0, nx, n_dust),
            rng.uniform(0, ny, n_dust),
            outer * 0.35,
            outer,
            -rng.uniform(0.005, 0.03, n_dust),
        ],
        axis=1,
    )
    render.add_rings(response, rings)
    dead = rng.random((ny, nx), dtype=np.float32) < settings.dead_per_mpx / 1e6
    response[dead] *= rng.uniform(0, 0.3, int(dead.sum())).astype(np.float32)
    for column in amplifier.bad_columns:
        response[:, column] *= np.float32(0.15)
    return response


def _bias_structure(
    shape: tuple[int, int], settings: DetectorSettings, rng: np.random.Generator
) -> NDArray[np.float32]:
    ny, nx = shape
    columns = rng.normal(0, settings.bias_structure_dn, nx)
    rise = 3.0 * np.exp(-np.arange(ny) / (0.05 * ny))
    glow_x, glow_y = np.arange(nx) / nx, np.arange(ny) / ny
    glow = 4.0 * np.exp(-8 * (1 - glow_x))[None, :] * np.exp(-8 * (1 - glow_y))[:, None]
    return (columns[None, :] + rise[:, None] + glow).astype(np.float32)


def _hot_pixels(
    shape: tuple[int, int], settings: DetectorSettings, rng: np.random.Generator
) -> NDArray[np.float32]:
    ny, nx = shape
    n = rng.poisson(settings.hot_per_mpx * ny * nx / 1e6)
    dark = np.zeros(shape, dtype=np.float32)
    dark[rng.integers(0, ny, n), rng.integers(0, nx, n)] = np.exp(rng.normal(3.5, 1.0, n))
    return dark


def field_radius_px(camera: Camera) -> float:
    """Distance of the farthest quadrant corner from the boresight, pixels."""
    corners = [
        np.hypot(abs(a.x_arcsec) / camera.pixel_scale_arcsec + a.shape[1] / 2,
                 abs(a.y_arcsec) / camera.pixel_scale_arcsec + a.shape[0] / 2)
        for detector in camera.detectors.values()
        for a in detector.amplifiers.values()
    ]  # fmt: skip
    return float(max(corners))


def full_well(amplifier: Amplifier) -> float:
    """Electrons at which the amplifier's pixels saturate."""
    x = amplifier.saturation_dn
    a, b = amplifier.linearity
    return float(amplifier.gain * x / (a * x * x + b * x + 1))


def nonlinear(signal: NDArray[np.float32], linearity: tuple[float, float]) -> NDArray[np.float32]:
    """DN as converted, for a true signal in DN: the inverse of true = x / (A x**2 + B x + 1)."""
    a, b = linearity
    rest = 1 - np.float32(b) * signal
    inside = rest * rest - np.float32(4 * a) * signal * signal
    return 2 * signal / (rest + np.sqrt(np.maximum(inside, 0)))


def collect(
    light: NDArray[np.float32],
    detector: QuadrantDetector,
    amplifier: Amplifier,
    exposure_s: float,
    rng: np.random.Generator,
    tracks: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """Electrons in the pixels after an exposure, cosmic rays and bleeding included."""
    expected = light * np.maximum(detector.response, 0) + detector.dark * np.float32(exposure_s)
    charge = effects.counted(expected, rng)
    if tracks is not None and len(tracks):
        charge += effects.hit_by_cosmic_rays(tracks, charge.shape)
    spilled, _ = effects.bled(charge, full_well(amplifier))
    return spilled


def read_out(
    charges: Mapping[int, NDArray[np.float32]],
    quadrant: int,
    camera: Camera,
    ccd: int,
    detector: QuadrantDetector,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels and overscan of one quadrant in whole DN, both in the quadrant's frame.

    Parameters
    ----------
    charges : mapping of int to ndarray
        Electrons of all quadrants of the CCD that are read together.
    """
    amplifiers = camera.detectors[ccd].amplifiers
    amplifier = amplifiers[quadrant]
    signal = charges[quadrant] / np.float32(amplifier.gain)
    for other, fraction in amplifier.crosstalk.items():
        if other in charges:
            source = amplifiers[other].read_order(charges[other]) * np.float32(
                fraction / amplifiers[other].gain
            )
            signal = signal + amplifier.read_order(source)
    level = _row_levels(amplifier, detector, rng)
    noise = np.float32(amplifier.read_noise / amplifier.gain)
    data = nonlinear(signal, amplifier.linearity) + detector.bias + level[:, None]
    data += noise * rng.standard_normal(data.shape, dtype=np.float32)
    return _digitised(data), _overscan(signal, amplifier, level, noise, rng)


def _row_levels(
    amplifier: Amplifier, detector: QuadrantDetector, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Electronic level of each row: an offset of this readout and a slow drift."""
    ny = amplifier.shape[0]
    t = np.linspace(-1, 1, ny)
    drift = rng.normal(0, 3) + rng.normal(0, 1.5) * t + rng.normal(0, 1) * t * t
    return (detector.level_dn + drift).astype(np.float32)


def _overscan(
    signal: NDArray[np.float32],
    amplifier: Amplifier,
    level: NDArray[np.float32],
    noise: np.float32,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Overscan columns; the first to be read still hold a little of the row's last pixel."""
    ny = signal.shape[0]
    if amplifier.overscan is None:
        return np.zeros((ny, 0), dtype=np.float32)
    n = amplifier.overscan.x1 - amplifier.overscan.x0
    last = amplifier.read_order(signal)[:, -1:]
    left = np.float32(DEFERRED) * last * np.exp(-np.arange(n, dtype=np.float32) / 1.5)[None, :]
    strip = amplifier.read_order(left) + level[:, None]
    return _digitised(strip + noise * rng.standard_normal((ny, n), dtype=np.float32))


def _digitised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(np.rint(values), 0, 65535).astype(np.float32)
