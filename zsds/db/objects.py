"""Objects and their names, and the outbox of packets."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from astropy.table import Table
from numpy.typing import ArrayLike
from sqlalchemy.engine import Connection

from zsds.core.ids import object_name
from zsds.core.stream import ZTF_SCHEMA
from zsds.core.tables import new_table
from zsds.db.rows import add, in_parts, put
from zsds.db.schema import detections, object_counters, packets
from zsds.db.schema import objects as object_table
from zsds.db.sky import healpix_index, rows_near

EVERY_YEAR = 0  # the counter whose row is locked, since objects of any year may be near


def objects_near(connection: Connection, ra: ArrayLike, dec: ArrayLike, radius_arcsec: float) -> Table:
    """Table ``objects`` of fixed objects near any of the positions, in order of their names.

    Holds all within the radius and some a little outside it; moving objects are not among them.
    """
    rows = rows_near(connection, object_table, ra, dec, radius_arcsec)
    return _table(sorted(rows, key=lambda row: row["id"]))


def objects_named(connection: Connection, names: Iterable[str]) -> Table:
    """Table ``objects`` of the given names, as far as they exist."""
    rows: list[Any] = []
    for part in in_parts(sorted(set(names))):
        rows += connection.execute(sa.select(object_table).where(object_table.c.id.in_(part))).mappings()
    return _table(rows)


def as_shown(connection: Connection, objects: Table, program_ids: Collection[int]) -> Table:
    """Table ``objects`` as some programs may know it: what only others saw does not count as first.

    ``first_jd`` is that of the first packet of these programs, which there must be; names and positions stay
    those that the first packet of all gave.
    """
    c, shown = detections.c, objects.copy()
    others: set[int] = set()
    for part in in_parts(objects["first_candid"].tolist()):
        founders = sa.select(c.candid).where(c.candid.in_(part), c.program_id.not_in(program_ids))
        others |= set(connection.scalars(founders))
    hidden = np.isin(objects["first_candid"], list(others))
    known: dict[str, float] = {}
    for part in in_parts(sorted(set(objects["id"][hidden].tolist()))):
        first = sa.select(c.object_id, sa.func.min(c.jd).label("jd")).join(
            packets, packets.c.candid == c.candid
        )
        here = c.object_id.in_(part), c.program_id.in_(program_ids)
        rows = connection.execute(first.where(*here).group_by(c.object_id))
        known |= {row.object_id: row.jd for row in rows}
    shown["first_jd"][hidden] = [known[name] for name in objects["id"][hidden].tolist()]
    return shown


def moving_objects(connection: Connection, designations: Iterable[str]) -> Table:
    """Table ``objects`` of Solar-System bodies, those of the designations that have an object."""
    wanted = object_table.c.designation.in_(sorted(set(designations)))
    rows = connection.execute(sa.select(object_table).where(wanted)).mappings()
    return _table(sorted(rows, key=lambda row: row["id"]))


def names_of(connection: Connection, candids: Sequence[int]) -> dict[int, str]:
    """Object names that detections have already."""
    found: dict[int, str] = {}
    named = sa.select(detections.c.candid, detections.c.object_id).where(detections.c.object_id.is_not(None))
    for part in in_parts(candids):
        rows = connection.execute(named.where(detections.c.candid.in_(part)))
        found |= {row.candid: row.object_id for row in rows}
    return found


def lock_names(connection: Connection, year: int) -> None:
    """Keep every other process from naming until this transaction ends."""
    add(connection, object_counters, [{"year": key, "next": 0} for key in (EVERY_YEAR, year)], ["year"])
    connection.execute(
        sa.select(object_counters).where(object_counters.c.year == EVERY_YEAR).with_for_update()
    )


def new_names(connection: Connection, year: int, count: int, prefix: str) -> list[str]:
    """The next names of a year; call `lock_names` first."""
    here = object_counters.c.year == year
    first = connection.scalar(sa.select(object_counters.c.next).where(here)) or 0
    connection.execute(object_counters.update().where(here).values(next=first + count))
    return [object_name(first + number, year, prefix) for number in range(count)]


def add_objects(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert objects: ``id ra dec first_candid first_jd designation`` (None for a fixed object)."""
    if not rows:
        return
    index = healpix_index([row["ra"] for row in rows], [row["dec"] for row in rows])
    values = [
        {**row, "ipix": None if row["designation"] else int(pixel)}
        for row, pixel in zip(rows, index, strict=True)
    ]
    connection.execute(object_table.insert(), values)


def add_packets(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put packets into the outbox: ``candid schema object_id night program_id path``; unpublished.

    Call it in the transaction that saves their detections. A packet made again keeps its state.
    """
    values = [{**row, "published": False} for row in rows]
    put(connection, packets, values, ["candid", "schema"], kept=["published"])


def withdraw_packets(
    connection: Connection, pids: Sequence[int], kept: Mapping[str, Collection[int]]
) -> None:
    """Take packets of quadrants done again out of the outbox, but for those to keep and those that went out.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
        The transaction that saves the new detections, before it does.
    pids : sequence of int
        Processing ids of the quadrants.
    kept : mapping
        Of each schema: candids that are packets again.
    """
    there = packets_from(connection, pids)
    for schema in {row.schema for row in there}:
        gone = [
            row.candid for row in there if row.schema == schema and row.candid not in kept.get(schema, ())
        ]
        for part in in_parts(gone):
            here = packets.c.candid.in_(part), packets.c.schema == schema, packets.c.published.is_(False)
            connection.execute(packets.delete().where(*here))


def packets_from(connection: Connection, pids: Sequence[int]) -> list[sa.Row[Any]]:
    """``candid schema path`` of the packets of quadrants that are in the outbox."""
    columns = packets.c.candid, packets.c.schema, packets.c.path
    found: list[sa.Row[Any]] = []
    for part in in_parts(pids):
        found += connection.execute(sa.select(*columns).join(detections).where(detections.c.pid.in_(part)))
    return found


def packets_of(connection: Connection, night: str) -> list[Any]:
    """Rows of the outbox of a night, in ZTF's schema, in order of candid."""
    here = packets.c.night == night, packets.c.schema == ZTF_SCHEMA
    return list(connection.execute(sa.select(packets).where(*here).order_by(packets.c.candid)).mappings())


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = new_table("objects", len(rows))
    for name in ("ra", "dec", "first_candid", "first_jd"):
        table[name][:] = np.array([row[name] for row in rows])
    for name in ("id", "designation"):
        table[name] = np.array([row[name] or "" for row in rows], dtype=table[name].dtype)
    return table
