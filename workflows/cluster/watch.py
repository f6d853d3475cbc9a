"""Whether scheduler and workers are still there: a run without them ends instead of waiting for ever."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zsds.core.errors import BadInput

log = logging.getLogger(__name__)
LOOK_S = 5.0  # between two looks: a controller of Slurm has others to answer too
GO_ON = "run the same command again: what is done stays"


@dataclass
class Watch:
    """Looks after the workers of a client now and then.

    Parameters
    ----------
    client : distributed.Client
    name : str
        Of the cluster, for messages.
    wait_s : float
        Without any worker, after which it raises.
    remedy : str
        What to do when no worker comes.
    attend : callable, optional
        Called at each look, to replace workers that were lost; tells what those to come wait for.
    also : callable, optional
        What else is to be done now and then while a run waits.
    """

    client: Any
    name: str
    wait_s: float
    remedy: str
    attend: Callable[[], str] = lambda: ""
    also: Callable[[], None] = lambda: None
    looked: float = field(default_factory=time.monotonic)
    seen: float = field(default_factory=time.monotonic)
    workers: set[str] = field(default_factory=set)  # there were at the last look

    def wait_for_first(self) -> None:
        """Return when there is a worker.

        Raises
        ------
        BadInput
            As `look` does.
        """
        while not workers_of(self.client):
            self.look()
            time.sleep(0.1)

    def look(self) -> None:
        """Look, if the last time is long ago.

        Raises
        ------
        BadInput
            If the scheduler is gone, or there was no worker for too long.
        """
        now = time.monotonic()
        if now - self.looked < LOOK_S:
            return
        self.looked = now
        self.also()
        if self.client.status != "running":
            raise scheduler_gone(self.name)
        known = self.attend()
        self._note_workers()
        if self.workers:
            self.seen = now
        elif now - self.seen > self.wait_s:
            problem = f"no worker for {self.wait_s:.0f} s{known}"
            raise BadInput(self.name, problem, f"{self.remedy}; then {GO_ON}")

    def _note_workers(self) -> None:
        now = addresses_of(self.client)
        for address in sorted(now - self.workers):
            log.info("worker %s came", address)
        for address in sorted(self.workers - now):
            log.info("worker %s went", address)
        self.workers = now


def addresses_of(client: Any) -> set[str]:
    """The workers that the scheduler knows."""
    try:
        return set(client.scheduler_info(n_workers=-1)["workers"])
    except (OSError, TimeoutError, KeyError):  # it goes away while asked; its status tells at the next look
        return set()


def workers_of(client: Any) -> int:
    """How many workers the scheduler knows."""
    return len(addresses_of(client))


def scheduler_gone(name: str) -> BadInput:
    """The error for a scheduler that was lost during a run."""
    return BadInput(name, "the Dask scheduler was lost", f"start it again with its workers, then {GO_ON}")
