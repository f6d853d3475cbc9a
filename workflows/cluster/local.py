"""Workers on this machine's cores, and those of a Dask scheduler that runs already."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from zsds.workflows.cluster.environment import dask_settings, hush
from zsds.workflows.cluster.units import Distributed
from zsds.workflows.cluster.watch import Watch

from zsds.core.cluster import ClusterSettings
from zsds.core.errors import BadInput

CONNECT_S = 20


def _is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    host = address.partition("://")[2].rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or host.startswith("127.")


@contextmanager
def local_workers(settings: ClusterSettings, n_workers: int | None) -> Iterator[Distributed]:
    """One process per core, or so many, with one thread each.

    Raises
    ------
    BadInput
        If they do not start.
    """
    import dask  # noqa: PLC0415
    from distributed import Client, LocalCluster  # noqa: PLC0415

    hush()
    with dask.config.set(dask_settings(settings)), ExitStack() as running:
        with interrupts_ignored(), _one_line():
            cluster = LocalCluster(
                n_workers=n_workers or os.cpu_count() or 1,
                threads_per_worker=1,
                processes=True,
                silence_logs=logging.CRITICAL,
                memory_limit=f"{settings.memory_gb}GB",
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
            )
            running.enter_context(cluster)
        with Client(cluster) as client:
            watch = Watch(client, "--cluster local", settings.wait_s, "look whether memory is full")
            yield Distributed(client, watch, is_here=True)


@contextmanager
def _one_line() -> Iterator[None]:
    """What Dask says of workers that do not start, in one line with a remedy."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        problem = f"its workers do not start ({' '.join(str(error).split())})"
        remedy = "look whether memory is full, then run the same command again, or with --cluster serial"
        raise BadInput("--cluster local", problem, remedy) from error


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Processes started now stay deaf to Ctrl-C, which a terminal sends to all; this one will end them.

    SIGTERM is heeded at the end: Dask cannot close workers in good order that are half started.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told: list[int] = []
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    end = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, end)
        if told:
            signal.raise_signal(told[0])


@contextmanager
def existing_workers(address: str, settings: ClusterSettings) -> Iterator[Distributed]:
    """Those of a scheduler at an address, which stay when the run ends.

    Raises
    ------
    BadInput
        If no scheduler answers there.
    """
    from distributed import Client  # noqa: PLC0415

    hush()
    try:
        client = Client(address, timeout=f"{CONNECT_S}s")
    except (OSError, ValueError, TypeError, MemoryError, AssertionError) as error:
        # nobody, somebody of another language, or a machine so busy that Dask's loop does not start in 10 s
        problem = "no Dask scheduler answers there"
        raise BadInput(address, problem, "start one with `dask scheduler`") from error
    with client:
        watch = Watch(client, address, settings.wait_s, f"start some with `dask worker {address}`")
        yield Distributed(client, watch, is_here=_is_loopback(address))
