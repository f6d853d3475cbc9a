"""The report itself: one HTML page that needs nothing outside itself."""

import numpy as np

from zsds.core.tables import columns
from zsds.report.alert_cards import alert_section
from zsds.report.figures import plot_section
from zsds.report.listing import (
    DECIMALS,
    UNKNOWN,
    band_table,
    exposure_table,
    glossary,
    heading,
    quadrant_table,
    shown,
    total,
)
from zsds.report.markup import Markup, element, join
from zsds.report.record import NightRecord, ReportSettings
from zsds.report.style import CSS, SCRIPT
from zsds.report.summary import (
    DONE,
    FAILED,
    REJECTED,
    WAITING,
    Trouble,
    bounds,
    counted,
    exposure_names,
    median,
    numbers,
    states,
    texts,
    troubles,
)


def build_report(night: NightRecord, settings: ReportSettings) -> str:
    """A night's report as one HTML page, with its plots, stamps, style and script inside.

    Parameters
    ----------
    night : NightRecord
    settings : ReportSettings

    Returns
    -------
    str
        HTML 5; write it as UTF-8. The same input gives the same text.
    """
    title = f"{night.camera}, night {night.night}"
    sections = (
        ("summary", "Summary", _summary(night)),
        ("trouble", "What went wrong", _trouble_section(night, settings)),
        ("exposures", "Exposures", exposure_table(night.quadrants, settings.max_exposure_rows)),
        ("quadrants", "Quadrants", join(quadrant_table(night.quadrants, settings), glossary())),
        ("plots", "Plots", plot_section(night, settings)),
        ("alerts", "Alerts", alert_section(night, settings)),
    )
    links = [element("a", words, href=f"#{name}") for name, words, _ in sections]
    body = [element("section", element("h2", words), content, id=name) for name, words, content in sections]
    return "<!DOCTYPE html>\n" + element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("title", title),
            element("style", Markup(CSS)),
        ),
        element(
            "body",
            element("header", element("h1", title), element("nav", *links, aria_label="sections")),
            element("main", *body),
            element("footer", element("p", f"Made by zsds {night.software}.", class_="quiet")),
            element("script", Markup(SCRIPT)),
        ),
        lang="en",
    )


def _summary(night: NightRecord) -> Markup:
    return join(
        element("p", _verdict(night)),
        element("div", *_tiles(night), class_="tiles"),
        _truth(night),
        band_table(night.quadrants),
    )


def _verdict(night: NightRecord) -> Markup:
    found = states(night.quadrants)
    if not found:
        return element("b", "No quadrants were processed.")
    exposures = len(set(exposure_names(night.quadrants)))
    lost = found.count(FAILED) + found.count(REJECTED)
    words = f"{lost} of {counted(len(found), 'quadrant')} lost"
    if found.count(DONE) == len(found):
        words = "All went well"
    elif not lost:
        words = "Nothing is lost, but not all is done"
    span = f" over {_hours(night):.1f} h" if exposures > 1 and np.isfinite(_hours(night)) else ""
    all_in_all = f": {counted(exposures, 'exposure')}{span}, {counted(len(found), 'quadrant')}."
    return join(element("b", words), all_in_all)


def _hours(night: NightRecord) -> float:
    """From the first exposure to the last."""
    mjd = numbers(night.quadrants, "start_mjd")
    known = mjd[np.isfinite(mjd)]
    return 24 * float(known.max() - known.min()) if known.size else float("nan")


def _tiles(night: NightRecord) -> list[Markup]:
    table, found = night.quadrants, states(night.quadrants)
    all_done = "good" if found and found.count(DONE) == len(found) else None
    packets = total(numbers(table, "n_alerts"))
    core_seconds = total(numbers(table, "seconds"))
    rms = [median(numbers(table, name)) for name in ("rms_ra_arcsec", "rms_dec_arcsec")]
    return [
        _tile(f"{found.count(DONE)} / {len(found)}", "quadrants done", all_done),
        _tile(str(found.count(REJECTED)), "rejected", "bad" if REJECTED in found else None),
        _tile(str(found.count(FAILED)), "failed", "bad" if FAILED in found else None),
        _tile(str(found.count(WAITING)), "waiting for a reference", "warn" if WAITING in found else None),
        _tile(str(len(set(exposure_names(table)))), "exposures"),
        _tile(shown(packets if np.isfinite(packets) else float(len(night.alerts)), 0), "alerts"),
        _tile(_median(night, "seeing_arcsec", "″"), "median seeing"),
        _tile(_median(night, "limiting_mag"), "median depth (5σ mag)"),
        _tile(" / ".join(shown(1000 * r, 0) for r in rms), "astrometric rms, RA / Dec (mas)"),
        _tile(_median(night, "score_width"), "median width of the score"),
        _tile(_median(night, "seconds", " s"), "median time per quadrant"),
        _tile(_duration(core_seconds), "core time in all"),
    ]  # fmt: skip


def _tile(value: str, words: str, class_: str | None = None) -> Markup:
    return element("div", element("b", value), element("small", words), class_=f"tile {class_ or ''}".strip())


def _median(night: NightRecord, column: str, unit: str = "") -> str:
    text = shown(median(numbers(night.quadrants, column)), DECIMALS.get(column))
    return text if text == UNKNOWN else text + unit


def _duration(seconds: float) -> str:
    if not np.isfinite(seconds):
        return UNKNOWN
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _truth(night: NightRecord) -> Markup | None:
    if not night.truth:
        return None
    tiles = [
        _tile(shown(float(value), 1 if name.startswith("%") else 2), name)  # per cent, or rates
        for name, value in night.truth.items()
    ]
    return join(element("h3", "Against the truth"), element("div", *tiles, class_="tiles"))


def _trouble_section(night: NightRecord, settings: ReportSettings) -> Markup:
    groups = [_trouble(trouble, settings) for trouble in troubles(night.quadrants)]
    outside = _outside(night, settings)
    if not groups and outside is None:
        words = (
            "Nothing: every quadrant is done and inside the limits."
            if len(night.quadrants)
            else "Nothing ran."
        )
        return element("p", words)
    return join(*groups, outside)


def _trouble(trouble: Trouble, settings: ReportSettings) -> Markup:
    says_more = trouble.reason != trouble.state
    differs = trouble.example != trouble.reason and trouble.example
    return element(
        "div",
        element(
            "h3",
            f"{counted(len(trouble.ids), 'quadrant')} {trouble.state}"
            + (f": {trouble.reason}" if says_more else ""),
        ),
        element("p", "For example: ", element("span", trouble.example)) if differs else None,
        element("p", element("b", "What to do: "), trouble.hint) if trouble.hint else None,
        _ids(trouble.ids, settings),
        class_=f"trouble {trouble.state.split(' ')[0]}",
    )


def _ids(ids: tuple[str, ...], settings: ReportSettings) -> Markup:
    first, rest = ids[: settings.max_ids], ids[settings.max_ids :]
    listed = element("p", ", ".join(first), class_="id")
    if not rest:
        return listed
    folded = rest[: settings.max_folded_ids]
    words = f"{len(rest)} more" + (f", {len(folded)} of them listed" if len(folded) < len(rest) else "")
    return join(
        listed, element("details", element("summary", words), element("p", ", ".join(folded), class_="id"))
    )


def _outside(night: NightRecord, settings: ReportSettings) -> Markup | None:
    """Quadrants whose numbers lie outside the limits, by column."""
    names = np.array(texts(night.quadrants, "id"), dtype=object)
    found = [bound for bound in bounds(night.quadrants, settings.limits) if bound.outside.any()]
    named = {column.name: column for column in columns("quadrants")}
    items = []
    for bound in found:
        ids = tuple(names[bound.outside])
        unit = f" ({named[bound.column].unit})" if named[bound.column].unit else ""
        words = f"{heading(named[bound.column])}{unit} {bound.words}: {counted(len(ids), 'quadrant')}"
        items.append(element("details", element("summary", words), _ids(ids, settings)))
    if not items:
        return None
    return join(element("h3", "Numbers outside the limits"), *items)
