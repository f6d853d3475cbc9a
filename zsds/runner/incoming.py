"""Frames that land in a folder while somebody looks: which are whole, and which never will be."""

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from zsds.core.camera import Camera
from zsds.core.errors import BadInput
from zsds.db.ledger import Frame
from zsds.runner.ingest import describe_frames, find_frames

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
    _judged: dict[Path, tuple[int, float]] = field(default_factory=dict)  # size and time of change

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()
        for path, size in self.known:
            if (file := Path(path)).is_file() and file.stat().st_size == size:
                self._judged[file] = (size, file.stat().st_mtime)

    def look(self) -> Landed:
        """What has landed since the last look.

        Raises
        ------
        BadInput
            If the folder is gone.
        """
        frames, refused = [], []
        for path in find_frames([self.folder]):
            try:
                stat = path.stat()
            except FileNotFoundError:  # moved on between listing and looking
                continue
            stamp = stat.st_size, stat.st_mtime
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
