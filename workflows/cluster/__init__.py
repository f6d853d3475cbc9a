"""Where units run: in this process, on this machine's cores, or on workers of Dask, Slurm or Kubernetes."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from zsds.workflows.cluster.environment import WORKER_ENVIRONMENT
from zsds.workflows.cluster.fitness import require_fit
from zsds.workflows.cluster.kubernetes import kubernetes_workers
from zsds.workflows.cluster.local import existing_workers, local_workers
from zsds.workflows.cluster.slurm import slurm_workers
from zsds.workflows.cluster.units import Distributed, Lost, Serial

from zsds.core.cluster import ClusterSettings
from zsds.core.errors import SettingsError, WrongCall

__all__ = ["WORKER_ENVIRONMENT", "Distributed", "Lost", "Serial", "cluster_for", "open_cluster"]

NAMES = ("serial", "local", "slurm", "kubernetes")
SCHEMES = ("tcp://", "tls://")


@contextmanager
def open_cluster(
    address: str,
    n_workers: int | None = None,
    settings: ClusterSettings | None = None,
    archive: Path | None = None,
    also: Callable[[], None] = lambda: None,
) -> Iterator[Serial | Distributed]:
    """Workers for a run, closed at the end of it.

    Parameters
    ----------
    address : str
        ``serial`` (this process), ``local`` (one process per core, one thread each), ``slurm``,
        ``kubernetes`` or ``tcp://host:port`` of a scheduler that is running.
    n_workers : int, optional
        For ``local`` so many, by default one per core; for ``slurm`` and ``kubernetes`` at most so many.
    settings : ClusterSettings, optional
    archive : pathlib.Path, optional
        Root of the archive, which remote workers must see under the same path.
    also : callable, optional
        Called every few seconds while a run waits for workers or results.

    Raises
    ------
    WrongCall
        For an unknown address.
    BadInput
        If no worker comes, or the first to come are of another version or do not see the archive.
    """
    _require_known(address)
    settings = settings or ClusterSettings()
    require_sensible(settings)
    if n_workers is not None:
        settings = replace(settings, max_workers=n_workers, min_workers=min(n_workers, settings.min_workers))
    if address == "serial":
        yield Serial()
    elif address == "local":
        with local_workers(settings, n_workers) as workers:
            workers.watch.also = also
            yield workers
    else:
        with _remote_workers(address, settings, archive) as workers:
            workers.watch.also = also
            workers.watch.wait_for_first()
            require_fit(workers, archive)
            yield workers


def cluster_for(address: str, has_work: bool) -> str:
    """Where to run: this process if there is nothing to do, so that nobody is asked for workers.

    Raises
    ------
    WrongCall
        For an unknown address.
    """
    _require_known(address)
    return address if has_work else "serial"


def _require_known(address: str) -> None:
    if address not in NAMES and not address.startswith(SCHEMES):
        problem, remedy = (
            f"{address!r} is not a cluster",
            "use local, serial, slurm, kubernetes or tcp://HOST:PORT",
        )
        raise WrongCall("--cluster", problem, remedy)


def require_sensible(settings: ClusterSettings) -> None:
    """Make sure that sizes and times are some.

    Raises
    ------
    SettingsError
        Naming the one that is not.
    """
    slurm = settings.slurm
    sizes = {
        "max_workers": settings.max_workers, "memory_gb": settings.memory_gb,
        "slurm.walltime_min": slurm.walltime_min, "slurm.workers_per_job": slurm.workers_per_job,
    }  # fmt: skip
    for name, value in sizes.items():
        if not value > 0:
            raise SettingsError(f"setting cluster.{name} must be more than 0, not {value}")
    if not 0 <= settings.min_workers <= settings.max_workers:
        raise SettingsError("setting cluster.min_workers must lie between 0 and cluster.max_workers")


def _remote_workers(
    address: str, settings: ClusterSettings, archive: Path | None
) -> AbstractContextManager[Distributed]:
    if address == "slurm":
        return slurm_workers(settings, archive)
    if address == "kubernetes":
        return kubernetes_workers(settings, archive)
    return existing_workers(address, settings)
