"""Workers in jobs of Slurm: asked for while there is work, replaced when lost or at the end of their time."""

import logging
import math
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from zsds.workflows.cluster.environment import dask_settings, hush, remote_environment
from zsds.workflows.cluster.units import Distributed
from zsds.workflows.cluster.watch import Watch

from zsds.core.cluster import ClusterSettings
from zsds.core.errors import BadInput

NAME = "--cluster slurm"
LIFETIME, STAGGER = 0.85, 0.05  # of the walltime, after which a worker finishes its unit and goes
ORPHAN_S = 60  # a worker without a scheduler ends after so long, and its job with it
SPARE_MEMORY = 1.1  # a job's over that of its workers, so that Dask ends a worker before Slurm ends the job
COMMAND_S = 60


@contextmanager
def slurm_workers(settings: ClusterSettings, archive: Path | None) -> Iterator[Distributed]:
    """Between the least and the largest number of workers, as there is work; their jobs end with the run.

    Raises
    ------
    BadInput
        If dask-jobqueue or Slurm is not there, or Slurm refuses such jobs.
    """
    import dask  # noqa: PLC0415
    from distributed import Client  # noqa: PLC0415

    hush()
    logs = log_folder(archive)
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(dask_settings(settings)))
        security = stack.enter_context(certificates(logs, settings.slurm.tls))
        cluster = stack.enter_context(make_cluster(settings, logs, security))
        require_acceptable(cluster.job_script())
        cluster.adapt(
            Adaptive=_whole_jobs(settings.slurm.workers_per_job),
            minimum=settings.min_workers,
            maximum=settings.max_workers,
            worker_key=_job_of,
            target_duration="500ms",  # as many as there are units
        )
        client = stack.enter_context(Client(cluster))
        remedy = f"see squeue, and what workers said in {logs}"
        watch = Watch(client, NAME, settings.wait_s, remedy, lambda: replace_dead_jobs(cluster))
        yield Distributed(client, watch, to_come=settings.max_workers)


def log_folder(archive: Path | None) -> Path:
    """Where jobs write what they have to say."""
    folder = (archive or Path.cwd()) / "logs" / "slurm"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def certificates(folder: Path, wanted: bool) -> Iterator[Any]:
    """Keys of one run in files that only its user can read, on a disk that jobs see too; gone at the end."""
    from distributed.security import Security  # noqa: PLC0415

    if not wanted:
        yield None
        return
    try:
        made = Security.temporary()
    except ImportError as error:
        raise BadInput(NAME, "needs cryptography", "pip install 'zsds[cluster]'") from error
    with tempfile.TemporaryDirectory(prefix=".keys-", dir=folder) as name:
        files = {part: Path(name, f"{part}.pem") for part in ("cert", "key")}
        for part, file in files.items():
            file.write_text(getattr(made, f"tls_worker_{part}"), encoding="ascii")
        roles = ("client", "scheduler", "worker")
        paths = {f"tls_{role}_{part}": str(file) for role in roles for part, file in files.items()}
        yield Security(require_encryption=True, tls_ca_file=str(files["cert"]), **paths)


def make_cluster(settings: ClusterSettings, logs: Path, security: Any) -> Any:
    """A SLURMCluster without jobs yet.

    Raises
    ------
    BadInput
        If dask-jobqueue or Slurm's commands are not there, or the scheduler cannot listen.
    """
    try:
        from dask_jobqueue import SLURMCluster  # noqa: PLC0415
    except ImportError as error:
        raise BadInput(NAME, "needs dask-jobqueue", "pip install 'zsds[cluster]'") from error
    if shutil.which("sbatch") is None:
        raise BadInput(
            NAME, "this machine has no sbatch", "run the command where jobs of Slurm are submitted"
        )
    asked = settings.slurm
    n = asked.workers_per_job
    seconds = 60 * asked.walltime_min
    exports = [f"export {name}={shlex.quote(value)}" for name, value in remote_environment().items()]
    told = {
        "queue": asked.partition or None,
        "account": asked.account or None,
        "walltime": f"{asked.walltime_min}",
        "cores": n,
        "processes": n,
        "memory": f"{n * settings.memory_gb}GB",
        "job_mem": f"{round(1000 * n * settings.memory_gb * SPARE_MEMORY)}M",
        "job_name": f"zsds-{os.getpid()}",
        "job_extra_directives": list(asked.directives),
        "job_script_prologue": [*asked.prologue, *exports],
        "worker_extra_args": [
            *("--lifetime", f"{LIFETIME * seconds:.0f}s", "--lifetime-stagger", f"{STAGGER * seconds:.0f}s"),
            *("--no-dashboard",),
        ],
        "death_timeout": ORPHAN_S,
        "interface": asked.interface or None,
        "local_directory": asked.scratch or None,
        "log_directory": str(logs),
        "security": security,
        "scheduler_options": {"dashboard": False, "dashboard_address": "127.0.0.1:0"},
        "silence_logs": logging.CRITICAL,
    }
    try:
        return SLURMCluster(**told)
    except (OSError, RuntimeError, ValueError) as error:  # an interface that is none, a port in use
        problem = " ".join(f"the scheduler cannot start ({error})".split())
        raise BadInput(NAME, problem, "mend cluster.slurm in the settings") from error


def require_acceptable(script: str) -> None:
    """Make sure that Slurm takes such jobs.

    Raises
    ------
    BadInput
        With its own words if it does not.
    """
    try:
        told = subprocess.run(
            ["sbatch", "--test-only"],
            input=script, capture_output=True, text=True, timeout=COMMAND_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BadInput(NAME, "Slurm does not answer", "see what `sinfo` says") from error
    if told.returncode:
        words = "; ".join(line.removeprefix("sbatch: error: ") for line in told.stderr.splitlines())
        raise BadInput(NAME, f"Slurm refuses jobs ({words})", "mend cluster.slurm in the settings")


def replace_dead_jobs(cluster: Any) -> str:
    """Forget jobs that Slurm no longer has, so that others take their place; tells what the rest wait for.

    (Dask alone counts a job that ended as one that is still to come.)
    """
    try:
        told = subprocess.run(
            ["squeue", "-h", f"--name={cluster.job_name}", "-o", "%A %T %r"],
            capture_output=True, text=True, timeout=COMMAND_S, check=True,
        )  # fmt: skip
    except (subprocess.SubprocessError, OSError):  # for a moment it has other things to do
        return ""
    jobs = [line.split(maxsplit=1) for line in told.stdout.splitlines()]
    alive = {job for job, _ in jobs}
    cluster.sync(_forget, cluster, alive)
    states = sorted({state for _, state in jobs})
    return f" (jobs: {', '.join(states) or 'none'})"


async def _forget(cluster: Any, alive: set[str]) -> None:
    for name, job in list(cluster.workers.items()):
        if job.job_id not in alive:
            cluster.workers.pop(name)
            cluster.worker_spec.pop(name, None)


def _whole_jobs(workers_per_job: int) -> type:
    """Dask's own judgement of how many workers there should be, in whole jobs, lest it takes back parts."""
    from distributed import Adaptive  # noqa: PLC0415

    class WholeJobs(Adaptive):
        async def safe_target(self) -> int:
            return math.ceil(await super().safe_target() / workers_per_job) * workers_per_job

    return WholeJobs


def _job_of(worker: Any) -> str:
    """What workers of one job share, which come and go together: NAME-3 of NAME-3-0 and NAME-3-1."""
    return "-".join(str(worker.name).split("-")[:2])
