"""Core-seconds, wall-clock, bytes and peak memory of named steps, each without the steps inside it."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

from scipy import fft

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
    transforms_s : float
        Of the core-seconds, those inside Fourier transforms of `scipy.fft`.
    peak_gb : float
        Largest resident memory of the whole process while the step ran, GiB; NaN where not known.
    touched_gb : float
        Memory that the step read or wrote and still held, and what it read from and wrote to files, GiB;
        counted only where the stopwatch is asked to, NaN where not known.
    calls : int
    """

    core_s: float = 0.0
    wall_s: float = 0.0
    transforms_s: float = 0.0
    peak_gb: float = 0.0
    touched_gb: float = 0.0
    calls: int = 0

    def part(self, n: int) -> "Cost":
        """The cost for one of ``n`` who share it."""
        shares = (self.core_s, self.wall_s, self.transforms_s)
        core_s, wall_s, transforms_s = (share / n for share in shares)
        return Cost(core_s, wall_s, transforms_s, self.peak_gb, self.touched_gb / n, self.calls)


@dataclass
class Stopwatch:
    """Charges time to the innermost step that runs.

    Counting bytes slows the steps: a run that counts them is not one to take the times of.
    """

    counts_bytes: bool = False
    costs: dict[str, Cost] = field(default_factory=dict)
    _running: list[str] = field(default_factory=list)
    _mark: tuple[float, float] = (0.0, 0.0)
    _files_gb: float = 0.0

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
            if self.counts_bytes:
                cost.touched_gb += touched_memory_gb() + file_gb() - self._files_gb
            for name in self._running:
                self.costs[name].peak_gb = max(self.costs[name].peak_gb, peak)
        forget_peak_memory()
        if self.counts_bytes:
            forget_touched_memory()
            self._files_gb = file_gb()
        self._mark = time.process_time(), time.perf_counter()

    def charge_transforms(self, seconds: float) -> None:
        """Note that so many of the core-seconds of the step that runs went into transforms."""
        if self._running:
            self.costs[self._running[-1]].transforms_s += seconds


@dataclass
class _TimedTransforms:
    """A backend of `scipy.fft` that does as SciPy does, and tells the stopwatch what it took."""

    watch: Stopwatch
    __ua_domain__ = "numpy.scipy.fft"

    def __ua_function__(self, transform: Callable[..., Any], arguments: Any, keywords: Any) -> Any:
        start = time.process_time()
        with fft.skip_backend(self):
            found = transform(*arguments, **keywords)
        self.watch.charge_transforms(time.process_time() - start)
        return found


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
        with fft.set_backend(_TimedTransforms(watch)):
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
    return _told("status", "VmHWM") / GIB


def resident_memory_gb() -> float:
    """Resident memory now, GiB; NaN on systems without /proc."""
    return _told("status", "VmRSS") / GIB


def touched_memory_gb() -> float:
    """Resident memory that was read or written since that was last forgotten, GiB, by pages; or NaN."""
    return _told("smaps_rollup", "Referenced") / GIB


def file_gb() -> float:
    """What the process read from files and wrote to them so far, GiB; NaN on systems without /proc."""
    return (_told("io", "rchar") + _told("io", "wchar")) / 1024**3


def _told(file: str, name: str) -> float:
    """A number that the system tells of this process; NaN if it tells none."""
    try:
        lines = Path("/proc/self", file).read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next((float(line.split()[1]) for line in lines if line.startswith(name)), float("nan"))


def forget_peak_memory() -> None:
    """Start `peak_memory_gb` again from what is resident now, where the system can."""
    _forget("5")


def forget_touched_memory() -> None:
    """Start `touched_memory_gb` again from nothing, where the system can."""
    _forget("1")


def _forget(what: str) -> None:
    try:
        Path("/proc/self/clear_refs").write_text(what, encoding="ascii")
    except OSError:
        return
