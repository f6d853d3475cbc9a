"""The lines that `zsds.runner.log` keeps, read back: of all processes together, in order of time."""

import heapq
import json
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zsds.core.errors import BadInput
from zsds.products import path as product_path

log = logging.getLogger(__name__)
LEVELS = ("info", "warning", "error")
LOOK_S = 0.5  # between looks for new lines
BLOCK = 1 << 15  # bytes of a file read at once, when thousands are merged

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """Which lines are wanted.

    Parameters
    ----------
    units : sequence of str
        Keys of units, or their first parts: an exposure, a CCD. All when there are none.
    night : str, optional
        ``YYYYMMDD``; all by default.
    level : str
        The least of `LEVELS`.
    """

    units: Sequence[str] = ()
    night: str | None = None
    level: str = LEVELS[0]

    def is_about(self, key: str | None) -> bool:
        """Whether a unit is among the wanted ones."""
        return not self.units or any(f"{key}_".startswith(f"{unit.rstrip('_')}_") for unit in self.units)

    def is_grave(self, level: str) -> bool:
        """Whether a level is high enough; unknown ones are."""
        return level.lower() not in LEVELS[: LEVELS.index(self.level)]

    @property
    def nights(self) -> Sequence[str]:
        """Patterns of the nights that can hold such lines."""
        if self.night is not None:
            return (self.night,)
        dates = [re.match(r"[a-z0-9]+_(\d{8})", unit) for unit in self.units]
        return ("*",) if not all(dates) else sorted({date[1] for date in dates if date}) or ("*",)


def read_lines(archive: Path, wanted: Wanted) -> Iterator[Line]:
    """Lines of an archive in order of time.

    Lines that are damaged, as a full disk or a killed process leaves them, are left out.

    Raises
    ------
    BadInput
        If there is none about these units, of whatever level.
    """
    found = False
    files = [_lines_of(path, wanted) for path in _files(archive, wanted)]
    for line in heapq.merge(*files, key=_time_of):
        found = True
        if wanted.is_grave(str(line["level"])):
            yield line
    if not found:
        raise _nothing(archive, wanted)


def follow_lines(archive: Path, wanted: Wanted) -> Iterator[Line]:
    """Lines that are there, then lines as they come, for ever; a name that has none yet is told."""
    tail = _Tail(archive, wanted)
    lines = tail.new_lines()
    if not tail.found:
        log.warning("%s; waiting for lines", _nothing(archive, wanted))
    while True:
        yield from lines
        time.sleep(LOOK_S)
        lines = tail.new_lines()


@dataclass
class _Tail:
    """What was not read yet."""

    archive: Path
    wanted: Wanted
    read: dict[Path, int] = field(default_factory=dict)  # bytes of each file
    found: bool = False  # any line, of whatever level

    def new_lines(self) -> list[Line]:
        """Lines since the last time, in order of time."""
        lines: list[Line] = []
        for path in _files(self.archive, self.wanted):
            for text, end in _texts(path, self.read.get(path, 0)):
                self.read[path] = end
                lines += _parsed([text], self.wanted)
        self.found = self.found or bool(lines)
        return sorted((line for line in lines if self.wanted.is_grave(str(line["level"]))), key=_time_of)


def _time_of(line: Line) -> str:
    return str(line["time"])


def _files(archive: Path, wanted: Wanted) -> list[Path]:
    patterns = [product_path("night_log", night) / "*.jsonl" for night in wanted.nights]
    return sorted(path for pattern in patterns for path in archive.glob(str(pattern)))


def _lines_of(path: Path, wanted: Wanted) -> Iterator[Line]:
    return _parsed((text for text, _ in _texts(path)), wanted)


def _texts(path: Path, begun: int = 0) -> Iterator[tuple[bytes, int]]:
    """Whole lines of a file from some byte on, each with the byte where it ends; no file stays open."""
    size = BLOCK
    while True:
        try:
            with path.open("rb") as file:
                file.seek(begun)
                content = file.read(size)
        except FileNotFoundError:  # removed meanwhile
            return
        lines = content.split(b"\n")[:-1]
        for text in lines:
            begun += len(text) + 1
            yield text, begun
        if len(content) < size:  # the rest is being written
            return
        size = BLOCK if lines else 2 * size  # a long line


def _parsed(lines: Iterable[bytes], wanted: Wanted) -> Iterator[Line]:
    """Those that are wanted, of whatever level; damaged ones are none."""
    units = [unit.rstrip("_").encode() for unit in wanted.units]
    for text in lines:
        if units and not any(unit in text for unit in units):  # most of a night is about others
            continue
        try:
            line = json.loads(text)
            key, _, _ = line["key"], line["time"], line["level"]
        except (ValueError, TypeError, KeyError):
            continue
        if wanted.is_about(key):
            yield line


def _nothing(archive: Path, wanted: Wanted) -> BadInput:
    where = "" if wanted.night is None else f" of night {wanted.night}"
    if wanted.units:
        problem = f"is in no line of the log{where}"
        return BadInput(", ".join(wanted.units), problem, "see zsds status for what was run")
    problem = f"holds no log{where} yet"
    return BadInput(str(archive), problem, "zsds calibrate, night and references write it")


def as_text(line: Line) -> str:
    """A line for people, and below it the traceback of a bug."""
    who = f"{line.get('host')}:{line.get('pid')}"
    attempt = "" if line.get("attempt") is None else f" #{line['attempt']}"
    what = f"{line['kind']} {line['key']}{attempt}" if line["key"] else "-"
    message = " ".join(_printable(str(line.get("message"))).split())
    logger = str(line.get("logger")).removeprefix("zsds.")
    first = f"{line['time']} {str(line['level']).lower():7} {who} {what} {logger}: {message}"
    rest = str(line.get("traceback") or "").splitlines()
    return "\n".join([first, *(f"    {_printable(text)}" for text in rest)])


def _printable(text: str) -> str:
    """Without characters that move the cursor of a terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
