"""Publishers that are killed, brokers that go away: does the topic hold every alert once in the end?

``python tests/publish_faults.py --runs 100`` prints a table; ``--broker HOST:PORT`` uses a real one.
"""

import argparse
import logging
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import outbox
from kafka_broker import Broker, running_broker

from zsds.core.errors import ZsdsError
from zsds.core.stream import SCHEMAS, ZTF_SCHEMA, Stream
from zsds.db import publications
from zsds.io.kafka_options import KafkaOptions, PublishSettings
from zsds.io.kafka_reader import read_topic
from zsds.io.messages import decode_message
from zsds.runner.archive import Archive, open_archive
from zsds.runner.publish import Orders, publish_night

N_PACKETS = 120
PARTITIONS = 4
FAULTS = ("kill", "two at once", "broker", "kill and broker")
REAL_FAULTS = ("kill", "two at once", "paused")  # the broker of the tests does not shut out who was paused
PROCESSES = multiprocessing.get_context("fork")  # starts at once; this process itself has no Kafka client


@dataclass
class Tally:
    """What was done to the publishers of a topic, and what became of the alerts."""

    runs: int = 0
    faults: int = 0
    in_flight: int = 0  # times that a publisher left something under way
    missing: int = 0
    twice: int = 0
    foreign: int = 0
    trouble: list[str] = field(default_factory=list)


def send(folder: Path, stream: Stream, options: KafkaOptions) -> None:
    """Publish in a process of its own; exit status 3 for a mistake told in one line."""
    logging.disable(logging.WARNING)
    try:
        publish_night(open_archive(folder), stream, options, Orders())
    except ZsdsError as error:
        logging.getLogger().critical("%s", error)
        raise SystemExit(3) from error


def endure(
    archive: Archive, stream: Stream, options: KafkaOptions, fault: str, broker: Broker | None, dice
) -> Tally:
    """Publish one topic through faults at random moments, then undisturbed; compare it with the archive."""
    tally = Tally(runs=1)
    over = threading.Event()
    flapping = threading.Thread(target=_flap, args=(broker, over, dice, tally))
    if "broker" in fault:
        flapping.start()
    arguments = (archive.store.root, stream, options)
    if fault == "paused":
        _pause(archive, arguments, dice, tally)
    if "kill" in fault or fault == "two at once":
        for _ in range(3):
            senders = [
                PROCESSES.Process(target=send, args=arguments) for _ in range(1 + (fault == "two at once"))
            ]
            for sender in senders:
                sender.start()
            senders[0].join(dice.uniform(0.05, 2.0 if "broker" in fault else 0.9))
            if senders[0].is_alive():
                senders[0].kill()
                tally.faults += 1
            for sender in senders:
                _end(sender)
            tally.in_flight += _n_in_flight(archive, stream) > 0
    if "broker" in fault:
        sender = PROCESSES.Process(target=send, args=arguments)
        sender.start()
        status = _end(sender)
        tally.trouble += [f"exit status {status}"] * (status != 0)
        over.set()
        flapping.join()
    with PROCESSES.Pool(1) as pool:
        return pool.apply(finish, (archive.store.root, stream, options, tally))


def finish(folder: Path, stream: Stream, options: KafkaOptions, tally: Tally) -> Tally:
    """Publish undisturbed; add to a tally what the topic lacks, and what it has twice or should not have."""
    archive = open_archive(folder)
    publish_night(archive, stream, options, Orders())
    found = Counter(decode_message(m.key(), m.value()).candid for m in read_topic(options, stream.topic))
    with archive.database.read() as connection:
        made = {row["candid"]: row["published"] for row in publications.made_packets(connection, stream)}
    tally.missing += len(set(made) - set(found)) + sum(not published for published in made.values())
    tally.twice += sum(count > 1 for count in found.values())
    tally.foreign += len(set(found) - set(made))
    return tally


def _pause(archive: Archive, arguments, dice: random.Random, tally: Tally) -> None:
    """One publisher stands still in the middle, for longer than its lease; another does its work."""
    first, second = (PROCESSES.Process(target=send, args=arguments) for _ in range(2))
    first.start()
    first.join(dice.uniform(0.05, 0.9))
    if first.is_alive():
        os.kill(first.pid, signal.SIGSTOP)
        tally.faults += 1
        tally.in_flight += _n_in_flight(archive, arguments[1]) > 0
        with archive.database.write() as connection:
            connection.execute(publications.publications.update().values(lease_until=0))
        second.start()
        second.join(120)
        os.kill(first.pid, signal.SIGCONT)
        _end(second)
    _end(first)


def _end(sender) -> int:
    sender.join(120)
    sender.kill()
    sender.join()
    return sender.exitcode


def _flap(broker: Broker, over: threading.Event, dice: random.Random, tally: Tally) -> None:
    while not over.wait(dice.uniform(1, 3)):
        broker.tell("down")
        tally.faults += 1
        over.wait(dice.uniform(0.05, 0.6))
        broker.tell("up")


def _n_in_flight(archive: Archive, stream: Stream) -> int:
    with archive.database.read() as connection:
        found = connection.execute(
            publications.publications.select().where(publications.publications.c.topic == stream.topic)
        )
        return sum(len(row.in_flight) for row in found)


def endure_many(
    folder: Path,
    runs: int,
    faults,
    transactions: bool,
    seed: int = 1,
    address: str = "",
    database=None,
    schema: str = ZTF_SCHEMA,
):
    """Tallies of each fault; without an address with a broker of our own, a fresh one every few topics."""
    dice = random.Random(seed)
    archive = outbox.new_archive(folder / "archive", database)
    publish = PublishSettings(transactions=transactions, batch=10, settle_s=0.3, partitions=PARTITIONS)
    tallies = {fault: Tally() for fault in faults}
    program = 100 * (seed % 1000) if address else 1  # a real broker keeps the topics of earlier trials
    for fault in faults:
        for _ in range(runs):
            program += 1
            first = outbox.FIRST + 1000 * program
            outbox.add_quadrant(archive, range(first, first + N_PACKETS), program, schemas=SCHEMAS)
            stream = Stream(archive.camera.prefix, outbox.NIGHT, program, schema)
            with ExitStack() as stack:
                broker = None if address else stack.enter_context(running_broker())
                client = {"bootstrap.servers": address or broker.address}
                if broker:
                    broker.tell("topic", stream.topic, PARTITIONS)
                    broker.tell("rtt", 20 if "broker" in fault else 5)
                one = endure(archive, stream, KafkaOptions(client, publish), fault, broker, dice)
            for name, value in vars(one).items():
                setattr(tallies[fault], name, getattr(tallies[fault], name) + value)
    return tallies


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--broker", default="")
    parser.add_argument("--database", help="SQLAlchemy URL of an empty database; SQLite by default")
    parser.add_argument("--no-transactions", action="store_true")
    parser.add_argument("--fault", action="append")
    parser.add_argument("--schema", choices=SCHEMAS, default=ZTF_SCHEMA)
    given = parser.parse_args()
    faults = given.fault or (REAL_FAULTS if given.broker else FAULTS)
    with tempfile.TemporaryDirectory() as folder:
        tallies = endure_many(
            Path(folder),
            given.runs,
            faults,
            not given.no_transactions,
            given.seed,
            given.broker,
            given.database,
            given.schema,
        )
    print("fault            topics  faults  in flight  missing  twice  foreign  trouble")  # noqa: T201
    for fault, t in tallies.items():
        numbers = (
            f"{t.runs:>6}  {t.faults:>6}  {t.in_flight:>9}  {t.missing:>7}  {t.twice:>5}  {t.foreign:>7}"
        )
        print(f"{fault:<16} {numbers}  {Counter(t.trouble) or '-'}")  # noqa: T201


if __name__ == "__main__":
    main()
