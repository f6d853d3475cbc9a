"""How alerts are sent and to which brokers: settings and options of a file, environment and command line."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from zsds.core.errors import BadInput, SettingsError
from zsds.core.settings import with_values
from zsds.io.messages import FORMS

log = logging.getLogger(__name__)
ENVIRONMENT = "ZSDS_KAFKA_"
SECRET = ("password", "secret", "pem", "token", "jaas", "oauthbearer.config")
OURS = ("enable.idempotence", "transactional.id", "acks", "isolation.level", "enable.auto.commit", "group.id")


@dataclass(frozen=True)
class PublishSettings:
    """How alerts are sent."""

    message: str = "container"  # form of the messages: container, schemaless or confluent
    transactions: bool = True  # one for each batch; false for brokers that have none
    partitions: int = 16  # of a topic that does not exist yet
    replication: int = -1  # copies of a new topic; -1 leaves it to the broker
    batch: int = 500  # most packets sent together
    patience_s: float = 600.0  # how long to wait for a broker or a database that is away
    settle_s: float = 10.0  # without transactions: wait for what a dead publisher may have under way
    poll_s: float = 2.0  # how often to look for new packets
    registry: str = ""  # folder of schemas and their numbers; that of the archive when empty


_LIMITS = {
    "partitions": (1, 100_000),
    "replication": (-1, 32_767),
    "batch": (1, 20_000),
    "patience_s": (0.0, 1e6),
    "settle_s": (0.0, 3600.0),
    "poll_s": (0.01, 60.0),  # the topic is held for three minutes from each look on
}


@dataclass(frozen=True)
class KafkaOptions:
    """Options of librdkafka, secrets among them, and how to send.

    Parameters
    ----------
    client : mapping
        Names and values as librdkafka has them.
    publish : PublishSettings
    """

    client: Mapping[str, str] = field(repr=False)
    publish: PublishSettings = PublishSettings()

    @property
    def brokers(self) -> str:
        """Addresses of the brokers, for messages."""
        return self.client["bootstrap.servers"]

    def hidden(self, text: str) -> str:
        """A text of the client without any secret."""
        for name, value in self.client.items():
            if value and any(part in name for part in SECRET):
                text = text.replace(value, "***")
        return " ".join(text.split())


def load_options(
    file: Path | None, brokers: str | None = None, environment: Mapping[str, str] | None = None
) -> KafkaOptions:
    """Options of a YAML file, then of the environment, then of the command line.

    Parameters
    ----------
    file : Path, optional
        With members ``kafka`` (options of librdkafka) and ``publish`` (`PublishSettings`).
    brokers : str, optional
        ``HOST:PORT,...``
    environment : mapping, optional
        ``ZSDS_KAFKA_SASL_PASSWORD`` gives ``sasl.password``, and so on; the process's own by default.

    Raises
    ------
    BadInput
        If the file cannot be read, or no broker is named.
    SettingsError
        If an option is not known, or one that zsds sets itself.
    """
    values = _read(file) if file else {}
    client = {str(name): _plain(value) for name, value in (values.pop("kafka", None) or {}).items()}
    publish = with_values(PublishSettings(), values.pop("publish", None) or {}, "publish.")
    if values:
        raise SettingsError(f"{file}: unknown member {sorted(values)[0]!r}; known here: kafka, publish")
    _require_sensible(publish)
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith(ENVIRONMENT):
            client[name.removeprefix(ENVIRONMENT).lower().replace("_", ".")] = value
    if brokers:
        client["bootstrap.servers"] = brokers
    for name in OURS:
        if name in client:
            raise SettingsError(f"the Kafka option {name} is set by zsds itself; leave it out")
    if not client.get("bootstrap.servers"):
        remedy = f"give --broker HOST:PORT, or bootstrap.servers in a file or {ENVIRONMENT}BOOTSTRAP_SERVERS"
        raise BadInput("Kafka", "no broker is named", remedy)
    if "@" in client["bootstrap.servers"]:
        remedy = (
            f"give HOST:PORT alone, and sasl.username and sasl.password in a file or as {ENVIRONMENT}SASL_..."
        )
        raise BadInput("Kafka", "the broker's address holds a user or password", remedy)
    return KafkaOptions(client, publish)


def _require_sensible(publish: PublishSettings) -> None:
    if publish.message not in FORMS:
        raise SettingsError(
            f"setting publish.message must be one of {', '.join(FORMS)}, not {publish.message!r}"
        )
    for name, (least, most) in _LIMITS.items():
        value = getattr(publish, name)
        if not least <= value <= most:
            raise SettingsError(f"setting publish.{name} must be {least:.10g} to {most:.10g}, not {value:g}")
    if publish.replication == 0:
        raise SettingsError("setting publish.replication must be 1 or more, or -1 for the broker's own")


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise BadInput(str(file), f"cannot be read ({error.strerror})", "check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:  # without its text, which may hold a secret
        raise BadInput(str(file), "cannot be read as YAML", "mend it") from error
    if not isinstance(values, dict) or not all(isinstance(v, dict | None) for v in values.values()):
        raise BadInput(str(file), "is not a mapping of options", "see docs/streaming.md for an example")
    if file.stat().st_mode & 0o007 and any(
        part in str(name) for name in values.get("kafka") or {} for part in SECRET
    ):
        log.warning("%s: others may read it, and it holds a secret; close it with: chmod o-rwx", file)
    return values


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
