"""Our packets of real pixels beside ZTF's own: the same fields, order and types, read by the same reader."""

import gzip
import io

import fastavro
import pytest
from astropy.io import fits

from zsds.alerts.forced import ForcedPoint, fp_hist

STAMPS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def read(path):
    with path.open("rb") as file:
        reader = fastavro.reader(file)
        return reader.writer_schema, next(reader)


@pytest.fixture(scope="module")
def packets(colours, shared_data):
    _, out = colours
    ours = read(min((out / "packets").glob("*.avro")))
    theirs = read(min((shared_data / "ztf_alerts" / "v401_native_fp_hists").glob("*.avro")))
    return ours, theirs


def shape_of(schema):
    """Field names and types in order, records unfolded; names of records and comments left out."""
    if isinstance(schema, list):
        return [shape_of(part) for part in schema]
    if isinstance(schema, dict) and schema["type"] == "record":
        return [(f["name"], shape_of(f["type"])) for f in schema["fields"]]
    if isinstance(schema, dict):
        return [schema["type"], shape_of(schema.get("items", ""))]
    return schema.rpartition(".")[2]


def test_fields_order_and_types_are_those_of_the_survey(packets):
    (ours, our_record), (theirs, their_record) = packets
    assert list(our_record) == list(their_record)
    assert list(our_record["candidate"]) == list(their_record["candidate"])
    for mine, real in zip(shape_of(ours), shape_of(theirs), strict=True):
        assert mine == real


def test_values_have_the_same_types(packets):
    ours, theirs = (record["candidate"] for _, record in packets)
    for name, value in ours.items():
        if value is not None and theirs[name] is not None:
            assert type(value) is type(theirs[name]), name


def test_stamps_open_alike(packets):
    headers = []
    for _, record in packets:
        for name in STAMPS:
            stored = record[name]
            assert stored["fileName"].endswith(".fits.gz")
            with fits.open(
                io.BytesIO(gzip.decompress(stored["stampData"])), ignore_missing_simple=True
            ) as hdus:
                headers.append((hdus[0].data.shape, hdus[0].data.dtype, hdus[0].header["BUNIT"].strip()))
    assert set(headers) == {headers[0]}


def test_a_reader_of_the_real_schema_reads_ours(packets, tmp_path):
    (_, record), (theirs, _) = packets
    buffer = io.BytesIO()
    fastavro.writer(buffer, theirs, [record])
    buffer.seek(0)
    assert next(fastavro.reader(buffer))["candid"] == record["candid"]


def test_nulls_stand_only_where_the_survey_has_them_or_nothing_is_known_yet(packets):
    """Readers compare features of real candidates without asking for null: none of them ever is."""
    (_, ours), (_, theirs) = packets
    nulls = {name for name, value in ours["candidate"].items() if value is None}
    assert None not in theirs["candidate"].values()
    assert nulls <= {"rb", "drb", "tooflag"}


def test_forced_rows_are_written_as_the_survey_does(shared_data):
    """The same fields, order and types, and the same number where a flux or a source is missing."""
    facts = {
        "field": 1, "rcid": 2, "fid": 1, "pid": 3, "rfid": 4, "magzpsci": 26.0, "magzpsciunc": 0.01,
        "magzpscirms": 0.03, "clrcoeff": 0.1, "clrcounc": 0.01, "exptime": 30.0, "diffmaglim": 20.5,
        "programid": 1, "jd": 2460000.5,
        "image": {
            "gain": 6.0, "sciinpseeing": 2.0, "scibckgnd": 100.0, "scisigpix": 5.0, "adpctdif1": 0.08,
            "adpctdif2": 0.08,
        },
    }  # fmt: skip
    ours = fp_hist(ForcedPoint(None, None, 0.9, 55, None, facts))
    kept = fp_hist(ForcedPoint(60.0, 12.0, 0.0, 0, None, facts))
    rows = [
        row
        for path in sorted((shared_data / "ztf_alerts" / "v401_native_fp_hists").glob("*.avro"))
        for row in read(path)[1]["fp_hists"]
    ]
    theirs = next(row for row in rows if row["procstatus"] == "55" and row["distnr"] < -999)
    assert list(ours) == list(theirs)
    assert [type(value) for value in ours.values()] == [type(value) for value in theirs.values()]
    assert {k for k, v in ours.items() if v == -99999} == {k for k, v in theirs.items() if v == -99999}
    assert (kept["forcediffimflux"], kept["forcediffimfluxunc"], kept["procstatus"]) == (10.0, 2.0, "0")
    assert {row["procstatus"] for row in rows} <= {"0", "55", "56", "61"}
