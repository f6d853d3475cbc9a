"""States, reasons, limits and the lines of the terminal summary."""

import numpy as np
import pytest
from report_nights import ordinary_night, quadrants_of, spoil

from zsds.core.tables import check_table
from zsds.report import Limits, NightRecord, count_scores, empty_quadrants, troubles
from zsds.report.summary import bounds, hint, median, minus_median, numbers, states


def test_states_take_the_worse_of_the_two_steps():
    table = empty_quadrants(6)
    table["science_state"] = ["done", "done", "done", "rejected", "done", ""]
    table["difference_state"] = ["done", "", "waiting for reference", "", "failed", ""]
    assert states(table) == ["done", "done", "waiting for reference", "rejected", "failed", "not run"]


def test_reasons_that_differ_in_numbers_belong_together():
    table = quadrants_of(2)
    spoil(table, 0, "rejected", "", "too few stars for a PSF (stars 3)")
    spoil(table, 1, "rejected", "", "too few stars for a PSF (stars 9)")
    spoil(table, 2, "failed", "", "ValueError: row 17 is bad\nmore")
    spoil(table, 3, "failed", "", "ValueError: row 18 is bad")
    spoil(table, 4, "rejected", "", "")
    found = troubles(table)
    assert [(t.state, len(t.ids)) for t in found] == [("failed", 2), ("rejected", 2), ("rejected", 1)]
    assert found[0].reason == "ValueError: row 17 is bad"
    assert found[1].reason == "too few stars for a PSF"
    assert found[1].ids == tuple(sorted(table["id"][:2]))
    assert found[2].reason == "no reason given"
    assert all(t.hint for t in found)


@pytest.mark.parametrize(
    ("state", "reason", "word"),
    [
        ("rejected", "no astrometric solution", "pointing"),
        ("rejected", "too few stars for a PSF", "clouds"),
        ("failed", "BadInput: x.fits: truncated", "copy it again"),
        ("failed", "KeyError: 'x'", "traceback"),
        ("rejected", "something new", "numbers"),
        ("waiting for reference", "", "references"),
    ],
)
def test_hints(state, reason, word):
    assert word in hint(state, reason).lower() or word in hint(state, reason)


def test_limits_on_each_side():
    table = empty_quadrants(4)
    table["band"] = "zr"
    table["jitter_arcsec"] = [0.05, 0.0501, np.nan, 0.0]
    table["score_width"] = [1.05, 1.051, 0.949, 0.95]
    table["n_stars"] = [20, 19, -1, 0]
    table["limiting_mag"] = [20.0, 20.0, 20.0, 20.0 - 0.76]
    found = {bound.column: bound for bound in bounds(table, Limits())}
    assert found["jitter_arcsec"].outside.tolist() == [False, True, False, False]
    assert found["score_width"].too_high.tolist() == [False, True, False, False]
    assert found["score_width"].too_low.tolist() == [False, False, True, False]
    assert found["n_stars"].outside.tolist() == [False, True, False, True]
    assert found["limiting_mag"].too_low.tolist() == [False, False, False, True]


def test_unknown_numbers_are_nan():
    table = empty_quadrants(2)
    for name in ("start_mjd", "seeing_px", "n_alerts"):
        assert np.isnan(numbers(table, name)).all()
    table["start_mjd"] = 0.0
    assert np.isnan(numbers(table, "start_mjd")).all()
    assert np.isnan(median(np.array([])))


def test_medians_by_group():
    values = np.array([1.0, 3.0, 10.0, np.nan])
    assert minus_median(values, ["a", "a", "b", "c"])[:3].tolist() == [-1.0, 1.0, 0.0]


def test_histogram_counts_every_pixel_once():
    score = np.array([[-8.0, -0.05, 0.0, 0.05], [7.95, 8.0, 8.1, np.nan]])
    score.flags.writeable = False
    table = check_table(count_scores("a", score), "score_histograms")
    assert table["count"].sum() == 6
    assert table["count"][np.isclose(table["low"], 0.0)].tolist() == [2]
    assert table["count"][-1] == 2 and table["count"][0] == 1


def test_a_record_refuses_other_tables():
    night = ordinary_night()
    bad = night.residuals.copy()
    bad.rename_column("mag", "g")
    with pytest.raises(ValueError, match="residuals"):
        NightRecord("20260101", "demo", "0", night.quadrants, bad, night.score_histograms)
