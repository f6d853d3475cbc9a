"""Forward compatibility, with fastavro's own reading as judge."""

import io
import json

import fastavro
import pytest

from zsds.core.alert_schema import schema_text
from zsds.core.schema_evolution import schema_name, unreadable


def record(*fields, name="alert"):
    return {"type": "record", "name": name, "namespace": "ztf", "fields": list(fields)}


def field(name, kind, **more):
    return {"name": name, "type": kind, **more}


INNER = record(field("ra", "double"), name="place")
OLD = record(field("candid", "long"), field("mag", ["null", "float"], default=None), field("at", INNER))
CASES = [
    (OLD, [], {"candid": 1, "mag": 2.0, "at": {"ra": 1.0}}),
    (record(*OLD["fields"], field("new", "string")), [], {"candid": 1, "at": {"ra": 1.0}, "new": "x"}),
    (record(field("candid", "int"), *OLD["fields"][1:]), [], {"candid": 1, "mag": 2.0, "at": {"ra": 1.0}}),
    (record(OLD["fields"][0], OLD["fields"][2]), [], {"candid": 1, "at": {"ra": 1.0}}),
    (record(*OLD["fields"][1:]), ["candid is missing"], {"mag": 2.0, "at": {"ra": 1.0}}),
    (record(field("candid", "string"), *OLD["fields"][1:]), ["candid is string, not long"],
     {"candid": "a", "mag": 2.0, "at": {"ra": 1.0}}),
    (record(OLD["fields"][0], field("mag", ["null", "double"]), OLD["fields"][2]),
     ["mag is double, not one of null, float"], {"candid": 1, "mag": 2.0, "at": {"ra": 1.0}}),
    (record(*OLD["fields"][:2], field("at", record(field("x", "double"), name="place"))),
     ["at.ra is missing"], {"candid": 1, "mag": 2.0, "at": {"x": 1.0}}),
    (record(*OLD["fields"], name="other"), ["the schema is a record"],
     {"candid": 1, "mag": 2.0, "at": {"ra": 1.0}}),
]  # fmt: skip


@pytest.mark.parametrize("new, told, value", CASES)
def test_as_fastavro_reads_it(new, told, value):
    found = unreadable(OLD, new)
    assert len(found) == len(told)
    assert all(line.startswith(words) for line, words in zip(found, told, strict=True))
    body = io.BytesIO()
    fastavro.schemaless_writer(body, new, value)
    body.seek(0)
    try:
        fastavro.schemaless_reader(body, new, OLD)
    except (fastavro.schema.SchemaParseException, fastavro.read.SchemaResolutionError, TypeError, ValueError):
        assert told
    else:
        assert not told


def test_arrays_maps_enums_and_fixed():
    def one(kind):
        return record(field("x", kind))

    numbers = {"type": "array", "items": "int"}
    assert unreadable(one({"type": "array", "items": "long"}), one(numbers)) == []
    assert unreadable(one(numbers), one({"type": "array", "items": "string"})) == ["x[] is string, not int"]
    assert unreadable(one({"type": "map", "values": "int"}), one(numbers))
    enum = {"type": "enum", "name": "e", "symbols": ["a"]}
    assert unreadable(one(enum), one({**enum, "symbols": ["a", "b"]})) == ["x may be b"]
    assert unreadable(one({**enum, "default": "a"}), one({**enum, "symbols": ["a", "b"]})) == []
    fixed = {"type": "fixed", "name": "f", "size": 4}
    assert unreadable(one(fixed), one({**fixed, "size": 8})) == ["x is 8 bytes long, not 4"]


def test_the_alert_schema_reads_itself():
    schema = json.loads(schema_text())
    assert unreadable(schema, schema) == []
    assert schema_name(schema) == "ztf.alert"
