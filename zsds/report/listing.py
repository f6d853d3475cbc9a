"""The tables of a report: quadrants, exposures, bands, and the meaning of the columns."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zsds.core.tables import Column, columns
from zsds.report.markup import Markup, element, join
from zsds.report.record import FloatArray, ReportSettings
from zsds.report.summary import DONE, Bound, bounds, counted, exposure_names, median, numbers, states, texts

UNKNOWN = "–"
DECIMALS = {
    "start_mjd": 5, "seeing_px": 2, "seeing_arcsec": 2, "sky_e": 1, "limiting_mag": 2,
    "difference_limiting_mag": 2, "zero_point": 3, "zero_point_err": 4, "zero_point_rms": 3,
    "transparency_range": 3, "patchiness": 3, "colour_coeff": 3, "flux_scale": 4,
    "rms_ra_arcsec": 3, "rms_dec_arcsec": 3, "jitter_arcsec": 3,
    "shift_arcsec": 2, "psf_residual": 4,
    "score_mean": 3, "score_width": 3, "registration_px": 3, "seconds": 1, "peak_memory_mb": 0,
}  # fmt: skip


def shown(value: float, decimals: int | None) -> str:
    """A number as the report writes it: fixed decimals, four significant digits, or a dash."""
    if not np.isfinite(value):
        return UNKNOWN
    if decimals is None:
        return f"{value:.4g}"
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text


def table_of(heads: Sequence[Markup], rows: Sequence[Markup], sortable: bool, caption: str) -> Markup:
    """A table in a box that scrolls."""
    table = element(
        "table",
        element("thead", element("tr", *heads)),
        element("tbody", *rows),
        class_="sortable" if sortable else None,
        aria_label=caption,
    )
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def head(text: str, unit: str | None = None, title: str | None = None, is_text: bool = False) -> Markup:
    """A column's heading with its unit."""
    small = element("small", f"({unit})") if unit else None
    return element("th", text, small, scope="col", title=title, class_="t" if is_text else None)


def heading(column: Column) -> str:
    """A column's name in words, without the unit that stands beside it."""
    name = re.sub("_(arcsec|px|mb)$", "", column.name) if column.unit else column.name
    return name.removeprefix("n_").replace("_", " ")


def quadrant_table(quadrants: Table, settings: ReportSettings) -> Markup:
    """Every quadrant's numbers; cells outside the limits are marked.

    When there are more than ``max_quadrant_rows``, those in trouble or outside the limits stay.
    """
    if not len(quadrants):
        return element("p", "No quadrants.", class_="quiet")
    found = bounds(quadrants, settings.limits)
    rows = rows_to_show(quadrants, found, settings.max_quadrant_rows)
    declared = columns("quadrants")
    cells = [_cells(quadrants, column, found, rows) for column in declared]
    lines = [element("tr", *line) for line in zip(*cells, strict=True)]
    heads = [head(heading(c), c.unit, c.meaning, is_text=c.dtype.startswith("U")) for c in declared]
    words = f"{counted(len(quadrants), 'quadrant')} in all." if len(rows) == len(quadrants) else (
        f"{len(rows)} of {len(quadrants)} quadrants: those in trouble or outside the limits first."
    )  # fmt: skip
    marks = " Arrows mark numbers above or below their limits; click a heading to sort."
    return join(element("p", words + marks), table_of(heads, lines, True, "quadrants"))


def rows_to_show(quadrants: Table, found: Sequence[Bound], most: int) -> NDArray[np.int64]:
    """Rows of the table in the order of the night, at most ``most``, the worst kept."""
    badness = np.array([0 if state == DONE else 100 for state in states(quadrants)])
    for bound in found:
        badness += bound.outside
    kept = np.sort(np.argsort(-badness, kind="stable")[:most])
    time = numbers(quadrants, "start_mjd")[kept]
    names = np.array(texts(quadrants, "id"))[kept]
    return np.asarray(kept[np.lexsort((names, np.nan_to_num(time, nan=np.inf)))])


def _cells(quadrants: Table, column: Column, found: Sequence[Bound], rows: NDArray[np.int64]) -> list[Markup]:
    if column.dtype.startswith("U"):
        values = texts(quadrants, column.name)
        return [_text_cell(column.name, values[row]) for row in rows]
    decimals = 0 if column.dtype == "int64" else DECIMALS.get(column.name)
    number, marks = numbers(quadrants, column.name), _marks(column.name, found, len(quadrants))
    return [element("td", shown(number[row], decimals), class_=marks[row] or None) for row in rows]


def _text_cell(name: str, value: str) -> Markup:
    class_ = "t w" if name == "reason" else "t"
    if name.endswith("_state"):
        known = value.partition(" ")[0]
        class_ = f"t {known}" if known in ("done", "rejected", "failed", "waiting") else "t"
    return element("td", value, class_=class_)


def _marks(name: str, found: Sequence[Bound], length: int) -> NDArray[np.str_]:
    marks = np.full(length, "", dtype="U2")
    for bound in found:
        if bound.column == name:
            marks[bound.too_low], marks[bound.too_high] = "lo", "hi"
    return marks


def exposure_table(quadrants: Table, most: int) -> Markup:
    """One line per exposure: how many quadrants ended how, and medians."""
    groups, start = (
        _rows_by(exposure_names(quadrants)),
        np.nan_to_num(numbers(quadrants, "start_mjd"), nan=np.inf),
    )
    if not groups:
        return element("p", "No exposures.", class_="quiet")
    ordered = sorted(groups, key=lambda name: (start[groups[name]].min(), name))
    line = _summary_lines(quadrants)
    lines = [line(name, groups[name]) for name in ordered[:most]]
    left = len(groups) - len(lines)
    more = element("p", f"{left} later exposures are left out.") if left else None
    return join(table_of(_summary_heads("exposure"), lines, True, "exposures"), more)


def band_table(quadrants: Table) -> Markup | None:
    """One line per band; None without quadrants."""
    groups, line = _rows_by(texts(quadrants, "band")), _summary_lines(quadrants)
    lines = [line(band, groups[band]) for band in sorted(groups)]
    return table_of(_summary_heads("band"), lines, False, "bands") if lines else None


def _rows_by(names: Sequence[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    return rows


_MEDIANS = (
    ("seeing_arcsec", "seeing", "arcsec"), ("sky_e", "sky", "electron"), ("limiting_mag", "depth", "mag"),
    ("difference_limiting_mag", "difference depth", "mag"), ("zero_point", "zero point", "mag"),
    ("rms_ra_arcsec", "rms RA", "arcsec"), ("rms_dec_arcsec", "rms Dec", "arcsec"),
    ("jitter_arcsec", "jitter", "arcsec"),
    ("psf_residual", "PSF residual", None), ("score_width", "score width", None), ("seconds", "seconds", "s"),
)  # fmt: skip
_STATES = ("done", "rejected", "failed", "waiting")


def _summary_heads(first: str) -> list[Markup]:
    heads = [head(first, is_text=True), *(head(word) for word in _STATES)]
    heads += [head(words, unit, "median over the quadrants") for _, words, unit in _MEDIANS]
    return [*heads, head("candidates"), head("alerts")]


def _summary_lines(quadrants: Table) -> Callable[[str, list[int]], Markup]:
    """What makes the line of a group of rows; columns are read once."""
    ended = [state.partition(" ")[0] for state in states(quadrants)]
    middle = [(numbers(quadrants, name), DECIMALS.get(name)) for name, _, _ in _MEDIANS]
    added = [numbers(quadrants, name) for name in ("n_candidates", "n_alerts")]

    def line(name: str, rows: list[int]) -> Markup:
        counts = Counter(ended[row] for row in rows)
        cells = [element("td", name, class_="t"), *(_count_cell(word, counts[word]) for word in _STATES)]
        cells += [element("td", shown(median(values[rows]), decimals)) for values, decimals in middle]
        return element("tr", *cells, *(element("td", shown(total(values[rows]), 0)) for values in added))

    return line


def _count_cell(word: str, count: int) -> Markup:
    return element("td", count, class_=word if count and word in ("failed", "rejected") else None)


def total(values: FloatArray) -> float:
    """Sum of the known values; NaN without any."""
    return float(np.nansum(values)) if np.isfinite(values).any() else float("nan")


def glossary() -> Markup:
    """Every column of the quadrants' table with its meaning."""
    entries = [
        element("div", element("dt", column.name), element("dd", column.meaning))
        for column in columns("quadrants")
    ]
    return element("details", element("summary", "What the columns mean"), element("dl", *entries))
