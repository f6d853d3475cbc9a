"""Settings: dataclass defaults, then a YAML mapping, then ``--set step.name=value``; frozen and hashed."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any, TypeVar, get_type_hints

import yaml

from zsds.core.errors import SettingsError

S = TypeVar("S")


def with_values(settings: S, values: Mapping[str, Any], path: str = "") -> S:
    """Copy of ``settings`` (a frozen dataclass, possibly nested) with ``values`` laid over it.

    Raises
    ------
    SettingsError
        For an unknown key or a value of another type, naming the full key, or one that the settings refuse
        when they are made (with a ValueError that begins with the key).
    """
    types = get_type_hints(type(settings))
    known = {f.name for f in fields(settings)}  # type: ignore[arg-type]
    changes = {}
    for key, value in values.items():
        name = f"{path}{key}"
        if key not in known:
            raise SettingsError(f"unknown setting {name}; known here: {', '.join(sorted(known))}")
        current = getattr(settings, key)
        if is_dataclass(current) and not isinstance(current, type):
            if not isinstance(value, Mapping):
                raise SettingsError(f"setting {name} is a group; give its members as {name}.member=value")
            changes[key] = with_values(current, value, f"{name}.")
        else:
            changes[key] = _converted(value, types[key], name)
    try:
        return replace(settings, **changes)  # type: ignore[type-var]
    except ValueError as error:
        raise SettingsError(f"setting {path}{error}") from error


def _converted(value: Any, wanted: Any, name: str) -> Any:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        value = tuple(value)
    origin = getattr(wanted, "__origin__", wanted)
    if isinstance(origin, type):
        wrong = not isinstance(value, origin) or (isinstance(value, bool) and origin is not bool)
        if wrong:
            sort = "a list, such as [one, two]" if origin is tuple else origin.__name__
            raise SettingsError(f"setting {name} must be {sort}, not {value!r}")
    return value


def require_positive(name: str, value: float) -> None:
    """For settings that check themselves when they are made.

    Raises
    ------
    ValueError
        If the value is not above 0.
    """
    if not value > 0:
        raise ValueError(f"{name} must be above 0, not {value:g}")


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """Nested mapping of ``["subtract.radius=12", ...]``; values are read as YAML scalars."""
    nested: dict[str, Any] = {}
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise SettingsError(f"--set {item!r}: write it as step.name=value")
        *groups, last = key.strip().split(".")
        target = nested
        for group in groups:
            target = target.setdefault(group, {})
            if not isinstance(target, dict):
                raise SettingsError(f"--set {item!r}: another --set gives {group} a value of its own")
        target[last] = _scalar(item, text)
    return nested


def _scalar(item: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SettingsError(f"--set {item!r}: the value cannot be read as YAML") from error


def settings_hash(settings: Any) -> str:
    """Twelve hexadecimal digits that change when any setting does."""
    text = json.dumps(asdict(settings), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
