"""A night's packets to their topic: each once, whatever ends the publisher, the broker or the database."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from zsds.core.errors import BadInput, ZsdsError
from zsds.core.stream import Stream
from zsds.db import publications
from zsds.db.publications import Publication
from zsds.io.kafka import TooLarge, Topic, Unreachable
from zsds.io.kafka_options import KafkaOptions
from zsds.io.messages import Message, encode_message
from zsds.io.registry import Registry
from zsds.io.store import is_dead, this_process
from zsds.runner.archive import Archive
from zsds.runner.embargo import Embargo, closed

log = logging.getLogger(__name__)
PASS = 20000  # packets looked up at once
MOST_WAIT_S = 10.0  # between two tries at a broker or database that is away


@dataclass
class Sent:
    """What became of the packets of a topic.

    Parameters
    ----------
    topic : str
    sent : int
        Sent by this run.
    found : int
        Read back from the topic, where an earlier run left them without knowing.
    refused : mapping
        Candid -> why it was not sent.
    waiting : int
        Not made yet, or being made again.
    seconds : float
        Time spent sending.
    """

    topic: str
    sent: int = 0
    found: int = 0
    refused: dict[int, str] = field(default_factory=dict)
    waiting: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Orders:
    """How a run is to go.

    Parameters
    ----------
    follow : bool
        Go on with packets as they appear.
    until : float, optional
        Unix time at which to end.
    reread : bool
        Believe the topic alone, see `zsds.db.publications.forget`.
    stop : threading.Event
        Set from outside to end after the batch under way.
    advance : callable
        Told the number of packets of each batch.
    """

    follow: bool = False
    until: float | None = None
    reread: bool = False
    stop: threading.Event = field(default_factory=threading.Event)
    advance: Callable[[int], None] = lambda _: None

    @property
    def ended(self) -> bool:
        """Whether it is time to end."""
        return self.stop.is_set() or (self.until is not None and time.time() >= self.until)


def count_unpublished(archive: Archive, stream: Stream) -> int:
    """Packets that are in the outbox and did not go out."""
    with archive.database.read() as connection:
        counts = publications.count_packets(connection, stream.night, stream.schema)
    return counts.get((stream.program_id, False), 0)


def require_made(archive: Archive, night: str, schema: str) -> None:
    """Make sure that a night's packets are made in a schema at all, where it has any.

    Raises
    ------
    BadInput
        If there are packets of ZTF's schema only.
    """
    with archive.database.read() as connection:
        is_made = publications.count_packets(connection, night, schema)
        is_any = is_made or publications.count_packets(connection, night)
    if is_any and not is_made:
        remedy = f"make them with: zsds night {night} --set difference.own_packets=true"
        raise BadInput(night, f"has no packets of schema {schema}", remedy)


def publish_night(archive: Archive, stream: Stream, options: KafkaOptions, orders: Orders) -> Sent:
    """Send what was not sent yet of a night, program and schema to its topic.

    Whatever goes wrong in between, the topic is read back before anything more is sent.

    Raises
    ------
    BadInput
        If another publisher sends this topic, the broker refuses us, or it or the database is away too long.
    LeaseLostError
        If another publisher took over.
    """
    sent = Sent(stream.topic)
    trouble = _Patience(options.publish.patience_s)
    publisher = _Publisher(archive, options, sent, trouble, orders)
    while not publisher.finished:
        try:
            with _held(archive, stream, orders.reread and not publisher.reread) as publication:
                publisher.run(publication)
        except TooLarge as error:
            problem = "is too large for the broker; raise message.max.bytes, there and in the options"
            sent.refused |= dict.fromkeys(error.candids, problem)
        except (BadInput, OperationalError) as error:
            trouble.wait(error, orders)
            if orders.ended:
                raise
    sent.waiting = count_unpublished(archive, stream) - len(sent.refused)
    return sent


class _Patience:
    """Waits between tries, longer each time, and gives up when nothing worked for too long."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self.worked()

    def worked(self) -> None:
        """All is well again."""
        self.since: float | None = None
        self.wait_s = 0.5

    def wait(self, error: BaseException, orders: Orders) -> None:
        """Wait for a while; raise what cannot pass by waiting, or has lasted too long."""
        if isinstance(error, OperationalError):  # a server that ended in the middle of a transaction
            problem = f"the connection failed ({' '.join(str(error.orig).split())})"
            lost = BadInput("the database", problem, "start the database server, or check the URL")
            lost.__cause__ = error
            error = lost
        passing = isinstance(error, Unreachable)
        if not passing and not isinstance(error.__cause__, OperationalError):
            raise error
        now = time.monotonic()
        if self.since is None:
            self.since = now
            log.warning("%s; waiting for it, at most %.0f s", error, self.patience_s)
        if now - self.since >= self.patience_s:
            raise error
        orders.stop.wait(self.wait_s)
        self.wait_s = min(2 * self.wait_s, MOST_WAIT_S)


@contextmanager
def _held(archive: Archive, stream: Stream, reread: bool) -> Iterator[Publication]:
    """The topic as its only sender."""
    with archive.database.write() as connection:
        held = publications.take(connection, stream, this_process(), is_dead)
        if reread:
            publications.forget(connection, held)
            held = replace(held, cluster=None, offsets={}, in_flight=[])
    try:
        yield held
    finally:
        with suppress(ZsdsError, OperationalError), archive.database.write() as connection:
            publications.give_back(connection, held)


@dataclass
class _Publisher:
    """One run; lives through as many connections as it takes."""

    archive: Archive
    options: KafkaOptions
    sent: Sent
    trouble: _Patience
    orders: Orders
    finished: bool = False
    reread: bool = False

    def run(self, publication: Publication) -> None:
        """Read the topic back, then send until there is nothing more, or no more is wanted."""
        self.reread = True
        with Topic(publication.topic, self.options) as topic:
            ends = self._recover(topic, publication)
            self.trouble.worked()
            while not self.orders.ended:
                if self._pass(topic, publication, ends):
                    continue
                if not self.orders.follow:
                    break
                self.orders.stop.wait(self.options.publish.poll_s)
                with self.archive.database.write() as connection:
                    publications.renew(connection, publication)
            self.finished = True

    def _recover(self, topic: Topic, publication: Publication) -> dict[int, int]:
        """Learn what became of what was under way when the last sender ended; where the topic ends."""
        if publication.cluster not in (None, "", topic.cluster):
            problem = f"was published to another Kafka cluster ({publication.cluster}, not {topic.cluster})"
            remedy = "go on there; to send all that this one does not hold, give --reread"
            raise BadInput(publication.topic, problem, remedy)
        in_flight = list(publication.in_flight)
        if in_flight and not self.options.publish.transactions:
            self.orders.stop.wait(self.options.publish.settle_s)
        found, ends = topic.read_back(publication.offsets, bool(in_flight))
        with self.archive.database.write() as connection:
            new = publications.settle(connection, publication, in_flight, found, topic.cluster, ends)
        self.sent.found += new + len(found & set(in_flight))
        return ends

    def _pass(self, topic: Topic, publication: Publication, ends: dict[int, int]) -> bool:
        """Send all that is ready now; whether anything was."""
        with self.archive.database.read() as connection:
            ready = publications.ready_packets(connection, publication, PASS + len(self.sent.refused))
        ready = [candid for candid in ready if candid not in self.sent.refused]
        size = self.options.publish.batch
        for start in range(0, len(ready), size):
            if self.orders.ended:
                break
            self._batch(topic, publication, ready[start : start + size], ends)
        return bool(ready)

    def _batch(
        self, topic: Topic, publication: Publication, candids: Collection[int], ends: dict[int, int]
    ) -> None:
        start = time.monotonic()
        with self.archive.database.write() as connection:
            taken = publications.take_packets(connection, publication, list(candids))
        messages = [m for c, path in taken.items() if (m := self._message(publication, c, path)) is not None]
        messages = self._open(publication, messages)
        if messages:
            ends |= topic.send(messages)
        gone = {message.candid for message in messages}
        with self.archive.database.write() as connection:
            publications.settle(connection, publication, taken, gone, topic.cluster, ends)
        self.trouble.worked()
        self.sent.sent += len(gone)
        self.sent.seconds += time.monotonic() - start
        self.orders.advance(len(gone))

    def _message(self, publication: Publication, candid: int, path: str) -> Message | None:
        """The message of a packet; None where its file is at fault, which holds up no other."""
        file = self.archive.store.root / path
        settings = self.options.publish
        try:
            content = file.read_bytes()
            program_id = publication.stream.program_id
            message = encode_message(content, settings.message, program_id, self._registry, str(file))
            if message.candid != candid:
                raise BadInput(
                    str(file), f"holds packet {message.candid}", "make it again with: zsds night --again"
                )
        except OSError as error:
            problem = f"cannot be read ({error.strerror})"
            self.sent.refused[candid] = str(
                BadInput(str(file), problem, "make it again with: zsds night --again")
            )
        except BadInput as error:
            self.sent.refused[candid] = str(error)
        else:
            return message
        return None

    def _open(self, publication: Publication, messages: list[Message]) -> list[Message]:
        """Those that show nothing that became proprietary since they were made."""
        embargo = Embargo(self.archive, publication.stream.program_id)
        embargo.learn({pid for message in messages for pid in message.pids})
        hidden = [message for message in messages if embargo.hides(message.pids)]
        for message in hidden:
            self.sent.refused[message.candid] = str(closed(f"packet {message.candid}"))
        return [message for message in messages if message.candid not in self.sent.refused]

    @cached_property
    def _registry(self) -> Registry:
        return registry_of(self.archive, self.options.publish.registry)


def registry_of(archive: Archive, folder: str = "") -> Registry:
    """The registry of schemas: of a folder, or the archive's own."""
    return Registry(Path(folder) if folder else archive.store.root / "alerts" / "registry")


def packets_made(archive: Archive, stream: Stream) -> tuple[list[Path], int]:
    """Files of what was or would be published, and how many of the night's packets of the schema stay out."""
    with archive.database.read() as connection:
        rows = publications.made_packets(connection, stream)
        total = sum(publications.count_packets(connection, stream.night, stream.schema).values())
    return [archive.store.root / row["path"] for row in rows], total - len(rows)


def records(done: Collection[Sent]) -> list[dict[str, Any]]:
    """Rows to print."""
    return [
        {
            "topic": one.topic,
            "sent": one.sent,
            "found": one.found,
            "refused": len(one.refused),
            "waiting": one.waiting,
            "per_s": round(one.sent / one.seconds, 1) if one.seconds else None,
        }
        for one in done
    ]
