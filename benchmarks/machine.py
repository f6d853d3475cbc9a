"""The machine a benchmark ran on: figures of another one, or of a busy one, are not comparable without it."""

import os
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import fft

SHAPE = (3080, 3072)


def machine_facts(with_floors: bool = False) -> dict[str, Any]:
    """Processor, cores and load; with floors also the seconds of a transform and of a memory pass.

    The floors are those of a full ZTF quadrant in float32, on one core.
    """
    load = os.getloadavg()
    facts = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_1min": round(load[0], 2),
        "load_5min": round(load[1], 2),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    return {**facts, **_floors()} if with_floors else facts


def describe(facts: dict[str, Any]) -> str:
    """One line about the machine."""
    text = f"{facts['processor']}, {facts['cores']} cores, load {facts['load_1min']}, "
    return text + f"Python {facts['python']}, NumPy {facts['numpy']}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a data file
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def _floors() -> dict[str, float]:
    image = np.random.default_rng(1).standard_normal(SHAPE, dtype=np.float32)
    spectrum = fft.rfft2(image)
    out = np.empty_like(image)
    return {
        "rfft2_s": _fastest(lambda: fft.rfft2(image)),
        "irfft2_s": _fastest(lambda: fft.irfft2(spectrum, s=SHAPE)),
        "memory_pass_s": _fastest(lambda: np.multiply(image, np.float32(2), out=out)),
    }


def _fastest(work: Callable[[], object], n: int = 5) -> float:
    """Smallest core-seconds of some tries."""
    costs = []
    for _ in range(n):
        start = time.process_time()
        work()
        costs.append(time.process_time() - start)
    return min(costs)
