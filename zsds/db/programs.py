"""Programs of exposures, as they are known now."""

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from zsds.core.ids import QuadrantId
from zsds.db.rows import in_parts
from zsds.db.schema import coverage, frames

Exposed = tuple[str, int, str, int]  # time, field, band, CCD


def programs_of(connection: Connection, pids: Iterable[int]) -> dict[int, frozenset[int]]:
    """Programs of quadrants that were searched: when they were, and of the frame that is registered now.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
    pids : iterable of int
        Processing ids; those of quadrants that nobody searched are left out.
    """
    c = coverage.c
    searched: dict[int, tuple[QuadrantId, int]] = {}
    for part in in_parts(pids):
        for pid, unit, program in connection.execute(
            sa.select(c.pid, c.unit, c.program_id).where(c.pid.in_(part))
        ):
            searched[pid] = QuadrantId.parse(unit), program
    now = _of_frames(connection, {identifier.time for identifier, _ in searched.values()})
    return {
        pid: frozenset({then, now.get((one.time, one.field, one.band, one.ccd), then)})
        for pid, (one, then) in searched.items()
    }


def _of_frames(connection: Connection, times: Iterable[str]) -> dict[Exposed, int]:
    c = frames.c
    query = sa.select(c.time, c.field, c.band, c.ccd, c.program_id).where(c.frame_type == "science")
    found: dict[Exposed, int] = {}
    for part in in_parts(times):
        for *exposed, program in connection.execute(query.where(c.time.in_(part))):
            found[tuple(exposed)] = program
    return found
