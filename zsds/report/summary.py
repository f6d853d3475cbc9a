"""A night in words and numbers: states, reasons, limits, medians. Plain functions without plots."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zsds.report.record import FloatArray, Limits

DONE, WAITING, REJECTED, FAILED, PENDING = "done", "waiting for reference", "rejected", "failed", "not run"
STATES = (FAILED, REJECTED, WAITING, PENDING, DONE)
_HINTS = (  # words of a reason -> what to do about it; the first that fits
    (
        r"gaia|catalog",
        "Are the reference catalogs of this field at hand? See zsds doctor; zsds catalogs fetch.",
    ),
    (
        r"astrometr|pattern|wcs|pointing|match",
        "Compare the pointing in the raw header with the field, then the camera file's geometry.",
    ),
    (
        r"zero.?point|photometr|calibrator|colour",
        "Clouds, or too few calibrators: compare the zero point with its neighbours in time.",
    ),
    (r"registration|kernel|subtract|score", "Look at the difference image and at the reference it used."),
    (r"saturat|bright|twilight", "Twilight, a very bright star or the dome light: compare the sky level."),
    (
        r"flat|bias|overscan|calibration|dark",
        "Check the night's calibration frames; zsds calibrate makes them anew.",
    ),
    (
        r"reference",
        "Too few good epochs of this field and band yet; zsds references builds one when there are.",
    ),
    (
        r"psf|few sources|few stars|no stars|seeing|defocus|elongat",
        "Closed dome, clouds, defocus or tracking: look at the image and its neighbours in time.",
    ),
    (r"crowd", "Very crowded field: raise the detection threshold for it."),
    (r"sky|background|noise", "Moon, clouds, stray light or a dead amplifier: look at the raw image."),
    (r"usable pixels|mask", "Most pixels are masked: check the bad-pixel mask and the raw image."),
    (
        r"memory|killed|worker|timed? ?out|lease",
        "The machine ran out of memory or time: run the night again with fewer workers.",
    ),
    (
        r"checksum|truncat|header|fits|extension|no such file|filenotfound|permission|badinput",
        "The file cannot be read: copy it again from the telescope, zsds ingest it, and run the night again.",
    ),
)
_DEFAULT_HINTS = {
    FAILED: "A fault of the software: its traceback is in the log. Report it, then run the night again.",
    REJECTED: "Look at the image: the numbers that condemned it follow the reason.",
    WAITING: "No reference image yet; zsds references builds one when there are enough good epochs.",
}


@dataclass(frozen=True)
class Trouble:
    """Quadrants that share a reason: their state, the reason, one full text, the ids, what to do."""

    state: str
    reason: str
    example: str
    ids: tuple[str, ...]
    hint: str


@dataclass(frozen=True)
class Bound:
    """Where a column's values lie outside the limits: arrays of bool, one value per quadrant."""

    column: str
    too_low: NDArray[np.bool_]
    too_high: NDArray[np.bool_]
    words: str

    @property
    def outside(self) -> NDArray[np.bool_]:
        """Too low or too high."""
        return self.too_low | self.too_high


def texts(table: Table, name: str) -> list[str]:
    """A column as text; masked entries are empty."""
    return [str(value) for value in np.ma.filled(np.ma.asarray(table[name]).astype(str), "")]


def numbers(table: Table, name: str) -> FloatArray:
    """A column as float; unknown values (masked, infinite, negative counts, dates before 1858) are NaN."""
    values = np.ma.filled(np.ma.asarray(table[name]).astype(np.float64), np.nan)
    unknown = ~np.isfinite(values)
    if name.startswith("n_"):
        unknown |= values < 0
    if name == "start_mjd":
        unknown |= values <= 0
    return np.where(unknown, np.nan, values)


def median(values: FloatArray) -> float:
    """Median of the finite values; NaN without any."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float("nan")


def states(quadrants: Table) -> list[str]:
    """One word per quadrant for both steps together: the worse of the two."""
    pairs = zip(texts(quadrants, "science_state"), texts(quadrants, "difference_state"), strict=True)
    return [_state(science.strip(), difference.strip()) for science, difference in pairs]


def _state(science: str, difference: str) -> str:
    for state in (FAILED, REJECTED, WAITING):
        if state in (science, difference):
            return state
    return DONE if science == DONE and difference in ("", DONE) else PENDING


def exposure_names(quadrants: Table) -> list[str]:
    """The exposure each quadrant belongs to: its id without CCD and quadrant."""
    return [re.sub(r"_c\d+_o_q\d+$", "", identifier) for identifier in texts(quadrants, "id")]


def troubles(quadrants: Table) -> list[Trouble]:
    """Quadrants that did not end well or whose products are lost, by state and reason: large groups first.

    Reasons that differ only in their numbers belong together.
    """
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    rows = zip(states(quadrants), texts(quadrants, "reason"), texts(quadrants, "id"), strict=True)
    for state, reason, identifier in rows:
        if state in (FAILED, REJECTED, WAITING) or (state == DONE and reason):
            short = _short(reason) or ("no reason given" if state != WAITING else WAITING)
            groups.setdefault((state, re.sub(r"\d+(\.\d+)?", "#", short)), []).append((identifier, reason))
    found = [_trouble(state, members) for (state, _), members in groups.items()]
    return sorted(found, key=lambda t: (STATES.index(t.state), -len(t.ids), t.reason))


def _trouble(state: str, members: Sequence[tuple[str, str]]) -> Trouble:
    example = members[0][1].strip()
    reason = _short(example) or ("no reason given" if state != WAITING else WAITING)
    return Trouble(state, reason, example, tuple(sorted(i for i, _ in members)), hint(state, example))


def _short(reason: str) -> str:
    lines = reason.strip().splitlines()
    return re.sub(r"\s*\([^()]*\)\s*$", "", lines[0]).strip() if lines else ""


def hint(state: str, reason: str) -> str:
    """What to do about a quadrant that ended in ``state`` for ``reason``."""
    if state == DONE:
        return "Made, but no longer readable, and left out here: zsds night --again makes it anew."
    for words, remedy in _HINTS:
        if re.search(words, reason.lower()):
            return remedy
    return _DEFAULT_HINTS.get(state, "")


def bounds(quadrants: Table, limits: Limits) -> list[Bound]:
    """The columns that have limits, and where each quadrant stands."""
    width = limits.max_score_width_offset
    fixed = (
        ("jitter_arcsec", None, limits.max_jitter_arcsec),
        ("shift_arcsec", None, limits.max_shift_arcsec),
        ("seeing_arcsec", None, limits.max_seeing_arcsec),
        ("psf_residual", None, limits.max_psf_residual),
        ("score_mean", -limits.max_score_offset, limits.max_score_offset),
        ("score_width", 1 - width, 1 + width),
        ("registration_px", None, limits.max_registration_px),
        ("n_own_epochs", None, limits.max_own_epochs),
        ("zero_point_rms", None, limits.max_zero_point_rms),
        ("transparency_range", None, limits.max_transparency_range),
        ("patchiness", None, limits.max_patchiness),
        ("n_calibrators", limits.min_calibrators, None),
        ("n_astrometry", limits.min_astrometry, None),
        ("n_stars", limits.min_stars, None),
        ("n_candidates", None, limits.max_candidates),
        ("seconds", None, limits.max_seconds),
        ("peak_memory_mb", None, limits.max_memory_mb),
    )
    found = [_bound(column, numbers(quadrants, column), low, high) for column, low, high in fixed]
    return found + _relative_bounds(quadrants, limits)


def _bound(column: str, values: FloatArray, low: float | None, high: float | None) -> Bound:
    slack = 1e-9  # so that a value that equals its limit in decimal digits lies inside
    none = np.zeros(len(values), dtype=bool)
    too_low = none if low is None else values < low - slack
    too_high = none if high is None else values > high + slack
    if low is None:
        words = f"above {high:g}"
    elif high is None:
        words = f"below {low:g}"
    else:
        words = f"outside {low:g} to {high:g}"
    return Bound(column, too_low, too_high, words)


def _relative_bounds(quadrants: Table, limits: Limits) -> list[Bound]:
    band = texts(quadrants, "band")
    channel = list(zip(band, quadrants["ccd"].tolist(), quadrants["quadrant"].tolist(), strict=True))
    none = np.zeros(len(quadrants), dtype=bool)
    zero_point = minus_median(numbers(quadrants, "zero_point"), channel)
    depth = minus_median(numbers(quadrants, "limiting_mag"), band)
    return [
        Bound(
            "zero_point",
            zero_point < -limits.max_zero_point_loss,
            none,
            f"more than {limits.max_zero_point_loss:g} mag below the channel's median",
        ),
        Bound(
            "limiting_mag",
            depth < -limits.max_depth_loss,
            none,
            f"more than {limits.max_depth_loss:g} mag brighter than the band's median",
        ),
    ]


def minus_median(values: FloatArray, groups: Sequence[object]) -> FloatArray:
    """Values minus the median of their group."""
    members: dict[object, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    result = np.array(values)
    for rows in members.values():
        result[rows] -= median(values[rows])
    return result


def counted(number: int, noun: str) -> str:
    """``1 quadrant``, ``2 quadrants``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
