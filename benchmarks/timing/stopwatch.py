"""Core-seconds, wall-clock and peak memory of named steps, each without the steps inside it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

GIB = 1024.0**2  # of the kB in /proc
REST = "everything else"


@dataclass
class Cost:
    """What a step took so far.

    Parameters
    ----------
    core_s : float
        User and system seconds of the process, all threads.
    wall_s : float
    peak_gb : float
        Largest resident memory of the whole process while the step ran, GiB; NaN where not known.
    calls : int
    """

    core_s: float = 0.0
    wall_s: float = 0.0
    peak_gb: float = 0.0
    calls: int = 0


@dataclass
class Stopwatch:
    """Charges time to the innermost step that runs."""

    costs: dict[str, Cost] = field(default_factory=dict)
    _running: list[str] = field(default_factory=list)
    _mark: tuple[float, float] = (0.0, 0.0)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Charge the block to ``name``."""
        self._settle()
        self._running.append(name)
        self.costs.setdefault(name, Cost()).calls += 1
        try:
            yield
        finally:
            self._settle()
            self._running.pop()

    def _settle(self) -> None:
        """Charge what passed since the last change to the step that ran; memory to all that contain it."""
        cpu, wall = time.process_time(), time.perf_counter()
        peak = peak_memory_gb()
        if self._running:
            cost = self.costs[self._running[-1]]
            cost.core_s += cpu - self._mark[0]
            cost.wall_s += wall - self._mark[1]
            for name in self._running:
                self.costs[name].peak_gb = max(self.costs[name].peak_gb, peak)
        forget_peak_memory()
        self._mark = time.process_time(), time.perf_counter()


@contextmanager
def watched(watch: Stopwatch, places: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Within the block, charge calls of functions to steps.

    Parameters
    ----------
    watch : Stopwatch
    places : sequence of (step, place)
        Place ``module:attribute`` or ``module:Class.method``, where the caller looks the function up.

    Raises
    ------
    AttributeError
        If there is no such function any more.
    """
    replaced: list[tuple[Any, str, Any]] = []
    try:
        for step, place in places:
            owner, name = _locate(place)
            original = getattr(owner, name)
            replaced.append((owner, name, original))
            setattr(owner, name, _charged(watch, step, original))
        yield
    finally:
        for owner, name, original in reversed(replaced):
            setattr(owner, name, original)


def _locate(place: str) -> tuple[Any, str]:
    module, _, path = place.partition(":")
    owner: Any = import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    return owner, name


def _charged(watch: Stopwatch, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        with watch.step(step):
            return function(*arguments, **keywords)

    return call


def peak_memory_gb() -> float:
    """Largest resident memory since it was last forgotten, GiB; NaN on systems without /proc."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next(float(line.split()[1]) / GIB for line in lines if line.startswith("VmHWM"))


def forget_peak_memory() -> None:
    """Start `peak_memory_gb` again from what is resident now, where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
