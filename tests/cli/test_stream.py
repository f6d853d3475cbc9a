"""The commands of the stream, as a user calls them."""

import json
import re

import outbox
import pytest
import sqlalchemy as sa
from kafka_broker import running_broker
from outbox import FIRST, NIGHT, add_quadrant
from survey import expect, zsds

from zsds.core.alert_schema import schema_text
from zsds.core.ids import JD_MINUS_MJD
from zsds.core.stream import SCHEMAS, public_topics
from zsds.db.schema import metadata
from zsds.io.packets import decode_packet, read_packet, read_packets
from zsds.io.registry import Registry
from zsds.runner.archive import open_archive


@pytest.fixture(scope="module")
def broker():
    with running_broker() as broker:
        for program in (1, 2):
            broker.tell("topic", f"ztf_{NIGHT}_programid{program}", 4)
        yield broker


@pytest.fixture
def archive(tmp_path):
    archive = outbox.new_archive(tmp_path / "archive")
    add_quadrant(archive, range(FIRST, FIRST + 4))
    add_quadrant(archive, range(FIRST + 100, FIRST + 102), program=2)
    yield archive.store.root
    archive.database.close()


def test_from_archive_to_files(broker, archive, tmp_path):
    at = ("--broker", broker.address)
    rows = json.loads(expect(zsds("alerts", "publish", NIGHT, *at, "--archive", archive, "--json")).out)
    assert [(row["topic"], row["sent"]) for row in rows] == [(f"ztf_{NIGHT}_programid1", 4)]
    both = ("--program", 1, "--program", 2)
    rows = json.loads(
        expect(zsds("alerts", "publish", NIGHT, *at, *both, "--archive", archive, "--json")).out
    )
    assert [row["sent"] for row in rows] == [0, 2]
    expect(zsds("alerts", "tar", NIGHT, "--archive", archive))
    rows = json.loads(expect(zsds("alerts", "verify", NIGHT, *at, "--archive", archive, "--json")).out)
    assert [(row["where"], row["alerts"]) for row in rows] == [
        (f"ztf_{NIGHT}_programid1", 4), (f"ztf_public_{NIGHT}.tar.gz", 4)
    ]  # fmt: skip
    out = tmp_path / "alerts"
    lines = expect(zsds("alerts", "consume", *at, "--count", 4, "--out", out)).out.splitlines()
    assert sorted(line.split()[1] for line in lines) == [str(FIRST + i) for i in range(4)]
    for file in out.iterdir():
        assert file.read_bytes() == next((archive / "alerts").rglob(file.name)).read_bytes()
        assert decode_packet(file.read_bytes()).program_id == 1
    called = expect(
        zsds("alerts", "consume", *at, "--topics", f"ztf_{NIGHT}_programid2", "--idle", 1, "--json")
    )
    records = [json.loads(line) for line in called.out.splitlines()]
    assert {record["candidate"]["programid"] for record in records} == {2}
    assert not any(name.startswith("cutout") for name in records[0])


def test_packets_of_our_schema_have_topics_and_a_tar_of_their_own(broker, tmp_path):
    opened = outbox.new_archive(tmp_path / "archive")
    made = add_quadrant(opened, range(FIRST, FIRST + 3), schemas=SCHEMAS)
    add_quadrant(opened, range(FIRST + 100, FIRST + 102), program=2, schemas=SCHEMAS)
    add_quadrant(opened, range(FIRST + 200, FIRST + 202))  # made without packets of our schema
    opened.database.close()
    archive = opened.store.root
    topic = f"zsds_ztf_{NIGHT}_programid1"
    broker.tell("topic", topic, 4)
    own = ("--schema", "zsds", "--archive", archive)
    at = ("--broker", broker.address)
    (sent,) = json.loads(expect(zsds("alerts", "publish", NIGHT, *at, *own, "--json")).out)
    assert (sent["topic"], sent["sent"], sent["waiting"]) == (topic, 3, 0)
    said = expect(zsds("alerts", "tar", NIGHT, *own)).out
    tar = archive / "alerts_zsds" / f"ztf_zsds_public_{NIGHT}.tar.gz"
    assert said.startswith(f"{tar}: 3 public packets, 2 proprietary")
    assert [packet.candid for packet in read_packets(tar)] == made
    assert not (archive / "alerts" / f"ztf_public_{NIGHT}.tar.gz").exists()
    rows = json.loads(expect(zsds("alerts", "verify", NIGHT, *at, *own, "--json")).out)
    for row, where in zip(rows, (topic, tar.name), strict=True):
        assert (row.pop("where"), row.pop("alerts")) == (where, 3)
        assert not any(row.values())
    out = tmp_path / "out"
    lines = expect(
        zsds("alerts", "consume", *at, "--schema", "zsds", "--count", 3, "--out", out)
    ).out.splitlines()
    assert {line.split()[0] for line in lines} == {topic}
    for candid in made:
        assert (out / f"{candid}.avro").read_bytes() == opened.store.path("own_packet", candid).read_bytes()
    for pattern in ("^ztf_.*_programid1$", public_topics("ztf")):
        assert re.search(pattern, f"ztf_{NIGHT}_programid1")
        assert not re.search(pattern, topic)
    assert re.search(public_topics("zsds"), topic)
    assert not re.search(public_topics("zsds"), f"zsds_ztf_{NIGHT}_programid2")
    assert zsds("alerts", "publish", NIGHT, *at, "--schema", "lsst", "--archive", archive).status == 2


def test_a_night_from_raw_frames_reaches_its_topic_and_its_tar(done_survey, tmp_path):
    archive = done_survey.copied(tmp_path / "archive").archive
    n_packets = len(list((archive / "alerts").rglob("*.avro")))
    with running_broker() as broker:
        broker.tell("topic", f"ztf_{NIGHT}_programid1", 4)
        at = ("--broker", broker.address, "--archive", archive, "--json")
        (sent,) = json.loads(expect(zsds("alerts", "publish", NIGHT, *at)).out)
        rows = json.loads(expect(zsds("alerts", "verify", NIGHT, *at)).out)
    assert (sent["sent"], sent["waiting"]) == (n_packets, 0)
    assert n_packets > 0
    for row in rows:
        assert [row[name] for name in ("alerts", "missing", "twice", "foreign", "unsent")] == [
            n_packets,
            0,
            0,
            0,
            0,
        ]
    assert [row["where"] for row in rows] == [f"ztf_{NIGHT}_programid1", f"ztf_public_{NIGHT}.tar.gz"]


@pytest.mark.parametrize("table", ["frames", "coverage"])
def test_an_epoch_that_became_proprietary_goes_out_in_no_public_packet(done_survey, tmp_path, table):
    """Whether only the frame was registered again with another program, or its quadrants were done again."""
    archive = done_survey.copied(tmp_path / "archive").archive
    opened = open_archive(archive)
    read = [read_packet(file) for file in (archive / "alerts").rglob("*.avro")]
    packets = {packet.candid: packet for packet in read}
    _, hidden, _ = sorted({p.value("jd") for p in packets.values()})
    own = {candid for candid, p in packets.items() if p.value("jd") == hidden}
    showing = {candid for candid, p in packets.items() if any(e["jd"] == hidden for e in p.history)}
    sent_ones = set(packets) - own - showing
    assert all((own, showing, sent_ones))
    changed = metadata.tables[table]
    start = changed.c.jd if table == "coverage" else changed.c.start_mjd + JD_MINUS_MJD
    when = sa.func.abs(start - hidden) < 1e-5
    with opened.database.write() as connection:
        assert connection.execute(changed.update().where(when).values(program_id=2)).rowcount
    opened.database.close()
    with running_broker() as broker:
        broker.tell("topic", f"ztf_{NIGHT}_programid1", 4)
        at = ("--broker", broker.address, "--archive", archive)
        called = zsds("alerts", "publish", NIGHT, *at, "--json")
        assert called.status == 1
        assert "is proprietary now" in called.err
        (sent,) = json.loads(called.out)
        assert (sent["sent"], sent["refused"]) == (len(sent_ones), len(own | showing))
        out = tmp_path / "out"
        expect(zsds("alerts", "consume", *at[:2], "--count", sent["sent"], "--out", out))
    assert {int(file.stem) for file in out.iterdir()} == sent_ones
    called = zsds("alerts", "tar", NIGHT, "--archive", archive, "--out", tmp_path / "tars")
    assert called.status == 1
    assert "shows proprietary epochs" in called.err
    assert not list((tmp_path / "tars").iterdir())


def test_schemas_are_listed_and_checked(archive, tmp_path):
    registry = tmp_path / "registry"
    assert expect(zsds("alerts", "schemas", "--archive", archive)).out == ""
    schema = json.loads(schema_text())
    Registry(registry).number(schema_text())
    rows = json.loads(expect(zsds("alerts", "schemas", "--registry", registry, "--json")).out)
    assert rows == [{"number": 1, "record": "ztf.alert", "version": "4.02"}]
    schema["fields"].append({"name": "extra", "type": "int"})
    new = tmp_path / "next.avsc"
    new.write_text(json.dumps(schema))
    assert "1 registered" in expect(zsds("alerts", "schemas", "--registry", registry, "--check", new)).out
    schema["fields"] = schema["fields"][1:]
    new.write_text(json.dumps(schema))
    called = zsds("alerts", "schemas", "--registry", registry, "--check", new)
    assert called.status == 1
    assert "schemavsn is missing" in called.err


def test_a_reader_that_is_to_end_says_that_no_broker_answers(broker, monkeypatch):
    monkeypatch.setattr("zsds.io.kafka_reader.JOIN_S", 1.0)
    called = zsds("alerts", "consume", "--broker", "localhost:1", "--idle", 0)
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert line.startswith("zsds: localhost:1: ")
    nothing = ("--topics", "no_such_topic", "--idle", 0)
    assert expect(zsds("alerts", "consume", "--broker", broker.address, *nothing)).out == ""


MISTAKES = [
    (("alerts", "publish", NIGHT, "--schema", "zsds", "--broker", "localhost:9"), 1, "own_packets=true"),
    (("alerts", "tar", NIGHT, "--schema", "zsds"), 1, "own_packets=true"),
    (("alerts", "publish", NIGHT), 1, "no broker is named"),
    (("alerts", "publish", "20010101", "--broker", "localhost:9"), 1, "zsds night"),
    (("alerts", "verify", "20010101", "--broker", "localhost:9"), 1, "zsds night"),
    (("alerts", "verify", NIGHT, "--schema", "zsds", "--broker", "localhost:9"), 1, "own_packets=true"),
    (("alerts", "publish", NIGHT, "--broker", "me:secret@localhost:9"), 1, "sasl.password"),
    (("alerts", "publish", NIGHT, "--broker", "localhost:9", "--until", "2026-01-01"), 2, "--follow"),
    (("alerts", "publish", NIGHT, "--broker", "localhost:9", "--follow", "--until", "dawn"), 2, "in UT"),
    (("alerts", "publish", NIGHT, "--kafka", "no.yaml"), 1, "check the path"),
    (("alerts", "consume", "--broker", "localhost:9", "--from", "middle"), 2, "beginning or end"),
    (("alerts", "consume", "--broker", "localhost:9", "--topics", "^("), 2, "no pattern of topics"),
    (("alerts", "schemas", "--check", "no.avsc"), 1, "check the path"),
]


@pytest.mark.parametrize("words, status, told", MISTAKES, ids=lambda value: str(value)[:60])
def test_mistakes_are_one_line(archive, words, status, told):
    called = zsds(*words, env_archive=archive)
    assert called.status == status
    (line,) = called.err.splitlines()
    assert told in line
    assert "secret@" not in line
