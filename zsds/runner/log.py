"""What happens to each unit, as JSON lines that every process appends to a file of its own in the archive.

A line belongs to the night of its unit; one about no unit to the night that its process works on, or to the
UT date. Each is written at once and whole, so that others may read along. Writing never fails a unit: when
the disk is full or cannot be written, the line is given up.
"""

import json
import logging
import os
import re
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from zsds.products import path as product_path

UNITS = "zsds.units"  # the logger of what became of units, which the terminal tells in its own way
_SECRET = re.compile(r"(://[^\s:/@]*:)[^\s@/]+(?=@)")  # the password of an address


@dataclass(frozen=True)
class _Subject:
    """What this thread works on."""

    archive: Path
    night: str = ""
    kind: str | None = None
    key: str | None = None
    attempt: int | None = None


_subject: ContextVar[_Subject | None] = ContextVar("subject", default=None)


@contextmanager
def recorded(archive: Path, night: str = "") -> Iterator[None]:
    """What is logged meanwhile is kept in an archive, below a night where one is named.

    Parameters
    ----------
    archive : pathlib.Path
        Root of the archive.
    night : str
        ``YYYYMMDD``.
    """
    _attach()
    token = _subject.set(_Subject(archive, night))
    try:
        yield
    finally:
        _subject.reset(token)


@contextmanager
def about(kind: str, key: str, night: str = "", attempt: int | None = None) -> Iterator[None]:
    """What is logged meanwhile, within `recorded`, is about a unit."""
    before = _subject.get()
    if before is None:
        yield
        return
    token = _subject.set(replace(before, night=night or before.night, kind=kind, key=key, attempt=attempt))
    try:
        yield
    finally:
        _subject.reset(token)


class _Lines(logging.Handler):
    """Appends records to the file of this process, if somebody wants them kept."""

    torn = False  # the line before was cut short: the disk was full

    def emit(self, record: logging.LogRecord) -> None:
        subject = _subject.get()
        if subject is None:
            return
        now = datetime.fromtimestamp(record.created, UTC)
        folder = subject.archive / product_path("night_log", subject.night or f"{now:%Y%m%d}")
        line = _SECRET.sub(r"\1***", _as_json(record, subject, now)) + "\n"
        content = ("\n" * self.torn + line).encode("utf-8", "replace")
        try:
            self.torn = _append(folder / f"{socket.gethostname()}-{os.getpid()}.jsonl", content)
        except OSError:
            return


def _append(path: Path, content: bytes) -> bool:
    """Write in one piece at the end of a file; returns whether some of it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        return os.write(file, content) < len(content)
    finally:
        os.close(file)


def _as_json(record: logging.LogRecord, subject: _Subject, now: datetime) -> str:
    line = {
        "time": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
        "level": record.levelname,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "kind": subject.kind,
        "key": subject.key,
        "attempt": subject.attempt,
        "logger": record.name,
        "message": record.getMessage(),
    }
    if record.exc_info and record.exc_info[0] is not None:
        line["traceback"] = "".join(traceback.format_exception(*record.exc_info))
    return json.dumps(line, default=str)


def _attach() -> None:
    """Let this process's records reach the file, whatever the terminal shows."""
    ours = logging.getLogger("zsds")
    if not any(isinstance(handler, _Lines) for handler in ours.handlers):
        ours.addHandler(_Lines(logging.INFO))
        ours.setLevel(min(logging.INFO, ours.getEffectiveLevel()))
