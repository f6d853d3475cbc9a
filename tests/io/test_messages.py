"""Forms of messages there and back, what a program may see, and the registry of schemas."""

import json
import struct
import threading

import fastavro
import outbox
import pytest

from zsds.core.alert_schema import schema_text
from zsds.core.errors import BadInput
from zsds.core.programs import programs_in, programs_shown
from zsds.core.stream import SCHEMAS
from zsds.io.messages import FORMS, container_of, decode_message, encode_message
from zsds.io.packets import encode_packet, tar_night
from zsds.io.registry import Registry


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry")


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_packet_back(form, schema, registry):
    packet = outbox.MAKERS[schema](outbox.FIRST + 3)
    content = encode_packet(packet)
    message = encode_message(content, form, 1, registry, "a.avro")
    assert (message.candid, message.object_id) == (packet.candid, packet.object_id)
    read = decode_message(message.key, message.value, registry)
    assert dict(read.record) == dict(decode_message(None, content).record)
    assert container_of(read, message.key, message.value, registry) == content


def test_other_programs_read_the_forms(registry):
    packet = outbox.packet(outbox.FIRST)
    content = encode_packet(packet)
    bare = encode_message(content, "schemaless", 1, None, "a")
    assert bare.key.decode() == schema_text()
    framed = encode_message(content, "confluent", 1, registry, "a")
    zero, number = struct.unpack(">bI", framed.value[:5])
    assert (zero, number) == (0, 1)
    served = json.loads((registry.folder / str(number)).read_bytes())  # as GET /schemas/ids/1 answers
    assert json.loads(served["schema"]) == json.loads(schema_text())
    assert framed.value[5:] == bare.value
    assert framed.key == packet.object_id.encode()


@pytest.mark.parametrize(
    "value, told",
    [(b"", "no alert packet"), (b"Obj\x01junk", "cut short"), (b"junk", "no alert packet"),
     (b"\0\0\0\0\x07abc", "--registry"), (None, "no alert packet")],
)  # fmt: skip
def test_what_is_no_alert_is_told_in_one_line(value, told):
    with pytest.raises(BadInput, match=told) as error:
        decode_message(b"key", value)
    assert "\n" not in str(error.value)


def test_only_whole_packets_of_the_program_become_messages():
    content = encode_packet(outbox.packet(outbox.FIRST, 1))
    for damaged in (content[:-1], content[:-20], b"", b"junk", content + b"x"):
        with pytest.raises(BadInput, match="cut short"):
            encode_message(damaged, "container", 1, None, "a")
    for program, topic, history in ((2, 1, ()), (1, 2, ()), (1, 1, (1, 2)), (2, 2, (3,)), (0, 1, ())):
        packet = encode_packet(outbox.packet(outbox.FIRST, program, history))
        with pytest.raises(BadInput, match="may not see"):
            encode_message(packet, "container", topic, None, "a")
    for program, history in ((1, (1,)), (2, (1, 2)), (3, (3, 1))):
        packet = encode_packet(outbox.packet(outbox.FIRST, program, history))
        assert encode_message(packet, "container", program, None, "a").candid == outbox.FIRST


@pytest.mark.parametrize("program, topic, seen, forced", [
    (2, 1, (), ()), (1, 2, (), ()), (1, 1, (1, 2), ()), (1, 1, (), (1, 3)), (2, 2, (1,), (3,))
])  # fmt: skip
def test_packets_of_our_schema_are_kept_from_other_programs(program, topic, seen, forced, tmp_path):
    packet = outbox.own_packet(outbox.FIRST, program, seen, forced)
    with pytest.raises(BadInput, match="may not see"):
        encode_message(encode_packet(packet), "container", topic, None, "a")
    file = tmp_path / "a.avro"
    file.write_bytes(encode_packet(packet))
    if program == 1 and topic == 1:
        with pytest.raises(BadInput, match="proprietary epochs"):
            tar_night([file], tmp_path / "night.tar.gz")
    else:
        assert tar_night([file], tmp_path / "night.tar.gz").n_withheld == (program != 1)


def test_a_program_sees_its_own_and_the_public_past_in_our_schema():
    for program, seen, forced in ((1, (1,), (1,)), (2, (1, 2), (2, 1))):
        packet = outbox.own_packet(outbox.FIRST, program, seen, forced)
        assert programs_in(packet.record) == {program, *seen, *forced}
        assert encode_message(encode_packet(packet), "container", program, None, "a").candid == packet.candid


def test_each_schema_has_its_number(registry):
    for number, schema in enumerate(SCHEMAS, 1):
        content = encode_packet(outbox.MAKERS[schema](outbox.FIRST))
        framed = encode_message(content, "confluent", 1, registry, "a")
        assert struct.unpack(">bI", framed.value[:5]) == (0, number)
    assert [one.name for one in registry.schemas()] == ["ztf.alert", "zsds.alert"]
    assert [one.schema["version"] for one in registry.schemas()] == ["4.02", "1.0"]


def test_programs_of_real_packets(shared_data):
    for file in sorted((shared_data / "ztf_alerts").rglob("*.avro"))[::9]:
        record = decode_message(None, file.read_bytes()).record
        if record["candidate"]["programid"] == 1:
            assert programs_in(record) == programs_shown(1) == {1}


def test_a_public_packet_with_proprietary_epochs_is_in_no_tar(tmp_path):
    file = tmp_path / "a.avro"
    file.write_bytes(encode_packet(outbox.packet(outbox.FIRST, 1, (1, 2))))
    with pytest.raises(BadInput, match="proprietary epochs"):
        tar_night([file], tmp_path / "night.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.avro"]


def test_schemas_get_a_number_each_and_keep_it(registry):
    first = schema_text()
    assert [registry.number(first) for _ in range(2)] == [1, 1]
    schema = json.loads(first)
    schema["fields"].append({"name": "extra", "type": ["null", "int"], "default": None})
    assert registry.number(json.dumps(schema)) == 2
    schema["fields"] = schema["fields"][1:]
    with pytest.raises(BadInput, match=r"cannot be read with version 1 of ztf.alert: schemavsn is missing"):
        registry.number(json.dumps(schema))
    schema["name"] = "other"
    assert registry.number(json.dumps(schema)) == 3
    assert [one.number for one in Registry(registry.folder.parents[1]).schemas()] == [1, 2, 3]


def test_two_who_register_at_once_get_two_numbers(registry):
    schemas = [
        json.dumps({"type": "record", "name": f"r{i}", "fields": [{"name": "x", "type": "int"}]})
        for i in range(8)
    ]
    found = {}
    threads = [
        threading.Thread(target=lambda s=s: found.update({s: Registry(registry.folder.parents[1]).number(s)}))
        for s in schemas
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found.values()) == list(range(1, 9))
    assert all(registry.schema(number).text == text for text, number in found.items())


def test_what_is_no_schema_is_refused(registry):
    for text in ("", "{}", '{"type": "record"}', "[1"):
        with pytest.raises(BadInput, match="is not an Avro schema"):
            registry.require_readable(text)
    registry.folder.mkdir(parents=True)
    (registry.folder / "1").write_text("junk")
    with pytest.raises(BadInput, match="restore it"):
        registry.schema(1)
    with pytest.raises(BadInput, match="holds no schema 5"):
        registry.schema(5)
    assert fastavro.parse_schema(json.loads(schema_text()))
