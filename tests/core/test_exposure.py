"""An exposure refuses arrays that do not belong together; the Gaussian PSF keeps its flux."""

import pickle

import numpy as np
import pytest

from zsds.core.errors import BadInput, UnusableData
from zsds.core.exposure import Exposure, Info
from zsds.core.ids import QuadrantId
from zsds.core.psf import GaussianPsf, PsfModel

INFO = Info(QuadrantId("20260101500000", 1, "zr", 1, 1), 61041.5, 30.0, 2, 0)


def planes(shape=(4, 5)):
    return np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.uint32)


def test_planes_must_agree():
    data, variance, mask = planes()
    assert Exposure(data, variance, mask, INFO).shape == (4, 5)
    with pytest.raises(ValueError, match="variance has shape"):
        Exposure(data, variance[:3], mask, INFO)
    with pytest.raises(ValueError, match="native byte order"):
        Exposure(data.astype(">f4"), variance, mask, INFO)


def test_gaussian_psf_sums_to_one_and_moves():
    psf = GaussianPsf(2.0, 25)
    assert isinstance(psf, PsfModel)
    stamp = psf.at(10, 20, dx=0.4, dy=-0.3)
    y, x = np.mgrid[:25, :25] - 12
    assert stamp.sum() == pytest.approx(1, abs=1e-6)
    assert (stamp * x).sum() == pytest.approx(0.4, abs=1e-5)
    assert (stamp * y).sum() == pytest.approx(-0.3, abs=1e-5)


def test_errors_survive_pickling():
    for error in (
        BadInput("a.fits", "is empty", "copy it again"),
        UnusableData("too few stars", {"stars": 3}),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert str(again) == str(error)
        assert "\n" not in str(error)
