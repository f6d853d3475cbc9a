"""Units on Dask's workers: what shares a frame waits at one worker, and nobody idles."""

import os
import time

import pytest
from zsds.workflows.cluster import WORKER_ENVIRONMENT, open_cluster


@pytest.fixture(scope="module")
def two_workers():
    with open_cluster("local", 2) as cluster:
        yield cluster


def where_run(cluster, units, seconds):
    """Processes that ran each group of units, named by the unit's first entry."""

    def note(unit):
        time.sleep(seconds)
        return unit[0], os.getpid()

    processes = {}
    for group, process in cluster.run(note, units, together=lambda unit: unit[0]):
        processes.setdefault(group, []).append(process)
    return processes


def test_units_that_share_a_frame_run_in_one_process(two_workers):
    units = [(frame, quadrant) for frame in "abcdef" for quadrant in range(4)]
    processes = where_run(two_workers, units, 0.05)
    assert {group: len(ran) for group, ran in processes.items()} == dict.fromkeys("abcdef", 4)
    assert all(len(set(ran)) == 1 for ran in processes.values())
    assert len({ran[0] for ran in processes.values()}) == 2


def test_an_idle_worker_takes_units_of_the_others_frame(two_workers):
    (ran,) = where_run(two_workers, [("a", quadrant) for quadrant in range(8)], 0.3).values()
    assert len(ran) == 8
    assert len(set(ran)) == 2


def test_workers_keep_one_core_and_their_memory(two_workers):
    names = list(WORKER_ENVIRONMENT)
    (found,) = two_workers.run(lambda names: [os.environ.get(name) for name in names], [names])
    assert found == list(WORKER_ENVIRONMENT.values())
