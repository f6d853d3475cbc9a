"""Files that appear whole or not at all, and FITS bytes that do not depend on the clock."""

import errno
import os
import shutil
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from zsds.core.errors import BadInput

FULL = (errno.ENOSPC, errno.EDQUOT)
_REMEDIES = {
    errno.ENOSPC: ("the disk is full", "free some space and run again; nothing was left behind"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run again; nothing was left behind"),
    errno.EACCES: ("may not be written", "check the permissions of its folder"),
    errno.EEXIST: ("a file stands where its folder should be", "name another folder"),
    errno.ENOTDIR: ("a file stands where its folder should be", "name another folder"),
    errno.EROFS: ("lies on a read-only file system", "choose another archive folder"),
}

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)

MAY_READ = "give the user who runs zsds the right to read it"

DAMAGE = (  # what astropy makes of damaged files
    *(AstropyUserWarning, OSError, ValueError, TypeError, EOFError, LookupError, ArithmeticError),
    *(RuntimeError, zlib.error, fits.VerifyError),
)


class DiskFull(BadInput):
    """No space left for a file."""


def require_elsewhere(folder: Path, inputs: Iterable[Path | None]) -> None:
    """Make sure that no product can replace a file it is made from.

    Raises
    ------
    BadInput
        If one of the inputs lies in the folder.
    """
    for file in inputs:
        if file is not None and Path(file).resolve().parent == Path(folder).resolve():
            raise BadInput(
                str(folder), f"holds {Path(file).name}, which products could replace", "choose another folder"
            )


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write; rename it into place when the block ends well.

    Raises
    ------
    BadInput
        If the system refuses to write (full disk, permissions); no half-written file stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        problem, remedy = _REMEDIES.get(
            error.errno or 0,
            (f"cannot be written: {error.strerror or error}", "check the folder and the disk"),
        )
        raise (DiskFull if error.errno in FULL else BadInput)(str(path), problem, remedy) from error
    finally:
        with suppress(NotADirectoryError):
            temporary.unlink(missing_ok=True)


def share_file(path: Path, other: Path) -> None:
    """Give a file a second place, without a copy where the file system can; writers replace files whole."""
    other.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, other)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(path, other)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole."""
    with written_whole(path) as temporary:
        temporary.write_bytes(content)


def write_fits(path: Path, hdus: fits.HDUList) -> None:
    """Write HDUs, with CHECKSUM and DATASUM whose comments carry no date: equal input gives equal bytes.

    Compressed images come as tables (`zsds.io.tiles.compressed`); other tables hold no columns of variable
    length, whose checksums would not be theirs.
    """
    hdus.update_extend()
    for hdu in hdus:
        hdu.add_checksum(when="")
    buffer = BytesIO()
    hdus.writeto(buffer, output_verify="exception")
    write_bytes(path, buffer.getvalue())


@contextmanager
def opened_fits(path: Path) -> Iterator[fits.HDUList]:
    """Open a FITS file for reading.

    Raises
    ------
    BadInput
        If the file is missing, empty, truncated or not FITS.
    """
    path = Path(path)
    if path.is_dir():
        raise BadInput(str(path), "is a folder", "name a file")
    if not path.is_file():
        raise BadInput(str(path), "no such file", "check the name, or make the product first")
    if path.stat().st_size == 0:
        raise BadInput(str(path), "the file is empty", "fetch or make it again")
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            for category in (fits.verify.VerifyWarning, AstropyUserWarning):  # cards beside the standard
                warnings.filterwarnings("ignore", "The following header keyword is invalid", category)
            warnings.filterwarnings("error", "File may have been truncated", AstropyUserWarning)
            with fits.open(file, memmap=False, lazy_load_hdus=False) as hdus:
                yield hdus
    except DAMAGE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(str(path), f"not a readable FITS file ({reason})", "fetch or make it again") from error
