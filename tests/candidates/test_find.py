from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from tests.candidates.scenes import PSF, ZERO_POINT, draw, exposure, flux_error, subtraction
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
from zsds.core.psf import GaussianPsf
from zsds.core.tables import check_table, new_table
from zsds.kernels.features import draw_trail


def blank(ny=101, nx=131):
    return np.zeros((ny, nx), np.float32)


def has(row, flag):
    return bool(int(row["flags"]) & flag)


def only(signal, *args, **kwargs):
    """The strongest candidate of a scene."""
    return find_candidates(*subtraction(signal, *args, **kwargs))[0]


def starfield(snr, seed, ny=301, nx=331):
    rng, signal, truth = np.random.default_rng(seed), blank(ny, nx), []
    for row in range(20, ny - 15, 26):
        for col in range(20, nx - 15, 26):
            x, y, sign = col + rng.uniform(-0.5, 0.5), row + rng.uniform(-0.5, 0.5), rng.choice([-1, 1])
            flux = sign * snr * flux_error()
            draw(signal, x, y, flux)
            truth.append((x, y, flux))
    return signal, np.array(truth)


def matched(table, truth):
    distance, index = cKDTree(truth[:, :2]).query(np.column_stack([table["x"], table["y"]]))
    assert (distance < 2).all()
    return truth[index]


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


@pytest.mark.parametrize(("shift", "star_flux"), [(0.1, 2e4), (0.3, 1e4), (0.05, 1e5)])
def test_misplaced_star_is_a_dipole(shift, star_flux):
    signal, light = blank(), blank()
    draw(signal, 60.2 + shift, 50.3, star_flux)
    draw(signal, 60.2, 50.3, -star_flux)
    draw(light, 60.2, 50.3, star_flux)
    table = find_candidates(*subtraction(signal, light))
    assert len(table) == 2
    assert not table["is_alert"].any()
    for row in table:
        assert has(row, CandidateFlag.DIPOLE)
        assert row["dipole_flux"] * row["dipole_length"] == pytest.approx(star_flux * shift, rel=0.1)
        assert abs(row["dipole_angle"]) < 5
        assert row["dipole_chi_ratio"] < 0.5


def test_mover_beside_its_ghost_in_the_reference_is_two_sources():
    signal = blank()
    draw(signal, 60.2, 50.3, 2000)
    draw(signal, 64.2, 52.3, -2000)
    table = find_candidates(*subtraction(signal))
    assert table["is_alert"].all()
    for row in table:
        assert not has(row, CandidateFlag.DIPOLE)
        assert abs(row["flux"]) == pytest.approx(2000, abs=4 * float(row["flux_err"]))
        assert row["dipole_length"] == pytest.approx(np.hypot(4, 2), abs=0.2)


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


@pytest.mark.parametrize(
    ("length", "flux", "angle"), [(8, 3000, 120), (9.5, 2e4, 45), (20, 6000, 10), (60, 30000, 80)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_trail_is_measured_flagged_and_kept(length, flux, angle, sign):
    signal = blank()
    line = np.zeros(signal.shape)
    ux, uy = length / 2 * np.cos(np.radians(angle)), length / 2 * np.sin(np.radians(angle))
    draw_trail(PSF.at(0, 0), 65.3, 50.6, ux, uy, 0.3, line)
    table = find_candidates(*subtraction((sign * flux * line).astype(np.float32)))
    assert table["is_alert"].tolist() == [True] + [False] * (len(table) - 1)
    row = table[0]
    assert has(row, CandidateFlag.TRAIL)
    assert row["trail_length"] == pytest.approx(length, abs=0.6)
    assert row["trail_angle"] == pytest.approx(angle, abs=3)
    assert row["trail_flux"] == pytest.approx(sign * flux, rel=0.05)
    assert np.hypot(row["x"] - 65.3, row["y"] - 50.6) < 0.3
    assert row["trail_chi_ratio"] < 0.4
    assert all(has(other, CandidateFlag.REPEATED) for other in table[1:])


@pytest.mark.parametrize(("distance", "alert"), [(10, False), (40, True)])
def test_arcs_beside_a_saturated_star_are_no_trails_worth_an_alert(distance, alert):
    signal, mask = blank(), np.zeros((101, 131), np.uint32)
    draw_trail(PSF.at(0, 0), 65.3, 50.6, 4.0, 3.0, 0.3, signal)
    mask[50, 65 + distance] = Mask.SATURATED
    found = only(np.float32(3000) * signal, mask=mask)
    assert has(found, CandidateFlag.TRAIL)
    assert found["is_alert"] == alert


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


@pytest.mark.parametrize("distance", [5.0, 7.0])
def test_two_neighbours_are_no_trail(distance):
    signal = blank()
    draw(signal, 60.2, 50.3, 3000)
    draw(signal, 60.2 + distance, 51.3, 2500)
    table = find_candidates(*subtraction(signal))
    assert len(table) == 2
    for row, flux in zip(table, (3000, 2500), strict=True):
        assert has(row, CandidateFlag.BLENDED)
        assert not has(row, CandidateFlag.TRAIL)
        assert row["flux"] == pytest.approx(flux, rel=0.1)


@pytest.mark.parametrize(
    "pixels",
    [
        [(50, 60, 600)],
        [(50, 60, 400), (50, 61, 500)],
        [(50, 60, 500), (51, 61, 600), (52, 62, 500)],
        [(50, 60, 500), (51, 60, 600), (52, 60, 500), (53, 60, 500)],
    ],
)
def test_cosmic_rays_are_sharper_than_the_psf(pixels):
    signal = blank()
    for row, col, value in pixels:
        signal[row, col] = value
    found = only(signal)
    assert has(found, CandidateFlag.COSMIC_RAY)
    assert found["sharpness"] > 2
    assert not found["is_alert"]


class OvalPsf:
    """A Gaussian of two widths, FWHM in pixels along x and y: a tracking error."""

    size = 25

    def __init__(self, along_x, along_y):
        self.widths = along_x, along_y

    def at(self, x, y, dx=0.0, dy=0.0):
        wide, high = (GaussianPsf(fwhm, self.size).at(x, y, dx, dy) for fwhm in self.widths)
        return np.outer(high.sum(axis=1), wide.sum(axis=0)).astype(np.float32)


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


@pytest.mark.parametrize("slope", [0.0, 0.4, 1.0])
def test_long_track_of_a_ray_is_no_trail_where_the_psf_is_sharp(slope):
    """One pixel wide, with what diffuses into the pixels beside it: the PSF drawn out is not much wider."""
    psf, signal = GaussianPsf(1.4, 25), blank()
    for step in range(9):
        row = 50.3 + slope * step
        part = row - int(row)
        signal[int(row) : int(row) + 2, 60 + step] += np.array([1 - part, part]) * 300
    table = find_candidates(*subtraction(signal, psf=psf))
    assert not any(has(row, CandidateFlag.TRAIL) or row["is_alert"] for row in table)


@pytest.mark.parametrize("fwhm", [1.4, 2.4])
def test_faint_trail_is_no_track_of_a_ray(fwhm):
    psf, kept = GaussianPsf(fwhm, 25), []
    line = np.zeros(blank().shape)
    draw_trail(psf.at(0, 0), 65.3, 50.6, 4.0, 2.0, 0.3, line)
    for seed in range(20):
        scene = subtraction((30 * flux_error(psf) * line).astype(np.float32), psf=psf, seed=seed)
        kept.append(find_candidates(*scene)[0]["is_alert"])
    assert sum(kept) >= 19


def stars_of(psf, degrees=67):
    """PSF photometry of stars that look like ``psf``, fitted with the PSF of these scenes."""
    shape, model = (one.at(0, 0).astype(float).ravel() for one in (psf, PSF))
    fitted = model * (shape @ model) / (model @ model)
    error = np.linalg.norm(shape - fitted) / np.linalg.norm(fitted)
    stars = new_table("stars", 40)
    stars["snr"], stars["n_pixels"] = np.linspace(60, 400, 40), degrees + 3
    stars["chi"] = np.sqrt(1 + (error * stars["snr"]) ** 2 / degrees)
    return stars


def test_stars_of_the_image_say_how_well_point_sources_fit():
    wide, signal = GaussianPsf(2.7, 25), blank()
    draw(signal, 60.2, 50.3, 600 * flux_error(), wide)
    difference, science = subtraction(signal)
    good = find_candidates(difference, science, stars=stars_of(PSF))[0]
    assert has(good, CandidateFlag.POOR_FIT)
    assert not good["is_alert"]
    same = find_candidates(difference, science, stars=stars_of(wide))[0]
    assert same["is_alert"]


def test_rays_are_told_from_stars_of_a_poor_psf():
    signal = blank()
    signal[50, 60], signal[51, 61] = 3000, 2500
    difference, science = subtraction(signal)
    found = find_candidates(difference, science, stars=stars_of(GaussianPsf(3.2, 25)))[0]
    assert has(found, CandidateFlag.COSMIC_RAY)
    assert not found["is_alert"]


def test_stars_at_any_subpixel_offset_are_not_cosmic_rays():
    for snr in (8, 40, 1000):
        signal, _ = starfield(snr, seed=snr)
        table = find_candidates(*subtraction(signal))
        stars = table[np.abs(table["snr"]) > 6.5]  # below, peaks of the noise come in
        assert len(stars) > 100
        assert not any(has(row, CandidateFlag.COSMIC_RAY | CandidateFlag.NARROW) for row in stars)


@pytest.mark.parametrize("heights", [(150, 0), (110, 110), (150, 60)])
def test_faint_rays_that_the_mask_misses_are_told_from_stars(heights):
    """Two touching pixels of some ten sigma, alone in a noisy image."""
    signal = blank()
    signal[50, 60], signal[50, 61] = heights
    found = only(signal)
    assert found["ray_gain"] > 0
    assert has(found, CandidateFlag.COSMIC_RAY)


def test_short_faint_tracks_are_told_from_stars():
    """A real track over a corner of four pixels: no pixel stands out from its neighbours by five sigma."""
    signal = blank()
    signal[50:54, 60:63] = [[20, 15, 0], [94, 16, 3], [60, 59, 18], [4, 83, 19]]
    assert only(signal)["ray_gain"] > 0


def test_neighbours_of_a_masked_ray_are_not_alerts():
    signal = blank()
    draw(signal, 60, 50, 1000)
    difference, science, *_ = subtraction(signal)
    mask = difference.exposure.mask.copy()
    mask[51, 62] |= np.uint32(Mask.COSMIC_RAY)
    difference = replace(difference, exposure=replace(difference.exposure, mask=mask))
    found = find_candidates(difference, science)[0]
    assert has(found, CandidateFlag.COSMIC_RAY)
    assert not found["is_alert"]


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
