"""A night's report as one HTML page, and its summary as lines of text."""

from zsds.report.record import (
    SCORE_EDGES,
    DoubtLimits,
    Limits,
    NightRecord,
    ReportSettings,
    count_scores,
    empty_quadrants,
    focal_plane_of,
    grid_focal_plane,
    score_rows,
)
from zsds.report.summary import states, troubles

__all__ = [
    "SCORE_EDGES",
    "DoubtLimits",
    "Limits",
    "NightRecord",
    "ReportSettings",
    "build_report",
    "count_scores",
    "empty_quadrants",
    "focal_plane_of",
    "grid_focal_plane",
    "score_rows",
    "states",
    "troubles",
]


def build_report(night: NightRecord, settings: ReportSettings | None = None) -> str:
    """A night's report as one HTML page; see `zsds.report.page.build_report`."""
    from zsds.report import page  # noqa: PLC0415  matplotlib takes a second to load: only who draws waits

    return page.build_report(night, settings or ReportSettings())
