"""Where the light lands: pointing, distortion and reflections of a simulated telescope."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray

from zsds.core.camera import Camera
from zsds.kernels import render
from zsds.sim.detector import field_radius_px


@dataclass(frozen=True)
class Pointing:
    """Where the telescope truly points, against where it says it does.

    Parameters
    ----------
    ra, dec : float
        True boresight, degrees.
    rotation_deg : float
        Of the camera, from north towards east.
    scale : float
        Relative change of the pixel scale.
    """

    ra: float
    dec: float
    rotation_deg: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Distortion:
    """Polynomial distortion of the focal plane about the boresight.

    Parameters
    ----------
    radial_arcsec : float
        Cubic displacement at the edge of the field.
    square_arcsec : tuple of float
        Displacements along x: of x**2, x y, y**2; along y: of x**2, x y, y**2, at the edge of the field.
    """

    radial_arcsec: float = 6.0
    square_arcsec: tuple[float, ...] = (0.6, -0.4, 0.3, 0.5, -0.3, 0.4)


def true_wcs(camera: Camera, ccd: int, quadrant: int, pointing: Pointing, distortion: Distortion) -> WCS:
    """TAN-SIP WCS of a quadrant; its reference pixel is the boresight: all quadrants share one distortion."""
    wcs = camera.nominal_wcs(ccd, quadrant, pointing.ra, pointing.dec)
    angle = np.radians(pointing.rotation_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = pointing.scale * turn @ wcs.wcs.cd
    edge = field_radius_px(camera)
    scale = camera.pixel_scale_arcsec
    a, b, none = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    cubic = distortion.radial_arcsec / scale / edge**3
    a[3, 0] = a[1, 2] = b[0, 3] = b[2, 1] = cubic
    square = np.array(distortion.square_arcsec) / scale / edge**2
    a[2, 0], a[1, 1], a[0, 2], b[2, 0], b[1, 1], b[0, 2] = square
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    wcs.sip = Sip(a, b, none, none, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


@dataclass(frozen=True)
class Reflections:
    """Ghosts (opposite the boresight), halos (round the star) and diffraction spikes of bright stars.

    Parameters
    ----------
    brightest_flux : float
        Electrons from which a star has them.
    ghost_fraction, halo_fraction, spike_fraction : float
        Of the star's flux; the last is that of the four diffraction spikes together.
    ghost_radius_px, halo_radius_px, spike_reach_px : float
    """

    brightest_flux: float = 2e7
    ghost_fraction: float = 2e-3
    halo_fraction: float = 4e-3
    ghost_radius_px: float = 36.0
    halo_radius_px: float = 110.0
    spike_fraction: float = 1e-3
    spike_reach_px: float = 120.0
    spike_angle_deg: float = 4.0


def add_reflections(
    light: NDArray[np.float32], stars: Table, wcs: WCS, reflections: Reflections
) -> NDArray[np.float64]:
    """Add ghosts, halos and diffraction spikes of the stars (ra, dec, flux) to ``light`` in place.

    Returns
    -------
    ndarray [n, 3]
        x, y and radius of the ghosts and halos that may touch the quadrant.
    """
    bright = stars[np.asarray(stars["flux"]) > reflections.brightest_flux]
    if len(bright) == 0:
        return np.zeros((0, 3))
    x, y = wcs.wcs_world2pix(bright["ra"], bright["dec"], 0)
    flux = np.asarray(bright["flux"])
    middle = wcs.wcs.crpix - 1
    rings = np.concatenate(
        [
            _rings(2 * middle[0] - x, 2 * middle[1] - y, flux, reflections.ghost_radius_px,
                   0.4, reflections.ghost_fraction),
            _rings(x, y, flux, reflections.halo_radius_px, 0.0, reflections.halo_fraction),
        ]
    )  # fmt: skip
    render.add_rings(light, rings)
    spikes = np.stack([x, y, reflections.spike_fraction * flux], axis=1)
    angle = np.radians(reflections.spike_angle_deg)
    render.add_spikes(light, spikes, angle, 1.2, 15.0, reflections.spike_reach_px)
    ny, nx = light.shape
    reach = rings[:, 3]
    near = (
        (rings[:, 0] > -reach) & (rings[:, 0] < nx + reach)
        & (rings[:, 1] > -reach) & (rings[:, 1] < ny + reach)
    )  # fmt: skip
    return rings[near][:, [0, 1, 3]]


def _rings(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    radius: float,
    hole: float,
    fraction: float,
) -> NDArray[np.float64]:
    level = fraction * flux / (np.pi * radius**2 * (1 - hole**2))
    full = np.full(x.size, radius)
    return np.stack([x, y, hole * full if hole else full * 0 - 1.0, full, level], axis=1)
