"""Units on Dask's workers: what shares a frame runs on one, nobody idles, nothing is lost with a worker."""

import os
import time

import pytest
from zsds.workflows.cluster import WORKER_ENVIRONMENT, Lost, open_cluster


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


def test_no_worker_idles_while_the_other_has_a_last_frame(two_workers):
    units = [(frame, quadrant) for frame in "abc" for quadrant in range(4)]
    processes = where_run(two_workers, units, 0.1)
    assert sorted(map(len, processes.values())) == [4, 4, 4]
    assert len(set(processes["c"])) == 2


def test_a_unit_that_kills_all_workers_is_lost_alone(two_workers):
    def deadly(unit):
        if unit == ("a", 1):
            os._exit(9)
        return unit

    units = [(frame, quadrant) for frame in "abc" for quadrant in range(2)]
    results = list(two_workers.run(deadly, units, together=lambda unit: unit[0]))
    (lost,) = (result for result in results if isinstance(result, Lost))
    assert lost.unit == ("a", 1)
    assert "its worker died each time" in lost.reason
    assert sorted(result for result in results if result is not lost) == [u for u in units if u != lost.unit]


def test_workers_keep_one_core_and_their_memory(two_workers):
    names = list(WORKER_ENVIRONMENT)
    (found,) = two_workers.run(lambda names: [os.environ.get(name) for name in names], [names])
    assert found == list(WORKER_ENVIRONMENT.values())
