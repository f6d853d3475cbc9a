"""Declared tables on disk: FITS or Parquet by suffix, units and meanings kept, extra columns refused."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table

from zsds.core.errors import BadInput
from zsds.core.tables import check_table, columns
from zsds.io.files import opened_fits, write_bytes, write_fits
from zsds.io.headers import Cards, set_cards

PARQUET_SUFFIXES = {".parquet", ".pq"}
ROW_GROUP = 65536
NOT_OF_FITS = {"electron", "electron / pix", "DN", "MB", "AU"}  # readers warn of such a TUNIT


def write_table(path: Path, table: Table, name: str, cards: Cards | None = None) -> None:
    """Write a table whose columns are those declared for ``name``.

    Parameters
    ----------
    path : pathlib.Path
        ``.parquet`` for Parquet, anything else for FITS.
    table : astropy.table.Table
    name : str
        Of the declaration in ``schemas/tables``; becomes the FITS extension's name in capitals.
    cards : mapping, optional
        Header cards, value or (value, comment): into the FITS primary header or the Parquet metadata; they
        come back in ``table.meta``.

    Raises
    ------
    ValueError
        If columns differ from the declaration.
    BadInput
        If the disk refuses.
    """
    check_table(table, name)
    header = fits.Header()
    set_cards(header, cards or {})
    if Path(path).suffix in PARQUET_SUFFIXES:
        _write_parquet(Path(path), table, name, header)
    else:
        write_fits(Path(path), fits_table(table, name, header))


def read_table(path: Path, name: str) -> Table:
    """Read a table written by `write_table`; native byte order, text as str.

    Raises
    ------
    BadInput
        If the file is missing, damaged, or its columns are not those declared for ``name``.
    """
    path = Path(path)
    table = _read_parquet(path) if path.suffix in PARQUET_SUFFIXES else _read_fits(path, name)
    declared = columns(name)
    for column in declared:
        if column.name in table.colnames:
            table[column.name].unit = column.unit
            table[column.name].description = column.meaning
    try:
        return check_table(table, name)
    except ValueError as error:
        raise BadInput(str(path), str(error), "it was made by another version; make it again") from error


def fits_table(table: Table, name: str, header: fits.Header) -> fits.HDUList:
    """A primary HDU with the header, and the table as an extension of that name in capitals."""
    stored = {column: _fits_column(np.asarray(table[column])) for column in table.colnames}
    dtype = [(column, array.dtype, array.shape[1:]) for column, array in stored.items()]
    records = np.zeros(len(table), dtype=dtype)
    for column, array in stored.items():
        records[column] = array
    hdu = fits.BinTableHDU(records, name=name.upper())
    for number, column in enumerate(table.columns.values(), start=1):
        if column.unit is not None:
            _set_unit(hdu.header, number, column.unit.to_string())
    return fits.HDUList([fits.PrimaryHDU(header=header), hdu])


def _set_unit(header: fits.Header, number: int, unit: str) -> None:
    """The unit of a column where readers look for it; one that FITS does not know stands in a comment."""
    if unit in NOT_OF_FITS:
        header.comments[f"TTYPE{number}"] = f"[{unit}]"
    else:
        header.set(f"TUNIT{number}", unit, after=f"TFORM{number}")


def _fits_column(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "U":
        encoded = np.char.encode(array, "utf-8") if array.size else array.astype("S1")
        return encoded.astype("S1") if encoded.dtype.itemsize == 0 else encoded
    return array


def _read_fits(path: Path, name: str) -> Table:
    table = Table()
    with opened_fits(path) as hdus:
        if name.upper() not in hdus:
            raise BadInput(str(path), f"has no extension {name.upper()}", "check the file")
        hdu = hdus[name.upper()]
        for column in hdu.columns.names:
            table[column] = _native(hdu.data[column])
        table.meta.update({k: v for k, v in hdus[0].header.items() if k not in _STRUCTURAL})
    return table


_STRUCTURAL = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "CHECKSUM", "DATASUM"}


def _native(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8") if array.size else array.astype("U1")
    if array.dtype.kind == "U":
        return np.array(array)
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def _write_parquet(path: Path, table: Table, name: str, header: fits.Header) -> None:
    fields, arrays = [], []
    for column in table.columns.values():
        array = _arrow(np.asarray(column))
        about = {"unit": column.unit.to_string() if column.unit else "", "meaning": column.description or ""}
        fields.append(pa.field(column.name, array.type, metadata=about))
        arrays.append(array)
    about = {"table": name, "cards": json.dumps(dict(header.items()), sort_keys=True)}
    buffer = BytesIO()
    pq.write_table(
        pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=about)),
        buffer,
        compression="zstd",
        row_group_size=ROW_GROUP,
    )
    write_bytes(path, buffer.getvalue())


def _arrow(array: np.ndarray) -> pa.Array:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.ravel()), int(np.prod(array.shape[1:])))


def _read_parquet(path: Path) -> Table:
    if not path.is_file():
        raise BadInput(str(path), "no such file", "check the name, or make the product first")
    try:
        stored = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(
            str(path), f"not a readable Parquet file ({reason})", "fetch or make it again"
        ) from error
    table = Table()
    for column in stored.column_names:
        table[column] = _from_arrow(stored[column].combine_chunks())
    about = stored.schema.metadata or {}
    table.meta.update(json.loads(about.get(b"cards", b"{}")))
    return table


def _from_arrow(array: pa.Array) -> np.ndarray:
    if pa.types.is_fixed_size_list(array.type):
        flat = array.flatten().to_numpy(zero_copy_only=False)
        return np.array(flat.reshape(len(array), array.type.list_size))
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return np.array(array.to_pylist(), dtype=str) if len(array) else np.zeros(0, "U1")
    return np.array(array.to_numpy(zero_copy_only=False))
