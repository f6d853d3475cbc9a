"""Master bias, flat and bad pixels, against truth."""

from dataclasses import replace

import numpy as np
import pytest
from frames import NX, NY, Truth, amplifier

from zsds.core.camera import Detector
from zsds.core.errors import UnusableData
from zsds.core.flags import Mask
from zsds.core.raw import RawCcd
from zsds.isr import (
    IsrSettings,
    MasterSettings,
    build_bad_pixels,
    build_bias,
    build_flat,
    find_hot_pixels,
    reduce_quadrant,
)
from zsds.pipeline.calibration import calibrate_quadrant


def bias_frames(truth, n, rng):
    return [truth.raw(0.0, rng, mjd=60700.0 + k / 1000) for k in range(n)]


def flat_frames(truth, n, rng, electrons=60000.0, band="zr"):
    return [truth.raw(electrons * (1 - 0.03 * k), rng, mjd=60700.1 + k / 1000, band=band) for k in range(n)]


def hurt(raw, rng, n=40):
    """The frame with cosmic rays."""
    data = raw.data.copy()
    data[rng.integers(0, NY, n), rng.integers(0, NX, n)] += 4000
    return replace(raw, data=data)


def test_bias_is_the_truth_within_its_error():
    truth, rng = Truth(), np.random.default_rng(1)
    frames = [hurt(frame, rng) for frame in bias_frames(truth, 7, rng)]
    bias = build_bias(frames, truth.amp)
    pull = (bias.data - truth.bias * truth.amp.gain) / np.sqrt(bias.variance)
    assert np.std(pull) == pytest.approx(1.0, abs=0.05)
    assert np.abs(pull).max() < 6
    assert abs(pull.mean()) < 0.1
    assert ((bias.mask & int(Mask.NOISY)) != 0).mean() < 0.015  # only the pixels that rays hit


def test_noisy_pixels_are_found():
    truth, rng = Truth(), np.random.default_rng(2)
    noisy = np.zeros((NY, NX), bool)
    noisy[20:24, 30:50] = True
    frames = []
    for frame in bias_frames(truth, 12, rng):
        data = frame.data + np.where(noisy, rng.normal(0, 12, noisy.shape), 0)
        frames.append(replace(frame, data=data.astype(np.float32)))
    bias = build_bias(frames, truth.amp)
    found = (bias.mask & int(Mask.NOISY)) != 0
    assert found[noisy].mean() > 0.95
    assert found[~noisy].sum() <= 1


def lit(frame, rng):
    """A frame that saw light although it should not have."""
    return replace(frame, data=frame.data + rng.poisson(5000, frame.data.shape).astype("f4"))


def test_a_bias_frame_that_saw_light_is_left_out():
    truth, rng = Truth(), np.random.default_rng(22)
    frames = bias_frames(truth, 5, rng)
    clean = build_bias(frames[1:], truth.amp)
    assert np.array_equal(build_bias([lit(frames[0], rng), *frames[1:]], truth.amp).data, clean.data)


@pytest.mark.parametrize(
    ("change", "overscan", "message"),
    [
        (lit, True, "far from the level of their overscan"),
        (lit, False, "did they see light"),
        (lambda frame, _: replace(frame, data=frame.data * 0), True, "far from the level"),
        (lambda frame, _: replace(frame, data=frame.data * 0), False, "as read noise would have it"),
    ],
)
def test_what_is_no_bias_is_refused(change, overscan, message):
    truth, rng = Truth(), np.random.default_rng(23)
    frames = [change(frame, rng) for frame in bias_frames(truth, 4, rng)]
    if not overscan:
        frames = [replace(frame, overscan=frame.overscan[:, :0]) for frame in frames]
    with pytest.raises(UnusableData, match=message):
        build_bias(frames, truth.amp)


@pytest.mark.parametrize("n_frames", [3, 4])
def test_hot_pixels_are_found_in_darks(n_frames):
    truth, rng = Truth(), np.random.default_rng(21)
    bias = build_bias(bias_frames(truth, 7, rng), truth.amp)
    hot = np.zeros((NY, NX), bool)
    hot[rng.integers(0, NY, 60), rng.integers(0, NX, 60)] = True
    charge = np.where(hot, 30.0 * rng.uniform(3, 3000, hot.shape), 30.0 * 0.1)
    darks = [hurt(truth.raw(0.0, rng, mjd=60700.0 + k / 1000), rng) for k in range(n_frames)]
    darks = [replace(d, data=d.data + (rng.poisson(charge) / truth.amp.gain).astype("f4")) for d in darks]
    found = find_hot_pixels(darks, truth.amp, bias) != 0
    assert found[hot].mean() > 0.98
    assert found[~hot].sum() <= 1
    assert not find_hot_pixels(darks[:2], truth.amp, bias).any()  # rays would look the same


def test_flat_is_the_truth_within_its_error():
    truth, rng = Truth(amplifier(linearity=(-1e-11, 9e-7))), np.random.default_rng(3)
    bias = build_bias(bias_frames(truth, 7, rng), truth.amp)
    made = build_flat([hurt(f, rng) for f in flat_frames(truth, 5, rng)], truth.amp, bias)
    pull = (made.flat.data - truth.flat) / np.sqrt(made.flat.variance)
    assert np.std(pull) == pytest.approx(1.0, abs=0.05)
    assert abs(np.median(made.flat.data) - 1) < 1e-5
    assert abs(pull.mean()) < 0.2
    assert made.level == pytest.approx(60000 * 0.94, rel=0.01)
    assert made.n_frames == 5
    assert (made.flat.mask == 0).mean() > 0.999


def test_flat_frames_out_of_range_are_left_out():
    truth, rng = Truth(), np.random.default_rng(4)
    good = flat_frames(truth, 3, rng)
    faint, bright = truth.raw(300.0, rng), truth.raw(300000.0, rng)
    assert build_flat([*good, faint, bright], truth.amp, None).n_frames == 3
    with pytest.raises(UnusableData, match="too few usable flat frames"):
        build_flat([*good[:2], faint, bright], truth.amp, None)


def test_response_outliers_and_columns():
    truth, rng = Truth(amplifier(bad_columns=(7,))), np.random.default_rng(5)
    truth.flat[50, 60], truth.flat[51, 60], truth.flat[52, 60] = 0.02, 0.5, 1.6
    truth.flat[53, 60] = 0.8  # weak, but the flat mends it
    truth.flat[:60, 100] = 0.3  # 40 % of a column
    flat = build_flat(flat_frames(truth, 4, rng), truth.amp, None).flat
    assert flat.mask[50, 60] == int(Mask.DEAD)
    assert flat.mask[51, 60] == int(Mask.LOW_RESPONSE)
    assert flat.mask[52, 60] == int(Mask.HIGH_RESPONSE)
    assert flat.mask[53, 60] == 0
    bad = build_bad_pixels(None, flat, truth.amp)
    assert (bad[:, 100] & int(Mask.LOW_RESPONSE)).all()
    assert (bad[:, 7] == int(Mask.DEAD)).all()
    assert (bad != 0).sum() == 2 * NY + 3
    with pytest.raises(UnusableData, match="too many pixels are bad"):
        build_bad_pixels(None, flat, truth.amp, MasterSettings(max_bad=0.01))


def test_too_few_bias_frames():
    truth, rng = Truth(), np.random.default_rng(6)
    with pytest.raises(UnusableData, match="too few bias frames"):
        build_bias(bias_frames(truth, 2, rng), truth.amp)
    with pytest.raises(UnusableData, match="another shape"):
        build_bias(bias_frames(truth, 3, rng), replace(truth.amp, data=replace(truth.amp.data, x1=NX - 2)))


def night(truths, rng, n_bias=4, n_flat=4):
    amps = {q: truth.amp for q, truth in truths.items()}
    frames = []
    for k in range(n_bias):
        quadrants = {q: t.raw(0.0, rng, mjd=60700 + k / 1000) for q, t in truths.items()}
        frames.append(RawCcd(quadrants, "bias"))
    for k in range(n_flat):
        quadrants = {q: t.raw(3e4, rng, mjd=60700.1 + k / 1000) for q, t in truths.items()}
        frames.append(RawCcd(quadrants, "flat"))
    return frames, Detector(1, amps)


def test_a_night_calibrates_and_reduces():
    truths = {1: Truth(amplifier(1)), 2: Truth(amplifier(2), seed=2)}
    truths[2].flat *= 0.9  # the whole quadrant responds less
    rng = np.random.default_rng(7)
    frames, detector = night(truths, rng)
    frames.append(truths[1].ccd(500.0, rng))  # ignored
    made = {q: calibrate_quadrant(frames, q, a, "zr") for q, a in detector.amplifiers.items()}
    sky = {q: t.raw(600.0, rng) for q, t in truths.items()}
    medians = {}
    for q in truths:
        exposure = reduce_quadrant(RawCcd(sky, "science"), q, detector.amplifiers[q], made[q], IsrSettings())
        medians[q] = np.median(exposure.data)
        assert exposure.info.provenance["calibration"] == made[q].version
    assert medians[2] == pytest.approx(0.9 * medians[1], rel=0.005)  # its own zero point knows


def test_version_depends_on_inputs_only():
    truths = {1: Truth()}
    frames, detector = night(truths, np.random.default_rng(8), 3, 3)
    amp = detector.amplifiers[1]
    first = calibrate_quadrant(frames, 1, amp, "zr")
    again = calibrate_quadrant(frames[::-1], 1, amp, "zr")
    assert first.version == again.version
    assert np.array_equal(first.flat.data, again.flat.data)
    assert first.version != calibrate_quadrant(frames, 1, replace(amp, gain=6.0), "zr").version
    assert len(first.version) == 12


def test_missing_calibration_frames_are_named():
    frames, detector = night({1: Truth()}, np.random.default_rng(9), 3, 3)
    amp = detector.amplifiers[1]
    with pytest.raises(UnusableData, match="no flat frames in band zg"):
        calibrate_quadrant(frames, 1, amp, "zg")
    with pytest.raises(UnusableData, match="no bias frames"):
        calibrate_quadrant(frames[3:], 1, amp, "zr")
    with pytest.raises(UnusableData, match="too few bias frames"):
        calibrate_quadrant(frames[1:], 1, amp, "zr")
    with pytest.raises(UnusableData, match="no flat frames"):
        calibrate_quadrant([], 1, amp, "zr")
    darks = [replace(frame, frame_type="dark") for frame in frames[:3]]
    assert calibrate_quadrant([*darks, *frames[3:]], 1, amp, "zr").bias.data.std() > 0
