"""Makes docs/settings.md of the settings' own comments and docstrings: ``python tests/settings_page.py``."""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from zsds.pipeline.settings import Settings
from zsds.sim import NightSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
COMMANDS = (("zsds calibrate, night, references", Settings()), ("zsds simulate, demo", NightSettings()))
HEAD = """# Settings

Every setting with its default and meaning. Give one as `--set NAME=VALUE`, or in a YAML file with
`--settings FILE` where the command has it. `zsds difference` takes `difference.…` as here, and `measure.…`,
which stands here as `science.measure.…`. This page is made from the code by `python tests/settings_page.py`;
a test compares.
"""


@dataclass(frozen=True)
class Setting:
    """One setting: where it stands, its default, and what its class says about it."""

    path: str
    default: Any
    meaning: str


def settings_of(group: Any, prefix: str = "") -> list[Setting]:
    """Settings of a dataclass and of the groups in it, by their full names."""
    said = meanings(type(group))
    found = []
    for one in fields(group):
        value, path = getattr(group, one.name), prefix + one.name
        if is_dataclass(value):
            found += settings_of(value, f"{path}.")
        else:
            found.append(Setting(path, value, said.get(one.name, "")))
    return found


def meanings(kind: type) -> dict[str, str]:
    """Meaning of each field: the comment beside it, else its entry in the docstring."""
    source = textwrap.dedent(inspect.getsource(kind))
    comments = {
        token.start[0]: token.string.removeprefix("#").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and not token.string.startswith("# noqa")
    }
    said = documented(kind.__doc__ or "")
    for node in ast.parse(source).body[0].body:
        if isinstance(node, ast.AnnAssign) and node.lineno in comments:
            said[node.target.id] = comments[node.lineno]
    return said


def documented(docstring: str) -> dict[str, str]:
    """Entries of the section Parameters."""
    said: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(docstring).splitlines():
        entry = re.match(r"([a-z_][\w, ]*?) : ", line)
        if entry:
            names = entry[1].split(", ")
        elif names and line.startswith("    "):
            said |= {name: f"{said.get(name, '')} {line.strip()}".strip() for name in names}
    return said


def page() -> str:
    """The page as text."""
    parts = [HEAD]
    for command, group in COMMANDS:
        rows = settings_of(group)
        parts.append(f"## {command}\n\n| setting | default | meaning |\n|---|---|---|")
        parts += [f"| `{r.path}` | `{_shown(r.default)}` | {r.meaning.replace('|', '∣')} |" for r in rows]
        parts.append("")
    return "\n".join(parts)


def _shown(value: Any) -> str:
    return str(value) if not isinstance(value, str) else value or '""'


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
