from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from tests.candidates.scenes import (
    ZERO_POINT,
    blank,
    draw,
    flux_error,
    has,
    matched,
    starfield,
    subtraction,
)
from zsds.candidates import (
    CANDIDATE_FLAG_MEANINGS,
    CandidateFlag,
    CandidateSettings,
    find_candidates,
    limiting_magnitude,
)
from zsds.core.errors import UnusableData
from zsds.core.flags import Mask
from zsds.core.ids import candidate_id, processing_id
from zsds.core.tables import check_table


@pytest.mark.parametrize("snr", [10, 30, 200])
def test_point_sources_of_both_signs_are_measured_to_their_errors(snr):
    signal, truth = starfield(snr, seed=snr)
    table = find_candidates(*subtraction(signal, seed=snr + 1))
    check_table(table, "candidates")
    assert len(table) == len(truth)
    assert table["is_alert"].sum() >= 0.97 * len(truth)
    true = matched(table, truth)
    for pull in (
        (table["flux"] - true[:, 2]) / table["flux_err"],
        (table["x"] - true[:, 0]) / table["x_err"],
        (table["y"] - true[:, 1]) / table["y_err"],
        (table["ap_flux"] - true[:, 2]) / table["ap_flux_err"],
    ):
        assert abs(np.mean(pull)) < 4 / np.sqrt(len(truth))
        assert 0.8 < np.std(pull) < 1.2
    assert (table["is_positive"] == (true[:, 2] > 0)).all()
    assert abs(np.mean(table["chipsf"]) - 1) < 0.05
    magnitude = ZERO_POINT - 2.5 * np.log10(np.abs(true[:, 2]))
    assert abs(np.mean((table["magpsf"] - magnitude) / table["sigmapsf"])) < 0.6


def test_a_free_position_biases_no_flux():
    """The most probable flux of a source of S/N 8 is an eighth of its error too high."""
    pulls = []
    for seed in (5, 6):
        signal, truth = starfield(8, seed=seed, ny=613, nx=613)
        table = find_candidates(*subtraction(signal, seed=seed + 10))
        near, row = cKDTree(truth[:, :2]).query(np.column_stack([table["x"], table["y"]]))
        pull = np.sign(truth[row, 2]) * (table["flux"] - truth[row, 2]) / table["flux_err"]
        pulls.append(np.asarray(pull)[near < 1])
    pulls = np.concatenate(pulls)
    assert abs(np.mean(pulls)) < 3 / np.sqrt(pulls.size)


def test_variance_made_from_counts_biases_no_flux():
    signal, truth = starfield(10, seed=3, ny=613, nx=613)
    difference, science, *_ = subtraction(signal, seed=4)
    counted = difference.exposure.variance + difference.exposure.data  # of electrons: it follows the noise
    difference = replace(difference, exposure=replace(difference.exposure, variance=np.maximum(counted, 1)))
    table = find_candidates(difference, science)
    near, row = cKDTree(truth[:, :2]).query(np.column_stack([table["x"], table["y"]]))
    pull = ((table["flux"] - truth[row, 2]) / table["flux_err"])[near < 1]
    assert len(pull) > 450
    assert abs(np.mean(pull)) < 3 / np.sqrt(len(pull))


def test_empty_sky_gives_an_empty_table_and_few_false_peaks():
    table = find_candidates(*subtraction(blank()), CandidateSettings(threshold=9.0))
    assert len(table) == 0
    check_table(table, "candidates")
    assert len(find_candidates(*subtraction(blank(400, 420), seed=8))) <= 1


def test_names_count_from_zero_in_each_sign_with_alerts_first():
    signal, _ = starfield(20, seed=5)
    draw(signal, 2.0, 150.0, 5e4)  # at the edge: strongest, no alert
    difference, science = subtraction(signal)
    table = find_candidates(difference, science)
    pid = processing_id(science.info.start_mjd, science.info.channel)
    for positive in (True, False):
        rows = table[table["is_positive"] == positive]
        assert rows["tblid"].tolist() == list(range(len(rows)))
        assert rows["candid"].tolist() == [candidate_id(pid, i, positive) for i in range(len(rows))]
    assert not table["is_alert"][-1]
    assert table["scorr"][-1] == table["scorr"].max()
    again = find_candidates(difference, science)
    assert all((np.asarray(again[name]) == np.asarray(table[name])).all() for name in ("candid", "x", "flux"))


def test_sky_position_is_the_wcs_of_the_fit():
    signal = blank()
    draw(signal, 60.3, 50.8, 3e4)
    difference, science = subtraction(signal)
    row = find_candidates(difference, science)[0]
    ra, dec = science.wcs.all_pix2world(row["x"], row["y"], 0)
    assert (row["ra"], row["dec"]) == (ra, dec)
    row = find_candidates(difference, replace(science, wcs=None))[0]
    assert np.isnan(row["ra"])


def test_without_zero_point_there_are_no_magnitudes():
    signal = blank()
    draw(signal, 60.3, 50.8, 3e4)
    difference, science = subtraction(signal)
    row = find_candidates(difference, replace(science, zero_point=None))[0]
    assert np.isnan(row["magpsf"])
    assert row["snr"] > 100


def test_limiting_magnitude_is_that_of_five_sigma():
    difference, _ = subtraction(blank())
    expected = ZERO_POINT - 2.5 * np.log10(5 * flux_error())
    assert limiting_magnitude(difference, ZERO_POINT) == pytest.approx(expected, abs=0.01)


def test_error_of_the_subtraction_is_a_floor():
    signal = blank()
    draw(signal, 60, 50, 1e4)
    difference, science = subtraction(signal)
    doubled = replace(difference, flux_err=difference.flux_err * np.float32(20))
    row = find_candidates(doubled, science)[0]
    assert row["flux_err"] == pytest.approx(20 * flux_error(), rel=1e-5)
    assert row["is_alert"]
    row = find_candidates(replace(difference, flux_err=difference.flux_err * np.float32(60)), science)[0]
    assert has(row, CandidateFlag.LOW_SNR)


def test_too_many_candidates_condemn_the_difference():
    signal, _ = starfield(20, seed=5)
    with pytest.raises(UnusableData, match=r"too many (positive|negative) candidates"):
        find_candidates(*subtraction(signal), CandidateSettings(max_per_sign=10))


def test_difference_without_psf_or_pixels():
    difference, science = subtraction(blank())
    with pytest.raises(ValueError, match="PSF"):
        find_candidates(replace(difference, exposure=replace(difference.exposure, psf=None)), science)
    dead = replace(difference.exposure, mask=np.full((101, 131), int(Mask.DEAD), np.uint32))
    with pytest.raises(UnusableData, match="no usable pixel"):
        limiting_magnitude(replace(difference, exposure=dead), ZERO_POINT)
    nothing = replace(difference, exposure=dead, score=np.full((101, 131), np.nan, np.float32))
    assert len(find_candidates(nothing, science)) == 0


def test_faint_magnitude_limit():
    signal = blank()
    draw(signal, 60, 50, 1e4)
    mag = ZERO_POINT - 10
    for limit, flagged in ((mag + 0.1, False), (mag - 0.1, True)):
        row = find_candidates(*subtraction(signal), CandidateSettings(max_mag=limit))[0]
        assert has(row, CandidateFlag.TOO_FAINT) == flagged


def test_each_flag_has_a_meaning():
    assert set(CANDIDATE_FLAG_MEANINGS) == set(CandidateFlag)
