"""Units handed to workers one by one while others run, for work that nobody knows beforehand."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from zsds.workflows.cluster import Distributed, Lost, Serial
from zsds.workflows.cluster.units import reason_of
from zsds.workflows.cluster.watch import scheduler_gone

NAP_S = 0.1  # between looks at what the workers have finished


class Stream(Protocol):
    """Units that run somewhere, and their results as they come."""

    def add(self, unit: Any, first: bool = False) -> None:
        """Hand over a unit; ``first`` lets it go before those that wait."""
        ...

    def finished(self, timeout_s: float) -> Iterator[Any]:
        """Yield what has finished, after waiting for something no longer than a time."""
        ...

    @property
    def n_running(self) -> int:
        """Units that were added and have given no result yet."""
        ...


def open_stream(cluster: Serial | Distributed, function: Callable[..., Any], **arguments: Any) -> Stream:
    """A stream of units through a function on a cluster."""
    if isinstance(cluster, Serial):
        return SerialStream(function, arguments)
    return DistributedStream(cluster, function, arguments)


@dataclass
class SerialStream:
    """Runs a unit each time that somebody asks for results."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    waiting: deque[Any] = field(default_factory=deque)

    @property
    def n_running(self) -> int:
        """Units that wait."""
        return len(self.waiting)

    def add(self, unit: Any, first: bool = False) -> None:
        """Put a unit in line."""
        (self.waiting.appendleft if first else self.waiting.append)(unit)

    def finished(self, timeout_s: float) -> Iterator[Any]:
        """Run one unit, or wait."""
        if not self.waiting:
            time.sleep(timeout_s)
            return
        yield self.function(self.waiting.popleft(), **self.arguments)


@dataclass
class DistributedStream:
    """Runs units on a Dask client's workers; one whose worker dies again and again is `Lost`."""

    cluster: Distributed
    function: Callable[..., Any]
    arguments: dict[str, Any]
    units: dict[Any, Any] = field(default_factory=dict)  # by future
    tried: set[int] = field(default_factory=set)  # units that were lost once

    @property
    def n_running(self) -> int:
        """Units on the scheduler."""
        return len(self.units)

    def add(self, unit: Any, first: bool = False) -> None:
        """Submit a unit."""
        future = self.cluster.client.submit(
            self.function, unit, pure=False, retries=1, priority=int(first), **self.arguments
        )
        self.units[future] = unit

    def finished(self, timeout_s: float) -> Iterator[Any]:
        """Yield the results of futures that are done.

        Raises
        ------
        BadInput
            If the scheduler is lost, or there is no worker for too long.
        """
        end = time.monotonic() + timeout_s
        self.cluster.watch.look()
        while not (done := [future for future in self.units if future.done()]):
            if time.monotonic() >= end:
                return
            time.sleep(NAP_S)
        for future in done:
            unit = self.units.pop(future)
            if future.status == "cancelled":
                raise scheduler_gone(self.cluster.watch.name)
            error = future.exception()
            if error is None:
                yield future.result()
            elif id(unit) in self.tried:
                yield Lost(unit, reason_of(error))
            else:  # perhaps another unit killed the worker that both were sent to
                self.tried.add(id(unit))
                self.add(unit, first=True)
            future.release()
