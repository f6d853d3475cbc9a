"""How the work stands, counted by the database, for those who look every few seconds.

Nothing here brings the rows of a night to Python: a night of a large camera has 134,400 units.
"""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from zsds.core.scope import QUADRANT_STEPS
from zsds.core.stream import ZTF_SCHEMA
from zsds.db.ledger import State
from zsds.db.schema import coverage, detections, frames, packets, units


def last_nights(connection: Connection, n: int | None, of: sa.Table = frames) -> list[str]:
    """The newest nights that have frames (or rows of another table), newest first; all for None."""
    found: list[str] = []
    newest = sa.select(sa.func.max(of.c.night))
    while n is None or len(found) < n:  # each is one search in an index, however many rows a night has
        night = connection.scalar(newest.where(of.c.night < found[-1]) if found else newest)
        if night is None:
            break
        found.append(night)
    return found


def is_known(connection: Connection, night: str) -> bool:
    """Whether there are units of a night."""
    return connection.scalar(sa.select(units.c.id).where(units.c.night == night).limit(1)) is not None


def state_counts(
    connection: Connection, night: str, kinds: Collection[str] | None = None
) -> dict[str, dict[State, int]]:
    """Number of a night's units by kind and state, of some kinds or all."""
    c = units.c
    query = sa.select(c.kind, c.state, sa.func.count()).where(c.night == night).group_by(c.kind, c.state)
    if kinds is not None:
        query = query.where(c.kind.in_(kinds))
    counts: dict[str, dict[State, int]] = {}
    for kind, state, count in connection.execute(query):
        counts.setdefault(kind, {})[State(state)] = count
    return counts


def first_unit(
    connection: Connection, night: str, states: Collection[State], kinds: Collection[str] = QUADRANT_STEPS
) -> str | None:
    """The quadrant of a night that was exposed first of those with a unit in some states."""
    c = units.c
    here = sa.and_(c.night == night, c.kind.in_(kinds), c.state.in_(states))
    key: str | None = connection.scalar(sa.select(sa.func.min(c.key)).where(here))
    return key


def alert_counts(connection: Connection, night: str) -> tuple[int, int]:
    """Alerts of a night, and how many of them were published.

    An alert is a packet of ZTF's schema in the outbox: it exists or is being made, or it went out once, even
    if the newest version of its image does not have it.
    """
    c = packets.c
    published = sa.func.coalesce(sa.func.sum(sa.cast(c.published, sa.Integer)), 0)
    here = c.night == night, c.schema == ZTF_SCHEMA
    n, n_published = connection.execute(sa.select(sa.func.count(), published).where(*here)).one()
    return int(n), int(n_published)


def quadrant_alerts(connection: Connection, night: str) -> dict[str, int]:
    """Number of alerts of a night's quadrants that have any, see `alert_counts`, by quadrant."""
    return _by_quadrant(connection, night, packets.c.schema == ZTF_SCHEMA)


def sent_packets(connection: Connection, night: str) -> dict[str, int]:
    """Number of alerts published in any schema, of a night's quadrants that have any, by quadrant."""
    return _by_quadrant(connection, night, packets.c.published)


def _by_quadrant(connection: Connection, night: str, which: sa.ColumnElement[bool]) -> dict[str, int]:
    query = sa.select(coverage.c.unit, sa.func.count(packets.c.candid.distinct()))
    query = query.join(detections, detections.c.pid == coverage.c.pid)
    query = query.join(packets, packets.c.candid == detections.c.candid)
    query = query.where(packets.c.night == night, which).group_by(coverage.c.unit)
    return {unit: int(count) for unit, count in connection.execute(query)}


def metric_count(connection: Connection, night: str, kind: str, metric: str) -> int:
    """Number of units of a night that are done and whose metric, a whole number, is above 0."""
    above = units.c.metrics[metric].as_integer() > 0
    return int(connection.scalar(sa.select(sa.func.count()).where(_done(night, kind), above)) or 0)


def metric_values(connection: Connection, night: str, kind: str, metric: str) -> list[float]:
    """A metric of the units of a night, in each version that was done and has it."""
    c, value = units.c, units.c.metrics[metric].as_float()
    done = c.state.in_([State.DONE, State.SUPERSEDED])
    plain = sa.type_coerce(value, sa.types.NULLTYPE)  # a number already: no conversion of each
    query = sa.select(plain).where(c.night == night, c.kind == kind, done, value.is_not(None))
    return list(connection.scalars(query))


def median_seconds(connection: Connection, night: str, kind: str) -> float | None:
    """Median time of the units of a night that ended."""
    c = units.c
    ended = [State.DONE, State.REJECTED, State.FAILED]
    here = sa.and_(c.night == night, c.kind == kind, c.state.in_(ended), c.seconds.is_not(None))
    n = connection.scalar(sa.select(sa.func.count()).where(here)) or 0
    middle = sa.select(c.seconds).where(here).order_by(c.seconds).limit(2 - n % 2).offset((n - 1) // 2)
    found = list(connection.scalars(middle)) if n else []
    return sum(found) / len(found) if found else None


def failed_units(connection: Connection, night: str, kinds: Collection[str]) -> Sequence[Row[Any]]:
    """``kind key state reason`` of the rejected and failed units of a night, in order of kind and key."""
    c = units.c
    here = sa.and_(c.night == night, c.kind.in_(kinds), c.state.in_([State.REJECTED, State.FAILED]))
    query = sa.select(c.kind, c.key, c.state, c.reason).where(here)
    return connection.execute(query.order_by(c.state.desc(), c.kind, c.key)).all()


def _done(night: str, kind: str) -> sa.ColumnElement[bool]:
    c = units.c
    return sa.and_(c.night == night, c.kind == kind, c.state == State.DONE.value)
