"""Does a cluster give workers that can do the work? For `zsds doctor`."""

from pathlib import Path

from zsds.workflows.cluster import open_cluster
from zsds.workflows.cluster.fitness import Worker, workers_known
from zsds.workflows.cluster.units import Distributed

from zsds.core.cluster import ClusterSettings
from zsds.core.errors import BadInput, WrongCall
from zsds.runner.doctor import Finding


def examine_cluster(address: str, settings: ClusterSettings, archive: Path | None) -> list[Finding]:
    """Ask a cluster for a worker, and the worker for what it sees.

    Raises
    ------
    WrongCall
        If there is no such cluster.
    """
    what = f"cluster {address}"
    try:
        with open_cluster(address, 1, settings, archive) as workers:
            told = workers_known(workers, archive) if isinstance(workers, Distributed) else []
    except WrongCall:
        raise
    except BadInput as error:
        return [Finding(what, False, f"{error.source}: {error.problem}", error.remedy)]
    hosts = sorted({worker.host for worker in told})
    found = f"{len(told)} workers on {', '.join(hosts)}" if told else "this process"
    return [Finding(what, True, found), *(_threads(worker) for worker in told if not worker.one_thread)]


def _threads(worker: Worker) -> Finding:
    remedy = "start it with the environment in docs/clusters.md; without it runs a fifth slower"
    return Finding(f"worker on {worker.host}", False, "OMP_NUM_THREADS is not 1", remedy)
