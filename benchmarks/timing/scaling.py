"""What it costs to run several quadrants: beside each other, through Dask, and many in one worker."""

import gc
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from zsds.workflows.cluster import open_cluster

from benchmarks.timing import quadrant as units
from benchmarks.timing.quadrant import Prepared, QuadrantPlan
from benchmarks.timing.stopwatch import resident_memory_gb
from zsds.resources import resource

TINY_PX = 300  # side of a quadrant of which hundreds are done in minutes
MIB_PER_GIB = 1024.0
SETTLING = 0.2  # of the quadrants, after which memory should not grow


def timed_quadrant(frame: Path, prepared: Prepared) -> tuple[float, float]:
    """Core-seconds and wall-clock seconds of a quadrant, in the process that runs this."""
    core, wall = time.process_time(), time.perf_counter()
    units.run_quadrant(prepared, frame)
    return time.process_time() - core, time.perf_counter() - wall


def two_workers(prepared: Prepared, rounds: int = 2) -> dict[str, float]:
    """Two warm workers with a quadrant each, one after the other and at once; the best of the rounds.

    Returns
    -------
    dict
        ``wall_s`` and ``core_s`` of a quadrant alone (the longer of the two), the same with ``_beside``, and
        their ratios.
    """
    alone, beside = [], []
    with ExitStack() as stack:
        workers = [stack.enter_context(one_worker()) for _ in prepared.frames]
        pairs = list(zip(workers, prepared.frames, strict=True))

        def start(pair: tuple[ProcessPoolExecutor, Path]) -> Any:
            return pair[0].submit(timed_quadrant, pair[1], prepared)

        for _ in [start(pair).result() for pair in pairs]:
            pass
        for _ in range(rounds):
            alone.append(np.max([start(pair).result() for pair in pairs], axis=0))
            futures = [start(pair) for pair in pairs]
            beside.append(np.max([future.result() for future in futures], axis=0))
    (core, wall), (core_beside, wall_beside) = (np.min(each, axis=0).tolist() for each in (alone, beside))
    return {
        "core_s": core, "core_beside_s": core_beside, "core_ratio": core_beside / core,
        "wall_s": wall, "wall_beside_s": wall_beside, "wall_ratio": wall_beside / wall,
    }  # fmt: skip


@contextmanager
def one_worker() -> Iterator[ProcessPoolExecutor]:
    """A fresh process that runs what it is given."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as worker:
        yield worker


def dask_cost(prepared: Prepared, rounds: int = 2) -> dict[str, float]:
    """Core-seconds that a Dask cluster of one worker takes beyond those of its units.

    Counted are all of the worker's and of this process's, where client, scheduler and nanny live, less what
    the units took by their own clocks; the wall-clock is that from the first submission to the last result.
    """
    frames = list(prepared.frames)
    with open_cluster("local", 1) as cluster:
        list(cluster.run(timed_quadrant, frames[:1], prepared=prepared))
        before = _all_core_s(cluster), time.perf_counter()
        done = list(cluster.run(timed_quadrant, frames * rounds, prepared=prepared))
        wall, core = time.perf_counter() - before[1], _all_core_s(cluster) - before[0]
    units_core, units_wall = np.sum(done, axis=0).tolist()
    return {
        "units_core_s": units_core, "core_ratio": core / units_core,
        "units_wall_s": units_wall, "wall_ratio": wall / units_wall,
    }  # fmt: skip


def _all_core_s(cluster: Any) -> float:
    return sum(cluster.client.run(time.process_time).values()) + time.process_time()


def tiny_plan(folder: Path) -> QuadrantPlan:
    """A quadrant of the demo camera cut down to 300 x 300 pixels; writes its camera file."""
    camera = yaml.safe_load(resource("calib", "cameras", "demo.yaml").read_text(encoding="utf-8"))
    camera["amplifier_defaults"] |= {
        "size": [TINY_PX + 24, TINY_PX],
        "data": f"[1:{TINY_PX},1:{TINY_PX}]",
        "overscan": f"[{TINY_PX + 1}:{TINY_PX + 24},1:{TINY_PX}]",
    }
    for amplifier in camera["amplifiers"].values():
        amplifier["x_arcsec"] *= 0.31
        amplifier["y_arcsec"] *= 0.31
    camera["detectors"] = {1: {"x_arcsec": 0}}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(camera), encoding="utf-8")
    return QuadrantPlan(
        str(path),
        1,
        1,
        n_stars=120,
        n_galaxies=12,
        n_transients=6,
        n_epochs=3,
        n_calibration=3,
        n_history=400,
    )


def memory_growth(prepared: Prepared, n: int) -> dict[str, Any]:
    """Resident memory of this process after each of so many quadrants, MiB, and how it grows.

    Growth is that of the median of the last fifth over that of a fifth after the first, in which caches fill.
    """
    resident = []
    for k in range(n):
        units.run_quadrant(prepared, prepared.frames[k % 2])
        gc.collect()
        resident.append(MIB_PER_GIB * resident_memory_gb())
    few = max(1, round(SETTLING * n))
    first, last = (float(np.median(part)) for part in (resident[few : 2 * few], resident[-few:]))
    return {
        "n": n,
        "first_mb": first,
        "last_mb": last,
        "growth": last / first - 1,
        "resident_mb": resident[:: max(1, n // 50)],
    }
