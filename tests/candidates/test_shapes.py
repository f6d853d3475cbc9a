import numpy as np
import pytest

from tests.candidates.scenes import PSF, blank, draw, flux_error, has, only, starfield, subtraction
from zsds.candidates import (
    CandidateFlag,
    CandidateSettings,
    find_candidates,
)
from zsds.core.psf import GaussianPsf


class OvalPsf:
    """A Gaussian of two widths, FWHM in pixels along x and y: a tracking error."""

    size = 25

    def __init__(self, along_x, along_y):
        self.widths = along_x, along_y

    def at(self, x, y, dx=0.0, dy=0.0):
        wide, high = (GaussianPsf(fwhm, self.size).at(x, y, dx, dy) for fwhm in self.widths)
        return np.outer(high.sum(axis=1), wide.sum(axis=0)).astype(np.float32)


def test_shape_of_bright_stars_is_that_of_the_psf():
    signal, _ = starfield(300, seed=2)
    table = find_candidates(*subtraction(signal), CandidateSettings(threshold=100.0))
    assert np.median(table["elong"]) < 1.03
    assert np.median(table["fwhm"]) == pytest.approx(2.4, abs=0.15)
    assert np.median(table["seeratio"]) == pytest.approx(1, abs=0.05)
    assert abs(np.median(table["magdiff"])) < 0.01
    assert np.median(table["sumrat"]) > 0.98
    assert (table["nneg"] <= 3).all()
    assert (table["nbad"] == 0).all()
    assert np.median(table["classtar"]) > 0.99
    assert np.nanmedian(table["sharpness"]) < 1.05
    np.testing.assert_allclose(table["aimagerat"], table["aimage"] / table["fwhm"], rtol=1e-5)
    np.testing.assert_allclose(table["dsdiff"], table["dsnrms"] - table["ssnrms"], rtol=1e-4)
    np.testing.assert_allclose(np.median(table["ssnrms"]), 300, rtol=0.05)
    np.testing.assert_allclose(table["scorr"], np.abs(table["score"]))


@pytest.mark.parametrize("fwhm", [1.8, 3.5, 5.0])
def test_shape_follows_other_psfs(fwhm):
    psf, signal = GaussianPsf(fwhm, 31), blank()
    draw(signal, 60.3, 50.8, 3e4, psf)
    row = only(signal, psf=psf)
    assert row["fwhm"] == pytest.approx(np.hypot(fwhm, 0.68), rel=0.04)  # a pixel is 0.68 wide
    assert row["elong"] < 1.05
    assert row["is_alert"]


def test_wider_source_is_no_star():
    signal = blank()
    draw(signal, 60.3, 50.8, 8e3, GaussianPsf(4.5, 31))
    row = only(signal)
    assert row["classtar"] < 0.01
    assert row["fwhm"] > 2.9
    assert row["seeratio"] < 0.85


def test_stars_of_an_elongated_psf_are_point_sources():
    psf, signal = OvalPsf(6.0, 2.0), blank()
    draw(signal, 60.2, 50.3, 60 * flux_error(psf), psf)
    found = only(signal, psf=psf)
    assert found["elong"] > CandidateSettings().max_elong
    assert found["is_alert"]


def test_what_is_long_and_too_small_departs_from_a_point_source():
    """Neither its length nor its width alone is significant in noise."""
    flags = {"residual": [], "star": []}
    for name, shape in (("residual", OvalPsf(2.0, 0.3)), ("star", PSF)):
        for seed in range(12):
            signal = blank()
            draw(signal, 60.2, 50.3, -14 * flux_error(), shape)
            flags[name].append(
                has(only(signal, seed=seed), CandidateFlag.ELONGATED | CandidateFlag.SHAPELESS)
            )
    assert sum(flags["residual"]) >= 9
    assert sum(flags["star"]) == 0
