"""Reading alerts from Kafka: topics by pattern, groups, each form of message."""

import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from zsds.core.errors import BadInput, WrongCall
from zsds.core.packet import AlertPacket
from zsds.io.kafka import STEP_S, open_reader, reach, told, until_the_end
from zsds.io.kafka_options import KafkaOptions
from zsds.io.messages import decode_message
from zsds.io.registry import Registry

PATIENCE_S = 30.0  # with a broker that was never reached
JOIN_S = 10.0  # a group takes seconds to give its members their parts


@dataclass(frozen=True)
class Wanted:
    """What to read, and until when.

    Parameters
    ----------
    topics : str
        A name, or a pattern that begins with ``^``.
    group : str, optional
        Shares the work among its members and remembers what was read; without one, this reader reads all.
    from_end : bool
        Begin with new alerts where the group was never before.
    count : int, optional
        End after so many alerts.
    idle_s : float, optional
        End when nothing came for so long.
    stop : threading.Event
        Set from outside to end.
    """

    topics: str
    group: str | None = None
    from_end: bool = False
    count: int | None = None
    idle_s: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Alert:
    """A message: its packet, or why it holds none."""

    topic: str
    key: bytes | None
    value: bytes
    packet: AlertPacket | BadInput


def read_alerts(options: KafkaOptions, wanted: Wanted, registry: Registry | None = None) -> Iterator[Alert]:
    """Alerts as they come; the group's place moves on when the next one is asked for.

    So whoever is killed while it works on an alert gets it again, and none is skipped.

    Raises
    ------
    BadInput
        If no broker answers, or it refuses us.
    WrongCall
        If the pattern is none.
    """
    troubles: list[Any] = []
    reader = open_reader(
        options,
        wanted.group or f"zsds-{uuid.uuid4()}",
        **{
            "auto.offset.reset": "latest" if wanted.from_end else "earliest",
            "topic.metadata.refresh.interval.ms": "10000",  # finds the next night's topic
            "error_cb": troubles.append,
        },
    )
    last = time.monotonic()
    n_read, reached = 0, False
    try:
        _subscribe(reader, wanted.topics)
        while not wanted.stop.is_set() and (wanted.count is None or n_read < wanted.count):
            message = reader.poll(STEP_S)
            now = time.monotonic()
            if message is None or message.error() is not None:
                error = message.error() if message is not None else None
                if not reached and reader.assignment():
                    reached, last = True, now
                _require_going(error, troubles, options, reached or now - last < PATIENCE_S)
                if wanted.idle_s is not None and now - last > wanted.idle_s + (0 if reached else JOIN_S):
                    if not reached:  # there is no such topic yet, or no broker
                        reach(reader, JOIN_S, partial(told, options=options))
                    return
                continue
            reached, last = True, now
            yield _alert(message, registry)
            n_read += 1
            if wanted.group:
                reader.commit(message=message, asynchronous=True)
    finally:
        reader.close()


def _subscribe(reader: Any, topics: str) -> None:
    from confluent_kafka import KafkaException  # noqa: PLC0415

    try:
        reader.subscribe([topics])
    except KafkaException as error:  # nothing is asked of a broker yet
        remedy = "write a name, or ^ and a regular expression"
        raise WrongCall(topics, "is no topic and no pattern of topics", remedy) from error


def _require_going(error: Any, troubles: list[Any], options: KafkaOptions, may_wait: bool) -> None:
    """Raise what cannot pass by waiting: a refusal, or a broker that was never reached."""
    from confluent_kafka import KafkaError  # noqa: PLC0415

    passing = (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART)
    found = [e for e in (error, *troubles) if e is not None and e.code() not in passing]
    for one in found:
        if (
            one.fatal()
            or one.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL)
            or "AUTHORIZ" in one.name()
        ):
            raise told(one, options)
    if found and not may_wait:
        raise told(found[-1], options)


def _alert(message: Any, registry: Registry | None) -> Alert:
    source = f"{message.topic()} partition {message.partition()} message {message.offset()}"
    try:
        packet: AlertPacket | BadInput = decode_message(message.key(), message.value(), registry, source)
    except BadInput as error:
        packet = error
    return Alert(message.topic(), message.key(), message.value() or b"", packet)


def read_topic(options: KafkaOptions, topic: str) -> Iterator[Any]:
    """Every message that a topic holds now, as the client has them; nothing where there is no such topic.

    Raises
    ------
    BadInput
        If no broker answers, or it refuses us.
    """
    from confluent_kafka import OFFSET_BEGINNING, KafkaException, TopicPartition  # noqa: PLC0415

    troubles: list[Any] = []
    reader = open_reader(options, f"zsds-{uuid.uuid4()}", error_cb=troubles.append)

    def failed(error: Any) -> BadInput:
        return told(error, options, troubles[-1] if troubles else None)

    try:
        reach(reader, PATIENCE_S, failed)
        found = reader.list_topics(timeout=PATIENCE_S).topics.get(topic)
        numbers = found.partitions if found is not None else ()
        parts = [TopicPartition(topic, number, OFFSET_BEGINNING) for number in numbers]
        yield from until_the_end(reader, parts, failed)
    except KafkaException as error:
        raise failed(error.args[0]) from error
    finally:
        reader.close()
