"""Sky look-ups through ranges of nested HEALPix indices, the same on every database.

A position is stored with its index at order 29. A cone is a few ranges of such indices, at an order whose
pixels are larger than the cone; an ordinary index of the database answers it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from astropy.units import deg
from astropy_healpix.core import lonlat_to_healpix, neighbours
from numpy.typing import ArrayLike, NDArray
from sqlalchemy.engine import Connection

from zsds.core.sphere import directions, unit_vectors

ORDER = 29
CELL_ORDER = 7  # coverage: pixels of 27 arcmin
RANGES_PER_QUERY = 250  # SQLite allows 1000 nested alternatives
_PIXELS_PER_RADIUS = 3.0  # pixels are this much wider than the cone, so that eight neighbours enclose it


def healpix_index(ra: ArrayLike, dec: ArrayLike, order: int = ORDER) -> NDArray[np.int64]:
    """Nested HEALPix index of positions in degrees."""
    lon, lat = np.asarray(ra, dtype=float) * deg, np.asarray(dec, dtype=float) * deg
    index: NDArray[np.int64] = np.asarray(
        lonlat_to_healpix(lon, lat, 2**order, order="nested"), dtype=np.int64
    )
    return index


def cone_ranges(ra: ArrayLike, dec: ArrayLike, radius_arcsec: float) -> NDArray[np.int64]:
    """Ranges [n, 2] of order-29 indices, half-open and merged, that enclose cones around all positions."""
    ra, dec = np.atleast_1d(ra), np.atleast_1d(dec)
    if len(ra) == 0:
        return np.zeros((0, 2), np.int64)
    width = np.radians(_PIXELS_PER_RADIUS * radius_arcsec / 3600)
    order = int(np.clip(np.floor(np.log2(np.sqrt(np.pi / 3) / width)), 0, ORDER))
    centre = healpix_index(ra, dec, order)
    with np.errstate(invalid="ignore"):  # some pixels have seven neighbours
        around = neighbours(centre, 2**order, order="nested").ravel()
    pixels = np.unique(np.concatenate([centre, around[around >= 0]]))
    return pixel_ranges(pixels, order)


def pixel_ranges(pixels: NDArray[np.int64], order: int) -> NDArray[np.int64]:
    """Ranges [n, 2] of order-29 indices of sorted pixels of a coarser order, merged where they touch."""
    breaks = np.flatnonzero(np.diff(pixels) > 1)
    first = pixels[np.concatenate([[0], breaks + 1])]
    last = pixels[np.concatenate([breaks, [len(pixels) - 1]])]
    return np.stack([first, last + 1], axis=1).astype(np.int64) << np.int64(2 * (ORDER - order))


def rows_in_ranges(
    connection: Connection,
    table: sa.Table,
    ranges: NDArray[np.int64],
    *conditions: sa.ColumnElement[bool],
    columns: Sequence[str] | None = None,
) -> list[Any]:
    """Rows (mappings) of a table with an indexed column ``ipix`` inside any of the ranges."""
    wanted = [table.c[name] for name in columns or table.c.keys()]
    found: list[Any] = []
    for chunk in _chunks(ranges):
        found.extend(connection.execute(sa.select(*wanted).where(_inside(chunk), *conditions)).mappings())
    return found


def _inside(ranges: NDArray[np.int64]) -> sa.TextClause:
    """Alternatives that both back ends answer from the index, each by one search a range.

    Plain text, since thousands of bound numbers take seconds to compile. A join with the ranges would read
    better, but PostgreSQL then guesses that a range holds a ninth of the table, and scans all of it.
    """
    return sa.text(
        "(" + " OR ".join(f"ipix >= {low} AND ipix < {high}" for low, high in ranges.tolist()) + ")"
    )


def _chunks(ranges: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(ranges), RANGES_PER_QUERY):
        yield ranges[start : start + RANGES_PER_QUERY]


def rows_near(
    connection: Connection,
    table: sa.Table,
    ra: ArrayLike,
    dec: ArrayLike,
    radius_arcsec: float,
    *conditions: sa.ColumnElement[bool],
    columns: Sequence[str] | None = None,
) -> list[Any]:
    """Rows near any of the positions: all within the radius, and some a little outside it."""
    return rows_in_ranges(
        connection, table, cone_ranges(ra, dec, radius_arcsec), *conditions, columns=columns
    )


def footprint_contains(corners: ArrayLike, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
    """Whether positions lie inside convex footprints: inside every great circle between corners.

    Parameters
    ----------
    corners : array [m, k, 2]
        Right ascension and declination, degrees, in order around each of m footprints.
    ra, dec : array [n]

    Returns
    -------
    ndarray of bool [m, n]
    """
    corners = np.asarray(corners, dtype=float)
    vertices = unit_vectors(corners[..., 0], corners[..., 1])
    centre = vertices.mean(axis=1)
    normals = np.cross(vertices, np.roll(vertices, -1, axis=1))
    normals *= np.sign(np.einsum("mkc,mc->mk", normals, centre))[..., None]
    points = unit_vectors(np.atleast_1d(ra), np.atleast_1d(dec))
    inside: NDArray[np.bool_] = (np.einsum("mkc,nc->mkn", normals, points) >= 0).all(axis=1)
    return inside & (np.einsum("mc,nc->mn", centre, points) > 0)


def footprint_cells(corners: ArrayLike, order: int = CELL_ORDER) -> NDArray[np.int64]:
    """Pixels of an order that a convex footprint touches, and perhaps a few beside it.

    Found on a grid over the footprint, four points a pixel, widened by one step on each side.
    """
    corners = np.asarray(corners, dtype=float)
    vertices = unit_vectors(corners[:, 0], corners[:, 1])
    centre = vertices.mean(axis=0)
    centre /= np.linalg.norm(centre)
    reach = float(np.arccos(np.clip(vertices @ centre, -1, 1)).max())
    step = np.sqrt(np.pi / 3) / 2**order / 4
    east = np.cross([0, 0, 1.0] if abs(centre[2]) < 0.9 else [1.0, 0, 0], centre)
    east /= np.linalg.norm(east)
    north = np.cross(centre, east)
    n = int(np.ceil(reach / step)) + 2
    u, v = np.meshgrid(np.arange(-n, n + 1) * step, np.arange(-n, n + 1) * step)
    points = centre + u.reshape(-1, 1) * east + v.reshape(-1, 1) * north
    grown = _grown(vertices, centre, 2 * step)
    lon, lat = directions(points)
    chosen = footprint_contains(grown[None], lon, lat)[0]
    lon = np.concatenate([lon[chosen], corners[:, 0]])
    lat = np.concatenate([lat[chosen], corners[:, 1]])
    return np.unique(healpix_index(lon, lat, order))


def _grown(vertices: NDArray[np.float64], centre: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Corners (degrees) moved away from the centre, so that every edge moves out by the margin or more."""
    away = vertices - (vertices @ centre)[:, None] * centre
    inner = np.linalg.norm((away + np.roll(away, -1, axis=0)) / 2, axis=1).min()
    return np.stack(directions(centre + away * (1 + margin / max(inner, 1e-9))), axis=1)
