"""Where compiled kernels are kept, and that one process of a machine compiles them for all.

Numba keeps them beside their source or, where that cannot be written, in the user's cache folder. Where
neither can (a container with a read-only file system), it refuses to import; then a folder below the
temporary one does. ``NUMBA_CACHE_DIR`` names another.
"""

import fcntl
import hashlib
import os
import platform
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numba
from numba import config
from numba.misc.appdirs import AppDirs

HERE = Path(__file__).parent


def choose_folder() -> Path:
    """Folder for what is kept, writable; numba is told where it would find none itself."""
    if config.CACHE_DIR:
        return Path(config.CACHE_DIR)
    for folder in (HERE / "__pycache__", Path(AppDirs("numba", False).user_cache_dir)):
        if _is_writable(folder):
            return folder
    config.CACHE_DIR = str(_own_temporary())
    return Path(config.CACHE_DIR)


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _own_temporary() -> Path:
    """The user's folder below the temporary one, or one of this process if somebody else has made that."""
    folder = Path(tempfile.gettempdir()) / f"zsds-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    is_own = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o022
    return folder if is_own else Path(tempfile.mkdtemp(prefix="zsds-kernels-"))


FOLDER = choose_folder()


@contextmanager
def first_use(what: str) -> Iterator[None]:
    """Let one process of this machine be the first to do something, and so to compile its kernels.

    The others wait until it has, and then find the kernels ready; at any later time nobody waits.

    Parameters
    ----------
    what : str
        Word for the work, such as ``science``.
    """
    done = FOLDER / f"zsds-{_version()}-{what}.ready"
    if done.exists() or not _is_writable(FOLDER):
        yield
        return
    with done.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            fcntl.flock(lock, fcntl.LOCK_UN)
        try:
            yield
        finally:
            done.touch()  # also after a failure: what it reached is compiled


@cache
def _version() -> str:
    """Changes with the kernels, with numba, with Python and with the processor."""
    digest = hashlib.sha256(
        "|".join((numba.__version__, platform.python_version(), platform.node())).encode()
    )
    for path in sorted(HERE.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
