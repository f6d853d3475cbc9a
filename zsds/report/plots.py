"""Figures of a night that are not against time: residuals, score, counts, focal plane, run times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from zsds.core.robust import mad_width
from zsds.report.drawing import BLUE, GREY, INK, ORANGE, RED, grid_of, nice_number, note, thinned
from zsds.report.record import (
    SCORE_EDGES,
    FloatArray,
    FocalPlane,
    Limits,
    NightRecord,
    ReportSettings,
    grid_focal_plane,
)
from zsds.report.summary import DONE, median, minus_median, numbers, states, texts

QUIVER_CELLS = 8


def paint_residual_field(figure: Figure, residuals: Table) -> None:
    """Median astrometric residual in each cell of the quadrant, as arrows with a scale key."""
    axes = figure.subplots()
    field = bin_residuals(residuals)
    step_x, step_y = field.step
    lengths = np.hypot(field.dra, field.ddec)
    key = nice_number(max(float(np.nanmax(lengths)), 1e-3))
    per_arcsec = 0.8 * min(step_x, step_y) / max(float(np.nanmax(lengths)), 1e-3)
    arrows = axes.quiver(
        field.x, field.y, field.dra, field.ddec, angles="xy", scale_units="xy", scale=1 / per_arcsec,
        width=0.006, color=BLUE, pivot="mid",
    )  # fmt: skip
    axes.quiverkey(arrows, 0.9, 1.035, key, f"{1000 * key:g} mas", labelpos="W", color=INK)
    axes.set_title(f"{len(residuals)} stars", loc="left", weight="normal", color=GREY, pad=12)
    axes.set(xlim=(0, step_x * QUIVER_CELLS), ylim=(0, step_y * QUIVER_CELLS))
    axes.set_aspect("equal")
    axes.set(xlabel="x (pixels)", ylabel="y (pixels)")


@dataclass(frozen=True)
class ResidualField:
    """Median residuals on a grid: cell centres in pixels, residuals in arcsec, cell size in pixels."""

    x: FloatArray
    y: FloatArray
    dra: FloatArray
    ddec: FloatArray
    step: tuple[float, float]


def bin_residuals(residuals: Table, cells: int = QUIVER_CELLS) -> ResidualField:
    """Medians of the residuals in ``cells`` x ``cells`` boxes from pixel (0, 0) to the farthest star."""
    x, y, dra, ddec = (numbers(residuals, name) for name in ("x", "y", "dra_arcsec", "ddec_arcsec"))
    good = np.isfinite(x + y + dra + ddec) & (x >= -0.5) & (y >= -0.5)
    x, y, dra, ddec = x[good], y[good], dra[good], ddec[good]
    step = tuple((max(float(axis.max()), 1.0) + 1e-6) / cells if axis.size else 1.0 for axis in (x, y))
    column = np.clip(x / step[0], 0, cells - 1).astype(int)
    cell = np.clip(y / step[1], 0, cells - 1).astype(int) * cells + column
    used, order = np.unique(cell), np.argsort(cell, kind="stable")
    groups = np.split(order, np.searchsorted(cell[order], used[1:])) if used.size else []
    dra_cell = np.array([median(dra[rows]) for rows in groups])
    ddec_cell = np.array([median(ddec[rows]) for rows in groups])
    middle_x, middle_y = (used % cells + 0.5) * step[0], (used // cells + 0.5) * step[1]
    return ResidualField(middle_x, middle_y, dra_cell, ddec_cell, (step[0], step[1]))


def paint_residuals_by_magnitude(figure: Figure, residuals: Table, settings: ReportSettings) -> None:
    """Residuals against magnitude: every star, the running median and the scatter about it."""
    panels = figure.subplots(2, 1, sharex=True, sharey=True)
    mag = numbers(residuals, "mag")
    most = 0.0
    for axes, name, words in (
        (panels[0], "dra_arcsec", "RA x cos Dec (mas)"),
        (panels[1], "ddec_arcsec", "Dec (mas)"),
    ):
        mas = 1000 * numbers(residuals, name)
        rows = np.flatnonzero(np.isfinite(mag) & np.isfinite(mas))
        few = rows[thinned(len(rows), settings.max_points)]
        size, alpha = (5, 0.6) if len(few) < 300 else (3, 0.35) if len(few) < 3000 else (2, 0.15)
        axes.plot(mag[few], mas[few], ".", ms=size, color=BLUE, alpha=alpha, mew=0)
        _running(axes, mag[rows], mas[rows])
        axes.axhline(0, color=GREY, lw=0.8)
        axes.set_ylabel(words)
        most = max(
            most, 5 * mad_width(mas[rows]) if rows.size > 2 else float(np.nanmax(np.abs(mas), initial=0))
        )
        note(axes, f"scatter {mad_width(mas[rows]):.1f} mas, {len(rows)} stars")
    panels[0].set_ylim(-max(most, 1), max(most, 1))
    panels[1].set_xlabel("catalog magnitude")
    panels[1].legend(loc="lower left", ncols=2)


def _running(axes: Axes, mag: FloatArray, values: FloatArray) -> None:
    """Median and scatter in bins of equal numbers of stars."""
    groups = np.array_split(np.argsort(mag, kind="stable"), min(12, max(1, len(mag) // 20)))
    points = [(median(mag[g]), median(values[g]), mad_width(values[g])) for g in groups if g.size]
    middle, centre, width = np.array(points).reshape(-1, 3).T
    axes.plot(middle, centre, "-", color=INK, lw=1.3, label="median")
    axes.plot(middle, centre + width, "--", color=ORANGE, lw=1.2, label="scatter")
    axes.plot(middle, centre - width, "--", color=ORANGE, lw=1.2)


def paint_score(figure: Figure, histograms: Table, quadrants: Table, limits: Limits) -> None:
    """Score on empty sky against the normal curve, and every quadrant's mean and width."""
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    counts = score_counts(histograms)
    middle = (SCORE_EDGES[:-1] + SCORE_EDGES[1:]) / 2
    total = max(counts.sum(), 1)
    normal = total * 0.1 * np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi)
    left.stairs(counts, SCORE_EDGES, color=BLUE, fill=True, alpha=0.35)
    left.stairs(counts, SCORE_EDGES, color=BLUE, label="measured")
    left.plot(middle, normal, color=RED, lw=1.3, label="normal, width 1")
    left.set(yscale="log", ylim=(0.5, 3 * max(counts.max(), normal.max(), 1)), xlim=(-8, 8))
    left.set(xlabel="score on empty sky", ylabel="pixels per 0.1")
    left.legend(loc="upper right")
    note(left, f"{int(counts.sum()):,} pixels")
    mean, width = numbers(quadrants, "score_mean"), numbers(quadrants, "score_width")
    many = len(mean) > 1000
    right.plot(mean, width, "o", ms=2 if many else 3.5, color=BLUE, alpha=0.3 if many else 0.6, mew=0)
    _box(right, limits.max_score_offset, limits.max_score_width_offset)
    right.set_xlim(*_about(0.0, mean, limits.max_score_offset))
    right.set_ylim(*_about(1.0, width, limits.max_score_width_offset))
    right.set(xlabel="mean per quadrant", ylabel="width per quadrant")


def score_counts(histograms: Table) -> FloatArray:
    """Counts of all quadrants together in the bins of `SCORE_EDGES`; rows outside them are ignored."""
    low, count = numbers(histograms, "low"), numbers(histograms, "count")
    place = np.round((np.nan_to_num(low, nan=-99.0) - SCORE_EDGES[0]) * 10).astype(int)
    known = (place >= 0) & (place < len(SCORE_EDGES) - 1) & np.isfinite(count)
    return np.bincount(place[known], weights=count[known], minlength=len(SCORE_EDGES) - 1)


def _about(centre: float, values: FloatArray, limit: float) -> tuple[float, float]:
    """Axis limits about ``centre`` that show the allowed range and all but the farthest values."""
    far = np.abs(values[np.isfinite(values)] - centre)
    reach = 1.15 * max(1.2 * limit, float(np.percentile(far, 98)) if far.size else 0.0)
    return centre - reach, centre + reach


def _box(axes: Axes, x: float, y: float) -> None:
    axes.plot([-x, x, x, -x, -x], [1 - y, 1 - y, 1 + y, 1 + y, 1 - y], "--", color=GREY, lw=1)


def paint_counts(figure: Figure, quadrants: Table, settings: ReportSettings) -> None:
    """Candidates and alerts by readout channel: every exposure a dot, the median a bar."""
    axes = figure.subplots()
    channels = channels_of(quadrants)
    known = {channel: place for place, channel in enumerate(sorted(set(channels)))}
    place = np.array([known[channel] for channel in channels], dtype=float)
    for name, offset, colour, words in (
        ("n_candidates", -0.18, BLUE, "candidates"),
        ("n_alerts", 0.18, ORANGE, "alerts"),
    ):
        values = numbers(quadrants, name)
        centre = np.array([median(values[place == number]) for number in known.values()])
        axes.bar(
            np.arange(len(known)) + offset, np.nan_to_num(centre), 0.34, color=colour, alpha=0.55, label=words
        )
        few = thinned(len(values), settings.max_points)
        axes.plot(place[few] + offset, values[few], ".", ms=2.5, color=colour, mew=0, alpha=0.7)
    most, middle = (
        np.nanmax(numbers(quadrants, "n_candidates"), initial=1),
        median(numbers(quadrants, "n_candidates")),
    )
    if most > 20 * max(middle, 1):
        axes.set_yscale("symlog", linthresh=10)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(bottom=0)
    axes.set(xlabel="channel (CCD.quadrant)", ylabel="number per quadrant", xlim=(-0.6, len(known) - 0.4))
    every = -(-len(known) // 16)
    axes.set_xticks(list(known.values())[::every], [f"{c}.{q}" for c, q in list(known)[::every]])
    axes.legend(ncols=2, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)


def channels_of(quadrants: Table) -> list[tuple[int, int]]:
    """(ccd, quadrant) of every row."""
    return list(zip(quadrants["ccd"].tolist(), quadrants["quadrant"].tolist(), strict=True))


def paint_focal_plane(figure: Figure, record: NightRecord) -> None:
    """Maps of the focal plane: the median over the night of six numbers."""
    quadrants = record.quadrants
    done = np.array([float(state == DONE) for state in states(quadrants)])
    depth = minus_median(numbers(quadrants, "limiting_mag"), texts(quadrants, "band"))
    rms = np.hypot(numbers(quadrants, "rms_ra_arcsec"), numbers(quadrants, "rms_dec_arcsec")) / np.sqrt(2)
    maps = (  # title, values, smallest range of the colours
        ("done (fraction)", done, 0.0),
        ("seeing (arcsec)", numbers(quadrants, "seeing_arcsec"), 0.2),
        ("depth minus band's median (mag)", depth, 0.2),
        ("astrometric scatter (mas)", 1000 * rms, 20.0),
        ("width of the score", numbers(quadrants, "score_width"), 0.05),
        ("candidates", numbers(quadrants, "n_candidates"), 10.0),
    )
    inches, total = _map_height(record), focal_plane_size(record)[1]
    margins = {"left": 0.01, "right": 0.99, "bottom": 0.5 / total, "top": 1 - 0.3 / total, "wspace": 0.05}
    panels = grid_of(figure, 2, 3, **margins, hspace=0.9 / inches)
    outlines = _outlines(record)
    for axes, (title, values, span) in zip(panels, maps, strict=True):
        combine = median if span else mean
        shown = by_channel(quadrants, values, list(outlines), combine)
        _map(figure, axes, outlines, shown, _colour_limits(shown, span) if span else (0.0, 1.0), inches)
        axes.set_title(title)


def focal_plane_size(record: NightRecord) -> tuple[float, float]:
    """Inches of the figure of maps: as high as the focal plane asks for."""
    return 11.4, 2 * _map_height(record) + 1.7


def _map_height(record: NightRecord) -> float:
    """Inches of one map."""
    outlines = list(_outlines(record).values())
    width, height = np.ptp(np.concatenate(outlines), axis=0) if outlines else (1.0, 1.0)
    return 3.3 * float(np.clip(height / width, 0.25, 1.4))


def _outlines(record: NightRecord) -> FocalPlane:
    return record.focal_plane or grid_focal_plane(channels_of(record.quadrants))


def mean(values: FloatArray) -> float:
    """Mean; NaN without values."""
    return float(np.mean(values)) if values.size else float("nan")


def by_channel(
    quadrants: Table,
    values: FloatArray,
    channels: Sequence[tuple[int, int]],
    combine: Callable[[FloatArray], float],
) -> FloatArray:
    """``combine`` of the values of each channel; NaN for a channel without rows."""
    rows: dict[tuple[int, int], list[int]] = {channel: [] for channel in channels}
    for row, channel in enumerate(channels_of(quadrants)):
        rows.setdefault(channel, []).append(row)
    return np.array([combine(values[rows[channel]]) for channel in channels])


def _map(
    figure: Figure,
    axes: Axes,
    outlines: FocalPlane,
    shown: FloatArray,
    limits: tuple[float, float],
    inches: float,
) -> None:
    patches = PolyCollection(list(outlines.values()), edgecolors="white", linewidths=0.6, cmap=_colours())
    patches.set_array(np.ma.masked_invalid(shown))
    patches.set_clim(*limits)
    axes.add_collection(patches)
    axes.autoscale_view()
    axes.invert_xaxis()
    axes.set_aspect("equal")
    axes.set_axis_off()
    _name_channels(axes, outlines, shown, limits)
    bar = figure.colorbar(
        patches, cax=axes.inset_axes((0.1, -0.22 / inches, 0.8, 0.1 / inches)), orientation="horizontal"
    )
    bar.locator = MaxNLocator(4)
    bar.outline.set_visible(False)


def _name_channels(axes: Axes, outlines: FocalPlane, shown: FloatArray, limits: tuple[float, float]) -> None:
    """CCD and quadrant in every outline, while they are few enough to read."""
    if len(outlines) > 64:
        return
    size = 8 if len(outlines) <= 16 else 5
    for (ccd, quadrant), corners, value in zip(outlines, outlines.values(), shown, strict=True):
        bright = not np.isfinite(value) or value > 0.6 * limits[1] + 0.4 * limits[0]
        x, y = corners.mean(axis=0)
        name = axes.text(x, y, f"{ccd}.{quadrant}", ha="center", va="center", size=size)
        name.set(color=INK if bright else "white", in_layout=False)


def _colours() -> Colormap:
    return matplotlib.colormaps["viridis"].with_extremes(bad="#d9dde1")


def _colour_limits(shown: FloatArray, span: float) -> tuple[float, float]:
    """The range of the values, widened about its middle to at least ``span``."""
    finite = shown[np.isfinite(shown)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    wider = max(0.0, span - (high - low)) / 2
    return low - wider, high + wider


def paint_run_times(figure: Figure, quadrants: Table, limits: Limits) -> None:
    """Histograms of processing time and peak memory."""
    left, right = figure.subplots(1, 2)
    for axes, name, limit, words in (
        (left, "seconds", limits.max_seconds, "seconds per quadrant"),
        (right, "peak_memory_mb", limits.max_memory_mb, "peak memory (MB)"),
    ):
        values = numbers(quadrants, name)
        finite = values[np.isfinite(values)]
        axes.set_xlabel(words)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        if not finite.size:
            note(axes, "not recorded")
            continue
        top = max(float(finite.max()) * 1.1, 1e-3)
        axes.hist(finite, bins=30, range=(0, top), color=BLUE, alpha=0.75)
        axes.axvline(median(finite), color=INK, lw=1.2)
        if limit < 1.3 * top:
            axes.axvline(limit, color=GREY, ls="--", lw=1)
        note(axes, f"median {rounded(median(finite))}\nlargest {rounded(finite.max())}")
    left.set_ylabel("quadrants")


def rounded(value: float) -> str:
    """A few digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
