import numpy as np
import pytest

from tests.candidates.scenes import PSF, blank, draw, flux_error, has, only, subtraction
from zsds.candidates import (
    CandidateFlag,
    find_candidates,
)
from zsds.core.flags import Mask
from zsds.core.psf import GaussianPsf
from zsds.kernels.features import draw_trail


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
