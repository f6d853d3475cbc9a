"""How the work stands, counted by the database, for those who look every few seconds."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from zsds.db.ledger import State
from zsds.db.schema import coverage, detections, frames, packets, units


def last_nights(connection: Connection, n: int) -> list[str]:
    """The newest nights that have frames, newest first."""
    query = sa.select(frames.c.night).distinct().order_by(frames.c.night.desc()).limit(n)
    return list(connection.scalars(query))


def state_counts(connection: Connection, night: str) -> dict[str, dict[State, int]]:
    """Number of a night's units by kind and state."""
    c = units.c
    query = sa.select(c.kind, c.state, sa.func.count()).where(c.night == night).group_by(c.kind, c.state)
    counts: dict[str, dict[State, int]] = {}
    for kind, state, count in connection.execute(query):
        counts.setdefault(kind, {})[State(state)] = count
    return counts


def first_unit(connection: Connection, night: str | None, states: Collection[State]) -> str | None:
    """The quadrant of a night, or of all, that was exposed first of those in some states."""
    c = units.c
    query = sa.select(sa.func.min(c.key)).where(c.state.in_(states))
    query = query.where(c.kind.in_(["science", "difference", "packets"]))
    key: str | None = connection.scalar(query if night is None else query.where(c.night == night))
    return key


def packet_counts(connection: Connection, night: str) -> tuple[int, int]:
    """Packets of a night, and how many of them were published."""
    c = packets.c
    published = sa.func.coalesce(sa.func.sum(sa.cast(c.published, sa.Integer)), 0)
    n, n_published = connection.execute(sa.select(sa.func.count(), published).where(c.night == night)).one()
    return int(n), int(n_published)


def sent_packets(connection: Connection, night: str) -> dict[str, int]:
    """Number of published packets of a night's quadrants that have any, by quadrant."""
    query = sa.select(coverage.c.unit, sa.func.count())
    query = query.join(detections, detections.c.pid == coverage.c.pid)
    query = query.join(packets, packets.c.candid == detections.c.candid)
    query = query.where(packets.c.night == night, packets.c.published).group_by(coverage.c.unit)
    return {unit: int(count) for unit, count in connection.execute(query)}
