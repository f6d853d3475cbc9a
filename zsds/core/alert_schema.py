"""The alert schemas shipped with the package: parsed for Avro, and as plain lists of fields."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import fastavro

from zsds.core.errors import BadInput
from zsds.resources import resource

ZTF_VERSION = "4.02"
OWN_VERSION = "zsds/1_0"
SCHEMA_FOLDERS = {ZTF_VERSION: "4_02", OWN_VERSION: "zsds_1_0"}
RECORDS = {  # files of each version, each after those it names
    ZTF_VERSION: ("cutout", "fp_hist", "prv_candidate", "candidate", "alert"),
    OWN_VERSION: ("alert",),
}


@dataclass(frozen=True)
class Field:
    """One field of an alert record whose value is a number or a text.

    Parameters
    ----------
    name : str
    kind : str
        Avro's word: ``int``, ``long``, ``float``, ``double``, ``string``, ``bytes``.
    nullable : bool
    """

    name: str
    kind: str
    nullable: bool


@cache
def alert_schema(version: str = ZTF_VERSION) -> dict[str, Any]:
    """Parsed Avro schema of the alerts.

    Raises
    ------
    BadInput
        If no such version is shipped.
    """
    if version not in SCHEMA_FOLDERS:
        known = ", ".join(SCHEMA_FOLDERS)
        raise BadInput("alert schema", f"version {version} is not known", f"known are {known}")
    paths = [
        str(resource("schemas", "alert", SCHEMA_FOLDERS[version], f"{name}.avsc"))
        for name in RECORDS[version]
    ]
    return cast("dict[str, Any]", fastavro.schema.load_schema_ordered(paths))


@cache
def schema_text(version: str = ZTF_VERSION) -> str:
    """Schema as JSON text: in every container, and the message key of schemaless packets.

    Sorted by key, because the parser leaves the keys of a field in an order that changes from run to run.
    """
    schema = {key: value for key, value in alert_schema(version).items() if not key.startswith("__")}
    return json.dumps(schema, sort_keys=True)


@cache
def record_fields(record: str, version: str = ZTF_VERSION) -> tuple[Field, ...]:
    """Plain fields of one record (``candidate``, ``prv_candidate``, ``fp_hist``), in order.

    Raises
    ------
    BadInput
        If no such version is shipped.
    """
    alert_schema(version)
    path = resource("schemas", "alert", SCHEMA_FOLDERS[version], f"{record}.avsc")
    found = []
    for field in json.loads(path.read_text(encoding="utf-8"))["fields"]:
        union = isinstance(field["type"], list)
        found.append(Field(field["name"], field["type"][-1] if union else field["type"], union))
    return tuple(found)
