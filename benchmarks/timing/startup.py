"""How long a cold worker and the command take to start: ``python -m benchmarks.timing.startup FOLDER``."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.peers.programs import timed

TRIES = 3


def cold_worker(folder: Path) -> dict[str, float]:
    """A fresh process on a prepared tiny quadrant, kernels in the cache: the best of some tries.

    Returns
    -------
    dict
        ``ready_s``: from the start of the process until all is imported and every kernel that a quadrant
        calls is loaded; the core-seconds of it, ``ready_core_s``.
    """
    command = [sys.executable, "-m", "benchmarks.timing.startup", str(folder)]
    every = []
    for _ in range(TRIES):
        start = time.perf_counter()
        told = subprocess.run(command, check=True, capture_output=True, text=True, env=_environment())
        whole = time.perf_counter() - start
        once = json.loads(told.stdout)
        every.append((whole - 2 * once["warm_s"], once["core_s"] - 2 * once["warm_core_s"]))
    ready, core = (min(each) for each in zip(*every, strict=True))
    return {"ready_s": ready, "ready_core_s": core}


def help_seconds() -> dict[str, float]:
    """Wall-clock and core-seconds of ``zsds --help``: the best of some tries."""
    program = str(Path(sys.executable).with_name("zsds"))
    every = []
    for _ in range(TRIES + 2):
        start = time.perf_counter()
        core = timed([program, "--help"], Path.cwd())
        every.append((time.perf_counter() - start, core))
    wall, core = (min(each) for each in zip(*every, strict=True))
    return {"help_s": wall, "help_core_s": core}


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def main() -> None:
    """A first quadrant, which loads everything, and a second; print what they took."""
    from benchmarks.timing import quadrant as units  # noqa: PLC0415 - counts as the start
    from benchmarks.timing.scaling import timed_quadrant, tiny_plan  # noqa: PLC0415

    folder = Path(sys.argv[1])
    prepared = units.prepared_before(folder, tiny_plan(folder.parent))
    if prepared is None:
        sys.exit(f"{folder}: no prepared quadrant")
    timed_quadrant(prepared.frames[1], prepared)
    core, wall = timed_quadrant(prepared.frames[1], prepared)
    told = {"warm_s": wall, "warm_core_s": core, "core_s": time.process_time()}
    print(json.dumps(told))  # noqa: T201


if __name__ == "__main__":
    main()
