"""Tables whose columns are declared once, in ``schemas/tables/*.yaml``."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import yaml
from astropy.table import Table

from zsds.resources import resource


@dataclass(frozen=True)
class Column:
    """One declared column."""

    name: str
    dtype: str
    meaning: str
    unit: str | None = None


@cache
def columns(name: str) -> tuple[Column, ...]:
    """Columns declared for the table ``name``, in order.

    Raises
    ------
    FileNotFoundError
        If no such table is declared.
    """
    text = resource("schemas", "tables", f"{name}.yaml").read_text(encoding="utf-8")
    return tuple(Column(**column) for column in yaml.safe_load(text)["columns"])


def new_table(name: str, length: int = 0) -> Table:
    """Zero-filled table with the declared columns, dtypes and units."""
    table = Table()
    for column in columns(name):
        table[column.name] = np.zeros(length, dtype=column.dtype)
        table[column.name].unit = column.unit
        table[column.name].description = column.meaning
    return table


def check_table(table: Table, name: str) -> Table:
    """The table itself, if its columns are the declared ones.

    Raises
    ------
    ValueError
        Naming the first column that is missing, extra, or of another dtype.
    """
    declared = columns(name)
    expected = [column.name for column in declared]
    if table.colnames != expected:
        missing = [c for c in expected if c not in table.colnames]
        extra = [c for c in table.colnames if c not in expected]
        raise ValueError(f"table {name}: missing {missing}, undeclared {extra}, or in another order")
    for column in declared:
        found, wanted = table[column.name].dtype, np.dtype(column.dtype)
        if found != wanted and not (found.kind == wanted.kind and wanted.kind in "US"):
            raise ValueError(f"table {name}: column {column.name} is {found}, declared {wanted}")
    return table
