"""How the work stands, counted by the database, for those who look every few seconds."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from zsds.db.ledger import State
from zsds.db.schema import frames, packets, units


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


def first_unit(connection: Connection, night: str, states: Collection[State]) -> str | None:
    """The quadrant of a night that was exposed first of those in some states."""
    c = units.c
    here = sa.and_(c.night == night, c.kind.in_(["science", "difference", "packets"]), c.state.in_(states))
    key: str | None = connection.scalar(sa.select(sa.func.min(c.key)).where(here))
    return key


def packet_counts(connection: Connection, night: str) -> tuple[int, int]:
    """Packets of a night, and how many of them were published."""
    c = packets.c
    published = sa.func.coalesce(sa.func.sum(sa.cast(c.published, sa.Integer)), 0)
    n, n_published = connection.execute(sa.select(sa.func.count(), published).where(c.night == night)).one()
    return int(n), int(n_published)
