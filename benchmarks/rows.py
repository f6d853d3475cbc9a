"""One measured number beside what it should be."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds.core.robust import central_width

MOST_GOALS = 2  # of one name that a table shows
SAMPLING_SIGMAS = 2.0  # a value may miss its goal by this many of its own sampling errors


@dataclass(frozen=True)
class Row:
    """A number of the fidelity benchmark.

    Parameters
    ----------
    name : str
        What, and its unit.
    sky : str
        Of `benchmarks.measures.skies.SKIES`, or ``all``.
    value : float
    error : float
        1-sigma sampling error of the value; 0 where it has none, or none is known.
    bound : float or None
        What no method could beat on these pixels, where that is known.
    low, high : float or None
        The goal: value within them.
    n : int
        Stars, pixels, transients, ... behind the value.
    peer : float or None
        What a public program reaches on the same pixels in the same run.
    peer_name : str
        Which.
    peers : dict or None
        What each of several public programs reaches; ``peer`` is the best of them.
    """

    name: str
    sky: str
    value: float
    error: float = 0.0
    bound: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    peer: float | None = None
    peer_name: str = ""
    peers: dict[str, float] | None = None

    @property
    def passed(self) -> bool | None:
        """Whether the goal is met within the sampling error; None without a goal or a value."""
        if (self.low is None and self.high is None) or not np.isfinite(self.value):
            return None
        slack = SAMPLING_SIGMAS * self.error
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        return bool(low - slack <= self.value <= high + slack)

    @property
    def goal(self) -> str:
        """The goal as text."""
        if self.low is None:
            return "" if self.high is None else f"<= {self.high:g}"
        if self.high is None:
            return f">= {self.low:g}"
        return f"{(self.low + self.high) / 2:g} +- {(self.high - self.low) / 2:g}"

    def plain(self) -> dict[str, Any]:
        """For JSON: numbers that are not finite become null."""
        values = {**asdict(self), "goal": self.goal or None, "passed": self.passed}
        return {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in values.items()
        }


def format_table(rows: Iterable[Row]) -> str:
    """The rows as text, grouped by name."""
    rows = sorted(rows, key=lambda row: row.name)
    lines = [
        f"{'measure':<50}{'sky':<12}{'value':>10}{'+-':>9}{'bound':>9}{'peer':>9}  {'goal':<14}{'n':>8}  met"
    ]
    lines += [_line(row) for row in rows]
    judged = [row.passed for row in rows if row.passed is not None]
    lines.append(f"{sum(judged)} of {len(judged)} goals met")
    peers = sorted({f"{row.name}: {row.peer_name}" for row in rows if row.peer is not None})
    lines += [f"peer of {peer}" for peer in peers]
    return "\n".join(lines)


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table: a line for each name, a column for each sky.

    Missed goals are bold; a peer's value stands behind ours in brackets.
    """
    skies = list(dict.fromkeys(row.sky for row in rows))
    lines = [f"| measure | goal | {' | '.join(skies)} |", "|---" * (len(skies) + 2) + "|"]
    for name in sorted({row.name for row in rows}):
        here = {row.sky: row for row in rows if row.name == name}
        goals = list(dict.fromkeys(row.goal for row in here.values()))
        goals = goals if len(goals) <= MOST_GOALS else ["of each sky"]
        cells = [_cell(here[sky]) if sky in here else "" for sky in skies]
        lines.append(f"| {name} | {', '.join(goals)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: Row) -> str:
    text = f"**{row.value:.3g}**" if row.passed is False else f"{row.value:.3g}"
    return text if row.peer is None else f"{text} ({row.peer:.3g})"


def _line(row: Row) -> str:
    met = {None: "", True: "yes", False: "NO"}[row.passed]
    bound = "" if row.bound is None else f"{row.bound:.3g}"
    error = f"{row.error:.3g}" if row.error else ""
    peer = "" if row.peer is None else f"{row.peer:.3g}"
    numbers = f"{row.value:>10.4g}{error:>9}{bound:>9}{peer:>9}"
    return f"{row.name:<50}{row.sky:<12}{numbers}  {row.goal:<14}{row.n:>8}  {met}"


def pull_rows(
    name: str, sky: str, pulls: NDArray[np.float64], goals: Sequence[float], shared: float = 0.0
) -> list[Row]:
    """Mean and width of pulls, whose goals are 0 and 1 within ``goals``.

    The mean leaves out pulls beyond 4 widths of the median. Sampling errors are 1 / sqrt(n) and, for the
    width between percentiles of a normal distribution, 1.18 / sqrt(2 n); ``shared`` is the error of the mean
    that comes from errors which many pulls have in common.
    """
    n = pulls.size
    if n < 8:
        return []
    spread = central_width(pulls)
    kept = pulls[np.abs(pulls - np.median(pulls)) <= 4 * spread]
    error = 1 / np.sqrt(n)
    return [
        Row(
            f"{name}, pull mean",
            sky,
            float(kept.mean()),
            float(np.hypot(error * spread, shared)),
            0,
            -goals[0],
            goals[0],
            n,
        ),
        Row(f"{name}, pull width", sky, spread, 0.83 * error, 1, 1 - goals[1], 1 + goals[1], n),
    ]
