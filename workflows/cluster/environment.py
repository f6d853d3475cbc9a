"""What Dask and the libraries of a worker are told, wherever it runs."""

import logging
from collections.abc import Mapping
from typing import Any

from zsds.core.cluster import ClusterSettings

QUIET = {  # a worker that looks at itself a hundred times a second takes time from the pixels
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.memory.monitor-interval": "500ms",
}
ROOMY = {  # results are small: what a worker holds is the unit's own, which no spilling to disk makes less
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,  # freed planes stay with the process: it would pause for ever
    "distributed.worker.memory.terminate": 0.95,
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


def dask_settings(settings: ClusterSettings) -> dict[str, Any]:
    """Of the process that holds the scheduler, and of local workers."""
    return {
        **QUIET,
        **ROOMY,
        "distributed.nanny.pre-spawn-environ": WORKER_ENVIRONMENT,
        "distributed.scheduler.allowed-failures": settings.deaths,
        "distributed.admin.large-graph-warning-threshold": "100MB",
    }


def remote_environment() -> dict[str, str]:
    """Variables of a worker that starts on another machine, Dask's settings among them."""
    return {**WORKER_ENVIRONMENT, **as_variables({**QUIET, **ROOMY})}


def as_variables(settings: Mapping[str, Any]) -> dict[str, str]:
    """Dask's settings as the variables of the environment that it reads."""
    return {
        f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": str(value)
        for key, value in settings.items()
    }


def hush() -> None:
    """Keep Dask from telling at length what a run tells in one line: workers that end, a lost scheduler."""
    for name in ["distributed", *logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)
