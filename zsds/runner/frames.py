"""Raw frames on disk against the ledger: a file is a registered frame only while it has that content."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from zsds.core.camera import Camera
from zsds.core.errors import BadInput
from zsds.core.raw import RawCcd
from zsds.db import ledger
from zsds.db.ledger import Frame, Registration
from zsds.io.raw import read_raw
from zsds.runner.archive import Archive


def digest_of(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_registered(
    path: Path, digest: str, camera: Camera, ccd: int, quadrants: Iterable[int] | None = None
) -> RawCcd:
    """Read a raw frame, which must have the content that was registered.

    Parameters
    ----------
    path : pathlib.Path
    digest : str
        Of the content that was registered, or its beginning.
    camera, ccd, quadrants
        See `zsds.io.raw.read_raw`.

    Raises
    ------
    BadInput
        If the file is gone, was replaced, or cannot be read.
    """
    if not path.is_file():
        raise BadInput(str(path), "no such file", "put it back, or zsds ingest it from where it is now")
    raw = read_raw(path, camera, quadrants, ccd)
    if not digest_of(path).startswith(digest):
        raise BadInput(
            str(path),
            "holds other content than was registered",
            "zsds ingest it again, and what it held before from a place of its own",
        )
    return raw


def register(archive: Archive, frames: Sequence[Frame]) -> Registration:
    """Record raw frames; registered ones whose files are gone, or hold something else now, give way.

    Files are looked at before the transaction, so that nobody waits for it.
    """
    with archive.database.read() as connection:
        rivals = {rival for frame in frames for rival in ledger.rivals(connection, frame)}
    lost = {rival for rival in rivals if not _is_there(rival)}
    with archive.database.write() as connection:
        return ledger.register_frames(connection, frames, lost)


def _is_there(frame: Frame) -> bool:
    path = Path(frame.path)
    try:
        return path.stat().st_size == frame.size and digest_of(path) == frame.digest
    except OSError:
        return False
