"""What the reference catalogs know near each candidate."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from zsds.core.sphere import angle_arcsec, chord, unit_vectors

PS1_RADIUS_ARCSEC = 30.0
GAIA_RADIUS_ARCSEC = 90.0
REFERENCE_RADIUS_ARCSEC = 30.0
GAIA_BRIGHT_MAG = 14.0
N_PS1 = 3


@dataclass(frozen=True)
class Neighbours:
    """Nearest sources of a catalog, nearest first.

    Parameters
    ----------
    row : ndarray of int64 [n, k]
        Row of the catalog, -1 where there is none within the radius.
    distance : ndarray of float64 [n, k]
        Arcsec, NaN where there is none.
    """

    row: NDArray[np.int64]
    distance: NDArray[np.float64]


def match_catalogs(
    candidates: Table, ps1: Table, gaia: Table, reference_stars: Table, pixel_arcsec: float
) -> Table:
    """Candidates with the columns of the catalogs filled in.

    Parameters
    ----------
    candidates : Table
        From `find_candidates`; needs ra and dec.
    ps1 : Table
        ``objid ra dec g r i z sgscore``: positions in degrees ICRS, AB magnitudes, NaN where missing.
    gaia : Table
        ``ra dec phot_g_mean_mag``, at the epoch of the exposure.
    reference_stars : Table
        ``ra dec mag mag_err chi sharp`` of the reference image.
    pixel_arcsec : float
        Side of a pixel; ``distnr`` is in pixels.

    Returns
    -------
    Table
        A copy. What no catalog has within its radius is NaN (-1 for numbers of Pan-STARRS1).
    """
    matched = candidates.copy()
    sky = _unit_vectors(candidates["ra"], candidates["dec"])
    _add_ps1(matched, sky, ps1)
    _add_gaia(matched, sky, gaia)
    _add_reference(matched, sky, reference_stars, pixel_arcsec)
    return matched


def _unit_vectors(ra_deg: ArrayLike, dec_deg: ArrayLike) -> NDArray[np.float64]:
    vectors = unit_vectors(ra_deg, dec_deg)
    return np.where(np.isfinite(vectors), vectors, 9.0)  # no position: far from everything


def nearest(sky: NDArray[np.float64], catalog: Table, radius_arcsec: float, k: int) -> Neighbours:
    """The k nearest sources of a catalog (``ra dec`` in degrees) within a radius of each unit vector."""
    row, distance = np.full((len(sky), k), -1, dtype=np.int64), np.full((len(sky), k), np.nan)
    if len(sky) == 0 or len(catalog) == 0:
        return Neighbours(row, distance)
    usable = np.flatnonzero(np.isfinite(np.asarray(catalog["ra"] + catalog["dec"], dtype=float)))
    tree = cKDTree(_unit_vectors(catalog["ra"][usable], catalog["dec"][usable]))
    apart, index = tree.query(sky, k=k, distance_upper_bound=chord(radius_arcsec))
    apart, index = apart.reshape(len(sky), k), index.reshape(len(sky), k)
    found = np.isfinite(apart)
    row[found] = usable[index[found]]
    distance[found] = angle_arcsec(apart[found])
    return Neighbours(row, distance)


def _picked(catalog: Table, name: str, row: NDArray[np.int64]) -> NDArray[np.float64]:
    values = np.ma.filled(np.ma.asarray(catalog[name], dtype=float), np.nan)
    return np.append(values, np.nan)[row]  # row -1 is the NaN at the end


def _add_ps1(matched: Table, sky: NDArray, ps1: Table) -> None:
    near = nearest(sky, ps1, PS1_RADIUS_ARCSEC, N_PS1)
    for rank in range(N_PS1):
        row, suffix = near.row[:, rank], str(rank + 1)
        objects = np.append(np.asarray(ps1["objid"], dtype=np.int64), -1)[row]
        matched[f"objectidps{suffix}"][:] = objects
        for name, column in _ps1_columns():
            matched[f"{name}{suffix}"][:] = _picked(ps1, column, row)
        matched[f"distpsnr{suffix}"][:] = near.distance[:, rank]
    matched["nmtchps"][:] = _count(sky, ps1, PS1_RADIUS_ARCSEC)


def _ps1_columns() -> Iterator[tuple[str, str]]:
    yield from ((f"s{band}mag", band) for band in "griz")
    yield "sgscore", "sgscore"


def _count(sky: NDArray, catalog: Table, radius_arcsec: float) -> NDArray[np.int64]:
    if len(sky) == 0 or len(catalog) == 0:
        return np.zeros(len(sky), dtype=np.int64)
    tree = cKDTree(_unit_vectors(catalog["ra"], catalog["dec"]))
    return np.asarray(tree.query_ball_point(sky, chord(radius_arcsec), return_length=True), dtype=np.int64)


def _add_gaia(matched: Table, sky: NDArray, gaia: Table) -> None:
    bright = gaia[np.asarray(gaia["phot_g_mean_mag"], dtype=float) < GAIA_BRIGHT_MAG]
    for suffix, catalog in (("", gaia), ("bright", bright)):
        near = nearest(sky, catalog, GAIA_RADIUS_ARCSEC, 1)
        matched[f"neargaia{suffix}"][:] = near.distance[:, 0]
        matched[f"maggaia{suffix}"][:] = _picked(catalog, "phot_g_mean_mag", near.row[:, 0])


def _add_reference(matched: Table, sky: NDArray, stars: Table, pixel_arcsec: float) -> None:
    near = nearest(sky, stars, REFERENCE_RADIUS_ARCSEC, 1)
    matched["distnr"][:] = near.distance[:, 0] / pixel_arcsec
    for name, column in (
        ("magnr", "mag"),
        ("sigmagnr", "mag_err"),
        ("chinr", "chi"),
        ("sharpnr", "sharp"),
        ("ranr", "ra"),
        ("decnr", "dec"),
    ):
        matched[name][:] = _picked(stars, column, near.row[:, 0])
