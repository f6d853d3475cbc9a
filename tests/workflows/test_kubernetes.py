"""What Kubernetes is asked for, held against its own schemas; no cluster is needed, and none was at hand."""

import os
import subprocess
from importlib.resources import files
from pathlib import Path

import dask_kubernetes.operator
import jsonschema
import kubernetes_validate
import pytest
import yaml
from distributed import LocalCluster
from zsds.workflows.cluster import kubernetes, open_cluster
from zsds.workflows.cluster.environment import WORKER_ENVIRONMENT

from zsds.core.cluster import ClusterSettings, KubernetesSettings
from zsds.core.errors import BadInput

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
VERSIONS = ("1.30", "1.37")
ARCHIVE = Path("/data/survey")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifests_follow_the_schema_of_kubernetes(path, version):
    documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    assert documents
    for one in documents:
        kubernetes_validate.validate(one, version, strict=True)


def test_settings_of_the_manifest_are_settings():
    from zsds.core.settings import with_values
    from zsds.pipeline.settings import Settings

    (night,) = (path for path in MANIFESTS if path.stem == "night")
    settings = yaml.safe_load(next(yaml.safe_load_all(night.read_text()))["data"]["settings.yaml"])
    asked = with_values(Settings(), settings).cluster
    assert (
        asked.kubernetes.claim
        == yaml.safe_load((ROOT / "deploy/kubernetes/archive.yaml").read_text())["metadata"]["name"]
    )


@pytest.mark.parametrize(("bad", "status"), [("none", 0), ("ingest", 1), ("calibrate", 1), ("night", 1)])
def test_the_night_is_run_whatever_happens_before(tmp_path, bad, status):
    (path,) = (path for path in MANIFESTS if path.stem == "night")
    job = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))[1]["spec"]["jobTemplate"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    program = tmp_path / "zsds"
    program.write_text(f'#!/bin/sh\necho "$1"\n[ "$1" != {bad} ]\n')
    program.chmod(0o755)
    words = [*container["command"], *container["args"]]
    found = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ended = subprocess.run(words, check=False, env=found, stdout=subprocess.PIPE)
    assert ended.stdout.split() == [b"ingest", b"calibrate", b"night"]
    assert ended.returncode == status


@pytest.fixture
def asked():
    settings = ClusterSettings(2, 9, memory_gb=3.5, kubernetes=KubernetesSettings(image="r.org/zsds:1"))
    return kubernetes.cluster_specification(settings, ARCHIVE)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_cluster_asked_for_follows_the_schemas(asked, version):
    folder = files("dask_kubernetes") / "operator/deployment/helm/dask-kubernetes-operator/crds"
    resource = yaml.load((folder / "daskcluster.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)  # quick
    jsonschema.validate(asked, resource["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    for part in ("scheduler", "worker"):
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": part},
            "spec": asked["spec"][part]["spec"],
        }
        kubernetes_validate.validate(pod, version, strict=True)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    kubernetes_validate.validate(
        {**service, "spec": asked["spec"]["scheduler"]["service"]}, version, strict=True
    )


def test_workers_get_image_memory_environment_and_archive(asked):
    pod = asked["spec"]["worker"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "r.org/zsds:1"
    assert container["resources"]["limits"]["memory"] == "3500M"
    assert "3500MB" in container["args"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert WORKER_ENVIRONMENT.items() <= environment.items()
    assert environment["DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE"] == "False"
    assert container["volumeMounts"] == [{"name": "archive", "mountPath": "/data"}]
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "zsds-archive"}
    service = asked["spec"]["scheduler"]["service"]
    assert service["selector"]["dask.org/cluster-name"] == asked["metadata"]["name"]
    assert asked["spec"]["worker"]["replicas"] == 2


@pytest.mark.parametrize("content", ["", "kind: [", "kind: DaskCluster\n", "\x00"])
def test_a_template_that_is_none(tmp_path, content):
    file = tmp_path / "template.yaml"
    file.write_text(content)
    settings = ClusterSettings(kubernetes=KubernetesSettings(template=str(file)))
    with pytest.raises(BadInput, match=r"template.yaml: is no DaskCluster"):
        kubernetes.cluster_specification(settings, ARCHIVE)


def test_units_run_on_what_the_operator_gives(monkeypatch):
    seen = {}

    class Operator(LocalCluster):
        def __init__(self, custom_cluster_spec, namespace, resource_timeout, quiet):
            seen.update(spec=custom_cluster_spec, namespace=namespace)
            super().__init__(
                n_workers=1,
                threads_per_worker=1,
                processes=False,
                protocol="tcp://",
                dashboard_address="127.0.0.1:0",
                host="127.0.0.1",
            )

        def adapt(self, minimum, maximum):
            seen.update(minimum=minimum, maximum=maximum)

    monkeypatch.setattr(dask_kubernetes.operator, "KubeCluster", Operator)
    monkeypatch.setattr(kubernetes, "require_answer", lambda: None)
    settings = ClusterSettings(2, 9, kubernetes=KubernetesSettings(namespace="night"))
    with open_cluster("kubernetes", 5, settings) as workers:
        assert sorted(workers.run(abs, [-1, -2, 3])) == [1, 2, 3]
        assert not workers.is_here
    assert (seen["namespace"], seen["minimum"], seen["maximum"]) == ("night", 2, 5)


NOBODY = """
apiVersion: v1
kind: Config
current-context: a
contexts: [{name: a, context: {cluster: a, user: a}}]
clusters: [{name: a, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: a, user: {token: x}}]
"""


def test_no_kubernetes_is_one_line(monkeypatch, tmp_path):
    config = tmp_path / "config"
    config.write_text(NOBODY)
    monkeypatch.setenv("KUBECONFIG", str(config))
    with pytest.raises(BadInput, match=r"Kubernetes does not answer .*kubectl"), open_cluster("kubernetes"):
        pass
