"""Frames that land in a folder while somebody looks: which are whole, and which never will be."""

import logging
import os
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from zsds.core.camera import Camera
from zsds.core.errors import BadInput
from zsds.db.ledger import Frame
from zsds.runner.ingest import describe_frames, find_frames, whole_path

log = logging.getLogger(__name__)
PATIENCE_S = 60.0  # a file that did not grow for so long and is not whole never will be


@dataclass(frozen=True)
class Landed:
    """What is new: frames that are whole, and the files that are none."""

    frames: list[Frame]
    refused: list[BadInput]


@dataclass
class Incoming:
    """A folder that frames land in.

    A file is taken once its size has not changed between two looks and it holds what its header says;
    until then it may still be on its way.

    Parameters
    ----------
    folder : pathlib.Path
    camera : Camera
    known : collection of (path, size)
        Files that were taken before.
    patience_s : float
        Seconds after which a file that stopped growing is judged as it is.
    """

    folder: Path
    camera: Camera
    known: Collection[tuple[str, int]] = ()
    patience_s: float = PATIENCE_S
    _sizes: dict[Path, int] = field(default_factory=dict)  # when last looked at
    _judged: dict[Path, tuple[int, float]] = field(default_factory=dict)  # size, and time of any change
    _closed: set[str] = field(default_factory=set)  # folders that cannot be looked into

    def __post_init__(self) -> None:
        self.folder = whole_path(self.folder)
        for path, size in self.known:
            stat = _stat(Path(path))
            if stat is not None and stat.st_size == size:
                self._judged[Path(path)] = (size, stat.st_ctime)

    def look(self) -> Landed:
        """What has landed since the last look.

        Raises
        ------
        BadInput
            If the folder is gone, or is none.
        """
        if self.folder.is_file():
            raise BadInput(str(self.folder), "is a file", "name the folder that frames land in")
        files, closed = find_frames([self.folder])
        frames, refused = [], [folder for folder in closed if folder.source not in self._closed]
        self._closed = {folder.source for folder in closed}
        for path in files:
            stat = _stat(path)
            if stat is None:  # moved on between listing and looking
                continue
            stamp = stat.st_size, stat.st_ctime  # a right to read that is given changes it too
            grew = self._sizes.get(path) != stat.st_size
            self._sizes[path] = stat.st_size
            if grew or self._judged.get(path) == stamp:
                continue
            try:
                frames += describe_frames(path, self.camera)
            except BadInput as error:
                if time.time() - stat.st_mtime < self.patience_s:
                    log.debug("%s: not whole yet (%s)", path, error)
                    continue
                refused.append(error)
            self._judged[path] = stamp
        return Landed(frames, refused)


def _stat(path: Path) -> os.stat_result | None:
    """Size and times of a file; None if it is not there."""
    try:
        return path.stat()
    except OSError:
        return None
