"""Writing rows so that doing it twice is doing it once, on SQLite and PostgreSQL alike."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from zsds.core.plain import storable

Row = Mapping[str, Any]
T = TypeVar("T")
PARAMETERS = 5000  # bound in one query; databases take some ten thousand


def put(
    connection: Connection,
    table: sa.Table,
    rows: Iterable[Row],
    keys: Sequence[str],
    kept: Sequence[str] = (),
) -> None:
    """Insert rows; where the keys are there already, the other given columns but ``kept`` are overwritten."""
    rows = [storable(row) for row in rows]
    if not rows:
        return
    insert = _insert(connection, table)
    changed = {name: insert.excluded[name] for name in rows[0] if name not in (*keys, *kept)}
    if changed:
        connection.execute(insert.on_conflict_do_update(index_elements=list(keys), set_=changed), rows)
    else:
        connection.execute(insert.on_conflict_do_nothing(index_elements=list(keys)), rows)


def add(connection: Connection, table: sa.Table, rows: Iterable[Row], keys: Sequence[str]) -> None:
    """Insert rows; those whose keys are there already stay as they are."""
    rows = [storable(row) for row in rows]
    if rows:
        insert = _insert(connection, table)
        connection.execute(insert.on_conflict_do_nothing(index_elements=list(keys)), rows)


def in_parts(values: Iterable[T]) -> Iterator[list[T]]:
    """Lists short enough to be bound in one query."""
    values = list(values)
    for start in range(0, len(values), PARAMETERS):
        yield values[start : start + PARAMETERS]


def _insert(connection: Connection, table: sa.Table) -> Any:
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
