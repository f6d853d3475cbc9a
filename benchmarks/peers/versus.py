"""Rows about the difference beside those of public subtractions of the same pixels."""

import logging
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter

from benchmarks.measures.changes import Injected, depth_loss, empty_sky, found_rows
from benchmarks.measures.false_candidates import expected_peaks
from benchmarks.measures.skies import QUADRANT_PX, Processed, matched
from benchmarks.peers.subtractions import LOWEST, Found, Subtractions, are_present, at, is_small, subtract_all
from benchmarks.rows import Row
from zsds.core.robust import central_width

DEEP = 5.0  # transients of this ideal S/N and more are those to be found


@dataclass(frozen=True)
class Measure:
    """A number by which subtractions are compared.

    Parameters
    ----------
    name : str
        What, and its unit.
    better : {'small', 'large', 'one'}
        What makes it good.
    of : callable
        (truth, found, ours) -> (value, sampling error, bound).
    """

    name: str
    better: str
    of: Callable[["Truth", Found, Found], tuple[float, float, float | None]]

    def best(self, values: dict[str, float]) -> str:
        """Name of the best of these values."""
        cost = {"small": lambda v: v, "large": lambda v: -v, "one": lambda v: abs(np.log(v))}[self.better]
        return min(values, key=lambda name: cost(values[name]))


@dataclass(frozen=True)
class Truth:
    """The truth by which all subtractions of a sky are judged.

    Parameters
    ----------
    done : Processed
    injected : Injected
        The transients.
    near : ndarray of bool [ny, nx]
        Close to a defect or an edge: nothing there counts, found or missed.
    """

    done: Processed
    injected: Injected
    near: NDArray[np.bool_]

    @property
    def mpx(self) -> float:
        """Millions of pixels that count."""
        return float((~self.near).sum()) / 1e6

    @property
    def noise_peaks(self) -> float:
        """Peaks of both signs beyond 5 sigma that Gaussian noise gives a million pixels."""
        return expected_peaks(self.done, 5.0) * 1e6 / QUADRANT_PX

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Transients that stand alone, away from defects."""
        return self.injected.alone & ~at(self.near, self.injected.x, self.injected.y)

    @property
    def ideal(self) -> NDArray[np.float64]:
        """Ideal S/N of the counted transients."""
        return self.injected.snr[self.counted]

    def is_false(self, peaks: Table) -> NDArray[np.bool_]:
        """Peaks that are no transient."""
        return matched(peaks["x"], peaks["y"], (self.injected.x, self.injected.y), 3.0) < 0

    def rows(self, peaks: Table) -> NDArray[np.int64]:
        """The peak of each counted transient, or -1."""
        rows = found_rows(peaks, self.injected.x, self.injected.y, self.injected.flux > 0)
        return rows[self.counted]

    @property
    def dark(self) -> NDArray[np.bool_]:
        """Empty sky."""
        return empty_sky(self.done, self.injected) & ~self.near


def beside_subtractions(done: Processed, injected: Injected) -> list[Row]:
    """Rows of our difference: the best of the public ones as peer, all of them in ``peers``.

    None without the programs, or on images too large for them.
    """
    if not are_present() or not is_small(done):
        return []
    try:
        every = subtract_all(done)
    except subprocess.CalledProcessError as error:
        logging.getLogger(__name__).warning("%s: %s", done.case.name, error)
        return []
    return versus_rows(Truth(done, injected, every.near), every)


def versus_rows(truth: Truth, every: Subtractions) -> list[Row]:
    """One row for each measure."""
    return [_row(measure, truth, every) for measure in MEASURES]


def _row(measure: Measure, truth: Truth, every: Subtractions) -> Row:
    value, error, bound = measure.of(truth, every.ours, every.ours)
    peers = {name: float(measure.of(truth, found, every.ours)[0]) for name, found in every.theirs.items()}
    peers = {name: peer for name, peer in peers.items() if np.isfinite(peer)}
    best = measure.best(peers) if peers else ""
    return Row(
        f"difference: {measure.name}", truth.done.case.name, value, error, bound, n=int(truth.counted.sum()),
        peer=peers.get(best), peer_name=best, peers=peers,
    )  # fmt: skip


def pooled_versus(rows: Iterable[Row]) -> list[Row]:
    """Means over the skies of what `versus_rows` measured; of each peer over the skies it did."""
    rows = list(rows)
    parts = [(m, [row for row in rows if row.name == f"difference: {m.name}"]) for m in MEASURES]
    return [_pooled(measure, here) for measure, here in parts if here]


def _pooled(measure: Measure, rows: list[Row]) -> Row:
    names = sorted({name for row in rows for name in row.peers or {}})
    peers = {name: _mean((row.peers or {}).get(name) for row in rows) for name in names}
    best = measure.best(peers) if peers else ""
    error = float(np.sqrt(sum(row.error**2 for row in rows))) / len(rows)
    value, bound, n = (
        _mean(row.value for row in rows),
        _mean(row.bound for row in rows),
        sum(row.n for row in rows),
    )
    return Row(
        rows[0].name, "all", value, error, bound, n=n, peer=peers.get(best), peer_name=best, peers=peers
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _false(truth: Truth, found: Found, ours: Found) -> tuple[float, float, float]:  # noqa: ARG001
    return _rate(int((truth.is_false(found.peaks) & (found.peaks["snr"] > 5)).sum()), truth)


def _rate(n: int, truth: Truth) -> tuple[float, float, float]:
    return n / truth.mpx, np.sqrt(max(n, 1)) / truth.mpx, truth.noise_peaks


def _depth(truth: Truth, found: Found, ours: Found) -> tuple[float, float, float]:  # noqa: ARG001
    seen = truth.rows(found.peaks[found.peaks["snr"] > 5]) >= 0
    return (*depth_loss(truth.ideal, seen), 0.0)


def _completeness(truth: Truth, found: Found, ours: Found) -> tuple[float, float, float]:
    """Share found above ideal S/N 5 with a threshold that leaves as many false candidates as ours."""
    allowed = int(truth.is_false(ours.peaks).sum())
    false = np.sort(np.asarray(found.peaks["snr"], float)[truth.is_false(found.peaks)])[::-1]
    threshold = false[allowed] if len(false) > allowed else LOWEST
    deep = truth.ideal > DEEP
    seen = truth.rows(found.peaks[found.peaks["snr"] > threshold])[deep] >= 0
    share = float(seen.mean())
    return share, float(np.sqrt(max(share * (1 - share), 0.01) / seen.size)), 1.0


def _false_as_deep(truth: Truth, found: Found, ours: Found) -> tuple[float, float, float]:
    """False candidates above the threshold that finds as many transients as ours, if any does."""
    wanted = int((truth.rows(ours.peaks) >= 0).sum())
    rows = truth.rows(found.peaks)
    snr = np.asarray(found.peaks["snr"], float)
    seen = np.sort(snr[rows[rows >= 0]])[::-1]
    threshold = seen[wanted - 1] if len(seen) >= wanted > 0 else LOWEST
    return _rate(int((truth.is_false(found.peaks) & (snr >= threshold)).sum()), truth)


def _at_stars(truth: Truth, found: Found, ours: Found) -> tuple[float, float, float]:  # noqa: ARG001
    """Median over constant bright stars of the false flux there over the star's, %: rms of 3 x 3 pixels.

    The flux is that of a filter as wide as the seeing, its unit by bright transients, so that a difference
    which is smoother has no advantage. The bound is the stars' own noise.
    """
    stars = truth.done.science.simulated.truth
    x, y, flux, snr = (np.asarray(stars[name], float) for name in ("x", "y", "flux", "snr"))
    changed = matched(x, y, (truth.injected.x, truth.injected.y), 12.0) >= 0
    chosen = np.asarray((stars["kind"] == "star") & ~stars["saturated"]) & (snr > 100) & ~changed
    chosen &= ~at(truth.near, x, y)
    smooth = gaussian_filter(np.nan_to_num(found.difference).astype(np.float64), truth.done.case.fwhm / 2.355)
    bright = truth.counted & (truth.injected.snr > 20)
    unit = np.median(
        at(smooth, truth.injected.x[bright], truth.injected.y[bright]) / truth.injected.flux[bright]
    )
    rms = np.sqrt(uniform_filter((smooth / unit) ** 2, 3))
    left = 100 * at(rms, x[chosen], y[chosen]) / flux[chosen]
    error = 1.25 * np.std(left) / np.sqrt(max(left.size, 1))
    return float(np.median(left)), float(error), float(np.median(100 / snr[chosen]))


def _own_noise(truth: Truth, found: Found, ours: Found) -> tuple[float, float, float]:  # noqa: ARG001
    return (central_width(found.score[truth.dark]) if found.own_noise else float("nan")), 0.0, 1.0


def _seconds(truth: Truth, found: Found, ours: Found) -> tuple[float, float, None]:  # noqa: ARG001
    return found.seconds, 0.0, None


MEASURES = (
    Measure("false candidates per Mpx", "small", _false),
    Measure("depth lost at 5 sigma, mag", "small", _depth),
    Measure("completeness, as many false as ours", "large", _completeness),
    Measure("false per Mpx, as many found as ours", "small", _false_as_deep),
    Measure("false flux at bright stars, %", "small", _at_stars),
    Measure("width of the score on empty sky", "one", _own_noise),
    Measure("subtraction and search, core-s", "small", _seconds),
)


def versus_markdown(rows: Iterable[Row]) -> str:
    """Ours and each public subtraction, the mean of all skies, as a Markdown table."""
    here = [row for row in rows if row.sky == "all" and row.peers]
    names = sorted({name for row in here for name in row.peers or {}})
    lines = [f"| mean of all skies | zsds | {' | '.join(names)} | bound |", "|---" * (len(names) + 3) + "|"]
    for row in here:
        cells = [f"{row.peers[name]:.3g}" if name in (row.peers or {}) else "" for name in names]
        bound = "" if row.bound is None else f"{row.bound:.3g}"
        cells = [row.name.removeprefix("difference: "), f"{row.value:.3g}", *cells, bound]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
