import numpy as np
import pytest
from star_fields import VaryingMoffat

from zsds.core.psf import GaussianPsf, PsfModel
from zsds.psf import GridPsf, MoffatPsf, PolynomialPsf, profile_fwhm
from zsds.psf.exchange import to_photutils


def largest_difference(first, second, place=(100.0, 120.0)):
    shifts = [(0, 0), (0.5, -0.5), (0.3, 0.1), (-0.25, 0.4)]
    return max(np.abs(first.at(*place, *d) - second.at(*place, *d)).max() for d in shifts)


@pytest.mark.parametrize(("fwhm", "oversampling"), [(1.3, 3), (2.0, 2), (3.0, 2), (4.5, 1)])
def test_splines_reproduce_a_known_psf(fwhm, oversampling):
    truth = GaussianPsf(fwhm, 31)
    model = PolynomialPsf.from_model(truth, (300, 280), 0, oversampling)
    assert isinstance(model, PsfModel)
    assert largest_difference(model, truth) < 2e-3 * truth.at(0, 0).max()
    assert model.at(0, 0, 0.2, 0.4).sum() == pytest.approx(1, abs=1e-4)
    assert model.fwhm() == pytest.approx(profile_fwhm(truth, 0, 0), rel=2e-3)


def test_polynomial_follows_the_variation():
    truth = VaryingMoffat(2.4, 3.0, 31, growth=0.1, ratio=0.9)
    model = PolynomialPsf.from_model(truth, (400, 400))
    for place in ((20.0, 30.0), (200.0, 210.0), (390.0, 200.0)):
        assert largest_difference(model, truth, place) < 0.01 * truth.at(*place).max()
    assert np.array_equal(model.at(-500.0, 100.0), model.at(0.0, 100.0))


@pytest.mark.parametrize("psf", [VaryingMoffat(2.4, 3.0, 31), None])
def test_arrays_round_trip(psf, tmp_path):
    if psf is None:
        stamps = np.stack([GaussianPsf(f, 21).at(0, 0) for f in (2.0, 2.2, 2.4, 2.6)]).reshape(2, 2, 21, 21)
        model = GridPsf.from_stamps(stamps, [10, 90], [20, 200])
    else:
        model = PolynomialPsf.from_model(psf, (400, 380), 2)
    np.savez(tmp_path / "psf.npz", **model.to_arrays())
    with np.load(tmp_path / "psf.npz") as arrays:
        again = type(model).from_arrays(arrays)
    assert np.array_equal(model.at(33.0, 44.0, 0.1, 0.2), again.at(33.0, 44.0, 0.1, 0.2))


def test_grid_is_exact_at_nodes_and_linear_between():
    low, high = GaussianPsf(2.4, 25), GaussianPsf(3.0, 25)
    stamps = np.stack([low.at(0, 0), high.at(0, 0)]).reshape(1, 2, 25, 25)
    grid = GridPsf.from_stamps(stamps, [100.0, 300.0], [50.0])
    assert isinstance(grid, PsfModel)
    assert np.abs(grid.at(100, 999) - low.at(0, 0)).max() < 1e-6
    assert largest_difference(grid, low, (0.0, 0.0)) < 3e-3 * low.at(0, 0).max()
    middle = (low.at(0, 0, 0.3, 0.2) + high.at(0, 0, 0.3, 0.2)) / 2
    assert np.abs(grid.at(200, 50, 0.3, 0.2) - middle).max() < 3e-3 * middle.max()
    with pytest.raises(ValueError, match="do not fit"):
        GridPsf.from_stamps(stamps, [1.0], [50.0])


def test_moffat_keeps_its_flux_under_shifts():
    psf = MoffatPsf.of_fwhm(2.0, 3.0, 41, ratio=0.8, theta=0.4)
    assert psf.at(0, 0).sum() == pytest.approx(1, abs=1e-6)
    assert psf.at(0, 0, 0.5, 0.3).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("order", [0, 2])
def test_photutils_draws_the_same_star(order):
    truth = VaryingMoffat(2.4, 3.0, 25, growth=0.1 * order)
    model = PolynomialPsf.from_model(truth, (400, 400), order)
    y, x = np.mgrid[88:113, 188:213]
    theirs = to_photutils(model).evaluate(x, y, 1.0, 200.2, 100.4)
    assert np.abs(theirs - model.at(200.0, 100.0, 0.2, 0.4)).max() < 1e-3
