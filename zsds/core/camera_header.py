"""The part of a camera file that says how the instrument writes its headers."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zsds.core.camera import Band
from zsds.core.located_yaml import Group

FRAME_TYPES = ("science", "bias", "dark", "flat")
NO_BAND = {"bias": "bi", "dark": "dk"}  # band codes of frames that saw no light
_RANGES = {
    "start_time": None,
    "time_of_day": None,
    "exposure_s": (0, 14400),
    "band": None,
    "field": (0, 999999),
    "ra": (0, 360),
    "dec": (-90, 90),
    "frame_type": None,
    "ccd": (1, 99),
    "airmass": (1, 40),
    "program_id": (0, 99),
    "program_pi": None,
}
_WHOLE = ("field", "ccd", "program_id")
_NEEDED = ("start_time", "exposure_s", "band", "field", "ra", "dec", "frame_type")


@dataclass(frozen=True)
class HeaderHabits:
    """Fields of `zsds.core.camera.Camera` of the same names."""

    keywords: Mapping[str, tuple[str, ...]]
    frame_types: Mapping[str, str]
    defaults: Mapping[str, str | int | float]
    exposure_unit_s: float


def read_habits(header: Group, bands: Iterable[Band], ccds: Iterable[int]) -> HeaderHabits:
    """Read and check the group ``header`` of a camera file.

    Raises
    ------
    BadInput
        Naming the line and the key.
    """
    keywords = header.group("keywords")
    defaults = header.group("defaults", {})
    habits = HeaderHabits(
        _keywords(keywords),
        _frame_types(header.group("frame_types")),
        _defaults(defaults, {b.name for b in bands} | {b.code for b in bands}, set(ccds)),
        header.number("exposure_unit_s", 1e-9, 86400, 1.0),
    )
    missing = next((n for n in _NEEDED if n not in habits.keywords and n not in habits.defaults), None)
    if missing is not None:
        raise keywords.wrong(None, f"lacks {missing}", "name its header keyword, or give it in defaults")
    header.finish()
    return habits


def _check_name(group: Group, name: object) -> None:
    if name not in _RANGES:
        raise group.wrong(name, "is not a header value we use", f"known: {', '.join(sorted(_RANGES))}")


def _keywords(group: Group) -> dict[str, tuple[str, ...]]:
    keywords = {}
    for name in group.values:
        _check_name(group, name)
        value = group.get(name)
        words = value if isinstance(value, list) else [value]
        if not words or not all(isinstance(w, str) and re.fullmatch(r"[A-Z0-9_-]{1,8}", w) for w in words):
            raise group.wrong(name, f"must be a FITS keyword or a list of them, not {value!r}")
        keywords[name] = tuple(words)
    return keywords


def _frame_types(group: Group) -> dict[str, str]:
    for pattern in group.values:
        if not isinstance(pattern, str):
            raise group.wrong(pattern, "is not text to YAML", "put the header's value in quotes")
        if group.text(pattern) not in FRAME_TYPES:
            raise group.wrong(pattern, f"must be one of {', '.join(FRAME_TYPES)}")
    if "science" not in group.values.values():
        raise group.wrong(None, "names no science frames", "add the header's value for them")
    return dict(group.values)


def _defaults(group: Group, bands: set[str], ccds: set[int]) -> dict[str, str | int | float]:
    for name, value in group.values.items():
        _check_name(group, name)
        choices: dict[str, set[Any]] = {"band": bands, "frame_type": set(FRAME_TYPES), "ccd": ccds}
        allowed = choices.get(name)
        limits = _RANGES[name]
        if allowed is not None and value not in allowed:
            raise group.wrong(name, f"must be one of {', '.join(map(str, sorted(allowed)))}, not {value!r}")
        if limits is None:
            group.text(name)
        elif name in _WHOLE:
            group.integer(name, math.ceil(limits[0]), math.floor(limits[1]))
        else:
            group.number(name, *limits)
    return dict(group.values)
