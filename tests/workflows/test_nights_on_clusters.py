"""The tiny night on Slurm and on a Dask scheduler is that of one process, also when workers are killed."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from programs import dask_scheduler, started
from slurm import ask
from survey import NIGHT, SERIAL, database_rows, expect, move_to_server, product_hashes, zsds
from zsds.workflows import night as nightly
from zsds.workflows.cluster import open_cluster
from zsds.workflows.cluster import slurm as slurm_jobs
from zsds.workflows.cluster.units import Distributed, Lost

from zsds.core.cluster import ClusterSettings, SlurmSettings

pytestmark = pytest.mark.services
JOBS = {"partition": "night", "interface": "lo", "walltime_min": 30}
ASKED = {"max_workers": 2, "memory_gb": 2.0, "wait_s": 120.0}


@pytest.fixture(scope="module")
def settings_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("settings") / "settings.yaml"
    file.write_text(yaml.safe_dump({"cluster": {**ASKED, "slurm": JOBS}}))
    return file


def of_the_night(hashes):
    """What a night makes, without reports, tars and where the database is."""
    return {n: d for n, d in hashes.items() if not n.startswith(("reports", "alerts/ztf", "zsds.yaml"))}


def require_same_files(survey, other):
    """The same files bit for bit."""
    made, expected = of_the_night(product_hashes(survey.archive)), of_the_night(product_hashes(other.archive))
    assert sum(name.endswith(".avro") for name in expected) > 10
    assert made == expected


def require_equal(survey, other):
    """The same files bit for bit, and the same rows but for times, owners and attempts."""
    require_same_files(survey, other)
    rows, others = database_rows(survey.archive), database_rows(other.archive)
    for one in (rows, others):
        one["units"] = [{**row, "attempt": None, "inputs": None} for row in one["units"]]
    assert rows == others


@pytest.mark.parametrize("workers_per_job", [1, 2])
def test_slurm_gives_what_one_process_gives(
    slurm, ready_survey, done_survey, settings_file, tmp_path, workers_per_job
):
    survey = ready_survey.copied(tmp_path / "archive")
    one = f"cluster.slurm.workers_per_job={workers_per_job}"
    where = ("--archive", survey.archive, NIGHT, "--cluster", "slurm", "--settings", settings_file)
    expect(zsds("night", *where, "--set", one))
    require_equal(survey, done_survey)
    assert list((survey.archive / "logs" / "slurm").glob("zsds-*.err"))
    assert not list((survey.archive / "logs" / "slurm").glob(".*"))  # keys


def test_slurm_gives_the_same_with_postgresql(
    slurm, postgres, ready_survey, done_survey, settings_file, tmp_path, monkeypatch
):
    """Then packets are made on Slurm's workers too, since they may read the database."""
    survey, makers = ready_survey.copied(tmp_path / "archive"), []
    move_to_server(survey.archive, postgres.new_database())
    choose = nightly.beside_database
    monkeypatch.setattr(
        nightly, "beside_database", lambda *known: makers.append(choose(*known)) or makers[-1]
    )
    where = ("--archive", survey.archive, NIGHT, "--cluster", "slurm", "--settings", settings_file)
    expect(zsds("night", *where))
    assert isinstance(makers[0], Distributed)
    require_same_files(survey, done_survey)
    rows, others = database_rows(survey.archive), database_rows(done_survey.archive)
    for table in ("objects", "detections", "packets", "coverage", "forced_fluxes"):
        assert rows[table] == others[table], table


def test_a_dask_scheduler_gives_what_one_process_gives(ready_survey, done_survey, tmp_path):
    survey = ready_survey.copied(tmp_path / "archive")
    with dask_scheduler(tmp_path) as (address, _):
        expect(zsds("night", "--archive", survey.archive, NIGHT, "--cluster", address))
    require_equal(survey, done_survey)


def test_workers_killed_in_mid_night_take_nothing_with_them(
    slurm, ready_survey, done_survey, settings_file, tmp_path
):
    survey = ready_survey.copied(tmp_path / "archive")
    where = ("--archive", survey.archive, NIGHT, "--cluster", "slurm", "--settings", settings_file)
    night = started("zsds", "night", *where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    first = owner_of_staging(survey, set())
    os.kill(first, signal.SIGKILL)
    second = owner_of_staging(survey, {first})
    job = job_of(second)
    ask("scancel", "--signal=KILL", "--full", job)
    out, err = night.communicate(timeout=240)
    assert night.returncode == 0, out + err
    assert len(survey.open().store.clean_staging()) == 2  # what the killed left behind; the next run does it
    assert f"zsds-{night.pid}" in " ".join(p.name for p in (survey.archive / "logs/slurm").iterdir())
    require_equal(survey, done_survey)


def test_a_scheduler_killed_in_mid_night_is_one_line(ready_survey, done_survey, tmp_path):
    survey = ready_survey.copied(tmp_path / "archive")
    with dask_scheduler(tmp_path) as (address, programs):
        where = ("--archive", survey.archive, NIGHT, "--cluster", address)
        night = started("zsds", "night", *where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        owner_of_staging(survey, set())
        programs[0].kill()
        _, err = night.communicate(timeout=120)
    assert night.returncode == 1
    (line,) = err.splitlines()
    assert line.startswith(f"zsds: {address}: the Dask scheduler was lost; start it again")
    assert {unit.owner for unit in survey.units("science")} == {None}
    expect(zsds("night", "--archive", survey.archive, NIGHT, *SERIAL))
    require_equal(survey, done_survey)


def owner_of_staging(survey, others):
    """Process that makes a unit's products at this moment, other than some."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for folder in (survey.archive / ".partial").glob("*"):
            pid = int(folder.name.rpartition("-")[2])
            if pid not in others:
                return pid
        time.sleep(0.02)
    pytest.fail("no unit was begun")


def job_of(pid):
    """Job of Slurm that a process belongs to."""
    environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next(w for w in environment if w.startswith(b"SLURM_JOB_ID=")).partition(b"=")[2].decode()


def test_jobs_that_end_for_their_time_are_replaced(slurm, tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_jobs, "LIFETIME", 0.2)
    (tmp_path / "zsds.yaml").write_text("layout: 1")
    jobs = SlurmSettings(**{**JOBS, "walltime_min": 1})

    def work(unit):
        time.sleep(3)
        return unit, os.environ["SLURM_JOB_ID"]

    settings = ClusterSettings(max_workers=2, memory_gb=1.0, deaths=0, slurm=jobs)  # that is no death
    with open_cluster("slurm", 2, settings, tmp_path) as workers:
        results = list(workers.run(work, range(12)))
    assert not [one for one in results if isinstance(one, Lost)]
    assert sorted(unit for unit, _ in results) == list(range(12))
    assert len({job for _, job in results}) > 2


def test_a_worker_that_takes_too_much_memory_is_ended_not_its_job(slurm, tmp_path):
    (tmp_path / "zsds.yaml").write_text("layout: 1")

    def hungry(unit):
        held = b"x" * 1_500_000_000 if unit == 1 else b""
        time.sleep(2)
        return unit, os.environ["SLURM_JOB_ID"], len(held)

    settings = ClusterSettings(memory_gb=1.0, slurm=SlurmSettings(**JOBS))
    with open_cluster("slurm", 1, settings, tmp_path) as workers:
        results = list(workers.run(hungry, range(3)))
    (lost,) = (one for one in results if isinstance(one, Lost))
    assert lost.unit == 1
    assert "out of memory" in lost.reason
    assert len({one[1] for one in results if one is not lost}) == 1


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("cluster.slurm.partition=nope", "Slurm refuses jobs (invalid partition specified: nope"),
        ("cluster.memory_gb=900", "Requested node configuration is not available"),
        ("cluster.slurm.directives=[--no-such-option]", "unrecognized option"),
        ("cluster.slurm.partition=closed", "no worker for 4 s (jobs: PENDING PartitionDown)"),
    ],
)
def test_a_cluster_that_never_gives_workers(slurm, ready_survey, settings_file, tmp_path, setting, words):
    survey = ready_survey.copied(tmp_path / "archive")
    where = ("--archive", survey.archive, NIGHT, "--cluster", "slurm", "--settings", settings_file)
    called = zsds("night", *where, "--set", setting, "--set", "cluster.wait_s=4")
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert line.startswith("zsds: --cluster slurm: ")
    assert words in line
    assert not ask("squeue", "-h", "-t", "PENDING")
    assert {unit.owner for unit in survey.units("science")} == {None}


def test_doctor_asks_for_a_worker(slurm, done_survey, settings_file, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    where = ("--archive", survey.archive, "--settings", settings_file, "--json", "--cluster", "slurm")
    findings = {row["what"]: row for row in json.loads(zsds("doctor", *where).out)}
    assert findings["cluster slurm"]["found"].startswith("1 workers on ")
    called = zsds("doctor", *where, "--set", "cluster.slurm.partition=nope")
    assert called.status == 1
    (wrong,) = (row for row in json.loads(called.out) if row["what"] == "cluster slurm")
    assert not wrong["ok"]
    assert "invalid partition" in wrong["found"]
    assert "cluster.slurm" in wrong["remedy"]


def test_jobs_of_a_killed_run_end_by_themselves(slurm, ready_survey, done_survey, settings_file, tmp_path):
    survey = ready_survey.copied(tmp_path / "archive")
    where = ("--archive", survey.archive, NIGHT, "--cluster", "slurm", "--settings", settings_file)
    night = started("zsds", "night", *where)
    owner_of_staging(survey, set())
    night.kill()
    night.wait()
    end = time.monotonic() + slurm_jobs.ORPHAN_S + 60
    while slurm.jobs() and time.monotonic() < end:
        time.sleep(1)
    assert not slurm.jobs()
    expect(zsds("night", "--archive", survey.archive, NIGHT, *SERIAL))
    require_equal(survey, done_survey)
