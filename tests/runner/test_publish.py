"""Packets of a night in a topic: each once, whatever is killed or goes away."""

import itertools
import threading
import time
from unittest import mock

import outbox
import publish_faults
import pytest
from kafka_broker import running_broker
from outbox import FIRST, NIGHT, add_quadrant, finish_quadrant

from zsds.core.errors import BadInput
from zsds.core.stream import SCHEMAS, Stream
from zsds.db import publications
from zsds.io.kafka import Unreachable
from zsds.io.kafka_options import KafkaOptions, PublishSettings
from zsds.io.kafka_reader import Wanted, read_alerts, read_topic
from zsds.io.messages import FORMS
from zsds.io.packets import encode_packet, tar_night
from zsds.runner.publish import Orders, count_unpublished, packets_made, publish_night, records, registry_of
from zsds.runner.verify import verify_night

NIGHTS = itertools.count(1)
TOPIC = "ztf_20190110_programid1"


@pytest.fixture(scope="module")
def broker():
    with running_broker() as broker:
        yield broker


@pytest.fixture
def archive(tmp_path):
    archive = outbox.new_archive(tmp_path / "archive")
    yield archive
    archive.database.close()


@pytest.fixture
def night(broker):
    """A night of the test's own, whose topics exist."""
    night = f"2019{next(NIGHTS):04d}"
    for program in (1, 2, 3):
        broker.tell("topic", f"ztf_{night}_programid{program}", 4)
    return night


def options(broker, **publish):
    return KafkaOptions({"bootstrap.servers": broker.address}, PublishSettings(settle_s=0.1, **publish))


def candids(broker, topic):
    return sorted(int(m.headers()[0][1]) for m in read_topic(options(broker), topic))


@pytest.mark.parametrize("transactions", [True, False])
def test_a_second_run_sends_what_is_new(broker, archive, night, transactions):
    program = 1 + transactions
    topic = f"ztf_{night}_programid{program}"
    given = options(broker, transactions=transactions, batch=4)
    first = add_quadrant(archive, range(FIRST, FIRST + 10), program, night)
    assert publish_night(archive, Stream("ztf", night, program), given, Orders()).sent == 10
    assert publish_night(archive, Stream("ztf", night, program), given, Orders()).sent == 0
    second = add_quadrant(archive, range(FIRST + 100, FIRST + 103), program, night)
    add_quadrant(archive, range(FIRST + 200, FIRST + 203), program, night, done=False)
    sent = publish_night(archive, Stream("ztf", night, program), given, Orders())
    assert (sent.sent, sent.found, sent.waiting) == (3, 0, 3)
    assert candids(broker, topic) == [*first, *second]
    again = publish_night(archive, Stream("ztf", night, program), given, Orders(reread=True))
    assert (again.sent, again.found) == (0, 13)
    assert records([again])[0]["topic"] == topic


def test_what_a_dead_publisher_left_is_read_back(broker, archive, night):
    """It died after its messages were there, before it could say so; of those in flight half are there."""
    sent = add_quadrant(archive, range(FIRST, FIRST + 6), night=night)
    publish_night(archive, Stream("ztf", night, 1), options(broker), Orders())
    more = add_quadrant(archive, range(FIRST + 100, FIRST + 104), night=night)
    with archive.database.write() as connection:
        topic = f"ztf_{night}_programid1"
        held = publications.take(
            connection, Stream("ztf", night, 1), "elsewhere:1", lambda _: False, lease_s=0
        )
        publications.settle(connection, held, sent, [], held.cluster, {})  # as if never told
        publications.take_packets(connection, held, [*sent[:3], *more[:2]], lease_s=0)
    result = publish_night(archive, Stream("ztf", night, 1), options(broker), Orders())
    assert (result.found, result.sent) == (6, 4)
    assert candids(broker, topic) == [*sent, *more]


def test_each_program_has_its_topic_and_nothing_of_another(broker, archive, night):
    public = add_quadrant(archive, range(FIRST, FIRST + 4), 1, night)
    private = add_quadrant(archive, range(FIRST + 100, FIRST + 103), 2, night)
    store = archive.store
    store.path("packet", public[1]).write_bytes(encode_packet(outbox.packet(public[1], 2)))
    store.path("packet", public[2]).write_bytes(encode_packet(outbox.packet(public[2], 1, [1, 2])))
    store.path("packet", public[3]).unlink()
    sent = publish_night(archive, Stream("ztf", night, 1), options(broker), Orders())
    assert sent.sent == 1
    assert set(sent.refused) == set(public[1:])
    assert all("zsds night" in reason for reason in sent.refused.values())
    assert candids(broker, f"ztf_{night}_programid1") == public[:1]
    assert publish_night(archive, Stream("ztf", night, 2), options(broker), Orders()).sent == 3
    assert candids(broker, f"ztf_{night}_programid2") == private
    for candid in public[1:]:
        store.path("packet", candid).write_bytes(encode_packet(outbox.packet(candid)))
    assert publish_night(archive, Stream("ztf", night, 1), options(broker), Orders()).sent == 3
    files, n_other = packets_made(archive, Stream("ztf", night, 1))
    tar = tar_night(files, store.path("packet_tar", night))
    assert (tar.n_packets, tar.n_withheld, n_other) == (4, 0, 3)
    topic, tarred = verify_night(archive, Stream("ztf", night, 1), options(broker))
    for row in (topic, tarred):
        assert row | {"where": ""} == {
            "where": "", "alerts": 4, "missing": 0, "twice": 0, "foreign": 0, "changed": 0, "unsent": 0
        }  # fmt: skip


def test_each_schema_is_sent_by_itself_and_once(broker, archive, night):
    """Of our schema half were in flight when the publisher died; those of ZTF's were never asked for."""
    made = add_quadrant(archive, range(FIRST, FIRST + 6), 1, night, schemas=SCHEMAS)
    own, given = Stream("ztf", night, 1, "zsds"), options(broker, message="confluent")
    broker.tell("topic", own.topic, 4)
    with archive.database.write() as connection:
        held = publications.take(connection, own, "elsewhere:1", lambda _: False, lease_s=0)
        publications.take_packets(connection, held, made[:3], lease_s=0)
    assert publish_night(archive, own, given, Orders()).sent == 6
    assert publish_night(archive, own, given, Orders()).sent == 0
    again = publish_night(archive, own, given, Orders(reread=True))
    assert (again.sent, again.found) == (0, 6)
    (row,) = [row for row in verify_night(archive, own, given) if row["where"] == own.topic]
    assert [row[name] for name in ("alerts", "missing", "twice", "foreign", "changed", "unsent")] == [
        6, 0, 0, 0, 0, 0
    ]  # fmt: skip
    assert count_unpublished(archive, Stream("ztf", night, 1)) == 6
    assert candids(broker, f"ztf_{night}_programid1") == []
    assert publish_night(archive, Stream("ztf", night, 1), given, Orders()).sent == 6


def test_our_packet_with_a_proprietary_past_is_refused_and_holds_up_no_other(broker, archive, night):
    made = add_quadrant(archive, range(FIRST, FIRST + 4), 1, night, schemas=SCHEMAS)
    for candid, past in ((made[1], {"history": [2]}), (made[2], {"forced": [2]})):
        file = archive.store.path("own_packet", candid)
        file.write_bytes(encode_packet(outbox.own_packet(candid, 1, **past)))
    own = Stream("ztf", night, 1, "zsds")
    broker.tell("topic", own.topic, 4)
    sent = publish_night(archive, own, options(broker), Orders())
    assert (sent.sent, set(sent.refused)) == (2, set(made[1:3]))
    assert candids(broker, own.topic) == [made[0], made[3]]


def test_the_comparison_finds_what_is_wrong(broker, archive, night):
    given = options(broker)
    sent = add_quadrant(archive, range(FIRST, FIRST + 4), 1, night)
    publish_night(archive, Stream("ztf", night, 1), given, Orders())
    lost = add_quadrant(archive, range(FIRST + 100, FIRST + 102), 1, night)
    add_quadrant(archive, range(FIRST + 200, FIRST + 203), 1, night)
    with archive.database.write() as connection:
        held = publications.take(connection, Stream("ztf", night, 1), "a:1", lambda _: True, lease_s=0)
        publications.settle(connection, held, (), lost, held.cluster, held.offsets)  # says so, but sent none
        publications.settle(connection, held, sent[:1], (), held.cluster, held.offsets)  # sends one again
    archive.store.path("packet", sent[1]).write_bytes(encode_packet(outbox.packet(sent[1], 1, [1])))
    publish_night(archive, Stream("ztf", night, 1), given, Orders())
    (row,) = verify_night(archive, Stream("ztf", night, 1), given)
    assert (row["alerts"], row["missing"], row["twice"], row["changed"]) == (8, 2, 1, 1)


def test_readers_get_every_form(broker, archive, night):
    made = {}
    for program, form in enumerate(FORMS, 1):
        first = FIRST + 100 * program
        made[f"ztf_{night}_programid{program}"] = add_quadrant(
            archive, range(first, first + 3), program, night
        )
        publish_night(archive, Stream("ztf", night, program), options(broker, message=form), Orders())
    wanted = Wanted(f"^ztf_{night}_programid[123]$", group=f"g{night}", count=9)
    found = {}
    for alert in read_alerts(options(broker), wanted, registry_of(archive)):
        found.setdefault(alert.topic, []).append(alert.packet.candid)
    assert {topic: sorted(candids) for topic, candids in found.items()} == made


def test_following_a_night_until_told(broker, archive, night):
    add_quadrant(archive, range(FIRST, FIRST + 3), 1, night)
    add_quadrant(archive, range(FIRST + 100, FIRST + 104), 1, night, done=False)
    stop = threading.Event()
    results = []
    orders = Orders(follow=True, stop=stop)
    given = options(broker, poll_s=0.05)
    thread = threading.Thread(
        target=lambda: results.append(publish_night(archive, Stream("ztf", night, 1), given, orders))
    )
    thread.start()
    topic = f"ztf_{night}_programid1"
    while len(candids(broker, topic)) < 3:
        time.sleep(0.05)
    with pytest.raises(BadInput, match="another publisher"), archive.database.write() as connection:
        publications.take(connection, Stream("ztf", night, 1), "another:1", lambda _: False)
    finish_quadrant(archive, FIRST + 100)
    while len(candids(broker, topic)) < 7:
        time.sleep(0.05)
    stop.set()
    thread.join()
    assert results[0].sent == 7
    ended = Orders(follow=True, until=time.time() - 1)
    assert publish_night(archive, Stream("ztf", night, 1), given, ended).sent == 0


def test_packets_that_the_broker_finds_too_large_hold_up_no_other(broker, archive, night):
    made = add_quadrant(archive, range(FIRST, FIRST + 5), 1, night)
    large = encode_packet(outbox.packet(made[2], 1, [1] * 400))
    archive.store.path("packet", made[2]).write_bytes(large)
    given = options(broker, batch=2)
    client = {**given.client, "message.max.bytes": str(len(large) - 100)}
    sent = publish_night(archive, Stream("ztf", night, 1), KafkaOptions(client, given.publish), Orders())
    assert sent.sent + sent.found == 4
    assert list(sent.refused) == [made[2]]
    assert "message.max.bytes" in sent.refused[made[2]]
    assert candids(broker, f"ztf_{night}_programid1") == [*made[:2], *made[3:]]


def test_a_topic_that_is_not_the_one_it_was(archive):
    add_quadrant(archive, range(FIRST, FIRST + 3))
    for orders, sent in ((Orders(), 3), (Orders(reread=True), 3)):
        with running_broker() as broker:
            broker.tell("topic", TOPIC, 4)
            if orders.reread:
                with pytest.raises(BadInput, match="another Kafka cluster") as error:
                    publish_night(archive, Stream("ztf", NIGHT, 1), options(broker), Orders())
                assert "--reread" in str(error.value)
            assert publish_night(archive, Stream("ztf", NIGHT, 1), options(broker), orders).sent == sent
            if orders.reread:
                with archive.database.write() as connection:
                    held = publications.take(
                        connection, Stream("ztf", NIGHT, 1), "a:1", lambda _: True, lease_s=0
                    )
                    publications.settle(connection, held, (), (), held.cluster, {0: 1000})
                with pytest.raises(BadInput, match="no longer holds message 1000"):
                    publish_night(archive, Stream("ztf", NIGHT, 1), options(broker), Orders())


def test_no_broker_is_told_once_the_patience_ends(archive, caplog):
    add_quadrant(archive, range(FIRST, FIRST + 3))
    nowhere = KafkaOptions(
        {"bootstrap.servers": "127.0.0.1:9"}, PublishSettings(patience_s=0, transactions=False)
    )
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9: no answer from Kafka"), _hurry():
        publish_night(archive, Stream("ztf", NIGHT, 1), nowhere, Orders())
    with archive.database.read() as connection:
        assert publications.count_packets(connection, NIGHT) == {(1, False): 3}


def _hurry():
    return mock.patch("zsds.io.kafka.BATCH_S", 1.0)


def test_faults_at_random_moments(tmp_path):
    tallies = publish_faults.endure_many(tmp_path, 1, ["two at once"], True, seed=5, schema="zsds")
    for tally in tallies.values():
        assert (tally.missing, tally.twice, tally.foreign, tally.trouble) == (0, 0, 0, [])
