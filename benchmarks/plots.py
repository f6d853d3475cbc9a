"""Picture of the fidelity benchmark: star fluxes, completeness, forced fluxes and score."""

import io
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import norm

from zsds.core.difference import SCORE_EDGES
from zsds.core.robust import central_width

BLUE, ORANGE, GREY = "#1f6fb4", "#d9822b", "#8a8a8a"
SNR_EDGES = np.geomspace(10, 1000, 13)  # of stars
DEPTH_EDGES = np.arange(3, 9.1, 0.5)  # of transients
PULL_EDGES = np.linspace(-5, 5, 26)
THRESHOLD = 5.0
MARKS = "os^Dv"  # of kinds of forced positions


@dataclass(frozen=True)
class Samples:
    """Measurements of all skies.

    Parameters
    ----------
    stars : ndarray of float64 [n, 4]
        Pull of the flux and ideal S/N of stars first.
    transients : ndarray of float64 [n, 3]
        Ideal S/N, whether it was found, whether it lies on a galaxy.
    forced : dict of str to ndarray of float64
        Pulls of forced fluxes by kind of position.
    score : ndarray of int64
        Pixels of empty sky in the bins of `zsds.core.difference.SCORE_EDGES`.
    """

    stars: NDArray[np.float64]
    transients: NDArray[np.float64]
    forced: dict[str, NDArray[np.float64]]
    score: NDArray[np.int64]


def plot_samples(samples: Samples, path: Path) -> None:
    """Write the four panels as one picture."""
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    painters = (
        (_star_pulls, samples.stars),
        (_completeness, samples.transients),
        (_forced_pulls, samples.forced),
        (_score, samples.score),
    )
    for axes, (paint, values) in zip(panels, painters, strict=True):
        paint(axes, values)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=80)


def _star_pulls(axes: Axes, stars: NDArray[np.float64]) -> None:
    bins = [stars[(stars[:, 1] >= low) & (stars[:, 1] < high), 0] for low, high in pairwise(SNR_EDGES)]
    kept = np.array([part.size > 20 for part in bins])
    middle = np.sqrt(SNR_EDGES[:-1] * SNR_EDGES[1:])[kept]
    parts = [part for part in bins if part.size > 20]
    error = np.array([1 / np.sqrt(part.size) for part in parts])
    axes.axhline(0, color=GREY, lw=0.8)
    axes.axhline(1, color=GREY, lw=0.8)
    means = [np.median(part) for part in parts]
    axes.errorbar(middle, means, 1.25 * error, fmt="o", color=BLUE, label="median")
    axes.errorbar(
        middle, [central_width(part) for part in parts], 0.83 * error, fmt="s", color=ORANGE, label="width"
    )
    axes.set(xscale="log", ylim=(-0.6, 1.6), xlabel="ideal S/N", ylabel="(measured - true) / error")
    axes.set_title(f"Fluxes of {len(stars)} stars", loc="left")
    axes.legend(frameon=False, loc="center left")


def _completeness(axes: Axes, transients: NDArray[np.float64]) -> None:
    fine = np.linspace(DEPTH_EDGES[0], DEPTH_EDGES[-1], 200)
    axes.plot(fine, norm.cdf(fine - THRESHOLD), color=GREY, label="ideal matched filter, 5 sigma")
    for name, colour, mark, host in (("empty sky", BLUE, "o", 0), ("galaxies", ORANGE, "s", 1)):
        rows = transients[transients[:, 2] == host]
        place = np.digitize(rows[:, 0], DEPTH_EDGES) - 1
        shares = [
            (k, rows[place == k, 1].mean(), (place == k).sum())
            for k in range(len(DEPTH_EDGES) - 1)
            if (place == k).sum() >= 5
        ]
        if not shares:
            continue
        k, share, n = np.transpose(shares)
        error = np.sqrt(np.maximum(share * (1 - share), 0.25 / n) / n)
        axes.errorbar(DEPTH_EDGES[k.astype(int)] + 0.25, share, error, fmt=mark, color=colour, label=name)
    axes.set(xlabel="ideal S/N of the transient", ylabel="share found", ylim=(-0.05, 1.1))
    axes.set_title(f"Completeness, {len(transients)} transients", loc="left")
    axes.legend(frameon=False, loc="lower right")


def _forced_pulls(axes: Axes, forced: dict[str, NDArray[np.float64]]) -> None:
    fine = np.linspace(-5, 5, 200)
    axes.plot(fine, norm.pdf(fine), color=GREY, label="normal distribution")
    middle = (PULL_EDGES[:-1] + PULL_EDGES[1:]) / 2
    for (kind, pulls), mark in zip(forced.items(), MARKS, strict=True):
        counts = np.histogram(pulls, PULL_EDGES)[0]
        density = np.where(counts > 0, counts / (pulls.size * np.diff(PULL_EDGES)), np.nan)
        label = f"{kind}: {pulls.mean():+.2f}, {central_width(pulls):.2f}"
        axes.plot(middle, density, mark, ms=4, label=label)
    axes.set(xlabel="(forced flux - true change) / error", ylabel="density", yscale="log", ylim=(1e-4, 3e3))
    axes.set_title("Forced fluxes: mean and width of pulls", loc="left")
    axes.legend(frameon=False, loc="upper left", fontsize="small")


def _score(axes: Axes, counts: NDArray[np.int64]) -> None:
    middle = (SCORE_EDGES[:-1] + SCORE_EDGES[1:]) / 2
    expected = counts.sum() * np.diff(norm.cdf(SCORE_EDGES))
    axes.plot(middle, expected, color=GREY, label="normal distribution")
    axes.stairs(counts, SCORE_EDGES, color=BLUE, label="measured")
    axes.set(yscale="log", ylim=(0.5, None), xlim=(-7, 7), xlabel="score", ylabel="pixels")
    axes.set_title(f"Score on empty sky, {counts.sum() / 1e6:.1f} Mpx", loc="left")
    axes.legend(frameon=False, loc="upper left")


def save_small(figure: Figure, path: Path, dpi: int = 80) -> None:
    """Write a figure as a PNG of 128 colours: a third of the bytes where it shows noise."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi)
    Image.open(drawn).convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
