"""The mean star over sub-pixel places."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.fft import irfft2, rfft2

from zsds.core.psf import GaussianPsf
from zsds.psf import GridPsf, MoffatPsf
from zsds.psf.mean import MeanPsf, centred, mean_psf, phase_ramp

SIZE = 64


def moved_back(psf, dx, dy):
    """A star at a sub-pixel place, brought to the centre of its pixel by Fourier phases."""
    return irfft2(rfft2(centred(psf.at(0, 0, dx, dy), SIZE)) * phase_ramp(SIZE, dx, dy), (SIZE, SIZE))


@pytest.mark.parametrize("psf", [MoffatPsf.of_fwhm(1.2, 3.0, 31), GaussianPsf(1.3, 31)])
def test_flux_by_the_mean_star_is_right_on_average(psf):
    """A star on a pixel's centre is sharper than others: a filter made of it finds them too faint."""
    places = (np.arange(5) + 0.5) / 5 - 0.5  # phases that the code does not use
    stars = [moved_back(psf, dx, dy) for dx in places for dy in places]

    def bias(stamp):
        grid = centred(stamp, SIZE).astype(float)
        return np.mean([np.sum(grid * star) for star in stars]) / np.sum(grid**2) - 1

    assert bias(psf.at(0, 0)) < -0.03
    assert bias(mean_psf(psf, (9, 9)).at(0, 0)) == pytest.approx(0, abs=0.005)


def test_mean_star_keeps_all_light_and_moves():
    psf = MeanPsf(MoffatPsf.of_fwhm(1.2, 3.0, 31))
    stamp, moved = psf.at(0, 0), psf.at(0, 0, 0.3, -0.2)
    assert stamp.shape == (31, 31)
    assert stamp.sum() == pytest.approx(psf.psf.at(0, 0).sum(), abs=2e-3)
    offset = np.arange(31) - 15
    assert np.sum(moved * offset) - np.sum(stamp * offset) == pytest.approx(0.3, abs=0.02)
    assert np.sum(moved.T * offset) - np.sum(stamp.T * offset) == pytest.approx(-0.2, abs=0.02)


def test_well_sampled_psf_is_its_own_mean():
    psf = GaussianPsf(3.0, 25)
    assert mean_psf(psf, (9, 9)) is psf
    np.testing.assert_allclose(MeanPsf(psf).at(0, 0), psf.at(0, 0), atol=1e-4)


class SharpCorner:
    """Well sampled in the middle of an image, not in one corner."""

    size = 25

    def at(self, x, y, dx=0.0, dy=0.0):
        return GaussianPsf(1.4 if x + y < 50 else 3.0, self.size).at(x, y, dx, dy)


def test_one_sharp_corner_is_enough():
    assert isinstance(mean_psf(SharpCorner(), (200, 300)), MeanPsf)


def test_means_are_not_taken_of_means():
    stamp = MoffatPsf.of_fwhm(1.2, 3.0, 31).at(0, 0)
    known = GridPsf.from_stamps(stamp[None, None], [0], [0], is_mean=True)
    assert mean_psf(known, (9, 9)) is known
    assert isinstance(mean_psf(replace(known, is_mean=False), (9, 9)), MeanPsf)
    twice = MeanPsf(known)
    assert mean_psf(twice, (9, 9)) is twice
