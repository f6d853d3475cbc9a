"""How units run: one after another in this process, or on the workers of a Dask client."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from zsds.workflows.cluster.watch import Watch, scheduler_gone, workers_of

POLL_S = 0.05


@dataclass(frozen=True)
class Serial:
    """Runs units one after another in this process, in the order given."""

    address: str = "serial"
    is_here: bool = True

    def run(
        self,
        function: Callable[..., Any],
        units: Sequence[Any],
        together: Callable[[Any], Any] | None = None,  # noqa: ARG002 - they are, if they follow each other
        **arguments: Any,
    ) -> Iterator[Any]:
        """Yield one result per unit as each finishes."""
        for unit in units:
            yield function(unit, **arguments)


@dataclass(frozen=True)
class Distributed:
    """Runs units on the workers of a Dask client; tasks carry ids, never pixels.

    Parameters
    ----------
    client : distributed.Client
    watch : Watch
        Ends a run that has lost its scheduler, or all workers for good.
    is_here : bool
        Whether the workers are processes of this machine.
    to_come : int
        Workers that there may be later.
    """

    client: Any
    watch: Watch
    is_here: bool = False
    to_come: int = 0

    @property
    def address(self) -> str:
        """Where other commands find these workers."""
        return str(self.client.scheduler.address)

    def run(
        self,
        function: Callable[..., Any],
        units: Sequence[Any],
        together: Callable[[Any], Any] | None = None,
        **arguments: Any,
    ) -> Iterator[Any]:
        """Yield one result per unit as it comes; a unit whose worker died for good yields `Lost`.

        Units for which ``together`` gives the same are done in turn by one worker, which has at hand what
        they share, as far as there are such groups for all workers alike; the last ones go one by one.
        (Dask's own way to send units to a worker leaves them waiting for ever when all workers die at once.)
        A unit that kills its worker takes along those that wait there; so every lost unit is tried alone.

        Raises
        ------
        BadInput
            If the scheduler is lost, or there is no worker for too long.
        """
        batches = self._batches(units, together)
        futures = self.client.map(_in_turn, batches, function=function, pure=False, retries=1, **arguments)
        batch_of = {future.key: batch for future, batch in zip(futures, batches, strict=True)}
        lost = []
        for future, results in self._finished(futures):
            if future.status == "finished":
                yield from results
            else:
                lost += batch_of[future.key]
            future.release()
        for unit in lost:
            futures = [self.client.submit(function, unit, pure=False, **arguments)]
            for future, result in self._finished(futures):
                yield result if future.status == "finished" else Lost(unit, reason_of(future.exception()))
                future.release()

    def _finished(self, futures: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        """Futures with their results, as they come."""
        from distributed import as_completed  # noqa: PLC0415

        coming = as_completed(futures, with_results=True, raise_errors=False)
        while not coming.is_empty():
            self.watch.look()
            ready = coming.next_batch(block=False)
            for future, result in ready:
                if future.status == "cancelled":
                    raise scheduler_gone(self.watch.name)
                yield future, result
            if not ready:
                time.sleep(POLL_S)

    def _batches(self, units: Sequence[Any], together: Callable[[Any], Any] | None) -> list[list[Any]]:
        if together is None:
            return [[unit] for unit in units]
        groups: dict[Any, list[Any]] = {}
        for unit in units:
            groups.setdefault(together(unit), []).append(unit)
        n_workers = max(1, self.to_come, workers_of(self.client))
        n_whole = len(groups) // n_workers * n_workers
        in_order = list(groups.values())
        return in_order[:n_whole] + [[unit] for group in in_order[n_whole:] for unit in group]


def _in_turn(batch: Sequence[Any], function: Callable[..., Any], **arguments: Any) -> list[Any]:
    """What a function gives for each unit."""
    return [function(unit, **arguments) for unit in batch]


def reason_of(error: BaseException) -> str:
    """Why a unit gave no result, in one line."""
    if type(error).__name__ == "KilledWorker":
        return "its worker died each time (out of memory?); run again with --cluster serial to see why"
    return " ".join(f"{type(error).__name__}: {error}".split())


@dataclass(frozen=True)
class Lost:
    """A unit that gave no result because its worker died every time."""

    unit: Any
    reason: str
