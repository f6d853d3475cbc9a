"""Raw frames into the ledger: each is validated, then registered once."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zsds.core.camera import Camera
from zsds.core.camera_header import NO_BAND
from zsds.core.errors import BadInput
from zsds.core.ids import file_time, mjd_at
from zsds.db import ledger
from zsds.io.files import MAY_READ
from zsds.io.raw import check_raw
from zsds.io.raw_header import RawHeader
from zsds.runner.archive import Archive
from zsds.runner.frames import digest_of, register

SUFFIXES = (".fits", ".fit", ".fits.fz", ".fit.fz", ".fits.gz", ".fit.gz")


@dataclass(frozen=True)
class Ingested:
    """What came of it: counts, and the frames refused with the reason."""

    n_new: int
    n_known: int
    refused: list[BadInput]


def whole_path(path: Path) -> Path:
    """A path as the ledger keeps it: absolute and without ``..``; links stay as they are named."""
    return path.resolve() if ".." in path.parts else path.absolute()


def find_frames(paths: Iterable[Path]) -> tuple[list[Path], list[BadInput]]:
    """The files among the paths, and the FITS files in the folders among them, sorted; and what is closed.

    Hidden files and folders are left out: other programs keep there what is no frame, or not yet. Links are
    followed, and a folder is looked at once.

    Raises
    ------
    BadInput
        If a path does not exist.
    """
    found: set[Path] = set()
    closed: list[BadInput] = []
    for path in map(whole_path, paths):
        if path.is_dir():
            found |= _frames_below(path, closed)
        elif path.exists():
            found.add(path)
        else:
            raise BadInput(str(path), "no such file or folder", "check the path")
    return sorted(found), closed


def _frames_below(folder: Path, closed: list[BadInput]) -> set[Path]:
    found: set[Path] = set()
    seen: set[Path] = set()
    folders, links = [folder], []
    while folders or links:
        here = folders.pop() if folders else links.pop()
        if (real := here.resolve()) in seen:
            continue
        seen.add(real)
        try:
            entries = [entry for entry in os.scandir(here) if not entry.name.startswith(".")]
            inner = [entry for entry in entries if entry.is_dir()]
            found |= {Path(e.path) for e in entries if e.name.lower().endswith(SUFFIXES) and e.is_file()}
        except FileNotFoundError:  # moved on meanwhile
            continue
        except OSError as error:
            closed.append(BadInput(str(here), f"cannot be looked into: {error.strerror}", MAY_READ))
            continue
        for entry in inner:
            (links if entry.is_symlink() else folders).append(Path(entry.path))
    return found


def ingest_frames(archive: Archive, files: Sequence[Path], advance: Callable[[], None]) -> Ingested:
    """Validate and register raw frames; a bad one is refused and the others go on."""
    frames, refused = [], []
    for file in files:
        try:
            frames.extend(describe_frames(file, archive.camera))
        except BadInput as error:
            refused.append(error)
        advance()
    registered = register(archive, frames)
    return Ingested(len(registered.new), len(registered.known), refused + registered.conflicts)


def describe_frames(path: Path, camera: Camera) -> list[ledger.Frame]:
    """What the ledger keeps of a raw frame, for each detector it holds.

    Raises
    ------
    BadInput
        If its header cannot be used, or its time is more than a day ahead of this machine's clock.
    """
    headers = check_raw(path, camera)
    latest = mjd_at(time.time()) + 1
    for header in headers:
        if header.start_mjd > latest:
            problem = f"its start, {file_time(header.start_mjd)[:8]}, lies in the future"
            raise BadInput(str(path), problem, "mend the clock of the camera, or of this machine")
    digest = digest_of(path)
    return [_described(header, path, digest) for header in headers]


def _described(header: RawHeader, path: Path, digest: str) -> ledger.Frame:
    start = file_time(header.start_mjd)
    return ledger.Frame(
        path=str(path),
        size=path.stat().st_size,
        digest=digest,
        frame_type=header.frame_type,
        time=start,
        start_mjd=header.start_mjd,
        exposure_s=header.exposure_s,
        field=header.field,
        band=NO_BAND[header.frame_type] if header.band is None else header.band.code,
        band_id=0 if header.band is None else header.band.id,
        ccd=header.ccd,
        night=start[:8],
        program_id=header.program_id,
    )
