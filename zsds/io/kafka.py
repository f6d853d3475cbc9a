"""Kafka: a topic to send to that can be read back.

A batch is one transaction, so that a consumer that reads committed messages sees all of it or nothing, and a
process that was paused or cut off cannot send any more once another has taken its place.
"""

import logging
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from zsds.core.errors import BadInput, SettingsError, ZsdsError
from zsds.io.kafka_options import KafkaOptions
from zsds.io.messages import Message, decode_message

log = logging.getLogger(__name__)
CANDID = "candid"  # header of a message
BATCH_S = 60.0  # a message that no broker took by then is given up, and its whole batch with it
STEP_S = 0.2
CREATE_S = 10.0


class Unreachable(BadInput):
    """The broker does not answer, or not now: it may help to try again."""


class TooLarge(ZsdsError):
    """Packets that the broker refuses for their size."""

    def __init__(self, candids: Sequence[int]) -> None:
        super().__init__(list(candids))
        self.candids = list(candids)


def _client(kind: str, options: KafkaOptions, **ours: Any) -> Any:
    """A Producer, Consumer or AdminClient of confluent_kafka, quiet but for ``--verbose``."""
    try:
        import confluent_kafka  # noqa: PLC0415
        from confluent_kafka import admin  # noqa: PLC0415
    except ImportError as error:
        raise BadInput("confluent-kafka", "is not installed", "pip install 'zsds[kafka]'") from error
    client_log = logging.getLogger("zsds.kafka.client")
    client_log.setLevel(logging.NOTSET if log.isEnabledFor(logging.INFO) else logging.CRITICAL)
    make = admin.AdminClient if kind == "AdminClient" else getattr(confluent_kafka, kind)
    usual = {"client.id": "zsds", "reconnect.backoff.max.ms": "1000"}
    if kind == "Producer":
        usual |= {"linger.ms": "5"}
    try:
        return make({**usual, **options.client, **ours}, logger=client_log)
    except confluent_kafka.KafkaException as error:
        raise SettingsError(f"Kafka: {options.hidden(error.args[0].str())}; see docs/streaming.md") from error


class Topic:
    """A topic to send to; a context that leaves nothing under way at its end.

    Parameters
    ----------
    name : str
    options : KafkaOptions
    """

    def __init__(self, name: str, options: KafkaOptions) -> None:
        self.name, self.options = name, options
        self.cluster = ""
        self.n_partitions = 0
        self._trouble: Any = None
        self._refusals: dict[int, Any] = {}
        self._reached: dict[int, int] = {}
        self._producer: Any = None

    def __enter__(self) -> "Topic":
        transactional = {"transactional.id": f"zsds-{self.name}"} if self._transactions else {}
        self._producer = _client(
            "Producer",
            self.options,
            **{"enable.idempotence": True, "error_cb": self._noted, **transactional},
            **{"transaction.timeout.ms": int(BATCH_S * 1000)} if self._transactions else {},
            **{"message.timeout.ms": int(BATCH_S * 1000)},
        )
        try:
            reach(self._producer, BATCH_S / 4, self._told)
            if self._transactions:  # from here on no earlier sender of this topic can add to it
                self._asked(self._producer.init_transactions, BATCH_S / 2)
            self._make()
        except BaseException:
            self._drop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    @property
    def _transactions(self) -> bool:
        return self.options.publish.transactions

    def read_back(self, offsets: Mapping[int, int], in_flight: bool) -> tuple[set[int], dict[int, int]]:
        """Candids that the topic holds from some offsets on, and where it ends.

        Parameters
        ----------
        offsets : mapping
            Of each partition; those not named are read from their beginning.
        in_flight : bool
            Whether something may be among what is to be read, so that it must all be there.

        Raises
        ------
        BadInput
            If the topic lost messages that were never read back.
        """
        from confluent_kafka import TopicPartition  # noqa: PLC0415

        reader = open_reader(self.options, f"zsds-{self.name}", error_cb=self._noted)
        try:
            ends, parts = {}, []
            for number in range(self.n_partitions):
                part = TopicPartition(self.name, number)
                low, high = self._asked(reader.get_watermark_offsets, part, timeout=BATCH_S / 2)
                start = offsets.get(number, low)
                if start > high or (start < low and in_flight):
                    problem = f"partition {number} no longer holds message {start}"
                    remedy = "if it was deleted or has expired, send what it does not hold with --reread"
                    raise BadInput(self.name, problem, remedy)
                ends[number] = start
                if max(start, low) < high:
                    parts.append(TopicPartition(self.name, number, max(start, low)))
            found = set()
            for message in until_the_end(reader, parts, self._told):
                ends[message.partition()] = message.offset() + 1
                found.add(candid_of(message))
            return found - {None}, ends  # type: ignore[return-value]
        finally:
            reader.close()

    def send(self, messages: Sequence[Message]) -> dict[int, int]:
        """Send messages, all or none; returns the offsets behind them.

        Raises
        ------
        Unreachable
            If the broker did not take them all: some may be there, or not.
        TooLarge
            If it refuses some for their size.
        """
        self._refusals, self._reached = {}, {}
        if self._transactions:
            self._asked(self._producer.begin_transaction)
        for message in messages:
            self._produce(message)
        self._require_taken(self._asked(self._producer.flush, BATCH_S + STEP_S))
        if self._transactions:
            self._asked(self._producer.commit_transaction, BATCH_S)
        return dict(self._reached)

    def _produce(self, message: Message) -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415

        partition = zlib.crc32(message.object_id.encode()) % self.n_partitions
        headers = [(CANDID, str(message.candid).encode())]

        def delivered(error: Any, sent: Any) -> None:
            if error is not None:
                self._refusals[message.candid] = error
            else:
                reached = max(self._reached.get(sent.partition(), 0), sent.offset() + 1)
                self._reached[sent.partition()] = reached

        while True:
            try:
                self._producer.produce(
                    self.name, message.value, message.key, partition, delivered, headers=headers
                )
            except BufferError:
                self._asked(self._producer.poll, STEP_S)
            except KafkaException as error:
                self._refusals[message.candid] = error.args[0]
                return
            else:
                self._asked(self._producer.poll, 0)
                return

    def _require_taken(self, n_waiting: int) -> None:
        from confluent_kafka import KafkaError  # noqa: PLC0415

        large = [c for c, error in self._refusals.items() if error.code() == KafkaError.MSG_SIZE_TOO_LARGE]
        if large:
            raise TooLarge(large)
        if self._refusals or n_waiting:
            waiting = KafkaError(KafkaError._TIMED_OUT, f"{n_waiting} messages were not taken")
            raise self._told(next(iter(self._refusals.values()), waiting))

    def _make(self) -> None:
        """Make sure that the topic exists; a broker that makes topics itself need not let us."""
        if not self._partitions():
            self._create()
            self._asked(self._producer.list_topics, self.name, timeout=CREATE_S)
            for _ in range(50):
                if self._partitions():
                    break
                self._asked(self._producer.poll, STEP_S)
            else:
                problem = f"the brokers at {self.options.brokers} do not let us make this topic"
                raise BadInput(self.name, problem, "make it there, or give the right to")

    def _partitions(self) -> int:
        about = self._asked(self._producer.list_topics, timeout=BATCH_S / 2)
        self.cluster = about.cluster_id or ""
        self.n_partitions = len(about.topics[self.name].partitions) if self.name in about.topics else 0
        return self.n_partitions

    def _create(self) -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415
        from confluent_kafka.admin import NewTopic  # noqa: PLC0415

        settings = self.options.publish
        new = NewTopic(self.name, settings.partitions, settings.replication)
        admin = _client("AdminClient", self.options)
        try:
            admin.create_topics([new], operation_timeout=CREATE_S)[self.name].result(CREATE_S)
        except (KafkaException, TimeoutError) as error:
            log.info("topic %s was not made: %s", self.name, self.options.hidden(str(error)))

    def _asked(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """What the client answers; its failures in one line."""
        from confluent_kafka import KafkaException  # noqa: PLC0415

        try:
            return call(*arguments, **named)
        except KafkaException as error:
            raise self._told(error.args[0]) from error
        except SystemError as error:  # what confluent_kafka raises where two fatal errors meet
            raise Unreachable(self.options.brokers, "the connection failed", "start the broker") from error

    def _told(self, error: Any) -> ZsdsError:
        return told(error, self.options, self._trouble)

    def _noted(self, error: Any) -> None:
        """Keep what the client says between calls: the reason why the next call gets no answer."""
        if "brokers are down" not in error.str():  # which says less than what came before
            self._trouble = error
        log.info("Kafka: %s", self.options.hidden(error.str()))

    def _drop(self) -> None:
        from confluent_kafka import KafkaException  # noqa: PLC0415

        if self._transactions:
            with suppress(KafkaException, SystemError):
                self._producer.abort_transaction(STEP_S)
        with suppress(KafkaException, SystemError):
            self._producer.purge()
            self._producer.flush(STEP_S)
        self._producer = None


def told(error: Any, options: KafkaOptions, trouble: Any = None) -> BadInput:
    """An error of the client in one line: one that may pass as `Unreachable`, else as `BadInput`.

    Parameters
    ----------
    error : confluent_kafka.KafkaError
    options : KafkaOptions
    trouble : confluent_kafka.KafkaError, optional
        What the client said of its connections before.
    """
    from confluent_kafka import KafkaError  # noqa: PLC0415

    text = options.hidden(error.str() or error.name())
    reason = options.hidden(trouble.str()) if trouble is not None else ""
    codes = {one.code() for one in (error, trouble) if one is not None}
    if KafkaError._AUTHENTICATION in codes:
        return BadInput(options.brokers, f"refuses the user or password ({reason or text})", "check sasl.*")
    if KafkaError._SSL in codes:
        return BadInput(
            options.brokers, f"no secure connection ({reason or text})", "check security.protocol, ssl.*"
        )
    refused = {
        KafkaError.TOPIC_AUTHORIZATION_FAILED: "to write and read the topic",
        KafkaError.CLUSTER_AUTHORIZATION_FAILED: "to write idempotently",
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "to use transactions of ids that begin with zsds-",
        KafkaError.GROUP_AUTHORIZATION_FAILED: "to read as this group",
    }
    if error.code() in refused:
        problem = f"does not let us ({text})"
        return BadInput(options.brokers, problem, f"give this user the right {refused[error.code()]}")
    if error.code() in (KafkaError.UNSUPPORTED_VERSION, KafkaError._UNSUPPORTED_FEATURE):
        return BadInput(options.brokers, f"cannot do it ({text})", "set publish.transactions: false")
    what = f"{text}: {reason}" if reason and reason != text else text
    return Unreachable(
        options.brokers, f"no answer from Kafka ({what})", "start the broker, or check its address"
    )


def candid_of(message: Any) -> int | None:
    """Candid of a message in a topic; None of one that is no alert."""
    for name, value in message.headers() or ():
        if name == CANDID and value.lstrip(b"-").isdigit():
            return int(value)
    try:
        return decode_message(message.key(), message.value()).candid
    except ZsdsError:
        return None


def open_reader(options: KafkaOptions, group: str, **more: Any) -> Any:
    """A consumer of committed messages that tells where a partition ends."""
    ours = {"group.id": group, "isolation.level": "read_committed", "enable.auto.commit": False}
    return _client("Consumer", options, **ours, **{"enable.partition.eof": True, **more})


def reach(client: Any, patience_s: float, failed: Callable[[Any], Exception]) -> None:
    """Wait for a broker's first answer; what keeps it away for good, as a password, is told at once.

    Parameters
    ----------
    client : confluent_kafka.Producer or confluent_kafka.Consumer
    patience_s : float
    failed : callable
        What to raise for an error of the client; an `Unreachable` is waited for.
    """
    from confluent_kafka import KafkaException  # noqa: PLC0415

    end = time.monotonic() + patience_s
    while True:
        try:
            client.list_topics(timeout=1)
        except KafkaException as error:
            client.poll(0)  # the client tells its troubles now
            reason = failed(error.args[0])
            if not isinstance(reason, Unreachable) or time.monotonic() > end:
                raise reason from error
        else:
            return


def until_the_end(reader: Any, parts: Sequence[Any], failed: Callable[[Any], Exception]) -> Iterator[Any]:
    """Messages from some offsets to the end of each partition, as it is when it is reached.

    Parameters
    ----------
    reader : confluent_kafka.Consumer
    parts : sequence of confluent_kafka.TopicPartition
        With the offsets to begin at.
    failed : callable
        What to raise for an error of the client.
    """
    from confluent_kafka import KafkaError  # noqa: PLC0415

    reader.assign(list(parts))
    unread = {part.partition for part in parts}
    silent_s = 0.0
    while unread:
        message = reader.poll(STEP_S)
        silent_s = silent_s + STEP_S if message is None else 0.0
        if silent_s > BATCH_S / 2:
            raise failed(KafkaError(KafkaError._TIMED_OUT, "the topic could not be read to its end"))
        if message is None:
            continue
        if message.error() is None:
            yield message
        elif message.error().code() == KafkaError._PARTITION_EOF:
            unread.discard(message.partition())
        elif not message.error().retriable():
            raise failed(message.error())
