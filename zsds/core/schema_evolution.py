"""Whether readers of one Avro schema understand what is written with another, by Avro's own rules."""

from collections.abc import Mapping
from typing import Any

from fastavro import parse_schema
from fastavro.schema import expand_schema

PROMOTIONS = {
    "int": {"long", "float", "double"},
    "long": {"float", "double"},
    "float": {"double"},
    "string": {"bytes"},
    "bytes": {"string"},
}
NO_DEFAULT = object()


def schema_name(schema: Any) -> str:
    """Full name of a record schema: ``ztf.alert``."""
    parsed: Any = parse_schema(schema, _write_hint=False)
    return str(parsed["name"])


def unreadable(reader: Any, writer: Any) -> list[str]:
    """What a reader that knows one schema cannot read of data written with another.

    Parameters
    ----------
    reader, writer : schema
        Avro schemas as JSON objects.

    Returns
    -------
    list of str
        One line for each obstacle, naming the field; empty where every record can be read.
    """
    return _obstacles(_expanded(reader), _expanded(writer), "")


def _expanded(schema: Any) -> Any:
    return expand_schema(parse_schema(schema, _write_hint=False))


def _obstacles(reader: Any, writer: Any, where: str) -> list[str]:
    if isinstance(writer, list):
        return [line for branch in writer for line in _obstacles(reader, branch, where)]
    if isinstance(reader, list):
        tried = [_obstacles(branch, writer, where) for branch in reader]
        kinds = ", ".join(_kind(branch) for branch in reader)
        no_branch = [f"{where or 'the schema'} is {_kind(writer)}, not one of {kinds}"]
        same = [found for branch, found in zip(reader, tried, strict=True) if _kind(branch) == _kind(writer)]
        return [] if [] in tried else (same or [no_branch])[0]
    kind = _kind(writer)
    if kind != _kind(reader):
        fits = _kind(reader) in PROMOTIONS.get(kind, ())
        return [] if fits else [f"{where or 'the schema'} is {kind}, not {_kind(reader)}"]
    if kind == "record":
        return _record_obstacles(reader, writer, where)
    if kind in ("array", "map"):
        member = "items" if kind == "array" else "values"
        return _obstacles(reader[member], writer[member], f"{where}[]")
    if kind == "enum":
        lost = sorted(set(writer["symbols"]) - set(reader["symbols"]))
        return [f"{where} may be {', '.join(lost)}"] if lost and "default" not in reader else []
    if kind == "fixed" and reader["size"] != writer["size"]:
        return [f"{where} is {writer['size']} bytes long, not {reader['size']}"]
    return []


def _record_obstacles(reader: Mapping[str, Any], writer: Mapping[str, Any], where: str) -> list[str]:
    known = {reader["name"], *reader.get("aliases", ())}
    if writer["name"].rpartition(".")[2] not in {name.rpartition(".")[2] for name in known}:
        return [f"{where or 'the schema'} is a record {writer['name']}, not {reader['name']}"]
    written = {field["name"]: field for field in writer["fields"]}
    found = []
    for field in reader["fields"]:
        name = f"{where}.{field['name']}".lstrip(".")
        twin = next((written[n] for n in (field["name"], *field.get("aliases", ())) if n in written), None)
        if twin is not None:
            found += _obstacles(field["type"], twin["type"], name)
        elif field.get("default", NO_DEFAULT) is NO_DEFAULT:
            found.append(f"{name} is missing, and its readers have no default for it")
    return found


def _kind(schema: Any) -> str:
    return str(schema["type"] if isinstance(schema, Mapping) else schema)
