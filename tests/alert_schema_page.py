"""Makes docs/alert-schemas.md of the schemas' own doc strings: ``python tests/alert_schema_page.py``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zsds.core.alert_schema import SCHEMA_FOLDERS, alert_schema

PAGE = Path(__file__).resolve().parents[1] / "docs" / "alert-schemas.md"
NAMES = {"4.02": "ztf/4_02"}
HEAD = """# Alert schemas

Every field of both schemas of packets, in order, as `schemas/alert/` has them: its type (`?`: may be null)
and its meaning, with its unit in brackets. [alerts.md](alerts.md) says how packets are made and read. This
page is made from the schemas by `python tests/alert_schema_page.py`; a test compares.
"""


def page() -> str:
    """The page as text."""
    parts = [HEAD]
    for version in SCHEMA_FOLDERS:
        schema = alert_schema(version)
        parts.append(f"## {NAMES.get(version, version)}\n")
        for record in records(schema):
            parts.append(f"### {record['name'].rpartition('.')[2]}\n\n{record['doc']}.\n")
            parts.append("| field | type | meaning |\n|---|---|---|")
            parts += [
                f"| `{field['name']}` | {type_name(field['type'])} | {field.get('doc', '')} |"
                for field in record["fields"]
            ]
            parts.append("")
    return "\n".join(parts)


def records(schema: Any) -> Iterator[dict[str, Any]]:
    """A record and those inside it, each before what it holds."""
    if isinstance(schema, list):
        for part in schema:
            yield from records(part)
    elif isinstance(schema, dict) and schema["type"] == "record":
        yield schema
        for field in schema["fields"]:
            yield from records(field["type"])
    elif isinstance(schema, dict) and schema["type"] == "array":
        yield from records(schema["items"])


def type_name(kind: Any) -> str:
    """A type in words: ``float?``, ``list of forced_flux``."""
    if isinstance(kind, list):
        return f"{type_name(kind[-1])}?"
    if not isinstance(kind, dict):
        return str(kind).rpartition(".")[2]
    if kind["type"] == "array":
        return f"list of {type_name(kind['items'])}"
    if kind["type"] == "enum":
        return f"one of {', '.join(kind['symbols'])}"
    return str(kind.get("name", json.dumps(kind))).rpartition(".")[2]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
