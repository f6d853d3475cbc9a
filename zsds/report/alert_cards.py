"""The alerts a report shows: the strongest without doubt, and those to doubt."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np

from zsds.core.errors import UnusableData
from zsds.core.ids import JD_MINUS_MJD, MJD_UNIX_EPOCH
from zsds.report.drawing import draw
from zsds.report.markup import Markup, element, join, picture
from zsds.report.record import DoubtLimits, NightRecord, ReportSettings
from zsds.report.stamps import is_positive, number, paint_light_curve, read_stamp, stamp_png
from zsds.report.summary import counted

_CUTOUTS = (("science", "cutoutScience"), ("reference", "cutoutTemplate"), ("difference", "cutoutDifference"))
_FEATURES = (("chipsf", 2), ("fwhm", 2), ("elong", 2), ("nbad", 0), ("nneg", 0), ("sumrat", 2),
             ("magdiff", 2), ("distnr", 1), ("drb", 3), ("rb", 2),
             ("ndethist", 0), ("ssdistnr", 1))  # fmt: skip


@dataclass(frozen=True)
class Doubt:
    """Why an alert is doubtful, and how far beyond the limit it lies (0 at the limit, 1 at twice)."""

    words: str
    strength: float


def doubts(candidate: Mapping[str, Any], limits: DoubtLimits) -> tuple[Doubt, ...]:
    """The features of a candidate that lie beyond the limits; unknown features raise no doubt."""
    largest = (
        ("chipsf", limits.max_chipsf),
        ("elong", limits.max_elong),
        ("nbad", limits.max_nbad),
        ("nneg", limits.max_nneg),
        ("magdiff", limits.max_magdiff),
    )
    smallest = (
        ("sumrat", limits.min_sumrat),
        ("mindtoedge", limits.min_mindtoedge),
        ("drb", limits.min_drb),
    )
    found = []
    for name, limit in largest:
        value = number(candidate, name)
        size = abs(value) if name == "magdiff" else value
        if size > limit:
            found.append(Doubt(f"{name} {value:.3g} > {limit:g}", float(np.log2((1 + size) / (1 + limit)))))
    for name, limit in smallest:
        value = number(candidate, name)
        if value < limit:
            strength = np.log2((1 + limit) / (1 + max(value, -0.9)))
            found.append(Doubt(f"{name} {value:.3g} < {limit:g}", float(strength)))
    return tuple(found)


@dataclass(frozen=True)
class Selection:
    """Alerts to show: the strongest without doubt, the most doubtful, and how many have doubts."""

    best: tuple[Mapping[str, Any], ...]
    doubtful: tuple[Mapping[str, Any], ...]
    n_doubtful: int
    n_unusable: int


def choose_alerts(alerts: Sequence[Mapping[str, Any]], settings: ReportSettings) -> Selection:
    """The strongest alerts (by |scorr|) that raise no doubt, those that raise most; one an object."""
    usable = [alert for alert in alerts if isinstance(alert.get("candidate"), Mapping)]
    strength = [sum(d.strength for d in doubts(alert["candidate"], settings.doubts)) for alert in usable]
    raised = [bool(doubts(alert["candidate"], settings.doubts)) for alert in usable]
    score = [float(np.nan_to_num(abs(number(alert["candidate"], "scorr")))) for alert in usable]
    by_score = sorted(range(len(usable)), key=lambda i: (-score[i], str(usable[i].get("candid"))))
    by_doubt = sorted(range(len(usable)), key=lambda i: (-strength[i], str(usable[i].get("candid"))))
    best = _one_each(usable[i] for i in by_score if not raised[i])[: settings.n_best_alerts]
    doubtful = _one_each(usable[i] for i in by_doubt if raised[i])[: settings.n_doubtful_alerts]
    return Selection(tuple(best), tuple(doubtful), sum(raised), len(alerts) - len(usable))


def _one_each(alerts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first alert of every object; one without a name stands for itself."""
    first: dict[Any, Mapping[str, Any]] = {}
    for alert in alerts:
        first.setdefault(alert.get("objectId") or id(alert), alert)
    return list(first.values())


def alert_section(record: NightRecord, settings: ReportSettings) -> Markup:
    """Cards of the chosen alerts under their two headings."""
    if not record.alerts:
        return element("p", "No alert packets at hand.", class_="quiet")
    chosen = choose_alerts(record.alerts, settings)
    total = len(record.alerts)
    words = f"{counted(total, 'packet')} looked at, {chosen.n_doubtful} with a doubt."
    if chosen.n_unusable:
        words += f" {chosen.n_unusable} could not be read."
    return join(
        element("p", words),
        element("h3", "Strongest, without doubt"),
        _cards(chosen.best, record, settings, "No alert is free of doubt."),
        element("h3", "Most doubtful"),
        _cards(chosen.doubtful, record, settings, "No alert raises a doubt."),
    )


def _cards(
    alerts: Iterable[Mapping[str, Any]], record: NightRecord, settings: ReportSettings, otherwise: str
) -> Markup:
    cards = [_card(alert, record, settings) for alert in alerts]
    if not cards:
        return element("p", otherwise, class_="quiet")
    return element("div", *cards, class_="cards")


def _card(alert: Mapping[str, Any], record: NightRecord, settings: ReportSettings) -> Markup:
    candidate, name = alert["candidate"], str(alert.get("objectId"))
    why = [doubt.words for doubt in doubts(candidate, settings.doubts)]
    return element(
        "article",
        element("h4", name, " ", element("small", f"candid {alert.get('candid')}")),
        element("p", _headline(candidate, record)),
        element("p", "Doubt: " + "; ".join(why), class_="doubt") if why else None,
        element("div", *(_stamp(alert, key, words, name) for words, key in _CUTOUTS), class_="stamps"),
        _light_curve(alert, record, settings, name),
        element("p", _features(candidate), class_="features"),
        class_="card",
    )


def _headline(candidate: Mapping[str, Any], record: NightRecord) -> str:
    fid = number(candidate, "fid")
    band = str(record.band_names.get(int(fid), int(fid))) if np.isfinite(fid) else "?"
    sign = "brighter" if is_positive(candidate) else "fainter"
    parts = [f"{band} {_shown(candidate, 'magpsf', 2)} ± {_shown(candidate, 'sigmapsf', 2)} mag, {sign}"]
    parts.append(f"score {_shown(candidate, 'scorr', 1)}")
    parts.append(f"RA {_shown(candidate, 'ra', 5)}° Dec {_shown(candidate, 'dec', 5)}°")
    parts.append(_time(number(candidate, "jd")))
    return " · ".join(parts)


def _time(jd: float) -> str:
    if not (np.isfinite(jd) and 1_000_000 < jd < 5_000_000):
        return "time unknown"
    days = jd - JD_MINUS_MJD - MJD_UNIX_EPOCH
    return f"{datetime.fromtimestamp(0, UTC) + timedelta(days=days):%Y-%m-%d %H:%M:%S} UT"


def _shown(candidate: Mapping[str, Any], name: str, decimals: int) -> str:
    value = number(candidate, name)
    return f"{value:.{decimals}f}" if np.isfinite(value) else "–"


def _features(candidate: Mapping[str, Any]) -> str:
    known = [(name, _shown(candidate, name, decimals)) for name, decimals in _FEATURES]
    return ", ".join(f"{name} {value}" for name, value in known if value != "–")


def _stamp(alert: Mapping[str, Any], key: str, words: str, name: str) -> Markup:
    cutout = alert.get(key)
    try:
        packed = cutout.get("stampData") if isinstance(cutout, Mapping) else None
        if not packed:
            raise UnusableData("no stamp")
        image = stamp_png(read_stamp(packed), symmetric=words == "difference")
    except UnusableData as error:
        return element("figure", element("div", error.reason, class_="nostamp"), element("figcaption", words))
    return element(
        "figure", picture(image, f"{words} stamp of {name}", "stamp"), element("figcaption", words)
    )


def _light_curve(
    alert: Mapping[str, Any], record: NightRecord, settings: ReportSettings, name: str
) -> Markup:
    paint = partial(paint_light_curve, alert=alert, band_names=record.band_names)
    image = draw(paint, (3.9, 2.0), settings.dots_per_inch)
    return picture(image, f"light curve of {name}: magnitude against days from the alert", "curve")
