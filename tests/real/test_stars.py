"""Stars of one real image: the brightest, too, look like the PSF."""

from dataclasses import replace

import numpy as np

from zsds.io.calibrated import read_calibrated
from zsds.pipeline.measure import MeasureSettings, measure


def test_bright_stars_are_fitted(shared_data):
    name = "ztf_20250409323808_000859_zr_c07_o_q1_sciimg.fits.gz"
    exposure = replace(read_calibrated(shared_data / "ztf_images" / name), psf=None)
    measured = measure(exposure, MeasureSettings())
    stars = measured.stars
    clean = (stars["flags"] == 0) & ~stars["is_edge"] & (np.abs(stars["sharp"]) < 0.3)
    bright = clean & (stars["snr"] > 100)
    assert bright.sum() > 10
    assert np.median(stars["chi"][bright]) < 1.5
