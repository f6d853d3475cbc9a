"""Workers in pods of Kubernetes, made and counted by Dask's operator."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from zsds.workflows.cluster.environment import as_variables, hush, remote_environment
from zsds.workflows.cluster.units import Distributed
from zsds.workflows.cluster.watch import Watch

from zsds.core.cluster import ClusterSettings
from zsds.core.errors import BadInput
from zsds.resources import resource

NAME = "--cluster kubernetes"


@contextmanager
def kubernetes_workers(settings: ClusterSettings, archive: Path | None) -> Iterator[Distributed]:
    """Between the least and the largest number of workers, as there is work; their pods end with the run.

    Raises
    ------
    BadInput
        If dask-kubernetes or a cluster with Dask's operator is not there.
    """
    try:
        from dask_kubernetes.operator import KubeCluster  # noqa: PLC0415
    except ImportError as error:
        raise BadInput(NAME, "needs dask-kubernetes", "pip install 'zsds[cluster]'") from error
    from distributed import Client  # noqa: PLC0415

    hush()
    specification = cluster_specification(settings, archive)
    require_answer()
    try:
        cluster = KubeCluster(
            custom_cluster_spec=specification,
            namespace=settings.kubernetes.namespace or None,
            resource_timeout=int(settings.wait_s),
            quiet=True,
        )
    except Exception as error:
        remedy = "see docs/clusters.md: the operator, and what the command may do"
        raise BadInput(NAME, f"Kubernetes gives no Dask cluster ({_told(error)})", remedy) from error
    with cluster:
        cluster.adapt(minimum=settings.min_workers, maximum=settings.max_workers)
        with Client(cluster) as client:
            remedy = f"see kubectl describe pods -l dask.org/cluster-name={cluster.name}"
            watch = Watch(client, NAME, settings.wait_s, remedy)
            yield Distributed(client, watch, to_come=settings.max_workers)


def require_answer() -> None:
    """Make sure that there is a Kubernetes.

    Raises
    ------
    BadInput
        If none answers, or nobody says which.
    """
    import kr8s  # noqa: PLC0415 - comes with dask-kubernetes

    try:
        kr8s.api().version()
    except Exception as error:
        problem = f"Kubernetes does not answer ({_told(error)})"
        raise BadInput(NAME, problem, "mend what `kubectl cluster-info` tells") from error


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def cluster_specification(settings: ClusterSettings, archive: Path | None) -> dict[str, Any]:
    """The DaskCluster to ask for: the template, with image, size, archive and environment in it.

    Raises
    ------
    BadInput
        If the user's own template is none.
    """
    asked = settings.kubernetes
    made = read_template(asked.template)
    made["metadata"]["name"] = f"{made['metadata']['name']}-{os.getpid()}"
    spec = made["spec"]
    spec["worker"]["replicas"] = settings.min_workers
    spec["scheduler"]["service"]["selector"]["dask.org/cluster-name"] = made["metadata"]["name"]
    scheduler = as_variables({"distributed.scheduler.allowed-failures": settings.deaths})
    for part, environment in (("scheduler", scheduler), ("worker", remote_environment())):
        pod = spec[part]["spec"]
        container = pod["containers"][0]
        container["image"] = asked.image
        container["env"] = [*container.get("env", ()), *_variables(environment)]
    worker = spec["worker"]["spec"]["containers"][0]
    memory = round(1000 * settings.memory_gb)
    worker["args"] = [word.format(memory=f"{memory}MB") for word in worker["args"]]
    worker["resources"]["requests"]["memory"] = worker["resources"]["limits"]["memory"] = f"{memory}M"
    if archive is not None:
        mount = asked.mount or str(archive.parent)
        worker["volumeMounts"] = [{"name": "archive", "mountPath": mount}]
        volume = {"name": "archive", "persistentVolumeClaim": {"claimName": asked.claim}}
        spec["worker"]["spec"]["volumes"] = [volume]
    return made


def read_template(path: str) -> dict[str, Any]:
    """The user's DaskCluster, or the one that comes with zsds."""
    file = Path(path) if path else resource("workflows", "cluster", "dask_cluster.yaml")
    try:
        made: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        for part in ("scheduler", "worker"):
            made["spec"][part]["spec"]["containers"][0]["args"]
        made["metadata"]["name"], made["spec"]["scheduler"]["service"]["selector"]
        made["spec"]["worker"]["spec"]["containers"][0]["resources"]["limits"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, IndexError) as error:
        problem = f"is no DaskCluster with scheduler and worker ({type(error).__name__}: {error})"
        raise BadInput(
            str(file), " ".join(problem.split()), "begin with the one in docs/clusters.md"
        ) from error
    return made


def _variables(environment: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in environment.items()]
