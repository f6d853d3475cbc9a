"""What a report is made of: one night's numbers, and the settings that judge them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from zsds.core.camera import Camera
from zsds.core.difference import SCORE_EDGES
from zsds.core.tables import check_table, columns, new_table

FloatArray = NDArray[np.float64]
FocalPlane = Mapping[tuple[int, int], FloatArray]


@dataclass(frozen=True)
class Limits:
    """What a quadrant's numbers may be before the report points at them."""

    max_jitter_arcsec: float = 0.05  # astrometric scatter per axis beyond the stars' own noise
    max_shift_arcsec: float = 60.0  # pointing error
    max_seeing_arcsec: float = 4.0  # FWHM
    max_psf_residual: float = 0.01  # largest pixel of the stars' mean residual, of a star's flux
    max_score_offset: float = 0.05  # |mean| of the score on empty sky
    max_score_width_offset: float = 0.05  # |width - 1| of the score on empty sky
    max_registration_px: float = 0.1  # reference against science, scatter
    max_zero_point_rms: float = 0.05  # mag
    max_transparency_range: float = 0.1  # mag over an image, taken out: clouds, or a flat that is wrong
    max_patchiness: float = 0.02  # mag between places, left: clouds
    max_zero_point_loss: float = 0.3  # mag below the median of the same channel and band: clouds
    max_depth_loss: float = 0.75  # mag brighter than the median limit of the same band
    max_own_epochs: int = 0  # of the night in the reference it is subtracted from
    min_calibrators: int = 30  # stars of the zero point
    min_astrometry: int = 30  # matches with Gaia
    min_stars: int = 20  # stars of the PSF
    max_candidates: int = 2000  # per quadrant, both signs
    max_seconds: float = 30.0  # per quadrant, both steps
    max_memory_mb: float = 2048.0  # largest of the process


@dataclass(frozen=True)
class DoubtLimits:
    """What an alert's features may be before it counts as doubtful; ZTF's own cuts are in brackets."""

    max_chipsf: float = 5.0  # reduced chi-square of the PSF fit
    max_elong: float = 1.4  # (1.6)
    max_nbad: float = 0.0  # (4)
    max_nneg: float = 8.0  # of the 25 pixels of a 5 x 5 box
    min_sumrat: float = 0.7  # noise alone gives about 0
    max_magdiff: float = 0.4  # |aperture - PSF| mag
    min_mindtoedge: float = 10.0  # pixels
    min_drb: float = 0.5  # a classifier's score


@dataclass(frozen=True)
class ReportSettings:
    """How long a report may be, and what it points at."""

    limits: Limits = field(default_factory=Limits)
    doubts: DoubtLimits = field(default_factory=DoubtLimits)
    max_quadrant_rows: int = 1200  # those outside the limits are kept first
    max_exposure_rows: int = 1500  # exposures listed
    max_ids: int = 12  # ids shown per reason before the rest is folded away
    max_folded_ids: int = 500  # ids in the fold
    n_best_alerts: int = 6  # cards of the strongest without doubt
    n_doubtful_alerts: int = 6  # cards of the most doubtful
    max_points: int = 20000  # per scatter plot; medians use all
    dots_per_inch: int = 130  # of the plots


@dataclass(frozen=True)
class NightRecord:
    """One night, as the report needs it.

    Parameters
    ----------
    night : str
        ``YYYYMMDD``.
    camera, software : str
        Name of the camera; version of the software.
    quadrants, residuals, score_histograms : Table
        Declared in ``schemas/tables``.
    alerts : sequence of mapping
        Decoded packets of schema 4.02; a sample will do.
    truth : mapping of str to number, optional
        Figures of a simulated night, such as completeness and purity.
    focal_plane : mapping of (ccd, quadrant) to array [4, 2], optional
        Corners of the quadrants, `focal_plane_of`; a plain grid when not given.
    band_names : mapping of int to str
        Filter number in packets -> band code.

    Raises
    ------
    ValueError
        If a table's columns are not the declared ones.
    """

    night: str
    camera: str
    software: str
    quadrants: Table
    residuals: Table
    score_histograms: Table
    alerts: Sequence[Mapping[str, Any]] = ()
    truth: Mapping[str, float] | None = None
    focal_plane: FocalPlane | None = None
    band_names: Mapping[int, str] = field(default_factory=lambda: {1: "zg", 2: "zr", 3: "zi"})

    def __post_init__(self) -> None:
        for name in ("quadrants", "residuals", "score_histograms"):
            check_table(getattr(self, name), name)


def empty_quadrants(length: int = 0) -> Table:
    """Table ``quadrants`` whose every number is unknown: NaN, and -1 for counts."""
    table = new_table("quadrants", length)
    for column in columns("quadrants"):
        if column.dtype == "float64":
            table[column.name] = np.full(length, np.nan)
        elif column.name.startswith("n_"):
            table[column.name] = np.full(length, -1, dtype=np.int64)
        table[column.name].unit = column.unit
    return table


def count_scores(identifier: str, score: ArrayLike) -> Table:
    """Rows of the table ``score_histograms`` for the empty-sky pixels of one score image.

    Parameters
    ----------
    identifier : str
        Quadrant id.
    score : array of float
        Score of the pixels on empty sky, any shape; NaNs and values beyond +-8 are not counted.
    """
    values = np.asarray(score, dtype=np.float64).ravel()
    return score_rows(identifier, np.histogram(values[np.isfinite(values)], SCORE_EDGES)[0])


def score_rows(identifier: str, counts: ArrayLike) -> Table:
    """Rows of the table ``score_histograms`` for a quadrant's counts in the bins of `SCORE_EDGES`."""
    table = new_table("score_histograms", len(SCORE_EDGES) - 1)
    table["id"] = np.full(len(table), identifier, dtype=table["id"].dtype)
    table["low"], table["count"] = SCORE_EDGES[:-1], np.asarray(counts, dtype=np.int64)
    return table


def focal_plane_of(camera: Camera) -> dict[tuple[int, int], FloatArray]:
    """Corners of every quadrant in the tangent plane: arrays [4, 2] of (east, north) in arcsec."""
    return {
        (ccd, quadrant): _corners(amplifier, camera.pixel_scale_arcsec)
        for ccd, detector in sorted(camera.detectors.items())
        for quadrant, amplifier in sorted(detector.amplifiers.items())
    }


def _corners(amplifier: Any, scale: float) -> FloatArray:
    ny, nx = amplifier.shape
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array([nx, ny]) * scale / 2
    square[:, 0] *= 1 if amplifier.mirrored else -1
    angle = np.radians(amplifier.rotation_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(square @ turn.T + np.array([amplifier.x_arcsec, amplifier.y_arcsec]))


def grid_focal_plane(channels: Sequence[tuple[int, int]]) -> dict[tuple[int, int], FloatArray]:
    """Corners on a plain grid, for a camera whose geometry is not given.

    CCDs fill a near-square grid from the lower left, rows upwards; the four quadrants of a CCD run
    clockwise from the upper left.
    """
    ccds = sorted({ccd for ccd, _ in channels})
    wide = int(np.ceil(np.sqrt(max(len(ccds), 1))))
    n_quadrants = max((quadrant for _, quadrant in channels), default=1)
    split = 1 if n_quadrants <= 1 else int(np.ceil(np.sqrt(n_quadrants)))
    corners = {}
    for ccd, quadrant in sorted(set(channels)):
        row, column = divmod(ccds.index(ccd), wide)
        right, up = _place(quadrant, split)
        low = np.array([column, row]) * 1.1 + np.array([right, up]) / split
        square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * 0.96 / split
        corners[ccd, quadrant] = (low + square) * np.array([-1.0, 1.0])
    return corners


def _place(quadrant: int, split: int) -> tuple[int, int]:
    if split == 2 and 1 <= quadrant <= 4:
        return ((0, 1), (1, 1), (1, 0), (0, 0))[quadrant - 1]
    up, right = divmod(quadrant - 1, split)
    return right, up
