"""Our own difference of the survey's science and template stamps beside the survey's."""

import numpy as np
import pytest

from benchmarks.stamps import compare, draw, summary
from zsds.core.errors import UnusableData
from zsds.io.packets import read_packet

SAMPLES = ("v32_native", "v33_native", "v401_native_fp_hists")


@pytest.fixture(scope="module")
def found(shared_data):
    compared = []
    for name in SAMPLES:
        for path in sorted((shared_data / "ztf_alerts" / name).glob("*.avro")):
            try:
                compared.append(compare(read_packet(path).record))
            except UnusableData as error:
                assert error.reason in {"no star for the PSF", "stamps reach beyond the image"}
    return compared


def test_noise_is_that_of_the_two_stamps_together(found):
    ours = np.array([one.noise[0] for one in found])
    assert len(found) > 15
    pixels = 63**2 / 2  # empty ones of a stamp, at least
    assert np.median(ours) == pytest.approx(1, abs=0.03)
    assert (np.abs(ours - 1) < 0.08 + 4 / np.sqrt(2 * pixels)).all()


def test_new_sources_have_the_magnitudes_of_the_packets(found):
    apart = [(one.mag[0] - one.mag[1]) / np.hypot(*one.mag_err) for one in found if not one.on_star]
    known = np.array([pull for pull in apart if np.isfinite(pull)])
    assert known.size >= 2
    assert (np.abs(known) < 2).all()  # of the same photons


def test_stars_leave_no_more_than_in_the_stamps_of_the_survey(found):
    left = np.array([one.residual for one in found])
    left = left[np.isfinite(left).all(axis=1)]
    assert (left[:, 0] < 2 * left[:, 1] + 5).all()


def test_summary_and_picture(found, tmp_path):
    assert summary(found)["packets"] == len(found)
    draw(found, tmp_path / "stamps.png")
    assert (tmp_path / "stamps.png").read_bytes()[:4] == b"\x89PNG"
