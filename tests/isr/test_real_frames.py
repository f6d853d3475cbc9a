"""Real raw frames: amplifiers fit together, noise is what the variance says."""

import numpy as np
import pytest
from scipy.ndimage import median_filter, uniform_filter1d

from zsds.core.camera_file import load_camera
from zsds.core.flags import Mask, is_defect
from zsds.io.raw import read_raw
from zsds.isr import IsrSettings, MasterSettings, mark_cosmic_rays, mark_trails, reduce_quadrant
from zsds.pipeline.calibration import CalibrationSettings, calibrate_quadrant


@pytest.fixture(scope="module")
def sinistro(shared_data):
    camera = load_camera("sinistro")
    raw = read_raw(shared_data / "raw_ccd" / "lco_sinistro_mef_4amp.fits.gz", camera)
    bare = IsrSettings(allow_uncalibrated=True)
    return {q: reduce_quadrant(raw, q, camera.amplifier(1, q), None, bare) for q in raw.quadrants}


def test_amplifiers_meet_without_a_step(sinistro):
    """Sky of both sides of each seam agrees to the few percent that gains and an absent flat allow."""
    left, right = sinistro[1].data[:, -40:], sinistro[4].data[:, :40]
    low, high = sinistro[2].data[-40:], sinistro[1].data[:40]
    for one, other in ((left, right), (low, high)):
        assert np.median(one) == pytest.approx(np.median(other), rel=0.03)


def test_stars_continue_across_the_seams(sinistro):
    """Structure beside the seams is the same on both sides; wrong flips would destroy it."""
    top = np.hstack([sinistro[1].data, sinistro[4].data])
    bottom = np.hstack([sinistro[2].data, sinistro[3].data])
    image = np.vstack([bottom, top])
    half = image.shape[0] // 2
    for low, high in ((image[half - 1], image[half]), (image[:, half - 1], image[:, half])):
        a, b = (np.clip(uniform_filter1d(v - median_filter(v, 41), 3), -100, 1500) for v in (low, high))
        assert np.corrcoef(a, b)[0, 1] > 0.4
        assert abs(np.corrcoef(a, b[::-1])[0, 1]) < 0.2


def test_noise_of_a_real_sky(sinistro):
    for exposure in sinistro.values():
        difference = np.diff(exposure.data, axis=1)[2:-2, 2:-2]
        noise = 1.4826 * np.median(np.abs(difference - np.median(difference))) / np.sqrt(2)
        assert noise == pytest.approx(np.sqrt(np.median(exposure.variance)), rel=0.08)


def test_ghosts_of_the_brightest_star(sinistro):
    """Its cross-talk in the sibling, mirrored by the order of readout, is marked."""
    star = np.argwhere((sinistro[2].mask & int(Mask.SATURATED)) != 0)
    ghost = np.argwhere((sinistro[1].mask & int(Mask.CROSSTALK)) != 0)
    assert len(ghost) > 20
    assert np.median(ghost, axis=0) == pytest.approx([511, 0] + np.median(star, axis=0) * [-1, 1], abs=3)


def test_few_pixels_are_taken_for_rays_or_trails(sinistro):
    for exposure in sinistro.values():
        marked = mark_trails(mark_cosmic_rays(exposure, 3.7))
        assert ((marked.mask & int(Mask.COSMIC_RAY)) != 0).mean() < 5e-4
        assert not (marked.mask & int(Mask.TRAIL)).any()


def test_a_camera_without_overscan(shared_data):
    camera = load_camera("huntsman")
    folder = shared_data / "raw_ccd" / "huntsman"
    frames = [read_raw(folder / f"{kind}_0.fits.gz", camera) for kind in ("bias", "dark", "flat", "science")]
    single = CalibrationSettings(MasterSettings(min_bias=1, min_flat=1, min_flat_electrons=500.0))
    amplifier = camera.amplifier(1, 1)
    calibration = calibrate_quadrant(frames, 1, amplifier, "hg", single)
    exposure = reduce_quadrant(frames[3], 1, amplifier, calibration, IsrSettings())
    sky = (107 - 32) * amplifier.gain
    assert np.median(exposure.data) == pytest.approx(sky, rel=0.05)
    noise = 1.4826 * np.median(np.abs(exposure.data - np.median(exposure.data)))
    assert noise == pytest.approx(np.sqrt(np.median(exposure.variance)), rel=0.1)
    assert is_defect(exposure.mask & ~np.uint32(Mask.EDGE)).mean() < 0.01
