"""Sending packets: one process a topic at a time, and what it has in hand while it sends.

A packet counts as published from the moment it is taken to be sent, so that nobody withdraws it any more.
Until its sender learned what became of it, it is *in flight* too: whoever holds the topic next looks there.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from zsds.core.errors import BadInput
from zsds.core.stream import ZTF_SCHEMA, Stream
from zsds.db.ledger import LeaseLostError, State
from zsds.db.rows import add, in_parts
from zsds.db.schema import coverage, detections, packets, publications, units

LEASE_S = 180.0  # longer than any batch takes, see `zsds.io.kafka`


@dataclass(frozen=True)
class Publication:
    """A topic that this process may send to.

    Parameters
    ----------
    stream : Stream
    attempt : int
        Counts those who held the topic.
    cluster : str or None
        The Kafka cluster that has it.
    offsets : mapping
        Of each partition: the first message that was not read back yet.
    in_flight : sequence of int
        Candids that the one before was sending when it ended.
    """

    stream: Stream
    attempt: int
    cluster: str | None
    offsets: Mapping[int, int]
    in_flight: Sequence[int]

    @property
    def topic(self) -> str:
        """Name of the topic."""
        return self.stream.topic


def take(
    connection: Connection,
    stream: Stream,
    owner: str,
    is_dead: Callable[[str], bool],
    lease_s: float = LEASE_S,
) -> Publication:
    """Become the only sender of a topic, or go on being it.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
        A writing transaction.
    stream : Stream
    owner : str
        Who sends, for people to read.
    is_dead : callable
        Whether an owner is known to be no more, whose lease need not be waited for.
    lease_s : float
        Seconds after which the holder counts as dead.

    Raises
    ------
    BadInput
        If another process holds it.
    """
    topic = stream.topic
    new = {"topic": topic, "attempt": 0, "offsets": {}, "in_flight": []}
    add(connection, publications, [new], ["topic"])
    here = publications.c.topic == topic
    row = connection.execute(sa.select(publications).where(here).with_for_update()).mappings().one()
    held = row["owner"] not in (None, owner) and (row["lease_until"] or 0) > time.time()
    if held and not is_dead(row["owner"]):
        problem = f"another publisher ({row['owner']}) sends this topic"
        raise BadInput(topic, problem, "wait for it, or stop it, and run again")
    values = {"owner": owner, "attempt": row["attempt"] + 1, "lease_until": time.time() + lease_s}
    connection.execute(publications.update().where(here).values(values))
    offsets = {int(partition): offset for partition, offset in row["offsets"].items()}
    return Publication(stream, values["attempt"], row["cluster"], offsets, list(row["in_flight"]))


def give_back(connection: Connection, publication: Publication) -> None:
    """Let others send the topic; nothing happens if another took it over already."""
    values = {"owner": None, "lease_until": None}
    connection.execute(publications.update().where(_mine(publication)).values(values))


def renew(connection: Connection, publication: Publication, lease_s: float = LEASE_S) -> None:
    """Go on holding the topic.

    Raises
    ------
    LeaseLostError
        If another process took it over.
    """
    _record(connection, publication, {"lease_until": time.time() + lease_s})


def forget(connection: Connection, publication: Publication) -> None:
    """Believe the topic alone: nothing counts as published until it was read back from the beginning."""
    _record(connection, publication, {"cluster": None, "offsets": {}, "in_flight": []})
    connection.execute(packets.update().where(_of(publication.stream)).values(published=False))


def ready_packets(connection: Connection, publication: Publication, limit: int) -> list[int]:
    """Candids to be sent, in order: not published, and made by a unit that is done."""
    query = _ready(publication).order_by(packets.c.candid).limit(limit)
    return list(connection.scalars(query))


def take_packets(
    connection: Connection, publication: Publication, candids: Sequence[int], lease_s: float = LEASE_S
) -> dict[int, str]:
    """Put packets in flight; those that were withdrawn or are being made again meanwhile stay.

    Returns
    -------
    dict
        Candid -> path relative to the archive, of those to send now.

    Raises
    ------
    LeaseLostError
        If another process took the topic over; then nothing may be sent.
    """
    taken: dict[int, str] = {}
    for part in in_parts(candids):
        ready = _ready(publication).where(packets.c.candid.in_(part))
        here = packets.c.candid.in_(ready), packets.c.schema == publication.stream.schema
        update = packets.update().where(*here).values(published=True)
        rows = connection.execute(update.returning(packets.c.candid, packets.c.path))
        taken |= {row.candid: row.path for row in rows}
    values = {"in_flight": sorted(taken), "lease_until": time.time() + lease_s}
    _record(connection, publication, values)
    return dict(sorted(taken.items()))


def settle(
    connection: Connection,
    publication: Publication,
    in_flight: Collection[int],
    found: Collection[int],
    cluster: str,
    offsets: Mapping[int, int],
) -> int:
    """Record what the topic holds: what is found there is published, what was in flight in vain is not.

    Returns
    -------
    int
        How many packets that were not yet marked are published now.

    Raises
    ------
    LeaseLostError
        If another process took the topic over.
    """
    values = {"cluster": cluster, "offsets": {str(k): v for k, v in offsets.items()}, "in_flight": []}
    _record(connection, publication, values)
    _mark(connection, publication, set(in_flight) - set(found), False)
    return _mark(connection, publication, found, True)


def made_packets(connection: Connection, stream: Stream) -> list[Any]:
    """Rows of the outbox that went out, or would if they were sent now; in order of candid."""
    here = sa.and_(_of(stream), sa.or_(packets.c.published, _made()))
    return list(connection.execute(sa.select(packets).where(here).order_by(packets.c.candid)).mappings())


def count_packets(
    connection: Connection, night: str, schema: str = ZTF_SCHEMA
) -> dict[tuple[int, bool], int]:
    """Number of packets of a night in the outbox, by program and whether they are published."""
    columns = packets.c.program_id, packets.c.published
    here = packets.c.night == night, packets.c.schema == schema
    query = sa.select(*columns, sa.func.count()).where(*here).group_by(*columns)
    return {(program, published): count for program, published, count in connection.execute(query)}


def _mark(connection: Connection, publication: Publication, candids: Iterable[int], published: bool) -> int:
    changed = 0
    for part in in_parts(sorted(candids)):
        here = sa.and_(
            _of(publication.stream), packets.c.candid.in_(part), packets.c.published.is_(not published)
        )
        changed += connection.execute(packets.update().where(here).values(published=published)).rowcount
    return changed


def _ready(publication: Publication) -> sa.Select[tuple[int]]:
    here = sa.and_(_of(publication.stream), packets.c.published.is_(False), _made())
    return sa.select(packets.c.candid).where(here)


def _made() -> sa.ColumnElement[bool]:
    """Whether a packet lies on the disk as the newest run of its quadrant made it."""
    tables = detections.join(coverage, detections.c.pid == coverage.c.pid)
    tables = tables.join(units, units.c.key == coverage.c.unit)
    done = units.c.kind == "packets", units.c.state == State.DONE.value
    query = sa.select(sa.literal(1)).select_from(tables).where(detections.c.candid == packets.c.candid, *done)
    return query.correlate(packets).exists()


def _of(stream: Stream) -> sa.ColumnElement[bool]:
    here = packets.c.night == stream.night, packets.c.schema == stream.schema
    return sa.and_(*here, packets.c.program_id == stream.program_id)


def _mine(publication: Publication) -> sa.ColumnElement[bool]:
    here = publications.c.topic == publication.topic, publications.c.attempt == publication.attempt
    return sa.and_(*here)


def _record(connection: Connection, publication: Publication, values: Mapping[str, Any]) -> None:
    if connection.execute(publications.update().where(_mine(publication)).values(values)).rowcount != 1:
        raise LeaseLostError(f"{publication.topic}: another publisher took this topic over; this one stops")
