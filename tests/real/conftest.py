"""Runs that several tests of real images look at."""

import pytest

from zsds.runner.pair import PairFiles, run_pair

NAMES = "ztf_20250521306528_000757_zg_c06_o_q4", "ztf_20250521257917_000757_zr_c06_o_q4"


@pytest.fixture(scope="session")
def colours(shared_data, tmp_path_factory):
    """Report and products of one quadrant in g, with an r image as its reference."""
    out = tmp_path_factory.mktemp("colours")
    images = (PairFiles(shared_data / "ztf_images" / f"{name}_sciimg.fits.gz") for name in NAMES)
    return run_pair(*images, out, {}), out
