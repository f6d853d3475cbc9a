"""Directions on the sky as unit vectors: angles between them, and their gnomonic projection."""

import numpy as np
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

ARCSEC_PER_RADIAN = 206264.80624709636


def unit_vectors(ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
    """Unit vectors [..., 3] of directions in degrees."""
    ra, dec = np.radians(np.asarray(ra, dtype=np.float64)), np.radians(np.asarray(dec, dtype=np.float64))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def chord(angle_arcsec: float) -> float:
    """Distance of two unit vectors at an angle, with their rounding allowed for (0.02 mas): inclusive."""
    return 2 * float(np.sin(min(angle_arcsec / ARCSEC_PER_RADIAN, np.pi) / 2)) + 1e-10


def angle_arcsec(distance: ArrayLike) -> NDArray[np.float64]:
    """Angle between unit vectors at a distance; exact also for tiny angles."""
    half = np.clip(np.asarray(distance, dtype=np.float64) / 2, 0, 1)
    angle: NDArray[np.float64] = 2 * np.arcsin(half) * ARCSEC_PER_RADIAN
    return angle


def separation_arcsec(
    ra: ArrayLike, dec: ArrayLike, other_ra: ArrayLike, other_dec: ArrayLike
) -> NDArray[np.float64]:
    """Angle between directions and others, all in degrees."""
    return angle_arcsec(np.linalg.norm(unit_vectors(ra, dec) - unit_vectors(other_ra, other_dec), axis=-1))


def directions(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ascension in [0, 360) and declination, degrees, of vectors [..., 3] of any length."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


def local_axes(
    ra: ArrayLike, dec: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors [..., 3] towards east, north, and the direction itself (degrees)."""
    radial = unit_vectors(ra, dec)
    angle = np.radians(np.asarray(ra, dtype=np.float64))
    east = np.stack([-np.sin(angle), np.cos(angle), np.zeros_like(angle)], axis=-1)
    return east, np.cross(radial, east), radial


def project(ra: ArrayLike, dec: ArrayLike, ra0: float, dec0: float) -> NDArray[np.float64]:
    """Gnomonic coordinates (east, north) [..., 2] in arcsec about (ra0, dec0).

    Directions 90 degrees or more away come back as NaN. Calabretta & Greisen (2002), section 5.1.3.
    """
    east, north, radial = local_axes(ra0, dec0)
    vectors = unit_vectors(ra, dec)
    depth = vectors @ radial
    depth = np.where(depth > 1e-6, depth, np.nan)
    return np.stack([vectors @ east / depth, vectors @ north / depth], axis=-1) * ARCSEC_PER_RADIAN


def deproject(
    plane: NDArray[np.float64], ra0: float, dec0: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Directions in degrees of gnomonic coordinates [..., 2] in arcsec about (ra0, dec0)."""
    east, north, radial = local_axes(ra0, dec0)
    plane = plane / ARCSEC_PER_RADIAN
    return directions(radial + plane[..., :1] * east + plane[..., 1:] * north)


def pixel_scale_arcsec(wcs: WCS) -> float:
    """Side of a square as large as a pixel, arcsec, distortion left aside."""
    return 3600 * float(np.sqrt(np.abs(np.linalg.det(wcs.celestial.pixel_scale_matrix))))
