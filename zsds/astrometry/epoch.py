"""Catalog positions at the epoch of an exposure."""

import erfa
import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from zsds.core.ids import JD_MINUS_MJD
from zsds.core.sphere import ARCSEC_PER_RADIAN, directions, local_axes

MILLIARCSEC_PER_RADIAN = 1000 * ARCSEC_PER_RADIAN
DAYS_PER_YEAR = 365.25
TDB_MINUS_UTC_DAYS = 69.2 / 86400  # seconds matter nothing to a parallax


def moved_to_epoch(gaia: Table, mjd: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions of catalog stars at a time, as seen from the Earth.

    Parameters
    ----------
    gaia : Table
        Columns ``ra dec`` (degrees at ``ref_epoch``), and where given ``pmra pmdec`` (mas/yr, pmra
        including cos dec), ``parallax`` (mas), ``ref_epoch`` (Julian year); missing values count as 0.
    mjd : float
        UTC.

    Returns
    -------
    ra, dec : ndarray of float64 [n]
        Degrees. Uniform motion along a great circle, and the star's parallactic shift
        (ESA SP-1200, vol. 1, eq. 1.2.20, without radial velocity and aberration).
    """
    east, north, radial = local_axes(_values(gaia, "ra"), _values(gaia, "dec"))
    years = julian_year(mjd) - _values(gaia, "ref_epoch", julian_year(mjd))
    motion_east = years * _values(gaia, "pmra")
    motion_north = years * _values(gaia, "pmdec")
    parallax = _values(gaia, "parallax")
    moved = radial + (motion_east[:, None] * east + motion_north[:, None] * north) / MILLIARCSEC_PER_RADIAN
    if np.any(parallax):
        moved = moved - np.maximum(parallax, 0)[:, None] / MILLIARCSEC_PER_RADIAN * earth_barycentric(mjd)
    return directions(moved)


def julian_year(mjd: ArrayLike) -> NDArray[np.float64]:
    """Julian epoch of modified Julian dates."""
    return 2000.0 + (np.asarray(mjd, dtype=np.float64) - 51544.5) / DAYS_PER_YEAR


def earth_barycentric(mjd: ArrayLike) -> NDArray[np.float64]:
    """Barycentric position of the Earth [..., 3], au, ICRS axes, at UTC ``mjd``."""
    _, barycentric = erfa.epv00(JD_MINUS_MJD, np.asarray(mjd, dtype=np.float64) + TDB_MINUS_UTC_DAYS)
    return barycentric["p"]


def _values(table: Table, name: str, default: float = 0.0) -> NDArray[np.float64]:
    """A column as plain float64, with ``default`` where it is absent, masked or not finite."""
    if name not in table.colnames:
        return np.full(len(table), default)
    values = np.ma.filled(np.ma.asarray(table[name], dtype=np.float64), np.nan)
    if name in ("ra", "dec"):
        return values
    return np.where(np.isfinite(values), values, default)
