"""Frames of the simulator through master calibrations and all masks."""

import numpy as np
import pytest

from zsds.core.camera_file import load_camera
from zsds.core.flags import Mask
from zsds.isr import IsrSettings, mark_cosmic_rays, mark_trails, reduce_quadrant
from zsds.pipeline.calibration import calibrate_quadrant
from zsds.sim import NightSettings, SkySettings, plan_survey, shrunken
from zsds.sim.frames import calibration_frame, science_frame, survey_detector

SETTINGS = NightSettings(
    n_reference=1,
    reference_nights=1,
    n_science=1,
    satellites=0.0,
    near_asteroids=1,
    asteroids_per_sq_deg=2000.0,
    transients_per_sq_deg=3000.0,
    clouds_mag=0.0,
    sky=SkySettings(stars_per_sq_deg=20000.0),
)


@pytest.fixture(scope="module")
def survey():
    return plan_survey(shrunken(load_camera("demo"), 260, 230), 4, SETTINGS)


@pytest.fixture(scope="module")
def calibrations(survey):
    kinds = [("bias", 0.0)] * 5 + [("flat", 0.1)] * 5
    frames = [
        calibration_frame(survey, kind, 1, 58490 + shift + k / 1000, "zr")
        for k, (kind, shift) in enumerate(kinds)
    ]
    amplifiers = survey.camera.detectors[1].amplifiers
    return {q: calibrate_quadrant(frames, q, a, "zr") for q, a in amplifiers.items()}


def test_masters_are_the_detector(survey, calibrations):
    for q, calibration in calibrations.items():
        detector, gain = survey_detector(survey, 1, q), survey.camera.amplifier(1, q).gain
        good = calibration.bad_pixels == 0
        bias = (calibration.bias.data - detector.bias * gain) / np.sqrt(calibration.bias.variance)
        response = detector.response / np.median(detector.response)
        flat = (calibration.flat.data - response) / np.sqrt(calibration.flat.variance)
        for pull in (bias[good], flat[good]):
            assert np.std(pull) == pytest.approx(1.0, abs=0.05)
            assert abs(np.mean(pull)) < 0.15
        assert not (good & (detector.response < 0.1)).any()


def test_sky_and_noise_of_a_science_frame(survey, calibrations):
    plan = survey.plans[-1]
    raw, truth = science_frame(survey, plan, 1)
    for q in (1, 3):
        exposure = reduce_quadrant(raw, q, survey.camera.amplifier(1, q), calibrations[q], IsrSettings())
        row = truth["truth_exposures"]
        row = row[row["quadrant"] == q][0]
        assert np.median(exposure.data) == pytest.approx(row["sky"], rel=0.02)
        marked = mark_trails(mark_cosmic_rays(exposure, 2.0))
        assert not (marked.mask & int(Mask.TRAIL)).any()
        difference = np.diff(exposure.data, axis=0)
        noise = 1.4826 * np.median(np.abs(difference)) / np.sqrt(2)
        assert noise == pytest.approx(np.sqrt(np.median(exposure.variance)), rel=0.05)
