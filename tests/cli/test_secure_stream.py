"""Kafka behind a door: TLS with a certificate of its own, and users with passwords."""

import json
import shutil

import outbox
import pytest
import yaml
from kafka_broker import running_broker
from kafka_door import MECHANISMS, Certificate, door
from outbox import FIRST, NIGHT, add_quadrant
from survey import expect, zsds

from zsds.core.errors import BadInput
from zsds.io.kafka import Topic, Unreachable
from zsds.io.kafka_options import KafkaOptions

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
TOPIC = f"ztf_{NIGHT}_programid1"
USER, PASSWORD = "zsds", "korrekt-Pferd,Batterie=1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def archive(tmp_path):
    archive = outbox.new_archive(tmp_path / "archive")
    add_quadrant(archive, range(FIRST, FIRST + 4))
    yield archive.store.root
    archive.database.close()


def test_only_with_the_right_certificate(certificate, monkeypatch):
    with running_broker() as broker:
        broker.tell("topic", "t", 2)
        with door(broker, certificate) as address:
            secure = {"bootstrap.servers": address, "security.protocol": "SSL"}
            with Topic("t", KafkaOptions({**secure, "ssl.ca.location": str(certificate.file)})) as topic:
                assert topic.n_partitions == 2
            with (
                pytest.raises(BadInput, match="no secure connection") as error,
                Topic("t", KafkaOptions(secure)),
            ):
                pass
            assert not isinstance(error.value, Unreachable)
            monkeypatch.setattr("zsds.io.kafka.BATCH_S", 2.0)
            with (
                pytest.raises(BadInput, match="no answer from Kafka"),
                Topic("t", KafkaOptions({"bootstrap.servers": address})),
            ):
                pass


@pytest.mark.parametrize(
    "protocol, mechanism",
    [("SASL_PLAINTEXT", "SCRAM-SHA-256"), ("SASL_SSL", "SCRAM-SHA-512"), ("SASL_SSL", "PLAIN")],
)
def test_a_user_with_the_password_publishes_and_reads(
    archive, certificate, tmp_path, monkeypatch, protocol, mechanism
):
    file = tmp_path / "kafka.yaml"
    with running_broker() as broker:
        broker.tell("topic", TOPIC, 4)
        with door(broker, certificate if protocol == "SASL_SSL" else None, {USER: PASSWORD}) as address:
            options = {"bootstrap.servers": address, "security.protocol": protocol}
            options |= {"sasl.mechanism": mechanism, "sasl.username": USER}
            options |= {"ssl.ca.location": str(certificate.file)} if protocol == "SASL_SSL" else {}
            file.write_text(yaml.safe_dump({"kafka": options}))
            at = ("--kafka", file)
            monkeypatch.setenv("ZSDS_KAFKA_SASL_PASSWORD", PASSWORD)
            (sent,) = json.loads(
                expect(zsds("alerts", "publish", NIGHT, *at, "--archive", archive, "--json")).out
            )
            assert (sent["topic"], sent["sent"]) == (TOPIC, 4)
            (found,) = json.loads(
                expect(zsds("alerts", "verify", NIGHT, *at, "--archive", archive, "--json")).out
            )
            assert (found["alerts"], found["missing"], found["twice"]) == (4, 0, 0)
            read = expect(zsds("alerts", "consume", *at, "--topics", TOPIC, "--count", 4)).out
            assert len(read.splitlines()) == 4


def test_a_wrong_password_is_told_in_one_line(archive, certificate, tmp_path, monkeypatch):
    file = tmp_path / "kafka.yaml"
    with running_broker() as broker:
        broker.tell("topic", TOPIC, 4)
        with door(broker, certificate, {USER: PASSWORD}) as address:
            options = {"bootstrap.servers": address, "security.protocol": "SASL_SSL"}
            options |= {"sasl.username": USER, "ssl.ca.location": str(certificate.file)}
            for mechanism in MECHANISMS:
                file.write_text(yaml.safe_dump({"kafka": {**options, "sasl.mechanism": mechanism}}))
                monkeypatch.setenv("ZSDS_KAFKA_SASL_PASSWORD", "hunter2-and-more")
                for words in (
                    ("publish", NIGHT, "--archive", archive),
                    ("verify", NIGHT, "--archive", archive),
                    ("consume", "--topics", TOPIC, "--count", 1),
                ):
                    called = zsds("alerts", *words, "--kafka", file)
                    assert called.status == 1
                    (line,) = called.err.splitlines()
                    assert "refuses the user or password" in line
                    assert "hunter2" not in line
