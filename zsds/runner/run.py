"""One task after another, never raising: what goes wrong with one unit must not end the night."""

import logging
import resource as system
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zsds.core.errors import UnusableData, ZsdsError
from zsds.db.database import Unreachable
from zsds.db.ledger import Outcome, State
from zsds.io.files import FULL, DiskFull
from zsds.kernels import first_use
from zsds.pipeline.settings import Settings
from zsds.runner.archive import Archive, open_archive
from zsds.runner.log import UNITS, about, recorded
from zsds.runner.steps import STEPS
from zsds.runner.versions import keep_version

log = logging.getLogger(UNITS)


@dataclass(frozen=True)
class Task:
    """What to do: one unit of work, with ids, paths and versions, never pixels.

    Parameters
    ----------
    kind : str
        ``calibration``, ``science``, ``difference``, ``reference`` or ``packets``.
    key : str
        Of the unit in the ledger.
    inputs : mapping
        What it is made from, by role; plain values that JSON can hold.
    version : int
        Of the unit, from 1.
    night : str
        ``YYYYMMDD`` of the unit in the ledger, and
    attempt : int, optional
        its number, for the log.
    """

    kind: str
    key: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    night: str = ""
    attempt: int | None = None


@dataclass(frozen=True)
class Finished:
    """A task with its outcome."""

    task: Task
    outcome: Outcome


def run_chain(chain: Sequence[Task], archive: Path, settings: Settings) -> list[Finished]:
    """Run tasks in order, each needing the one before; the first that is not done ends the chain.

    Parameters
    ----------
    chain : sequence of Task
    archive : pathlib.Path
    settings : Settings

    Returns
    -------
    list of Finished
        One for each task that was tried.
    """
    opened = open_archive(archive)
    finished = []
    for task in chain:
        with recorded(opened.store.root), about(task.kind, task.key, task.night, task.attempt):
            finished.append(_run(task, opened, settings))
        if finished[-1].outcome.state is not State.DONE:
            break
    return finished


def _run(task: Task, archive: Archive, settings: Settings) -> Finished:
    wall, cpu = time.perf_counter(), time.process_time()
    state, reason = State.DONE, None
    log.info("begins")
    metrics: dict[str, Any] = {}
    try:
        if task.version > 1:
            keep_version(archive.store, task.kind, task.key, task.version - 1)
        with first_use(task.kind):
            metrics = dict(STEPS[task.kind](task.key, task.inputs, archive, settings))
    except UnusableData as error:
        state, reason, metrics = State.REJECTED, str(error), dict(error.numbers)
    except Unreachable as error:
        state, reason, metrics = State.FAILED, str(error), {"database_lost": 1}
    except DiskFull as error:
        state, reason, metrics = State.FAILED, str(error), {"disk_full": 1}
    except ZsdsError as error:  # a file or a setting that somebody can mend: the next run tries again
        state, reason = State.FAILED, str(error)
    except OSError as error:
        problem = f"{error.filename or task.key}: {error.strerror or error}"
        state, reason = State.FAILED, f"{problem}; check the disk and its permissions, then run again"
        metrics = {"disk_full": 1} if error.errno in FULL else {}
    except Exception as error:  # a bug in one unit must not end the night
        state, reason = State.FAILED, " ".join(f"{type(error).__name__}: {error}".split())
        log.exception("a bug")
    outcome = Outcome(state, reason, {**metrics, **_cost(wall, cpu)}, *_usage(wall))
    log.info("ends %s after %.2f s, %.0f MB%s", state, *_usage(wall), f": {reason}" if reason else "")
    return Finished(task, outcome)


def _cost(wall: float, cpu: float) -> dict[str, float]:
    return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}


def _usage(wall: float) -> tuple[float, float]:
    """Seconds on the clock, and the process's largest resident memory so far in MB."""
    return time.perf_counter() - wall, system.getrusage(system.RUSAGE_SELF).ru_maxrss / 1024
