import io
import string

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds.core.alert_schema import alert_schema, record_fields
from zsds.io.avro import compile_encoder, encode_long

VALUES = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32),
    "double": st.floats(),
    "string": st.text(string.printable + "é″ζ", max_size=200),
    "bytes": st.binary(max_size=300),
}


def records(name):
    return st.fixed_dictionaries(
        {
            field.name: st.none() | VALUES[field.kind] if field.nullable else VALUES[field.kind]
            for field in record_fields(name)
        }
    )


def fastavro_bytes(schema, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, value)
    return out.getvalue()


@given(VALUES["long"])
def test_long_is_fastavros(value):
    assert encode_long(value) == fastavro_bytes("long", value)


@settings(max_examples=15, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "schemavsn": VALUES["string"],
            "publisher": VALUES["string"],
            "objectId": VALUES["string"],
            "candid": VALUES["long"],
            "candidate": records("candidate"),
            "prv_candidates": st.none() | st.lists(records("prv_candidate"), max_size=2),
            "fp_hists": st.none() | st.lists(records("fp_hist"), max_size=2),
            "cutoutScience": st.none() | records("cutout"),
            "cutoutTemplate": st.none() | records("cutout"),
            "cutoutDifference": st.none() | records("cutout"),
        }
    )
)
def test_packet_is_fastavros(record):
    schema = alert_schema()
    assert compile_encoder(schema)(record) == fastavro_bytes(schema, record)


def test_named_records_and_written_out_types():
    inner = {"type": "record", "name": "inner", "fields": [{"name": "a", "type": {"type": "int"}}]}
    schema = fastavro.parse_schema(
        {
            "type": "record",
            "name": "outer",
            "fields": [
                {"name": "b", "type": inner},
                {"name": "c", "type": {"type": "array", "items": "inner"}},
            ],
        }
    )
    value = {"b": {"a": 3}, "c": [{"a": -7}, {"a": 2**30}]}
    assert compile_encoder(schema)(value) == fastavro_bytes(schema, value)
    assert compile_encoder(schema)({"b": {"a": 3}, "c": []}) == fastavro_bytes(
        schema, {"b": {"a": 3}, "c": []}
    )


@pytest.mark.parametrize("schema", ["boolean", ["int", "null"], {"type": "map", "values": "int"}])
def test_other_types_are_refused(schema):
    with pytest.raises(ValueError, match="cannot encode"):
        compile_encoder(schema)
