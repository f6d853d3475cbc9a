"""Headers and options that make no sense are refused in one line, or left out, never believed."""

import math

import pytest
from astropy.io import fits

from zsds.core.errors import BadInput
from zsds.io.calibrated import read_calibrated
from zsds.io.headers import read_zero_point
from zsds.io.stated import Known


@pytest.mark.parametrize("value", ["none", "", True])
def test_a_zero_point_that_is_no_number_is_none(value):
    header = fits.Header()
    header["MAGZP"] = value
    found = read_zero_point(header, 6.2)
    assert found is None or math.isfinite(found.value)
    header["MAGZP"], header["MAGZPUNC"] = 26.0, "unknown"
    assert read_zero_point(header, 1.0).err == 0.0


@pytest.mark.parametrize(
    "values",
    [{"gain": -2.0}, {"gain": 0.0}, {"gain": math.nan}, {"saturation": -5.0}, {"zero_point": math.nan}],
)
def test_absurd_options_are_named(values):
    with pytest.raises(BadInput, match=next(iter(values))):
        Known(**values)


@pytest.mark.parametrize("mjd", [1e300, -5.0, 3e5])
def test_absurd_times_are_refused(tmp_path, rng_image, mjd):
    path = tmp_path / "image.fits"
    fits.PrimaryHDU(rng_image, fits.Header({"OBSMJD": mjd, "EXPTIME": 30.0})).writeto(path)
    with pytest.raises(BadInput, match="MJD"):
        read_calibrated(path, require_wcs=False)


@pytest.fixture
def rng_image():
    import numpy as np

    return np.random.default_rng(1).normal(100, 5, (80, 90)).astype("f4")
