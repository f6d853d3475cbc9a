import io
import json
import tarfile

import fastavro
import numpy as np
import pytest

from zsds import alerts
from zsds.core.alert_schema import alert_schema, record_fields, schema_text
from zsds.core.errors import BadInput
from zsds.core.packet import AlertPacket
from zsds.io import packets as io_packets
from zsds.resources import resource


def packet(candid=1001, program=1, n_history=3):
    image = np.random.default_rng(3).normal(0, 5, (80, 90)).astype(np.float32)
    base = {
        "jd": 2460236.5, "fid": 1, "pid": 2481120200315, "programid": program, "diffmaglim": 20.5,
        "rfid": 505120101, "jdstartref": 2458000.5, "jdendref": 2458100.5, "nframesref": 20, "nmatches": 99,
    }  # fmt: skip
    detection = {
        **base, "candid": candid, "isdiffpos": "f", "ra": 10.0, "dec": -20.0, "magpsf": 19.5, "sigmapsf": 0.1,
    }  # fmt: skip
    history = [{**base, "jd": base["jd"] - 1 - age} for age in range(n_history)]
    stamps = alerts.cut_stamps((image, image, image), 5, 40, 6.0, False)
    return alerts.build_packet(detection, "ZTF23aaaaaaa", history, stamps=stamps)


def structure(schema):
    """Names, order, types, nullability and defaults, without doc strings."""
    if isinstance(schema, list):
        return [structure(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema["type"] == "record":
        fields = [
            (field["name"], structure(field["type"]), field.get("default", "no default"))
            for field in schema["fields"]
        ]
        name = schema["name"]
        return ("record", name if "." in name else f"{schema['namespace']}.{name}", fields)
    if schema["type"] == "array":
        return ("array", structure(schema["items"]))
    return structure(schema["type"])


def test_schema_is_that_of_real_packets(shared_data):
    path = sorted((shared_data / "ztf_alerts" / "v401_native_fp_hists").glob("*.avro"))[0]
    with path.open("rb") as file:
        real = json.loads(fastavro.reader(file).metadata["avro.schema"])
    ours = json.loads(schema_text())
    text = json.dumps(structure(real)).replace(
        '["tooflag", ["null", "int"], 0]', '["tooflag", ["null", "int"], null]'
    )
    assert json.loads(text) == json.loads(json.dumps(structure(ours)))


def test_schema_says_its_version_and_explains_every_field():
    assert alert_schema()["version"] == "4.02"
    for record, count in (
        ("candidate", 103),
        ("prv_candidate", 57),
        ("fp_hist", 29),
        ("cutout", 2),
        ("alert", 10),
    ):
        text = resource("schemas", "alert", "4_02", f"{record}.avsc").read_text(encoding="utf-8")
        fields = json.loads(text)["fields"]
        assert len(fields) == count
        assert all(field["doc"] for field in fields)
    assert sum(not field.nullable for field in record_fields("candidate")) == 22


def test_unknown_version():
    with pytest.raises(BadInput, match=r"known are 4\.02"):
        alert_schema("9.9")


def test_round_trip_through_plain_fastavro(tmp_path):
    made = packet()
    (path,) = io_packets.write_packets(tmp_path / "night", [made])
    assert path.name == "1001.avro"
    assert [item.name for item in path.parent.iterdir()] == ["1001.avro"]
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        (record,) = reader
    assert reader.writer_schema["name"] in ("alert", "ztf.alert")
    assert record["candid"] == 1001
    assert record["candidate"]["magpsf"] == 19.5
    read = io_packets.read_packet(path)
    assert read.schema_version == "4.02"
    assert read.record["candidate"]["isdiffpos"] == "f"
    assert [row["jd"] for row in read.record["prv_candidates"]] == sorted(
        row["jd"] for row in made.record["prv_candidates"]
    )
    assert read.stamp("Template") == made.stamp("Template")
    assert alerts.open_stamp(read.stamp("Science")).shape == (63, 63)


def test_bytes_are_reproducible():
    assert io_packets.encode_packet(packet()) == io_packets.encode_packet(packet())


def test_schemaless_reads_with_the_schema_text():
    made = packet()
    body = io.BytesIO(io_packets.encode_schemaless(made))
    record = fastavro.schemaless_reader(body, fastavro.parse_schema(json.loads(schema_text())))
    assert record["candid"] == made.candid
    assert record["candidate"]["drb"] is None


@pytest.mark.parametrize(
    "folder",
    [
        "v2_native_20180713",
        "v32_native",
        "v33_native",
        "v401_native_fp_hists",
        "v402_fink",
        "official_samples",
    ],
)
def test_real_packets_of_every_version_read(shared_data, folder):
    paths = sorted((shared_data / "ztf_alerts" / folder).glob("*.avro"))
    assert paths
    for path in paths:
        real = io_packets.read_packet(path)
        assert real.candid
        assert real.program_id >= 0
        curve = real.light_curve()
        assert curve[-1].mag is not None or curve
        for name in ("Science", "Template", "Difference"):
            stamp = real.stamp(name)
            jpeg = (stamp or b"").startswith(b"\xff\xd8")  # the sample of 2017
            assert stamp is None or jpeg or alerts.open_stamp(stamp).ndim == 2


def test_real_public_tar_reads(shared_data):
    found = list(
        io_packets.read_packets(shared_data / "ztf_alerts" / "v30_public_20180819_mod1000_30packets.tar.gz")
    )
    assert len(found) == 30


def test_a_reader_resolves_real_packets_to_our_schema(shared_data):
    """The evolution rules of Avro allow to read a real 4.01 packet with our 4.02 schema."""
    path = sorted((shared_data / "ztf_alerts" / "v401_native_fp_hists").glob("*.avro"))[0]
    with path.open("rb") as file:
        record = next(fastavro.reader(file, reader_schema=alert_schema()))
    again = io_packets.decode_packet(io_packets.encode_packet(AlertPacket(record, "4.02")))
    assert again.record == record


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"", "not an Avro"), (b"SIMPLE  =", "not an Avro"), (b"Obj\x01", "cut short")],
)
def test_foreign_files_are_refused(tmp_path, content, problem):
    path = tmp_path / "1.avro"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=problem) as caught:
        io_packets.read_packet(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99, 0.9999])
def test_truncated_packets_are_refused(tmp_path, kept):
    content = io_packets.encode_packet(packet())
    path = tmp_path / "1.avro"
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(BadInput, match=r"cut short|holds no packet"):
        io_packets.read_packet(path)


def test_other_avro_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "other.avro"
    with path.open("wb") as file:
        fastavro.writer(
            file, {"type": "record", "name": "a", "fields": [{"name": "b", "type": "int"}]}, [{"b": 1}]
        )
    with pytest.raises(BadInput, match="not an alert packet"):
        io_packets.read_packet(path)
    with pytest.raises(BadInput, match="cannot be read"):
        io_packets.read_packet(tmp_path / "absent.avro")


@pytest.mark.parametrize("change", [{"fid": None}, {"fid": "r"}, {"magpsf": "bright"}, {"candid": 2**80}])
def test_a_record_that_breaks_its_schema_leaves_no_file(tmp_path, change):
    record = packet().record
    broken = AlertPacket({**record, "candidate": {**record["candidate"], **change}}, "4.02")
    with pytest.raises(ValueError, match="1001 does not follow its schema"):
        io_packets.write_packets(tmp_path, [broken])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_field_is_named():
    record = packet().record
    for name in ("fid", "drb"):
        lacking = {key: value for key, value in record["candidate"].items() if key != name}
        with pytest.raises(ValueError, match=f"1001 does not follow its schema.*{name}"):
            io_packets.encode_packet(AlertPacket({**record, "candidate": lacking}, "4.02"))


KINDS = {"int": 1, "long": 2**40, "float": 0.5, "double": 0.1, "string": "0"}
FORCED = {field.name: None if field.nullable else KINDS[field.kind] for field in record_fields("fp_hist")}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"prv_candidates": None, "cutoutTemplate": None},
        {"prv_candidates": [], "fp_hists": []},
        {"fp_hists": [FORCED, FORCED | {"forcediffimflux": -3.5}]},
    ],
)
def test_bytes_are_those_of_fastavro_alone(change):
    made = AlertPacket({**packet().record, **change}, "4.02")
    alone = io.BytesIO()
    fastavro.schemaless_writer(alone, fastavro.parse_schema(alert_schema()), made.record, strict=True)
    assert io_packets.encode_schemaless(made) == alone.getvalue()


def test_packets_of_an_earlier_run_make_room(tmp_path):
    for name in ("notes.avro", "list.txt"):
        (tmp_path / name).touch()
    io_packets.write_packets(tmp_path, [packet(candid) for candid in (30, -4)])
    io_packets.write_packets(tmp_path, [packet(candid) for candid in (30, 5)])
    assert {path.name for path in tmp_path.iterdir()} == {"30.avro", "5.avro", "notes.avro", "list.txt"}


def test_tar_is_public_sorted_and_reproducible(tmp_path):
    made = [packet(candid, program) for candid, program in ((30, 1), (4, 1), (200, 2), (5, 3))]
    paths = io_packets.write_packets(tmp_path / "in", made)
    first = io_packets.tar_night(paths, tmp_path / "a" / "night.tar.gz")
    second = io_packets.tar_night(paths[::-1], tmp_path / "b" / "night.tar.gz")
    assert (first.path.name, first.n_packets, first.n_withheld) == ("night.tar.gz", 2, 2)
    assert first.path.read_bytes() == second.path.read_bytes()
    with tarfile.open(first.path) as archive:
        assert archive.getnames() == ["4.avro", "30.avro"]
    assert [read.candid for read in io_packets.read_packets(first.path)] == [4, 30]
    assert [read.candid for read in io_packets.read_packets(tmp_path / "in")] == [200, 30, 4, 5]


def test_tar_of_a_damaged_packet_leaves_nothing(tmp_path):
    (path,) = io_packets.write_packets(tmp_path / "in", [packet()])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadInput):
        io_packets.tar_night([path], tmp_path / "out" / "night.tar.gz")
    assert list((tmp_path / "out").iterdir()) == []


def test_damaged_tar_is_refused(tmp_path):
    paths = io_packets.write_packets(tmp_path / "in", [packet()])
    tar = io_packets.tar_night(paths, tmp_path / "night.tar.gz").path
    tar.write_bytes(tar.read_bytes()[:5000])
    with pytest.raises(BadInput, match="not a complete tar"):
        list(io_packets.read_packets(tar))


def test_sample_beside_the_schema_reads():
    sample = io_packets.read_packet(resource("schemas", "alert", "4_02", "sample.avro"))
    assert sample.schema_version == "4.02"
    assert len(sample.light_curve()) == 5
    assert alerts.open_stamp(sample.stamp("Difference"))[31, 31] > 20
    assert (
        io_packets.encode_packet(sample) == resource("schemas", "alert", "4_02", "sample.avro").read_bytes()
    )
