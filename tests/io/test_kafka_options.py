"""Options of Kafka: where they come from, and that no secret shows."""

import logging

import pytest

from zsds.core.errors import BadInput, SettingsError
from zsds.io.kafka import Topic
from zsds.io.kafka_options import load_options

TEXT = """
kafka:
  bootstrap.servers: broker.example.org:9093
  security.protocol: SASL_SSL
  sasl.password: hunter2
publish: {message: schemaless, partitions: 4}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "kafka.yaml"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


def test_file_then_environment_then_command_line(file):
    options = load_options(file, None, {"ZSDS_KAFKA_SASL_PASSWORD": "s3cret", "ZSDS_KAFKA": str(file)})
    assert options.client["sasl.password"] == "s3cret"
    assert options.client["security.protocol"] == "SASL_SSL"
    assert options.brokers == "broker.example.org:9093"
    assert (options.publish.message, options.publish.partitions) == ("schemaless", 4)
    assert load_options(file, "localhost:1", {}).brokers == "localhost:1"


def test_secrets_stay_hidden(file, caplog):
    options = load_options(file, None, {})
    assert "hunter2" not in repr(options)
    assert options.hidden("bad hunter2\n here") == "bad *** here"
    with caplog.at_level(logging.WARNING):
        file.chmod(0o644)
        load_options(file, None, {})
    assert "chmod o-rwx" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "text, told",
    [("kafka: [1]", "mapping"), ("kafka: {sasl.password: 'hunter2", "YAML"), ("cafka: {}", "unknown member"),
     ("publish: {speed: 1}", "unknown setting publish.speed"), ("publish: {message: xml}", "one of con"),
     ("publish: {batch: 0}", "publish.batch must be 1 to 20000, not 0"), ("publish: {batch: -5}", "not -5"),
     ("publish: {partitions: -3}", "publish.partitions must be 1"), ("publish: {replication: 0}", "or -1"),
     ("publish: {poll_s: .nan}", "publish.poll_s must be"), ("publish: {patience_s: -1}", "not -1"),
     ("kafka: {acks: 0}", "set by zsds itself"), ("{}", "no broker is named"),
     ("kafka: {bootstrap.servers: 'me:hunter2@host:1'}", "holds a user or password")],
)  # fmt: skip
def test_mistakes_are_one_line_without_the_secret(tmp_path, text, told):
    path = tmp_path / "kafka.yaml"
    path.write_text(text)
    with pytest.raises((BadInput, SettingsError), match=told) as error:
        load_options(path, None, {})
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


def test_an_option_that_librdkafka_does_not_know():
    options = load_options(None, "localhost:1", {"ZSDS_KAFKA_SASL_PASSWRD": "hunter2"})
    with pytest.raises(SettingsError, match=r"sasl\.passwrd") as error, Topic("t", options):
        pass
    assert "hunter2" not in str(error.value)
