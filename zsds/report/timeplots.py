"""Figures with the night's hours along the axis: zero point, depth, seeing, sky."""

from datetime import UTC, datetime, timedelta

import numpy as np
from astropy.table import Table
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zsds.core.ids import MJD_UNIX_EPOCH
from zsds.report.drawing import GREY, band_style, label, limits_of, thinned
from zsds.report.record import FloatArray, ReportSettings
from zsds.report.summary import exposure_names, median, minus_median, numbers, texts


def hours(quadrants: Table) -> FloatArray:
    """Hours since 0 UT of the night's first exposure; NaN where the time is unknown."""
    mjd = numbers(quadrants, "start_mjd")
    return 24 * (mjd - first_day(mjd))


def first_day(mjd: FloatArray) -> float:
    """MJD of 0 UT before the first time; 0 without any."""
    finite = mjd[np.isfinite(mjd)]
    return float(np.floor(finite.min())) if finite.size else 0.0


def paint_zero_points(figure: Figure, quadrants: Table, settings: ReportSettings) -> None:
    """Zero point of every quadrant, and what is left after the median of its channel and band."""
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    values = numbers(quadrants, "zero_point")
    _series(top, quadrants, values, settings, numbers(quadrants, "zero_point_err"))
    top.set_ylabel("zero point (mag)")
    ccd, quadrant = quadrants["ccd"].tolist(), quadrants["quadrant"].tolist()
    left = minus_median(values, list(zip(texts(quadrants, "band"), ccd, quadrant, strict=True)))
    _series(bottom, quadrants, left, settings)
    bottom.axhline(-settings.limits.max_zero_point_loss, color=GREY, ls="--", lw=1)
    bottom.set_ylim(*limits_of(np.append(left, [0, -settings.limits.max_zero_point_loss]), 0.1))
    bottom.set_ylabel("minus channel's\nmedian (mag)")
    _finish(bottom, quadrants)
    _legend(top)


def paint_depth_and_seeing(figure: Figure, quadrants: Table, settings: ReportSettings) -> None:
    """Limiting magnitude of the image and of the difference, and seeing."""
    top, middle, bottom = figure.subplots(3, 1, sharex=True)
    image, difference = numbers(quadrants, "limiting_mag"), numbers(quadrants, "difference_limiting_mag")
    for axes, values, words in (
        (top, image, "image\nlimit (mag)"),
        (middle, difference, "difference\nlimit (mag)"),
        (bottom, numbers(quadrants, "seeing_arcsec"), "seeing FWHM\n(arcsec)"),
    ):
        _series(axes, quadrants, values, settings)
        axes.set_ylabel(words)
    both = limits_of(np.concatenate([image, difference]), 0.3)
    top.set_ylim(*both)
    middle.set_ylim(*both)
    _limit(bottom, settings.limits.max_seeing_arcsec)
    _finish(bottom, quadrants)
    _legend(top)


def paint_sky(figure: Figure, quadrants: Table, settings: ReportSettings) -> None:
    """Median sky level of every quadrant."""
    axes = figure.subplots()
    values = numbers(quadrants, "sky_e")
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size and positive.max() > 20 * positive.min():
        axes.set_yscale("log")
        values = np.where(values > 0, values, np.nan)
    _series(axes, quadrants, values, settings)
    axes.set_ylabel("sky (electrons)")
    _finish(axes, quadrants)
    _legend(axes)


def _series(
    axes: Axes,
    quadrants: Table,
    values: FloatArray,
    settings: ReportSettings,
    errors: FloatArray | None = None,
) -> None:
    """Quadrants as faint dots, exposures' medians as marks joined by a line; one colour per band."""
    time, band = hours(quadrants), np.array(texts(quadrants, "band"), dtype=object)
    exposure = np.array(exposure_names(quadrants), dtype=object)
    bands = sorted(set(band))
    for name in bands:
        colour, marker = band_style(name, bands)
        rows = np.flatnonzero((band == name) & np.isfinite(values) & np.isfinite(time))
        if not rows.size:
            continue
        few = rows[thinned(len(rows), settings.max_points)]
        small = len(few) > 500
        axes.plot(time[few], values[few], ".", ms=3 if small else 5, color=colour, alpha=0.4, mew=0)
        if errors is not None and len(few) <= 300:
            axes.errorbar(time[few], values[few], errors[few], fmt="none", ecolor=colour, alpha=0.35, lw=0.8)
        middle = _exposure_medians(exposure[rows], time[rows], values[rows])
        size = 5 if len(middle) <= 60 else 3
        axes.plot(*middle.T, marker + "-", ms=size, lw=0.8, color=colour, label=label(name or "no band"))


def _exposure_medians(exposure: np.ndarray, time: FloatArray, values: FloatArray) -> FloatArray:
    """(hours, median) of every exposure in time order [n, 2]."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(exposure):
        rows.setdefault(name, []).append(row)
    points = [(median(time[members]), median(values[members])) for members in rows.values()]
    return np.array(sorted(points), dtype=np.float64)


def _finish(axes: Axes, quadrants: Table) -> None:
    mjd = numbers(quadrants, "start_mjd")
    day = datetime.fromtimestamp(0, UTC) + timedelta(days=min(first_day(mjd), 1e6) - MJD_UNIX_EPOCH)
    axes.set_xlabel(f"hours after {day:%Y-%m-%d} 0 h UT")
    time = hours(quadrants)
    finite = time[np.isfinite(time)]
    if finite.size and finite.max() - finite.min() < 0.1:
        axes.set_xlim(finite.mean() - 0.1, finite.mean() + 0.1)


def _limit(axes: Axes, value: float) -> None:
    """A dashed line at a limit, when the data come near it."""
    low, high = axes.get_ylim()
    if low < value < high * 1.3:
        axes.axhline(value, color=GREY, ls="--", lw=1)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(ncols=6, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)
