"""Whether remote workers can do what is asked: the same program, and the archive under the same path."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zsds.workflows.cluster.units import Distributed

from zsds import __version__
from zsds.core.errors import BadInput
from zsds.io.store import CONFIGURATION


@dataclass(frozen=True)
class Worker:
    """What a worker says of itself."""

    host: str
    software: str
    python: str
    sees_archive: bool
    may_write: bool
    one_thread: bool


def describe(archive: Path | None) -> Worker:
    """About the process that runs this."""
    return Worker(
        platform.node(),
        __version__,
        platform.python_version(),
        archive is None or (archive / CONFIGURATION).is_file(),
        archive is None or os.access(archive, os.W_OK),
        os.environ.get("OMP_NUM_THREADS") == "1",
    )


def workers_known(workers: Distributed, archive: Path | None) -> list[Worker]:
    """What the workers there are at present say of themselves.

    Raises
    ------
    BadInput
        If they cannot even run that.
    """
    try:
        told: dict[str, Any] = workers.client.run(describe, archive, on_error="return")
    except OSError as error:
        raise BadInput(
            workers.watch.name, f"its workers do not answer ({error})", "see their logs"
        ) from error
    for address, one in told.items():
        if isinstance(one, Exception):
            problem = f"its worker {address} has no zsds like this ({type(one).__name__}: {one})"
            raise BadInput(workers.watch.name, problem, f"install zsds {__version__} there")
    return list(told.values())


def require_fit(workers: Distributed, archive: Path | None) -> None:
    """Make sure that the workers there are at present can work on an archive.

    Raises
    ------
    BadInput
        If one of them cannot.
    """
    for worker in workers_known(workers, archive):
        if worker.software != __version__:
            problem = f"its worker on {worker.host} runs zsds {worker.software}, this is {__version__}"
            raise BadInput(workers.watch.name, problem, "install the same version on both")
        if not (worker.sees_archive and worker.may_write):
            lack = "write to" if worker.sees_archive else "see"
            problem = f"its worker on {worker.host} cannot {lack} {archive}"
            raise BadInput(workers.watch.name, problem, "give it the archive under the same path")
