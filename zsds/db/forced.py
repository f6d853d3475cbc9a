"""Forced fluxes of objects, measured once an image and kept for the packets that follow."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from zsds.db.rows import in_parts, put
from zsds.db.schema import forced_fluxes


def forced_of(connection: Connection, object_ids: Iterable[str], since_jd: float) -> list[dict[str, Any]]:
    """Fluxes of objects in images that started at ``since_jd`` or later."""
    found: list[dict[str, Any]] = []
    for part in in_parts(sorted(set(object_ids))):
        here = sa.and_(forced_fluxes.c.object_id.in_(part), forced_fluxes.c.jd >= since_jd)
        rows = connection.execute(sa.select(forced_fluxes).where(here)).mappings()
        found += [dict(row) for row in rows]
    return found


def save_forced(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep fluxes: rows of the table ``forced_fluxes``; those of an older image are replaced."""
    in_order = sorted(rows, key=lambda row: (row["object_id"], row["jd"], row["pid"]))  # locks never cross
    put(connection, forced_fluxes, in_order, ["object_id", "jd", "pid"])


def count_forced(connection: Connection, before_jd: float) -> int:
    """Number of the fluxes of exposures before a time."""
    old = forced_fluxes.c.jd < before_jd
    return connection.scalar(sa.select(sa.func.count()).select_from(forced_fluxes).where(old)) or 0


def forget_forced(connection: Connection, before_jd: float) -> int:
    """Remove the fluxes of exposures before a time; returns how many."""
    return connection.execute(forced_fluxes.delete().where(forced_fluxes.c.jd < before_jd)).rowcount
