"""Reads catalog files of any common format, told by content, with the file's own column names."""

import gzip
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import yaml
from astropy.io import fits, votable
from astropy.table import Column, MaskedColumn, Table
from astropy.table.meta import get_header_from_yaml

from zsds.core.errors import BadInput


def read_catalog(path: Path) -> Table:
    """Read FITS (also FITS_LDAC), Parquet, CSV, ECSV or VOTable, plain or gzipped.

    Returns
    -------
    Table
        Native byte order, the file's column names and, where it gives any, units.

    Raises
    ------
    BadInput
        If the file is missing, damaged or of another format.
    """
    content = read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # archives break the standards in harmless ways
            return _parse(content)
    except (OSError, ValueError, KeyError, TypeError, IndexError, pa.ArrowException, yaml.YAMLError) as error:
        problem = f"is not a readable catalog ({error})".splitlines()[0]
        raise BadInput(str(path), problem, "FITS, Parquet, CSV and VOTable are understood") from error


def read_bytes(path: Path) -> bytes:
    """Content of a file, unzipped if it is gzipped."""
    try:
        content = Path(path).read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(str(path), f"cannot be read ({error})", "check the path and the file") from error


def _parse(content: bytes) -> Table:
    head = content[:400].lstrip()
    if head.startswith(b"SIMPLE"):
        return _from_fits(content)
    if head.startswith(b"PAR1"):
        return _from_parquet(content)
    if head.startswith(b"<"):
        return votable.parse_single_table(BytesIO(content)).to_table(use_names_over_ids=True)
    return _from_csv(content)


def _from_fits(content: bytes) -> Table:
    with fits.open(BytesIO(content)) as hdus:
        tables = [h for h in hdus[1:] if isinstance(h, fits.BinTableHDU | fits.TableHDU)]
        objects = [h for h in tables if h.name.upper() != "LDAC_IMHEAD" and not _is_image(h)]
        if not objects:
            raise ValueError("no table extension")
        table = Table.read(objects[0])
    for name in table.colnames:
        if table[name].dtype.byteorder == ">":
            unit = table[name].unit
            table[name] = table[name].astype(table[name].dtype.newbyteorder("="))
            table[name].unit = unit
    return table


def _is_image(hdu: fits.BinTableHDU) -> bool:
    return bool(hdu.header.get("ZIMAGE", False))


def _from_parquet(content: bytes) -> Table:
    arrow = pq.read_table(pa.BufferReader(content))
    metadata = arrow.schema.metadata or {}
    units = {}
    if b"table_meta_yaml" in metadata:  # as astropy and the Rubin butler write it
        described = get_header_from_yaml(metadata[b"table_meta_yaml"].decode().splitlines())["datatype"]
        units = {column["name"]: column.get("unit") for column in described}
    table = _from_arrow(arrow)
    for name in [name for name in table.colnames if f"{name}.mask" in table.colnames]:
        table[name] = MaskedColumn(table[name], mask=np.asarray(table[f"{name}.mask"], dtype=bool))
    for name, unit in units.items():
        if name in table.colnames and unit:
            table[name].unit = unit
    return table


def _from_csv(content: bytes) -> Table:
    comments = 0
    position = 0
    while content[position : position + 1] == b"#":  # ECSV and the archives' own remarks
        end = content.find(b"\n", position)
        if end < 0:
            break
        comments, position = comments + 1, end + 1
    text = content[position:]
    first = text.split(b"\n", 1)[0]
    delimiter = max((",", ";", "\t", "|", " "), key=lambda c: (first.count(c.encode()), c == ","))
    missing = ["", "null", "NULL", "nan", "NaN", "NA", "--"]
    convert = pacsv.ConvertOptions(null_values=missing, strings_can_be_null=True)
    parse = pacsv.ParseOptions(delimiter=delimiter)
    return _from_arrow(pacsv.read_csv(pa.BufferReader(text), convert_options=convert, parse_options=parse))


def _from_arrow(arrow: pa.Table) -> Table:
    table = Table()
    for name in arrow.column_names:
        column = arrow[name].combine_chunks()
        if pa.types.is_nested(column.type):
            continue
        table[name] = _arrow_column(column)
    return table


def _arrow_column(column: pa.Array) -> Column:
    if pa.types.is_null(column.type):
        return Column(np.full(len(column), np.nan))
    missing = column.is_null().to_numpy(zero_copy_only=False)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return Column(np.array([value or "" for value in column.to_pylist()], dtype=str))
    if not missing.any():
        return Column(column.to_numpy(zero_copy_only=False))
    if pa.types.is_floating(column.type):
        return Column(column.to_numpy(zero_copy_only=False))
    filled = column.fill_null(0).to_numpy(zero_copy_only=False)
    return MaskedColumn(filled, mask=missing)
