"""The page stands alone, is well formed, says what the tables say and survives any night."""

import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_nights import alert_of, histograms_of, ordinary_night, quadrants_of, residuals_of, spoil

from zsds.core.tables import columns, new_table
from zsds.report import NightRecord, ReportSettings, build_report, empty_quadrants, troubles
from zsds.report.listing import exposure_table, quadrant_table

COARSE = ReportSettings(dots_per_inch=40)
VOID = {"meta", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Checks that tags are balanced and keeps links, images, ids and the cells of every table."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.links, self.images, self.ids, self.tables, self.tags = [], [], [], [], {}, []
        self.cell = self.table = None
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        assert len(given) == len(attrs)
        self.tags.append((tag, given))
        self.links += [given[key] for key in ("href", "src", "action", "data") if key in given]
        self.ids += [given["id"]] if "id" in given else []
        if tag == "img":
            self.images.append(given)
        if tag == "table":
            self.table = self.tables.setdefault(given["aria-label"], [])
        if tag == "tr":
            self.table.append([])
        if tag in ("td", "th"):
            self.table[-1].append("")
            self.cell = True
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        if self.cell:
            self.table[-1][-1] += data


@pytest.fixture(scope="module")
def night():
    alerts = [alert_of(1), alert_of(9, chipsf=40.0, elong=1.9)]
    return ordinary_night(truth={"% found": 93.3333, "false a quadrant": 0.4375}, alerts=alerts)


@pytest.fixture(scope="module")
def text(night):
    return build_report(night, COARSE)


def test_page_is_well_formed_and_needs_nothing_outside(text):
    page = Page(text)
    for link in page.links:
        assert link.startswith(("data:image/png;base64,", "#")), link[:80]
    assert "http:" not in text and "https:" not in text
    assert "url(" not in text and "@import" not in text
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert all(image["alt"] for image in page.images)
    assert len(text.encode()) < 6e6
    assert ("html", {"lang": "en"}) in page.tags


def test_same_night_same_page_and_inputs_stay(night, text):
    before = {name: np.array(night.quadrants[name]) for name in night.quadrants.colnames}
    for name in night.quadrants.colnames:
        night.quadrants[name].flags.writeable = False
    assert build_report(night, COARSE) == text
    for name, values in before.items():
        assert np.array_equal(values, night.quadrants[name], equal_nan=values.dtype.kind == "f")


def test_numbers_in_the_table_are_the_inputs(night, text):
    rows = Page(text).tables["quadrants"]
    names = [c.name for c in columns("quadrants")]
    assert len(rows[0]) == len(names)
    assert len(rows) == 1 + len(night.quadrants)
    shown = {row[0]: row for row in rows[1:]}
    for row in night.quadrants:
        cells = dict(zip(names, shown[row["id"]], strict=True))
        for column in columns("quadrants"):
            value, cell = row[column.name], cells[column.name]
            if column.dtype.startswith("U"):
                assert cell == str(value)
            elif column.dtype == "int64":
                assert cell == ("–" if value < 0 else str(value))
            elif math.isnan(value):
                assert cell == "–"
            else:
                digits = len(cell.partition(".")[2])
                tolerance = 0.5 * 10.0**-digits
                assert abs(float(cell) - value) <= tolerance * 1.001, column.name


def test_cells_outside_the_limits_are_marked(night, text):
    marked = re.findall(r'<td class="(hi|lo)">([^<]*)</td>', text)
    assert ("hi", "0.150") in marked
    assert ("lo", "0.150") not in marked
    assert "jitter (arcsec) above 0.05: 1 quadrant<" in text


def test_summary_numbers(night, text):
    tiles = {
        words: value
        for value, words in re.findall(r'class="tile[^"]*"><b>([^<]*)</b><small>([^<]*)</small>', text)
    }
    good = night.quadrants["science_state"] == "done"
    assert tiles["quadrants done"] == "44 / 48"
    assert (tiles["rejected"], tiles["failed"], tiles["waiting for a reference"]) == ("2", "1", "1")
    assert tiles["exposures"] == "6"
    assert tiles["alerts"] == str(night.quadrants["n_alerts"][good].sum())
    assert float(tiles["median seeing"][:-1]) == pytest.approx(
        np.median(night.quadrants["seeing_arcsec"][good]), abs=0.006
    )
    assert (tiles["% found"], tiles["false a quadrant"]) == ("93.3", "0.44")


def test_exposures_and_bands_add_up(night, text):
    tables = Page(text).tables
    for name in ("exposures", "bands"):
        rows = tables[name][1:]
        assert sum(int(row[1]) for row in rows) == 44
        assert sum(int(row[2]) for row in rows) == 2
        assert sum(int(row[3]) for row in rows) == 1
    assert [row[0] for row in tables["bands"][1:]] == ["zg", "zr"]
    assert len(tables["exposures"]) == 7


NASTY = '<script>alert("$x^{")</script>&\x00\x1b_'


def test_names_are_escaped():
    table = quadrants_of(2)
    spoil(table, 3, "failed", "", NASTY)
    table["band"] = NASTY[:16]
    table["id"][2] = NASTY[:40]
    table["science_state"][5] = NASTY[:30]
    alert = alert_of(1)
    alert["objectId"] = NASTY
    alert["candid"] = NASTY
    alert["candidate"]["drb"] = NASTY
    night = ordinary_night(
        quadrants=table,
        camera=NASTY,
        night=NASTY,
        software=NASTY,
        truth={NASTY: 1.0},
        alerts=[alert],
        band_names={1: NASTY, 2: "$"},
    )
    text = build_report(night, COARSE)
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "alert(" in text and "<script>alert" not in text
    assert "\x00" not in text and "\x1b" not in text
    text.encode()


def nothing(**changes):
    tables = {name: new_table(name) for name in ("quadrants", "residuals", "score_histograms")}
    return NightRecord("20260101", "demo", "0.1.0", **{**tables, **changes})


def all_rejected():
    table = quadrants_of(2)
    for row in range(len(table)):
        spoil(table, row, "rejected", "", "the sky has no noise")
    return nothing(quadrants=table)


def one_quadrant():
    table = quadrants_of(1)[:1]
    few = residuals_of(3)
    return nothing(
        quadrants=table, residuals=few, score_histograms=histograms_of(["a"]), alerts=[alert_of(0)]
    )


def only_nans():
    residuals = residuals_of(5)
    for name in ("x", "mag"):
        residuals[name] = np.nan
    return nothing(quadrants=empty_quadrants(3), residuals=residuals)


def infinite():
    table = quadrants_of(2)
    for column in columns("quadrants"):
        if column.dtype == "float64":
            table[column.name][::2] = np.inf
            table[column.name][1::4] = -1e30
    return nothing(quadrants=table)


def zeros():
    return nothing(quadrants=new_table("quadrants", 4), residuals=new_table("residuals", 4))


POOR = {
    nothing: "No quadrants were processed.",
    all_rejected: "16 quadrants rejected: the sky has no noise",
    one_quadrant: "Nothing: every quadrant is done and inside the limits.",
    only_nans: "Nothing is lost, but not all is done",
    infinite: "All went well",
    zeros: "1 exposure, 4 quadrants",
}


@pytest.mark.parametrize("make", POOR)
def test_poor_nights(make):
    text = build_report(make(), COARSE)
    page = Page(text)
    cells = {cell for table in page.tables.values() for row in table for cell in row}
    tiles = set(re.findall(r'class="tile[^"]*"><b>([^<]*)</b>', text))
    assert not {"nan", "inf", "-inf", "-1"} & (cells | tiles)
    assert POOR[make] in text


def test_a_large_night_stays_readable():
    table = quadrants_of(12, n_ccds=16)
    spoil(table, 700, "failed", "", "late trouble")
    for row in range(200, 220):
        spoil(table, row, "rejected", "", "no astrometric solution")
    text = build_report(nothing(quadrants=table), replace(COARSE, max_quadrant_rows=100))
    rows = Page(text).tables["quadrants"]
    assert len(rows) == 101
    assert {table["id"][700], *table["id"][200:220]} <= {row[0] for row in rows}
    assert [row[1] for row in rows[1:]] == sorted(row[1] for row in rows[1:])
    assert "8 more" in text


def test_settings_bound_the_tables(night):
    page = Page(quadrant_table(night.quadrants, ReportSettings(max_quadrant_rows=5)))
    rows = page.tables["quadrants"]
    assert len(rows) == 6
    bad = {identifier for trouble in troubles(night.quadrants) for identifier in trouble.ids}
    assert bad <= {row[0] for row in rows}
    assert "4 later exposures are left out." in exposure_table(night.quadrants, 2)
