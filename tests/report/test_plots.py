"""The numbers behind the plots, and figures that come out the same."""

import matplotlib
import numpy as np
import pytest
from report_nights import quadrants_of, residuals_of

from zsds.core.camera import Amplifier, Camera, Detector, Section, Site
from zsds.core.tables import new_table
from zsds.report import SCORE_EDGES, count_scores, focal_plane_of, grid_focal_plane
from zsds.report.drawing import band_style, draw, label, nice_number, thinned
from zsds.report.plots import bin_residuals, by_channel, score_counts
from zsds.report.summary import median
from zsds.report.timeplots import hours


def test_residuals_are_binned_over_the_quadrant():
    field = bin_residuals(residuals_of(40000))
    assert len(field.x) == 64
    x, y = (field.x - 1536) / 1536, (field.y - 1540) / 1540
    cubic = 0.03 * (x**3 + x * (192 / 1536) ** 2)  # mean of a cube over a cell
    error = 1.2533 * 0.06 / np.sqrt(40000 / 64)  # of a median of 625 stars with 0.06 arcsec
    assert np.abs(field.dra - cubic).max() < 4 * error
    assert np.abs(field.ddec + 0.02 * (y**3 + y * (192 / 1540) ** 2)).max() < 4 * error


def test_residuals_outside_the_quadrant_are_left_out():
    table = residuals_of(3)
    table["x"] = [-50.0, np.nan, 10.0]
    assert len(bin_residuals(table).x) == 1
    assert len(bin_residuals(new_table("residuals")).x) == 0


def test_scores_add_up_over_quadrants():
    score = np.random.default_rng(1).normal(0, 1, (300, 201))
    counts = score_counts(count_scores("a", score))
    assert counts.sum() == score.size
    expected = np.histogram(score, SCORE_EDGES)[0]
    assert np.array_equal(counts, expected)
    table = count_scores("a", score)[100:50:-1]
    table["low"][0] = 9.0
    assert score_counts(table).sum() == expected[51:100].sum()


def test_medians_by_channel():
    table = quadrants_of(3, n_ccds=1)
    values = np.arange(12.0)
    assert by_channel(table, values, [(1, 1), (1, 4), (2, 1)], median)[:2].tolist() == [4.0, 7.0]
    assert np.isnan(by_channel(table, values, [(2, 1)], median)).all()


def test_hours_of_the_night():
    table = quadrants_of(2)
    table["start_mjd"][0] = 0.0
    found = hours(table)
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(3.6, abs=1e-5)


def camera_of(rotation=0.0, mirrored=False):
    section = Section(0, 200, 0, 100)
    amplifiers = {
        q: Amplifier(
            q,
            0,
            section,
            1.0,
            5.0,
            60000.0,
            x_arcsec=x,
            y_arcsec=50.0,
            rotation_deg=rotation,
            mirrored=mirrored,
        )
        for q, x in ((1, 300.0), (2, -300.0))
    }
    site = Site(0.0, 0.0, 0.0)
    return Camera("a", "a", "ZTF", 2.0, site, {}, {1: Detector(1, amplifiers)}, {}, {}, "")


@pytest.mark.parametrize("rotation", [0.0, 30.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_focal_plane_agrees_with_the_nominal_wcs(rotation, mirrored):
    camera = camera_of(rotation, mirrored)
    for (ccd, quadrant), corners in focal_plane_of(camera).items():
        wcs = camera.nominal_wcs(ccd, quadrant, 0.0, 0.0)
        pixels = np.array([[-0.5, -0.5], [199.5, -0.5], [199.5, 99.5], [-0.5, 99.5]])
        ra, dec = wcs.wcs_pix2world(pixels, 0).T
        east = 3600 * np.where(ra > 180, ra - 360, ra)
        assert np.allclose(corners, np.column_stack([east, 3600 * dec]), atol=0.01)


def test_grid_keeps_quadrants_apart():
    channels = [(ccd, q) for ccd in range(1, 17) for q in range(1, 5)]
    corners = grid_focal_plane(channels)
    assert list(corners) == channels
    middles = np.array([c.mean(axis=0) for c in corners.values()])
    distances = np.hypot(*(middles[:, None] - middles[None]).T)
    assert distances[distances > 0].min() > 0.4
    assert grid_focal_plane([]) == {}
    assert len(grid_focal_plane([(3, 1)])) == 1


@pytest.mark.parametrize(
    ("value", "nice"), [(1.0, 1.0), (0.0499, 0.02), (0.05, 0.05), (987.0, 500.0), (-1.0, 1.0)]
)
def test_nice_numbers(value, nice):
    assert nice_number(value) == pytest.approx(nice)


def test_labels_are_harmless():
    assert label("_hidden$x$\x00é") == " _hidden\\$x\\$??"
    assert len(range(100)[thinned(100, 7)]) <= 7
    assert band_style("zg", ["zr", "zg"]) != band_style("zr", ["zr", "zg"])
    assert band_style("ag", ["ag", "bg"]) != band_style("bg", ["ag", "bg"])


def test_figures_ignore_the_users_settings():
    def paint(figure):
        figure.subplots().plot([1, 2, 3])

    first = draw(paint, (2.0, 1.5), 50)
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 20}):
        assert draw(paint, (2.0, 1.5), 50) == first
        assert matplotlib.rcParams["font.size"] == 20
