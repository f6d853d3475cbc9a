"""Reads YAML so that every mistake in it can be named by key and line."""

import math
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from zsds.core.camera import Section
from zsds.core.errors import BadInput

MISSING = object()
YAML_1_1_TRUTHS = frozenset({"yes", "no", "on", "off", "y", "n"})
SECTION = re.compile(r"\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]")
INTEGER = re.compile(r"[-+]?\d+")
FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass
class Group:
    """A YAML mapping being read: hands out checked values, remembers which keys were asked for."""

    source: str
    path: str
    values: dict[Any, Any]
    lines: dict[str, int]
    asked: set[Any] = field(default_factory=set)

    def name(self, key: Any) -> str:
        if isinstance(key, int):
            return f"{self.path}[{key}]"
        return f"{self.path}.{key}" if self.path else str(key)

    def wrong(self, key: Any, problem: str, remedy: str = "") -> BadInput:
        name = self.name(key) if key is not None else self.path or "the file"
        line = self.lines.get(name) or self.lines.get(self.path) or 1
        return BadInput(f"{self.source}, line {line}", f"{name} {problem}", remedy)

    def get(self, key: Any, default: Any = MISSING) -> Any:
        self.asked.add(key)
        value = self.values.get(key, default)
        if value is MISSING:
            similar = get_close_matches(str(key), [str(k) for k in self.values if k not in self.asked], 1)
            if similar:
                raise self.wrong(similar[0], f"is not a known key and {key} is missing", "mend its spelling")
            raise self.wrong(key, "is missing", f"add it (group starts at line {self.line()})")
        return value

    def line(self) -> int:
        return self.lines.get(self.path, 1)

    def number(self, key: Any, low: float, high: float, default: Any = MISSING) -> float:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.wrong(key, f"must be a number, not {value!r}")
        if not low <= value <= high:
            raise self.wrong(key, f"is {value:g}, outside {low:g} to {high:g}")
        return float(value)

    def integer(self, key: Any, low: int, high: int, default: Any = MISSING) -> int:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(key, f"must be a whole number, not {value!r}")
        if not low <= value <= high:
            raise self.wrong(key, f"is {value}, outside {low} to {high}")
        return value

    def text(self, key: Any, default: Any = MISSING) -> str:
        value = self.get(key, default)
        if not isinstance(value, str) or not value:
            raise self.wrong(
                key, f"must be text, not {value!r}", "put it in quotes if it looks like a number"
            )
        return value

    def truth(self, key: Any) -> bool:
        value = self.get(key, False)
        if not isinstance(value, bool):
            raise self.wrong(key, f"must be true or false, not {value!r}")
        return value

    def numbers(self, key: Any, length: int | None, default: Any = MISSING) -> tuple[float, ...]:
        value = self.get(key, default)
        good = isinstance(value, list | tuple) and all(
            isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in value
        )
        if not good or (length is not None and len(value) != length):
            wanted = "a list of numbers" if length is None else f"a list of {length} numbers"
            raise self.wrong(key, f"must be {wanted}, not {value!r}")
        return tuple(value)

    def integers(self, key: Any, length: int | None, default: Any = MISSING) -> tuple[int, ...]:
        values = self.numbers(key, length, default)
        if not all(isinstance(v, int) for v in values):
            raise self.wrong(key, f"must hold whole numbers, not {list(values)!r}")
        return tuple(int(v) for v in values)

    def section(self, key: str, shape: tuple[int, int] | None) -> Section:
        text = self.text(key)
        match = SECTION.fullmatch(text.strip())
        if match is None:
            raise self.wrong(key, f"is not a FITS section: {text!r}", 'write it as "[x1:x2,y1:y2]"')
        x1, x2, y1, y2 = map(int, match.groups())
        if x2 < x1 or y2 < y1:
            raise self.wrong(key, f"is empty: {text}", "sections count from 1, ends included; flips are keys")
        if x1 < 1 or y1 < 1 or (shape is not None and (x2 > shape[1] or y2 > shape[0])):
            size = "" if shape is None else f" of {shape[1]} x {shape[0]} pixels"
            raise self.wrong(key, f"{text} reaches beyond the image{size}")
        return Section(x1 - 1, x2, y1 - 1, y2)

    def group(self, key: Any, default: Any = MISSING) -> "Group":
        value = self.get(key, default)
        if not isinstance(value, dict):
            raise self.wrong(key, f"must be a group of keys, not {value!r}")
        return Group(self.source, self.name(key), value, self.lines)

    def numbered_groups(self, key: str, default: Any = MISSING) -> dict[int, "Group"]:
        group = self.group(key, default)
        for number in group.values:
            if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 99:
                raise group.wrong(number, "is not a number from 1 to 99")
        return {number: group.group(number) for number in sorted(group.values)}

    def finish(self) -> None:
        for key in self.values:
            if key not in self.asked:
                known = ", ".join(sorted(map(str, self.asked)))
                raise self.wrong(key, "is not a known key", f"known here: {known}")


def read_yaml(path: Path) -> Group:
    """Read a YAML file whose top is a mapping.

    Raises
    ------
    BadInput
        Naming the line that is not YAML, or the key that is given twice.
    """
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        lines: dict[str, int] = {}
        value = _plain(loader, node, "", lines, str(path))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise BadInput(f"{path}, line {line}", f"is not YAML: {error.problem}", "mend the line") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        text = str(error).splitlines()[0]
        raise BadInput(str(path), f"cannot be read as YAML: {text}", "give a camera file") from None
    except RecursionError:
        raise BadInput(str(path), "refers to itself, or nests too deep", "see docs/cameras.md") from None
    except ValueError as error:
        raise BadInput(str(path), f"holds a value that cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise BadInput(f"{path}, line 1", "is not a camera file", "see docs/cameras.md")
    return Group(str(path), "", value, lines)


def _plain(loader: yaml.SafeLoader, node: Any, path: str, lines: dict[str, int], source: str) -> Any:
    """Plain value of a YAML node; notes the line of every key path on the way."""
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, item, f"{path}[{i}]", lines, source) for i, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(loader, node)
    own_keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    loader.flatten_mapping(node)
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = _scalar(loader, key_node) if isinstance(key_node, yaml.ScalarNode) else repr(key_node.value)
        name = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}" if path else str(key)
        line = key_node.start_mark.line + 1
        if own_keys.count(key_node.value) > 1:
            raise BadInput(f"{source}, line {line}", f"{name} is given twice", "keep one")
        lines[name] = line
        result[key] = _plain(loader, value_node, name, lines, source)
    return result


def _scalar(loader: yaml.SafeLoader, node: Any) -> Any:
    """Value of a scalar by YAML 1.2; to 1.1 ``1e-6`` is text, ``1:30`` 90, ``010`` 8 and ``on`` true."""
    if node is None:
        return None
    if node.style is None:
        if INTEGER.fullmatch(node.value):
            return int(node.value)
        if FLOAT.fullmatch(node.value):
            return float(node.value)
        if ":" in node.value or node.value.lower() in YAML_1_1_TRUTHS:
            return node.value
    return loader.construct_object(node)
