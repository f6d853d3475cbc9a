"""Clusters that give nothing, or go away: one line that says what to do, and no waiting for ever."""

import socket
import threading
import time
from contextlib import contextmanager

import dask
import pytest
from distributed import LocalCluster
from survey import NIGHT, REFERENCE_OPTIONS, expect, zsds
from zsds.workflows.cluster import Serial, fitness, local, open_cluster, slurm, watch
from zsds.workflows.cluster.fitness import Worker
from zsds.workflows.night import beside_database

from zsds import __version__
from zsds.core.cluster import ClusterSettings, SlurmSettings
from zsds.core.errors import BadInput, SettingsError, WrongCall

SOON = ClusterSettings(wait_s=1.0)


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(watch, "LOOK_S", 0.2)


@contextmanager
def scheduler(n_workers):
    """A scheduler of Dask's on loopback, with workers in this process."""
    about = {
        "processes": False,
        "protocol": "tcp://",
        "host": "127.0.0.1",
        "dashboard_address": "127.0.0.1:0",
    }
    with LocalCluster(n_workers=n_workers, threads_per_worker=1, silence_logs=50, **about) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def running():
    with scheduler(1) as cluster:
        yield cluster


def test_a_scheduler_without_workers():
    with (
        scheduler(0) as empty,
        pytest.raises(BadInput, match=r"tcp://127.*: no worker for 1 s; start some with `dask worker tcp"),
        open_cluster(empty.scheduler_address, settings=SOON),
    ):
        pass


def test_leases_can_be_renewed_while_nobody_comes():
    renewed = []
    with (
        scheduler(0) as empty,
        pytest.raises(BadInput),
        open_cluster(empty.scheduler_address, settings=SOON, also=lambda: renewed.append(1)),
    ):
        pass
    assert len(renewed) > 2


def test_without_work_nobody_is_asked_for_workers(done_survey):
    nobody = ("--cluster", "tcp://127.0.0.1:9", "--archive", done_survey.archive)
    expect(zsds("night", NIGHT, *nobody))
    expect(zsds("calibrate", "--night", NIGHT, *nobody))
    expect(zsds("references", *nobody, *REFERENCE_OPTIONS))


def test_all_workers_go_in_the_middle():
    with scheduler(1) as going, open_cluster(going.scheduler_address, settings=SOON) as workers:
        results = workers.run(lambda unit: time.sleep(0.02) or unit, range(200))
        assert next(results) in range(200)
        going.scale(0)
        with pytest.raises(BadInput, match=r"no worker for 1 s.*run the same command again"):
            list(results)


def test_the_scheduler_goes_in_the_middle(monkeypatch):
    monkeypatch.setattr(local, "CONNECT_S", 1)
    with scheduler(1) as going, open_cluster(going.scheduler_address, settings=SOON) as workers:
        results = workers.run(lambda unit: time.sleep(0.02) or unit, range(200))
        next(results)
        going.close()
        with pytest.raises(BadInput, match=r"the Dask scheduler was lost; start it again"):
            list(results)


@contextmanager
def talker(words):
    """Address of a server that says something of its own to whoever comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            try:
                while True:
                    with server.accept()[0] as comer:
                        comer.sendall(words)
            except OSError:
                return

        threading.Thread(target=answer, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def test_local_workers_that_die_at_once(tmp_path):
    preload = tmp_path / "deadly.py"
    preload.write_text("import os\nos._exit(9)\n")
    with (
        dask.config.set({"distributed.worker.preload": [str(preload)]}),
        pytest.raises(
            BadInput, match=r"--cluster local: its workers do not start.*run the same command again"
        ),
        open_cluster("local", 1),
    ):
        pass


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3])
def test_somebody_else_at_the_address(monkeypatch, words):
    monkeypatch.setattr(local, "CONNECT_S", 1)
    with (
        talker(words) as address,
        pytest.raises(BadInput, match=r"tcp://127.*: no Dask scheduler answers there"),
        open_cluster(address, settings=SOON),
    ):
        pass


@pytest.mark.parametrize(
    "address", ["tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "tcp://no.such.host.invalid:1"]
)
def test_an_address_that_is_none(monkeypatch, address):
    monkeypatch.setattr(local, "CONNECT_S", 1)
    with (
        pytest.raises(BadInput, match="no Dask scheduler answers there"),
        open_cluster(address, settings=SOON),
    ):
        pass


@pytest.mark.parametrize("address", ["", "slurmy", "http://127.0.0.1:8786", "127.0.0.1:8786"])
def test_a_cluster_that_is_none(address):
    with pytest.raises(WrongCall, match=r"is not a cluster; use local, serial"), open_cluster(address):
        pass


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (ClusterSettings(memory_gb=0.0), "memory_gb"),
        (ClusterSettings(max_workers=0), "max_workers"),
        (ClusterSettings(min_workers=65), "min_workers"),
        (ClusterSettings(slurm=SlurmSettings(walltime_min=0)), "slurm.walltime_min"),
        (ClusterSettings(slurm=SlurmSettings(workers_per_job=-1)), "slurm.workers_per_job"),
    ],
)
def test_sizes_that_are_none(settings, name):
    with pytest.raises(SettingsError, match=name), open_cluster("slurm", settings=settings):
        pass


def test_workers_that_do_not_see_the_archive(running, tmp_path):
    gone = tmp_path / "gone"
    with (
        pytest.raises(BadInput, match=r"cannot see .*gone; give it the archive under the same path"),
        open_cluster(running.scheduler_address, settings=SOON, archive=gone),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "words"),
    [({"software": "0.0.9"}, r"runs zsds 0\.0\.9, this is"), ({"may_write": False}, "cannot write to")],
)
def test_workers_that_are_unfit(running, monkeypatch, tmp_path, change, words):
    about = {
        "host": "node7",
        "software": __version__,
        "python": "3.11.7",
        "sees_archive": True,
        "may_write": True,
    }
    monkeypatch.setattr(fitness, "describe", lambda _: Worker(**(about | change), one_thread=True))
    with (
        pytest.raises(BadInput, match=f"its worker on node7 {words}"),
        open_cluster(running.scheduler_address, settings=SOON, archive=tmp_path),
    ):
        pass


def test_workers_that_lack_the_program(running, monkeypatch):
    def lacking(_):
        raise ModuleNotFoundError("No module named 'zsds'")

    monkeypatch.setattr(fitness, "describe", lacking)
    with (
        pytest.raises(BadInput, match=rf"No module named 'zsds'.*; install zsds {__version__} there"),
        open_cluster(running.scheduler_address, settings=SOON),
    ):
        pass


def test_no_slurm_here(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInput, match="this machine has no sbatch"), open_cluster("slurm", archive=tmp_path):
        pass


def test_slurm_that_does_not_answer(monkeypatch, tmp_path):
    sbatch = tmp_path / "sbatch"
    sbatch.write_text("#!/bin/sh\nexec sleep 60\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(slurm, "COMMAND_S", 1)
    settings = ClusterSettings(slurm=SlurmSettings(interface="lo"))
    with (
        pytest.raises(BadInput, match="Slurm does not answer"),
        open_cluster("slurm", settings=settings, archive=tmp_path),
    ):
        pass
    assert not list((tmp_path / "logs" / "slurm").iterdir())


def test_an_interface_that_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(slurm.shutil, "which", lambda _: "sbatch")
    settings = ClusterSettings(slurm=SlurmSettings(interface="ib9"))
    with (
        pytest.raises(BadInput, match=r"the scheduler cannot start .*ib9.*; mend cluster.slurm"),
        open_cluster("slurm", settings=settings, archive=tmp_path),
    ):
        pass


def test_a_file_as_database_is_read_on_its_own_machine(ready_survey):
    archive = ready_survey.open()
    here, elsewhere = (Serial(is_here=where) for where in (True, False))
    assert beside_database(archive, here) is here
    assert beside_database(archive, elsewhere) == Serial()
