"""Reference catalogs on disk: one Parquet file per HEALPix pixel, imported from archives' files."""

import fcntl
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from zsds.catalogs.files import read_catalog
from zsds.catalogs.mapping import KINDS, description, to_declared
from zsds.catalogs.orbits import read_mpc
from zsds.core.errors import BadInput
from zsds.core.sphere import chord, unit_vectors
from zsds.core.tables import columns, new_table
from zsds.io.files import written_whole

ORDER = 6  # pixels of 0.92 degrees
HEALPIX = HEALPix(nside=2**ORDER, order="nested")
PIXEL_RADIUS_DEG = 1.0  # generous: no pixel of this order reaches further from its centre
CACHE_BYTES = 256 * 1024**2

Rows = dict[str, NDArray[np.generic]]


@dataclass
class CatalogStore:
    """Local reference catalogs below one folder.

    Parameters
    ----------
    root : pathlib.Path
        ``root/KIND/Npix=N.parquet`` hold sky catalogs, ``root/orbits/orbits.parquet`` orbital elements.
    """

    root: Path
    _cache: "OrderedDict[Path, tuple[int, Rows, NDArray[np.float64]]]" = field(
        default_factory=OrderedDict, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        self.root = Path(self.root)

    def __getstate__(self) -> dict[str, Path]:
        return {"root": self.root}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.root = state["root"]
        self._cache = OrderedDict()

    def kinds(self) -> list[str]:
        """Kinds of catalogs that have been imported."""
        return [kind for kind in KINDS if any((self.root / kind).glob("*.parquet"))]

    def count(self, kind: str) -> int:
        """Rows of a catalog."""
        return sum(pq.read_metadata(path).num_rows for path in (self.root / kind).glob("*.parquet"))

    def import_table(self, kind: str, path: Path | str) -> int:
        """Add a file's rows; rows with a known identifier are updated where the file has values.

        Parameters
        ----------
        kind : str
            ``gaia``, ``ps1`` or ``orbits``.
        path : pathlib.Path or str
            FITS, FITS_LDAC, Parquet, CSV or VOTable with the archives' column names (``refs/KIND.yaml``);
            for orbits also MPCORB.DAT and CometEls.txt.

        Returns
        -------
        int
            Rows read from the file.

        Raises
        ------
        BadInput
            If the file cannot be read or a column is missing.
        """
        path = Path(path)
        description(kind)
        table = read_mpc(path) if kind == "orbits" else None
        if table is None:
            table = to_declared(read_catalog(path), kind, str(path))
        return self.add(kind, table)

    def add(self, kind: str, table: Table) -> int:
        """Add rows of a declared table; the same rows again change nothing."""
        has_positions = description(kind)["sky"]
        if has_positions and len(table) == 0:
            return 0
        rows: Rows = {column.name: np.asarray(table[column.name]) for column in columns(kind)}
        folder = self.root / kind
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if not has_positions:  # all in one file, even if there are none: so no body is known
                self._merge(kind, folder / "orbits.parquet", rows)
                return len(table)
            pixels = HEALPIX.lonlat_to_healpix(rows["ra"] * u.deg, rows["dec"] * u.deg)
            order = np.argsort(pixels, kind="stable")
            starts = np.flatnonzero(np.diff(pixels[order], prepend=-1))
            for part in np.split(order, starts[1:]):
                chosen = {name: values[part] for name, values in rows.items()}
                self._merge(kind, folder / f"Npix={pixels[part[0]]}.parquet", chosen)
        return len(table)

    def cone(self, kind: str, ra: float, dec: float, radius_deg: float) -> Table:
        """Rows within a radius (inclusive) of a direction, all in degrees.

        Returns
        -------
        Table
            With the declared columns; empty where the catalog has nothing there.

        Raises
        ------
        BadInput
            If that catalog has not been imported, or holds no positions.
        """
        if not description(kind)["sky"]:
            raise BadInput(kind, "has no positions to search", "use the whole table")
        folder = self.folder(kind)
        centre = unit_vectors(ra, dec)
        limit = chord(3600 * radius_deg)
        found: list[Rows] = []
        for pixel in pixels_near(ra, dec, radius_deg):
            path = folder / f"Npix={pixel}.parquet"
            if not path.exists():
                continue
            rows, vectors = self._read(kind, path)
            inside = ((vectors - centre) ** 2).sum(axis=1) <= limit**2
            found.append({name: values[inside] for name, values in rows.items()})
        return _table(kind, _without_copies(found, description(kind)["key"]))

    def table(self, kind: str) -> Table:
        """All rows of a catalog; meant for orbits.

        Raises
        ------
        BadInput
            If that catalog has not been imported.
        """
        parts = [self._read(kind, path)[0] for path in sorted(self.folder(kind).glob("*.parquet"))]
        return _table(kind, _without_copies(parts, description(kind)["key"]))

    def folder(self, kind: str) -> Path:
        """Where a catalog lies.

        Raises
        ------
        BadInput
            If nothing of it has been imported or fetched.
        """
        folder = self.root / kind
        if not any(folder.glob("*.parquet")) and not any(folder.glob("fetched/*.json")):
            raise BadInput(str(folder), f"holds no {kind} catalog", f"zsds catalogs import {kind} FILE")
        return folder

    def _read(self, kind: str, path: Path) -> tuple[Rows, NDArray[np.float64]]:
        """Rows of one file and their unit vectors, from memory when the file has not changed."""
        stamp = path.stat().st_mtime_ns
        held = self._cache.get(path)
        if held is not None and held[0] == stamp:
            self._cache.move_to_end(path)
            return held[1], held[2]
        rows = _read_rows(kind, path)
        vectors = unit_vectors(rows["ra"], rows["dec"]) if "ra" in rows else np.empty((0, 3))
        self._cache[path] = stamp, rows, vectors
        while len(self._cache) > 1 and sum(map(_size, self._cache.values())) > CACHE_BYTES:
            self._cache.popitem(last=False)
        return rows, vectors

    def _merge(self, kind: str, path: Path, new: Rows) -> None:
        """Write new rows over the old ones of the same key; missing values do not overwrite."""
        key = description(kind)["key"]
        old = _read_rows(kind, path) if path.exists() else None
        merged = merged_rows(old, new, key)
        if old is not None and all(_same(old[name], merged[name]) for name in merged):
            return
        arrow = pa.table({name: pa.array(values) for name, values in merged.items()})
        with written_whole(path) as temporary:
            pq.write_table(arrow, temporary, compression="zstd")


def merged_rows(old: Rows | None, new: Rows, key: str) -> Rows:
    """Union by key, sorted by it: the last row wins, but its NaNs keep the older value."""
    if old is None:
        old = {name: values[:0] for name, values in new.items()}
    keys = np.concatenate([old[key], new[key]])
    _, last = np.unique(keys[::-1], return_index=True)
    rows = len(keys) - 1 - last
    _, first = np.unique(keys, return_index=True)
    merged: Rows = {}
    for name in new:
        values = np.concatenate([old[name], new[name]])
        chosen = values[rows]
        if values.dtype.kind == "f":
            chosen = np.where(np.isnan(chosen), values[first], chosen)
        merged[name] = chosen
    return merged


def pixels_near(ra: float, dec: float, radius_deg: float) -> NDArray[np.int64]:
    """Store pixels that a cone may touch."""
    reach = np.radians(min(radius_deg + PIXEL_RADIUS_DEG, 180.0))
    return np.flatnonzero(_centres() @ unit_vectors(ra, dec) >= np.cos(reach))


@cache
def _centres() -> NDArray[np.float64]:
    """Unit vectors of all store pixels."""
    lon, lat = HEALPIX.healpix_to_lonlat(np.arange(HEALPIX.npix))
    return unit_vectors(lon.to_value(u.deg), lat.to_value(u.deg))


def _size(held: tuple[int, Rows, NDArray[np.float64]]) -> int:
    return held[2].nbytes + sum(values.nbytes for values in held[1].values())


def _same(first: NDArray[np.generic], second: NDArray[np.generic]) -> bool:
    return len(first) == len(second) and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")


def _without_copies(parts: list[Rows], key: str) -> Rows | None:
    """All rows; a source that moved across a pixel's edge between two imports comes once."""
    if len(parts) < 2:
        return parts[0] if parts else None
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    _, first = np.unique(rows[key], return_index=True)
    return {name: values[first] for name, values in rows.items()}


def _table(kind: str, rows: Rows | None) -> Table:
    if rows is None:
        return new_table(kind)
    table = Table(rows, copy=False)
    for column in columns(kind):
        table[column.name].unit, table[column.name].description = column.unit, column.meaning
    return table


def _read_rows(kind: str, path: Path) -> Rows:
    try:
        arrow = pq.read_table(path, partitioning=None)
        return {c.name: arrow[c.name].to_numpy().astype(c.dtype) for c in columns(kind)}
    except (OSError, KeyError, pa.ArrowException) as error:
        raise BadInput(str(path), f"is damaged ({error})", f"remove it and import {kind} again") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One import at a time into a folder."""
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
