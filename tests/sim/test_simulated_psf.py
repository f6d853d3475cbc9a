import numpy as np
import pytest
from scipy.integrate import dblquad

from zsds.core.psf import GaussianPsf, PsfModel
from zsds.sim.psf import FAMILIES, PsfShape, _radial_profile, tabulate_psf, varied_shape


@pytest.mark.parametrize("family", FAMILIES)
def test_sums_to_one_and_is_centred(family):
    psf = tabulate_psf(PsfShape(2.1, family, e1=0.05, asymmetry=0.7, angle_deg=20), (90, 130))
    assert isinstance(psf, PsfModel)
    for dx, dy in ((0, 0), (0.5, -0.5), (0.31, 0.12), (-0.999, 0.999)):
        stamp = psf.at(10, 20, dx, dy).astype(float)
        axis = np.arange(psf.size) - psf.radius
        assert stamp.sum() == pytest.approx(1, abs=2e-4)
        assert stamp.sum(0) @ axis == pytest.approx(dx, abs=5e-3)
        assert stamp.sum(1) @ axis == pytest.approx(dy, abs=5e-3)


@pytest.mark.parametrize("fwhm", [1.2, 2.3])
def test_gaussian_equals_exact_pixel_integrals(fwhm):
    psf = tabulate_psf(PsfShape(fwhm, "gaussian"), (50, 60), radius=12)
    exact = GaussianPsf(fwhm, 25)
    for dx, dy in ((0, 0), (0.25, 0.4), (-0.49, 0.06)):
        difference = psf.at(25, 30, dx, dy) - exact.at(25, 30, dx, dy)
        assert np.abs(difference).max() < 1e-3 * exact.at(25, 30).max()


def test_sharp_moffat_equals_numerical_integral_over_pixels():
    shape = PsfShape(1.2, "moffat", beta=2.5)
    psf = tabulate_psf(shape, (50, 60), radius=20)
    alpha = 0.6 / np.sqrt(2 ** (1 / 2.5) - 1)
    norm = 1.5 / (np.pi * alpha**2)
    stamp = psf.at(25, 30, 0.3, 0.1)
    for i, j in ((0, 0), (0, 1), (1, 1), (2, 0)):
        exact, _ = dblquad(
            lambda v, u: norm * (1 + (u * u + v * v) / alpha**2) ** -2.5,
            j - 0.5 - 0.3, j + 0.5 - 0.3, i - 0.5 - 0.1, i + 0.5 - 0.1,
        )  # fmt: skip
        # the tabulated PSF ends at the stamp's edge, so it holds the flux that the exact one has outside
        outside = (1 + (17.5 / alpha) ** 2) ** -1.5
        assert stamp[20 + i, 20 + j] == pytest.approx(exact, abs=(1e-3 + outside) * 0.35)


def test_kolmogorov_has_unit_width_and_right_tail():
    profile = _radial_profile("kolmogorov", 0.0)
    r = np.arange(profile.size) * 0.004
    assert np.interp(0.5, r, profile) == pytest.approx(0.5, abs=2e-3)
    slope = np.log(profile[7000] / profile[6000]) / np.log(r[7000] / r[6000])
    assert slope == pytest.approx(-11 / 3, abs=0.05)


def test_wings_add_up_and_run_on_outside_the_stamp():
    psf = tabulate_psf(PsfShape(2.3, wing_fraction=0.05), (90, 90))
    amplitude, core, power = psf.wing
    r = np.linspace(0.75 * psf.radius, 4e4, 4_000_000)
    t = np.clip((r - 0.75 * psf.radius) / (0.25 * psf.radius), 0, 1)
    outside = amplitude * (1 + (r / core) ** 2) ** (-power / 2) * t * t * (3 - 2 * t)
    total = psf.at(45, 45).sum() + np.trapezoid(outside * 2 * np.pi * r, r)
    assert total == pytest.approx(1, abs=5e-4)


def test_shape_runs_over_the_field():
    shape = varied_shape(PsfShape(2.3), np.random.default_rng(4), 0.04)
    psf = tabulate_psf(shape, (200, 300))
    for x, y in ((0, 0), (299, 10), (150, 199)):
        fwhm, e1, e2 = shape.at((x - 149.5) / 150, (y - 99.5) / 100)
        alone = tabulate_psf(PsfShape(fwhm, e1=e1, e2=e2), (200, 300), radius=psf.radius)
        assert np.abs(psf.at(x, y) - alone.at(x, y)).max() < 0.01 * alone.at(x, y).max()


def test_half_pixel_table_agrees_with_stamps():
    psf = tabulate_psf(varied_shape(PsfShape(1.6), np.random.default_rng(1)), (80, 100))
    fine = psf.doubled(20, 30)
    assert np.allclose(fine[::2, ::2], psf.at(20, 30), atol=1e-6)
    assert np.allclose(fine[1::2, 1::2], psf.at(20, 30, -0.5, -0.5)[:-1, :-1], atol=1e-6)
    assert fine.sum() == pytest.approx(4, abs=2e-3)
