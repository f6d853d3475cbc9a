"""Fetches reference catalogs from the public archives by sky region, tile by tile, into the local store."""

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
from astropy.table import Table
from astropy_healpix import HEALPix

from zsds.catalogs.mapping import description, to_declared
from zsds.catalogs.store import HEALPIX, ORDER, CatalogStore, pixels_near
from zsds.core.errors import BadInput
from zsds.core.sphere import angle_arcsec, separation_arcsec, unit_vectors
from zsds.io.files import write_bytes

log = logging.getLogger(__name__)
ATTEMPTS = 3
WAIT_SECONDS = 5.0
MAX_SPLITS = 4


@dataclass(frozen=True)
class Archive:
    """A Table Access Protocol service and the table to ask it for.

    Parameters
    ----------
    url : str
    table : str
        As ADQL writes it.
    ra, dec : str
        Its columns of ICRS degrees.
    select : tuple of str
    max_rows : int
        Rows the service may send at once; more are asked for in smaller tiles.
    """

    url: str
    table: str
    ra: str
    dec: str
    select: tuple[str, ...]
    max_rows: int

    @classmethod
    def of(cls, kind: str, url: str | None = None) -> "Archive":
        """The archive that ``refs/KIND.yaml`` names, or the same table at another service.

        Raises
        ------
        BadInput
            If no archive is known for this kind.
        """
        told = description(kind).get("archive")
        if told is None:
            raise BadInput(
                kind, "cannot be fetched", f"download a file and use zsds catalogs import {kind} FILE"
            )
        select = tuple(told["select"])
        return cls(url or told["url"], told["table"], told["ra"], told["dec"], select, told["max_rows"])

    def query(self, ra: float, dec: float, radius_deg: float) -> str:
        """ADQL for a cone."""
        columns = ", ".join(self.select)
        region = f"CIRCLE('ICRS', {ra:.7f}, {dec:.7f}, {radius_deg:.7f})"
        where = f"1 = CONTAINS(POINT('ICRS', {self.ra}, {self.dec}), {region})"
        return f"SELECT {columns} FROM {self.table} WHERE {where}"


def fetch(
    kind: str,
    ra: float,
    dec: float,
    radius_deg: float,
    store: CatalogStore,
    url: str | None = None,
    wait_seconds: float = WAIT_SECONDS,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Fill the store around a direction from a public archive.

    Tiles are pixels of the store; one that has come in whole from the same table is not asked for again, so
    an interrupted fetch goes on where it stopped.

    Parameters
    ----------
    kind : str
        ``gaia`` or ``ps1``.
    ra, dec, radius_deg : float
        Degrees.
    store : CatalogStore
    url : str, optional
        Another service than ``refs/KIND.yaml`` names.
    wait_seconds : float
        Pause before asking again after a failure, doubled each time.
    progress : callable, optional
        Told the tiles done and their total.

    Returns
    -------
    int
        Rows that came in now.

    Raises
    ------
    BadInput
        If the service cannot be reached or refuses, or pyvo is not installed.
    """
    archive = Archive.of(kind, url)
    tiles = [int(p) for p in pixels_near(ra, dec, radius_deg) if _touches(int(p), ra, dec, radius_deg)]
    rows = 0
    with _tap(archive) as ask:
        for done, tile in enumerate(tiles):
            mark = _mark(store, kind, tile)
            if not _is_done(mark, archive):
                rows += _fetch_tile(kind, archive, ask, tile, store, wait_seconds)
                _write_mark(mark, archive)
            if progress is not None:
                progress(done + 1, len(tiles))
    log.info("%s: %d rows from %s", kind, rows, archive.url)
    return rows


def _fetch_tile(
    kind: str,
    archive: Archive,
    ask: Callable[[str], Table],
    tile: int,
    store: CatalogStore,
    wait_seconds: float,
) -> int:
    """Ask for one tile, import its rows that lie in it."""
    found = _rows_of(archive, ask, tile, ORDER, wait_seconds)
    table = to_declared(found, kind, archive.url)
    pixels = HEALPIX.lonlat_to_healpix(table["ra"].data * u.deg, table["dec"].data * u.deg)
    return store.add(kind, table[pixels == tile])


def _rows_of(
    archive: Archive, ask: Callable[[str], Table], pixel: int, order: int, wait_seconds: float
) -> Table:
    """Rows of a cone around a HEALPix pixel; of its four parts if they are more than come at once."""
    ra, dec, radius = _circle(pixel, order)
    found = _patiently(ask, archive, archive.query(ra, dec, radius), wait_seconds)
    if len(found) < archive.max_rows:
        return found
    if order >= ORDER + MAX_SPLITS:
        raise BadInput(archive.url, f"sends no more than {len(found)} rows", "raise max_rows of the archive")
    from astropy.table import vstack  # noqa: PLC0415 (slow to import, seldom needed)

    parts = [_rows_of(archive, ask, 4 * pixel + k, order + 1, wait_seconds) for k in range(4)]
    return vstack(parts, metadata_conflicts="silent")


def _patiently(ask: Callable[[str], Table], archive: Archive, query: str, wait_seconds: float) -> Table:
    for attempt in range(ATTEMPTS):
        try:
            return ask(query)
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            log.warning("%s: %s", archive.url, reason)
            if attempt + 1 < ATTEMPTS:
                time.sleep(wait_seconds * 2**attempt)
    raise BadInput(archive.url, f"does not answer ({reason})", "try again later; what came in is kept")


@contextmanager
def _tap(archive: Archive) -> Iterator[Callable[[str], Table]]:
    """Function that runs a query as an asynchronous job: synchronous ones are cut off at few rows."""
    try:
        import pyvo  # noqa: PLC0415 (optional)
        import requests  # noqa: PLC0415 (comes with pyvo)
    except ImportError as error:
        raise BadInput("pyvo", "is not installed", "pip install 'zsds[fetch]'") from error

    session = requests.Session()
    service = pyvo.dal.TAPService(archive.url, session=session)

    def ask(query: str) -> Table:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # archives' VOTables break the standard in harmless ways
            try:
                return service.run_async(query, maxrec=archive.max_rows).to_table()
            except pyvo.dal.DALAccessError as error:
                raise OSError(str(error)) from error

    try:
        yield ask
    finally:
        session.close()


def _circle(pixel: int, order: int) -> tuple[float, float, float]:
    """Centre and radius, degrees, of a circle around a HEALPix pixel."""
    healpix = HEALPix(nside=2**order, order="nested")
    lon, lat = healpix.healpix_to_lonlat([pixel])
    edge_lon, edge_lat = healpix.boundaries_lonlat([pixel], step=4)
    centre = unit_vectors(lon.to_value(u.deg)[0], lat.to_value(u.deg)[0])
    edge = unit_vectors(edge_lon.to_value(u.deg).ravel(), edge_lat.to_value(u.deg).ravel())
    radius = angle_arcsec(np.linalg.norm(edge - centre, axis=1).max()) / 3600
    return float(lon.to_value(u.deg)[0]), float(lat.to_value(u.deg)[0]), float(radius * 1.02 + 1e-3)


def _touches(pixel: int, ra: float, dec: float, radius_deg: float) -> bool:
    tile_ra, tile_dec, tile_radius = _circle(pixel, ORDER)
    return bool(separation_arcsec(ra, dec, tile_ra, tile_dec) / 3600 <= radius_deg + tile_radius)


def _mark(store: CatalogStore, kind: str, tile: int) -> Path:
    return store.root / kind / "fetched" / f"{tile}.json"


def _origin(archive: Archive) -> dict[str, Any]:
    return {"table": archive.table, "select": list(archive.select)}


def _is_done(mark: Path, archive: Archive) -> bool:
    try:
        return bool(json.loads(mark.read_text()) == _origin(archive))
    except (OSError, ValueError):
        return False


def _write_mark(mark: Path, archive: Archive) -> None:
    write_bytes(mark, json.dumps(_origin(archive)).encode())
