"""Alert records as bare Avro bytes, as fastavro alone writes them, in less than half the time.

Nearly every field of ZTF's history may be null. For each of them fastavro looks for the branch of the union
that fits the value. Here a record is written by a schema made for the nulls it holds: the number of each
branch is an ordinary field with a default, before the value.
"""

import struct
from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from typing import Any, TypeAlias

from fastavro import parse_schema, schemaless_writer

from zsds.core.alert_schema import OWN_VERSION, alert_schema, record_fields

Row: TypeAlias = Mapping[str, Any]
NULL, VALUE = 0, 1  # branches of a union
ARRAYS = {"prv_candidates": "prv_candidate", "fp_hists": "fp_hist"}
_HEAD = ("schemavsn", "publisher", "objectId", "candid")
_TAIL = ("cutoutScience", "cutoutTemplate", "cutoutDifference")


def encode_record(record: Row, version: str) -> bytes:
    """One alert as a bare Avro record of a schema shipped with the package.

    Parameters
    ----------
    record : mapping
        Fields of the alert schema; nested records are mappings, arrays are sequences or None.
    version : str
        Of the schema.

    Raises
    ------
    ValueError
        If a field is missing, or null or of a type where the schema forbids it.
    BadInput
        If no such version is shipped.
    """
    body = BytesIO()
    try:
        if version == OWN_VERSION:
            schemaless_writer(body, alert_schema(version), record, strict=True)
            return body.getvalue()
        schemaless_writer(body, _part(_HEAD, version), record)
        _write_row(body, record["candidate"], "candidate", version)
        for name, kind in ARRAYS.items():
            _write_rows(body, record[name], kind, version)
        schemaless_writer(body, _part(_TAIL, version), {name: record[name] for name in _TAIL})
    except (KeyError, TypeError, AttributeError, ValueError, struct.error, OverflowError) as error:
        raise ValueError(f"packet {record.get('candid')} does not follow its schema: {error!r}") from error
    return body.getvalue()


def encode_long(value: int) -> bytes:
    """A number as Avro counts bytes and items."""
    encoded = BytesIO()
    schemaless_writer(encoded, "long", value)
    return encoded.getvalue()


def _write_rows(body: BytesIO, rows: Sequence[Row] | None, kind: str, version: str) -> None:
    """An array that may be null: its branch, the number of rows, the rows, and the end."""
    body.write(encode_long(NULL if rows is None else VALUE))
    if rows is None:
        return
    if rows:
        body.write(encode_long(len(rows)))
        for row in rows:
            _write_row(body, row, kind, version)
    body.write(encode_long(0))


def _write_row(body: BytesIO, row: Row, kind: str, version: str) -> None:
    nullable = _nullable(kind, version)
    nulls = frozenset([name for name in nullable if row[name] is None])
    schemaless_writer(body, _schema_without_unions(kind, nulls, version), row)


@cache
def _nullable(kind: str, version: str) -> tuple[str, ...]:
    return tuple(field.name for field in record_fields(kind, version) if field.nullable)


@cache
def _schema_without_unions(kind: str, nulls: frozenset[str], version: str) -> Any:
    fields: list[dict[str, Any]] = []
    for field in record_fields(kind, version):
        if field.nullable:
            branch = NULL if field.name in nulls else VALUE
            fields.append({"name": f"{field.name}_branch", "type": "int", "default": branch})
        if field.name not in nulls:
            fields.append({"name": field.name, "type": field.kind})
    return parse_schema({"type": "record", "name": "row", "fields": fields})


@cache
def _part(names: tuple[str, ...], version: str) -> Any:
    """Schema of a few fields of the alert that stand next to each other."""
    schema = alert_schema(version)
    fields = {field["name"]: field for field in schema["fields"]}
    return parse_schema({"type": "record", "name": "part", "fields": [fields[name] for name in names]})
