"""The status page: how the newest nights stand, at a glance, and made anew every few seconds."""

from datetime import UTC, datetime

from zsds import __version__
from zsds.db.ledger import State
from zsds.report.markup import Markup, element, join
from zsds.report.style import CSS
from zsds.runner.situation import NightSituation, Situation
from zsds.runner.status import age

REFRESH_S = 10


def status_page(situation: Situation) -> str:
    """The page as HTML 5, complete in itself."""
    title = f"zsds: {situation.camera}"
    nights = [_night(night) for night in situation.nights] or [
        element("p", "No raw frames were registered yet.")
    ]
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", http_equiv="refresh", content=REFRESH_S),
            element("title", title),
            element("style", Markup(CSS)),
        ),
        element("body", element("h1", title), _tiles(situation), *nights),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{page}\n"


def _tiles(situation: Situation) -> Markup:
    is_little = situation.free_bytes < situation.wanted_bytes
    wanted = f"; {situation.wanted_bytes / 1e9:,.0f} GB are what an hour may take" if is_little else ""
    return element(
        "div",
        _tile(
            f"{situation.free_bytes / 1e9:,.0f} GB",
            f"free on the archive's disk{wanted}",
            "bad" if is_little else "good",
        ),
        _tile(f"{datetime.now(UTC):%H:%M:%S}", "UT, when this was looked up"),
        _tile(__version__, "version of zsds"),
        class_="tiles",
    )


def _tile(number: str, what: str, class_: str = "") -> Markup:
    return element("div", element("b", number), element("small", what), class_=f"tile {class_}".strip())


def _night(night: NightSituation) -> Markup:
    return element(
        "section",
        element("h2", f"Night {night.night}"),
        _counts(night),
        element("p", _sentence(night)),
        *(_trouble(trouble) for trouble in night.troubles),
        id=f"n{night.night}",
    )


def _counts(night: NightSituation) -> Markup:
    states = [state for state in State if any(state in counts for counts in night.counts.values())]
    if not states:
        return element("p", "Nothing of it was run yet.")
    head = element("tr", element("th", "units", class_="t"), *(element("th", str(state)) for state in states))
    rows = [
        element(
            "tr",
            element("td", kind, class_="t"),
            *(element("td", counts.get(state, ""), class_=_class(state, counts)) for state in states),
        )
        for kind, counts in night.counts.items()
    ]
    return element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll")


def _class(state: State, counts: object) -> str | None:
    known = {State.FAILED: "failed", State.REJECTED: "rejected", State.DONE: "done", State.SUPERSEDED: None}
    if not isinstance(counts, dict) or state not in counts:
        return None
    return known.get(state, "waiting")


def _sentence(night: NightSituation) -> str:
    said = [f"{night.alerts:,} alerts, {night.published:,} of them published."]
    if night.oldest is not None:
        said.append(f"Oldest quadrant to do: {night.oldest}, exposed {age(night.oldest_s)} ago.")
    if night.latency_s is not None:
        middle, high, largest = night.latency_s
        said.append(
            f"From frame to packets {middle:.0f} s (median), {high:.0f} s (95 %), {largest:.0f} s (largest)."
        )
    return " ".join(said)


def _trouble(trouble: dict[str, object]) -> Markup:
    what = f"{trouble['units']} {trouble['kind']} {trouble['state']}"
    return element(
        "div",
        element("h3", what),
        element("p", trouble["reason"] or "no reason was kept"),
        element("p", join("for example "), element("span", trouble["for example"], class_="id")),
        class_="trouble",
    )
