"""Fixtures every test may use."""

import fcntl
import json
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real images, packets and tables; absent from a user's clone, so such tests skip there."""
    if not SHARED.is_dir():
        pytest.skip("real data are not at hand (../shared/data)")
    return SHARED


def _made_once(tmp_path_factory, worker_id, make):
    """Folder that ``make(folder)`` fills once for all test processes, and what it returned."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "survey"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done.json"
        if not done.exists():
            done.write_text(json.dumps(make(folder)))
        return folder, json.loads(done.read_text())


@pytest.fixture(scope="session")
def surveys(tmp_path_factory, worker_id):
    """The tiny survey before its night (references are made) and after it."""
    import survey

    folder, night = _made_once(tmp_path_factory, worker_id, survey.make_surveys)
    ready, done = (survey.Survey(folder / name, folder / "sky", night) for name in ("ready", "archive"))
    return ready, done


@pytest.fixture(scope="session")
def ready_survey(surveys):
    """The tiny survey with frames, calibrations and references, its night not run; copy it to use it."""
    return surveys[0]


@pytest.fixture(scope="session")
def done_survey(surveys):
    """The tiny survey after its night; copy it to change it."""
    return surveys[1]


@pytest.fixture(scope="session")
def postgres():
    """A real PostgreSQL server; only tests marked ``services`` ask for it."""
    from postgres import running_server

    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def slurm():
    """A real Slurm of one node; only tests marked ``services`` ask for it."""
    from slurm import running_slurm

    with running_slurm() as running:
        yield running
