"""What it costs to hand out units: as many as a night of the whole camera has, each doing nothing."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zsds.workflows.cluster import Distributed, open_cluster

from benchmarks.timing.stopwatch import resident_memory_gb
from zsds.core.ids import QuadrantId
from zsds.db.ledger import Outcome, State
from zsds.pipeline.settings import Settings
from zsds.runner import Finished, Task

NIGHT_UNITS = 50_000  # the camera's 64 quadrants of 700 exposures, and some
PER_FRAME = 4
N_WORKERS = 2
MB_PER_GB = 1024.0
METRICS = {f"metric_{k}": 0.1 * k for k in range(40)}  # as many numbers as an outcome of a real unit has


def night_units(n: int) -> list[tuple[Task, ...]]:
    """Chains as a night plans them: science and difference of a quadrant, with what they are made from."""
    units = []
    for k in range(n):
        exposure, place = divmod(k, 64)
        ccd, quadrant = (1 + part for part in divmod(place, PER_FRAME))
        key = str(QuadrantId(f"20260115{exposure:06d}", 600, "zr", ccd, quadrant, "ztf"))
        version = {"band": "zr", "ccd": ccd, "quadrant": quadrant, "version": 1}
        science = {
            "raw": f"/data/survey/raw/2026/0115/{exposure:06d}/{key.rpartition('_')[0]}.fits.fz",
            "digest": "0123456789abcdef",
            "camera": "0123456789ab",
            "calibration": {"night": "20260115", **version},
        }
        difference = {"reference": {"field": 600, **version}, "rfid": 600120101, "science_attempt": 1}
        units.append((Task("science", key, science), Task("difference", key, difference)))
    return units


def do_nothing(chain: Sequence[Task], archive: Path, settings: Settings) -> list[Finished]:  # noqa: ARG001
    """What `run_chain` returns, at once."""
    return [Finished(task, Outcome(State.DONE, None, METRICS, 3.0, 1500.0)) for task in chain]


def frame_of(chain: Sequence[Task]) -> str:
    """The raw frame, which quadrants of a CCD share."""
    return str(chain[0].inputs["raw"])


WAYS = {"one by one": None, "by frame": frame_of}  # a night runs its quadrants by frame: four a task


def scheduling_cost(way: str, n: int = NIGHT_UNITS) -> dict[str, float]:
    """Time and memory of this process, which holds client and scheduler, for units that do nothing.

    Parameters
    ----------
    way : str
        Of `WAYS`.
    n : int

    Returns
    -------
    dict
        Seconds of the clock and core-seconds of this process a unit, seconds until the first came back, and
        the memory that this process took more at most, MB.
    """
    units = night_units(n)
    with open_cluster("local", N_WORKERS) as workers:
        list(_run(workers, units[:200], None))  # imports
        return cost_of(workers, units, WAYS[way])


def _run(workers: Distributed, units: Sequence[Any], together: Any) -> Any:
    return workers.run(do_nothing, units, together, archive=Path("/data/survey"), settings=Settings())


def cost_of(workers: Distributed, units: Sequence[Any], together: Any) -> dict[str, float]:
    """Time and memory of this process for units that do nothing; see `scheduling_cost`."""
    before = resident_memory_gb()
    wall, core, first, most, n = time.perf_counter(), time.process_time(), 0.0, before, 0
    for n, _ in enumerate(_run(workers, units, together), 1):
        first = first or time.perf_counter() - wall
        if n % 1000 == 1:
            most = max(most, resident_memory_gb())
    wall, core = time.perf_counter() - wall, time.process_time() - core
    if n != len(units):
        raise RuntimeError(f"{n} results of {len(units)} units")
    return {
        "n": n, "wall_ms": 1000 * wall / n, "core_ms": 1000 * core / n, "first_s": first,
        "memory_mb": MB_PER_GB * (most - before),
    }  # fmt: skip
