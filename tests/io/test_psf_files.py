"""PSF files: every model comes back, and outside tools find a 25 x 25 stamp in HDU 0."""

from dataclasses import dataclass

import numpy as np
import pytest
from astropy.io import fits

from zsds.core.errors import BadInput
from zsds.core.psf import GaussianPsf
from zsds.io.psf import read_psf, write_psf
from zsds.psf.model import GridPsf, PolynomialPsf


@dataclass(frozen=True)
class Growing:
    """A PSF that widens along x and cannot be stored as it is."""

    size: int = 31

    def at(self, x, y, dx=0.0, dy=0.0):
        return GaussianPsf(2.0 + x / 1000, self.size).at(x, y, dx, dy)


@pytest.mark.parametrize("size", [15, 25, 31])
def test_gaussian(tmp_path, size):
    write_psf(tmp_path / "p.fits", GaussianPsf(2.3, size), (100, 200))
    assert read_psf(tmp_path / "p.fits") == GaussianPsf(2.3, size)
    stamp = fits.getdata(tmp_path / "p.fits")
    assert stamp.shape == (25, 25)
    assert np.unravel_index(stamp.argmax(), stamp.shape) == (12, 12)
    assert stamp.sum() == pytest.approx(1, abs=1e-5)


def test_grid(tmp_path):
    stamps = np.random.default_rng(0).normal(size=(2, 2, 31, 31)).astype(np.float32)
    psf = GridPsf.from_stamps(stamps, [0.0, 99.0], [0.0, 49.0])
    write_psf(tmp_path / "p.fits", psf, (50, 100))
    back = read_psf(tmp_path / "p.fits")
    for where in ((0, 0), (30.5, 20.25, 0.4, -0.1), (99, 49, -0.5, 0.5)):
        np.testing.assert_array_equal(back.at(*where), psf.at(*where))


def test_polynomial(tmp_path):
    psf = PolynomialPsf.from_model(Growing(), (300, 400), order=2)
    write_psf(tmp_path / "p.fits", psf, (300, 400))
    back = read_psf(tmp_path / "p.fits")
    for where in ((0, 0), (300.5, 20.25, 0.4, -0.1), (399, 299, -0.5, 0.5)):
        np.testing.assert_array_equal(back.at(*where), psf.at(*where))


def test_a_model_without_arrays_is_sampled(tmp_path):
    write_psf(tmp_path / "p.fits", Growing(), (700, 900))
    back = read_psf(tmp_path / "p.fits")
    for x in (0.0, 333.0, 899.0):
        np.testing.assert_allclose(back.at(x, 350.0), Growing().at(x, 350.0), atol=2e-3)
        np.testing.assert_allclose(back.at(x, 350.0, 0.3, -0.2), Growing().at(x, 350.0, 0.3, -0.2), atol=2e-3)


def test_a_single_stamp_as_ztf_has_it(tmp_path):
    fits.PrimaryHDU(GaussianPsf(2.3).at(0, 0) * 5).writeto(tmp_path / "p.fits")
    back = read_psf(tmp_path / "p.fits")
    np.testing.assert_allclose(back.at(50, 60), GaussianPsf(2.3).at(0, 0), atol=1e-6)


@pytest.mark.parametrize("fault", ["even", "no stamp", "negative", "unknown", "foreign class"])
def test_faults(tmp_path, fault):
    stamp = {"even": np.ones((24, 24)), "no stamp": None, "negative": -np.ones((25, 25))}.get(
        fault, np.ones((25, 25))
    )
    hdu = fits.PrimaryHDU(stamp)
    if fault == "unknown":
        hdu.header["PSFMODEL"] = "zsds.core.psf.FancyPsf"
    elif fault == "foreign class":
        hdu.header["PSFMODEL"] = "os.path.join"
    hdu.writeto(tmp_path / "p.fits")
    with pytest.raises(BadInput, match=r"p\.fits"):
        read_psf(tmp_path / "p.fits")
