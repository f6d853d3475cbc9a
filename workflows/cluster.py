"""Where units run: in this process, on this machine's cores, or on an existing Dask scheduler."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from zsds.core.errors import BadInput, WrongCall

QUIET = {  # a worker that looks at itself a hundred times a second takes time from the pixels
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
}
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # one core each
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "MALLOC_MMAP_MAX_": "0",  # freed planes stay with the process: to get them anew costs a fifth of all time
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "67108864",
    "MALLOC_ARENA_MAX": "1",
}


@dataclass(frozen=True)
class Serial:
    """Runs units one after another in this process, in the order given."""

    address: str = "serial"

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
    """Runs units on the workers of a Dask client; tasks carry ids, never pixels."""

    client: Any

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
        """
        from distributed import as_completed  # noqa: PLC0415

        batches = self._batches(units, together)
        futures = self.client.map(_in_turn, batches, function=function, pure=False, retries=1, **arguments)
        batch_of = {future.key: batch for future, batch in zip(futures, batches, strict=True)}
        lost = []
        for future, results in as_completed(
            futures, with_results=True, raise_errors=False
        ):  # fetched at once
            if future.status == "finished":
                yield from results
            else:
                lost += batch_of[future.key]
            future.release()
        for unit in lost:
            future = self.client.submit(function, unit, pure=False, **arguments)
            yield _result(future, unit)
            future.release()

    def _batches(self, units: Sequence[Any], together: Callable[[Any], Any] | None) -> list[list[Any]]:
        if together is None:
            return [[unit] for unit in units]
        groups: dict[Any, list[Any]] = {}
        for unit in units:
            groups.setdefault(together(unit), []).append(unit)
        n_workers = max(1, len(self.client.scheduler_info(n_workers=-1)["workers"]))
        n_whole = len(groups) // n_workers * n_workers
        in_order = list(groups.values())
        return in_order[:n_whole] + [[unit] for group in in_order[n_whole:] for unit in group]


def _in_turn(batch: Sequence[Any], function: Callable[..., Any], **arguments: Any) -> list[Any]:
    """What a function gives for each unit."""
    return [function(unit, **arguments) for unit in batch]


def _result(future: Any, unit: Any) -> Any:
    """What the unit gave, or that it was lost."""
    error = future.exception()
    return future.result() if error is None else Lost(unit, reason_of(error))


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


@contextmanager
def open_cluster(
    address: str, n_workers: int | None = None, memory_gb: float = 4.0
) -> Iterator[Serial | Distributed]:
    """Workers for a run, closed at the end of it.

    Parameters
    ----------
    address : str
        ``serial`` (this process), ``local`` (one process per core, one thread each) or ``tcp://host:port``.
    n_workers : int, optional
        For ``local``; default one per core.
    memory_gb : float
        Limit of each local worker.

    Raises
    ------
    WrongCall
        For an unknown address.
    BadInput
        For a scheduler that does not answer.
    """
    if address == "serial":
        yield Serial()
    elif address == "local":
        with _local_client(n_workers or os.cpu_count() or 1, memory_gb) as client:
            yield Distributed(client)
    elif address.startswith("tcp://"):
        with _remote_client(address) as client:
            yield Distributed(client)
    else:
        raise WrongCall("--cluster", f"{address!r} is not a cluster", "use local, serial or tcp://HOST:PORT")


@contextmanager
def _local_client(n_workers: int, memory_gb: float) -> Iterator[Any]:
    import dask  # noqa: PLC0415
    from distributed import Client, LocalCluster  # noqa: PLC0415

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a closing cluster is no news

    settings = {
        **QUIET,
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        "distributed.scheduler.allowed-failures": 1,
        "distributed.admin.large-graph-warning-threshold": "100MB",
    }
    with dask.config.set(settings):
        with _interrupts_ignored():
            cluster = LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                processes=True,
                silence_logs=logging.CRITICAL,
                memory_limit=f"{memory_gb}GB",
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
            )
        with cluster, Client(cluster) as client:
            yield client


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started now stay deaf to Ctrl-C, which a terminal sends to all; this one will end them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _remote_client(address: str) -> Iterator[Any]:
    from distributed import Client  # noqa: PLC0415

    try:
        client = Client(address, timeout="20s")
    except OSError as error:
        raise BadInput(
            address, "no Dask scheduler answers there", "start one with `dask scheduler`"
        ) from error
    with client:
        yield client
