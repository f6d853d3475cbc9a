"""The plots of a report in order: title, caption, size, painter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from zsds.report import plots, timeplots
from zsds.report.drawing import draw
from zsds.report.markup import Markup, element, picture
from zsds.report.record import NightRecord, ReportSettings
from zsds.report.summary import numbers

SQUARE, LOW, WIDE, FLAT = (5.6, 5.0), (5.6, 3.6), (11.4, 4.4), (11.4, 2.8)  # inches


@dataclass(frozen=True)
class Plot:
    """One figure of the report; drawn only when ``has_data``."""

    title: str
    caption: str
    has_data: bool
    size: tuple[float, float]
    paint: Callable[[Figure], None]


def plot_section(night: NightRecord, settings: ReportSettings) -> Markup:
    """All plots, each with its title and a caption that says what to look for."""
    found = (*_time_plots(night, settings), *_residual_plots(night, settings), *_other_plots(night, settings))
    return element("div", *(_figure(plot, settings) for plot in found), class_="plots")


def _figure(plot: Plot, settings: ReportSettings) -> Markup:
    class_ = "wide" if plot.size[0] > 8 else None
    if not plot.has_data:
        nothing = element("p", "No data.", class_="quiet")
        return element("figure", element("h3", plot.title), nothing, class_=class_)
    image = picture(draw(plot.paint, plot.size, settings.dots_per_inch), f"{plot.title}. {plot.caption}")
    words = element("figcaption", plot.caption)
    return element("figure", element("h3", plot.title), image, words, class_=class_)


def _known(night: NightRecord, *names: str) -> bool:
    return any(np.isfinite(numbers(night.quadrants, name)).any() for name in names)


def _time_plots(night: NightRecord, settings: ReportSettings) -> Iterator[Plot]:
    table, timed = night.quadrants, _known(night, "start_mjd")
    yield Plot(
        "Zero point",
        "Marks are medians of an exposure, dots its quadrants. A dip is cloud. "
        f"Dashed: {settings.limits.max_zero_point_loss:g} mag below the channel's median.",
        timed and _known(night, "zero_point"),
        SQUARE,
        lambda figure: timeplots.paint_zero_points(figure, table, settings),
    )
    yield Plot(
        "Depth and seeing",
        "Limits are 5 sigma for a point source. "
        f"Dashed: the largest seeing allowed, {settings.limits.max_seeing_arcsec:g} arcsec.",
        timed and _known(night, "limiting_mag", "difference_limiting_mag", "seeing_arcsec"),
        SQUARE,
        lambda figure: timeplots.paint_depth_and_seeing(figure, table, settings),
    )
    yield Plot(
        "Sky level",
        "Moon, twilight and clouds.",
        timed and _known(night, "sky_e"),
        LOW,
        lambda figure: timeplots.paint_sky(figure, table, settings),
    )
    yield Plot(
        "Candidates and alerts",
        "Bars are medians of a channel, dots its exposures. A channel far above its neighbours is at fault.",
        _known(night, "n_candidates", "n_alerts"),
        LOW,
        lambda figure: plots.paint_counts(figure, table, settings),
    )


def _residual_plots(night: NightRecord, settings: ReportSettings) -> Iterator[Plot]:
    stars = night.residuals
    placed = bool(len(plots.bin_residuals(stars).x))
    yield Plot(
        "Astrometric residuals over the quadrant",
        "Median of measured minus catalog position, all quadrants together: to the right is positive in "
        "RA cos Dec, upwards in Dec. A pattern is distortion left over.",
        placed,
        SQUARE,
        lambda figure: plots.paint_residual_field(figure, stars),
    )
    yield Plot(
        "Astrometric residuals by magnitude",
        "The scatter grows to the faint end; a slope at the bright end is saturation or charge transfer.",
        placed and bool(np.isfinite(numbers(stars, "mag")).any()),
        SQUARE,
        lambda figure: plots.paint_residuals_by_magnitude(figure, stars, settings),
    )


def _other_plots(night: NightRecord, settings: ReportSettings) -> Iterator[Plot]:
    table, histograms, limits = night.quadrants, night.score_histograms, settings.limits
    counted = bool(plots.score_counts(histograms).any())
    yield Plot(
        "Score on empty sky",
        "All quadrants together against the normal curve of width 1, and the mean and width of each, the "
        "limits dashed. Wings are artefacts; another width is a wrong noise model.",
        counted or _known(night, "score_mean", "score_width"),
        WIDE,
        lambda figure: plots.paint_score(figure, histograms, table, limits),
    )
    yield Plot(
        "Focal plane",
        "Medians over the night; north is up and east left where the camera's geometry is known. "
        "Grey has no data.",
        len(table) > 0,
        plots.focal_plane_size(night),
        lambda figure: plots.paint_focal_plane(figure, night),
    )
    yield Plot(
        "Run time and memory",
        "The line is the median, dashed the limit.",
        _known(night, "seconds", "peak_memory_mb"),
        FLAT,
        lambda figure: plots.paint_run_times(figure, table, limits),
    )
