from dataclasses import replace

import numpy as np
import pytest

from tests.candidates.scenes import (
    blank,
    draw,
    exposure,
    has,
    only,
    subtraction,
)
from zsds.candidates import (
    CandidateFlag,
    find_candidates,
)
from zsds.core.flags import Mask
from zsds.core.psf import GaussianPsf


@pytest.mark.parametrize(("x", "flagged"), [(3.0, True), (7.0, False)])
def test_edge(x, flagged):
    signal = blank()
    draw(signal, x, 50, 1e4)
    row = only(signal)
    assert has(row, CandidateFlag.EDGE) == flagged
    assert row["is_alert"] != flagged
    assert row["mindtoedge"] == pytest.approx(x + 0.5, abs=0.1)


@pytest.mark.parametrize("corner", [(0, 0), (130, 100), (0, 100), (130, 0)])
def test_corners_do_not_crash(corner):
    signal = blank()
    draw(signal, *corner, 1e4)
    row = only(signal)
    assert has(row, CandidateFlag.EDGE)
    assert row["nbad"] >= 16


@pytest.mark.parametrize(("n_bad", "alert"), [(1, True), (4, True), (5, False)])
def test_defects_in_the_core(n_bad, alert):
    signal, mask = blank(), np.zeros((101, 131), np.uint32)
    draw(signal, 60, 50, 1e4)
    mask[48, 58 : 58 + min(n_bad, 5)] = Mask.DEAD
    row = only(signal, mask=mask)
    assert row["nbad"] == n_bad
    assert has(row, CandidateFlag.DEFECT_PIXELS)
    assert bool(row["is_alert"]) == alert
    assert row["flux"] == pytest.approx(1e4, abs=4 * float(row["flux_err"]))


def test_source_bits_are_no_defects():
    signal = blank()
    draw(signal, 60, 50, 1e4)
    difference, science = subtraction(signal)
    row = find_candidates(difference, science)[0]
    marked = replace(
        difference.exposure, mask=np.full((101, 131), int(Mask.SOURCE | Mask.PSF_SOURCE), np.uint32)
    )
    found = find_candidates(replace(difference, exposure=marked), science)[0]
    assert found["nbad"] == 0
    assert found["flux"] == row["flux"]


@pytest.mark.parametrize(("distance", "flagged"), [(10, True), (20, False)])
def test_saturated_star_nearby_is_told_but_does_not_veto(distance, flagged):
    signal, mask = blank(), np.zeros((101, 131), np.uint32)
    draw(signal, 60, 50, 1e4)
    mask[50, 60 + distance] = Mask.SATURATED
    row = only(signal, mask=mask)
    assert has(row, CandidateFlag.NEAR_SATURATED) == flagged
    assert row["is_alert"]


def test_halo_is_told():
    signal = blank()
    draw(signal, 60, 50, 1e4)
    difference, science = subtraction(signal)
    halo = replace(difference.exposure, mask=np.full((101, 131), int(Mask.HALO), np.uint32))
    row = find_candidates(replace(difference, exposure=halo), science)[0]
    assert has(row, CandidateFlag.GHOST)
    assert row["nbad"] == 0


@pytest.mark.parametrize(("fraction", "flagged"), [(0.005, True), (0.03, False)])
def test_small_part_of_a_star_is_a_residual(fraction, flagged):
    signal, light = blank(), blank()
    draw(signal, 60.2, 50.3, fraction * 1e5)
    draw(light, 60.2, 50.3, 1e5)
    row = only(signal, light)
    assert has(row, CandidateFlag.STAR_RESIDUAL) == flagged
    assert row["is_alert"] != flagged


def test_star_of_the_reference_explains_a_residual_too():
    signal, light = blank(), blank()
    draw(signal, 60.2, 50.3, -700)
    draw(light, 60.2, 50.3, 1e5)
    difference, science = subtraction(signal)
    assert find_candidates(difference, science)[0]["is_alert"]
    reference = exposure(light, np.ones_like(light))
    assert has(find_candidates(difference, science, reference=reference)[0], CandidateFlag.STAR_RESIDUAL)
    fainter = replace(difference, flux_scale=0.01)  # whatever the zero points say
    assert find_candidates(fainter, science, reference=reference)[0]["is_alert"]


@pytest.mark.parametrize(("fraction", "flagged"), [(0.1, True), (0.2, False)])
def test_part_of_the_light_is_told_but_does_not_veto(fraction, flagged):
    signal, light = blank(), blank()
    draw(signal, 60.2, 50.3, fraction * 2e4)
    draw(light, 60.2, 50.3, 2e4)
    difference, science = subtraction(signal, light)
    for reference in (None, exposure(light, np.ones_like(light))):
        row = find_candidates(difference, science, reference=reference)[0]
        assert has(row, CandidateFlag.IN_LIGHT) == flagged
        assert row["is_alert"]


def test_ring_around_a_bright_star_is_no_alert():
    signal, light = blank(), blank()
    draw(light, 60.2, 50.3, 3e5, GaussianPsf(3.2, 31))
    for angle in np.arange(0, 2 * np.pi, 0.3):  # the wing of a PSF model gone wrong
        draw(signal, 60.2 + 5 * np.cos(angle), 50.3 + 5 * np.sin(angle), 350 * np.cos(angle))
    table = find_candidates(*subtraction(signal, light))
    assert len(table) >= 2
    assert not table["is_alert"].any()


def test_peak_in_a_hole_is_shapeless():
    signal = blank()
    draw(signal, 60, 50, -4000, GaussianPsf(6.0, 41))
    draw(signal, 60, 50, 2500)
    row = only(signal)
    assert np.isnan(row["elong"])
    assert has(row, CandidateFlag.SHAPELESS)
    assert not row["is_alert"]


def test_transient_on_a_bright_smooth_galaxy_is_kept():
    signal, light = blank(), blank()
    draw(signal, 60.2, 50.3, 3000)
    draw(light, 62.0, 51.0, 2e5, GaussianPsf(14.0, 81))
    row = only(signal, light)
    assert row["is_alert"]
    assert not has(row, CandidateFlag.COSMIC_RAY)


def test_sky_offset_does_not_change_the_flux():
    signal = blank()
    draw(signal, 60.2, 50.3, 3000)
    difference, science = subtraction(signal)
    raised = replace(difference.exposure, data=difference.exposure.data + np.float32(30))
    row = find_candidates(replace(difference, exposure=raised), science)[0]
    assert row["sky"] == pytest.approx(30 / 6, abs=0.5)
    assert row["flux"] == pytest.approx(3000, abs=4 * float(row["flux_err"]))


def test_nan_pixels_are_bad_pixels():
    signal = blank()
    draw(signal, 60, 50, 1e4)
    difference, science = subtraction(signal)
    data = difference.exposure.data.copy()
    data[51, 61] = np.nan
    broken = replace(difference, exposure=replace(difference.exposure, data=data))
    row = find_candidates(broken, science)[0]
    assert row["nbad"] == 1
    assert row["flux"] == pytest.approx(1e4, abs=4 * float(row["flux_err"]))
