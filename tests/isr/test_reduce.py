"""Raw DN to electrons, against truth."""

from dataclasses import replace

import numpy as np
import pytest
from frames import COLUMNS, NX, NY, Truth, amplifier

from zsds.core.camera_file import load_camera
from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.core.raw import RawCcd
from zsds.isr import Calibration, IsrSettings, measure_overscan, reduce_quadrant

LINEARITY = (-1e-11, 9e-7)
BARE = IsrSettings(allow_uncalibrated=True)


def perfect_calibration(truth, bias_err=0.0, flat_err=0.0, bad=None):
    gain, shape = truth.amp.gain, (truth.ny, truth.nx)
    info = truth.raw(10.0, np.random.default_rng(0)).info
    none = np.zeros(shape, np.uint32)
    bias = Exposure(
        (truth.bias * gain).astype(np.float32), np.full(shape, bias_err**2, np.float32), none, info
    )
    flat = Exposure(truth.flat.astype(np.float32), np.full(shape, flat_err**2, np.float32), none, info)
    bad = none if bad is None else bad
    for plane in (bias.data, bias.variance, flat.data, flat.variance, bad):
        plane.flags.writeable = False
    return Calibration(bias, flat, bad, "v1")


def test_noiseless_frame_comes_back_exactly():
    truth = Truth(amplifier(linearity=LINEARITY))
    sky = np.linspace(500, 200000, NX)[None, :] * np.ones((NY, 1))
    raw = truth.ccd(sky, np.random.default_rng(1), noise=False)
    settings = IsrSettings(overscan_smooth_rows=0)
    exposure = reduce_quadrant(raw, 1, truth.amp, perfect_calibration(truth), settings)
    assert np.max(np.abs(exposure.data / sky - 1)) < 2e-4  # float32 at 1000 DN: 6e-5 DN


def test_noise_is_what_the_variance_says():
    truth = Truth(amplifier(linearity=LINEARITY))
    rng = np.random.default_rng(2)
    exposure = reduce_quadrant(truth.ccd(800.0, rng), 1, truth.amp, perfect_calibration(truth), IsrSettings())
    inner = (exposure.mask & np.uint32(Mask.EDGE)) == 0
    # the sky's own photon noise enters its variance estimate; judge with the mean variance
    pull = (exposure.data[inner] - 800.0) / np.sqrt(np.median(exposure.variance[inner]))
    assert abs(pull.mean()) < 4 / np.sqrt(inner.sum()) + 0.02
    assert pull.std() == pytest.approx(1.0, abs=0.02)


def test_calibration_errors_enter_the_variance():
    truth = Truth()
    raw = truth.ccd(5000.0, np.random.default_rng(3))
    without = reduce_quadrant(raw, 1, truth.amp, perfect_calibration(truth), IsrSettings())
    with_errors = reduce_quadrant(raw, 1, truth.amp, perfect_calibration(truth, 12.0, 0.01), IsrSettings())
    extra = np.median(with_errors.variance - without.variance)
    assert extra == pytest.approx(12.0**2 + (0.01 * 5000) ** 2, rel=0.03)
    assert np.array_equal(with_errors.data, without.data)


@pytest.mark.parametrize("read_flip_x", [False, True])
def test_overscan_ignores_unused_columns_and_outliers(read_flip_x):
    rng = np.random.default_rng(4)
    level = 1000 + 5 * np.exp(-np.arange(NY) / 25) + 0.02 * np.arange(NY)
    strip = level[:, None] + rng.normal(0, 1.6, (NY, COLUMNS))
    strip[:, :4] += 30  # charge left behind
    strip[40, 9] = 20000
    strip[70:73, :] += 300  # a bright star bled into it
    strip = np.rint(strip[:, ::-1] if read_flip_x else strip).astype(np.float32)
    amp = amplifier(overscan_used=(4, 16), read_flip_x=read_flip_x)
    found = measure_overscan(strip, amp, IsrSettings())
    error = found.level - level
    assert np.abs(error).max() < 0.6
    assert abs(np.mean(error)) < 0.15
    assert found.noise == pytest.approx(1.63, abs=0.15)


def test_overscan_error_is_honest():
    rng = np.random.default_rng(5)
    pulls = []
    for _ in range(60):
        strip = np.rint(1000.3 + rng.normal(0, 1.6, (NY, COLUMNS))).astype(np.float32)
        found = measure_overscan(strip, amplifier(), IsrSettings())
        pulls.append(
            (found.level - 1000.3)[[0, NY // 2, NY - 1]] / np.sqrt(found.variance[[0, NY // 2, NY - 1]])
        )
    assert np.std(pulls) == pytest.approx(1.0, abs=0.2)
    assert abs(np.mean(pulls)) < 0.3


def test_overscan_rows_without_numbers():
    rng = np.random.default_rng(15)
    strip = (1000 + rng.normal(0, 1.6, (NY, COLUMNS))).astype(np.float32)
    strip[20:25] = np.nan
    strip[60, 3] = np.nan
    found = measure_overscan(strip, amplifier(), IsrSettings())
    assert np.abs(found.level - 1000).max() < 1
    with pytest.raises(UnusableData, match="no numbers"):
        measure_overscan(np.full((NY, COLUMNS), np.nan, np.float32), amplifier(), IsrSettings())


def test_rows_as_they_are():
    rng = np.random.default_rng(6)
    jitter = rng.normal(0, 20, NY)
    strip = (1000 + jitter[:, None] + rng.normal(0, 1.6, (NY, COLUMNS))).astype(np.float32)
    found = measure_overscan(strip, amplifier(), IsrSettings(overscan_smooth_rows=0))
    assert np.std(found.level - 1000 - jitter) < 0.7


def test_saturation_bleeds_and_converter_limit():
    truth = Truth()
    dn = np.full((NY, NX), 100.0)
    dn[60:90, 80] = 0.97 * 50000 + 3
    dn[50:60, 80] = 20000.0  # spilled charge
    dn[90:97, 80] = 20000.0
    dn[20, 20] = 0.97 * 50000 - 10
    dn[30, 30] = 64900.0
    raw = truth.raw(100.0, np.random.default_rng(7))
    data = np.clip(dn + truth.bias + truth.level[:, None], 0, 65535).astype(np.float32)
    raw = RawCcd({1: replace(raw, data=data)}, "science")
    exposure = reduce_quadrant(raw, 1, truth.amp, perfect_calibration(truth), IsrSettings())
    saturated, bleed = np.uint32(Mask.SATURATED), np.uint32(Mask.BLEED)
    assert (exposure.mask[60:90, 80] & saturated).all()
    assert exposure.mask[30, 30] & saturated
    assert not exposure.mask[20, 20] & saturated
    assert (exposure.mask[48:99, 80] & bleed).all()
    assert (exposure.mask[60:90, 79] & bleed).all()
    assert not (exposure.mask[:44, 80] & bleed).any()
    assert not (exposure.mask[60:90, 77] & bleed).any()


def test_masks_of_bad_pixels_columns_edges_and_weak_flat():
    truth = Truth(amplifier(bad_columns=(33,)))
    truth.flat[5, 6] = 0.1
    bad = np.zeros((NY, NX), np.uint32)
    bad[10, 11] = int(Mask.NOISY)
    raw = truth.ccd(500.0, np.random.default_rng(8))
    exposure = reduce_quadrant(raw, 1, truth.amp, perfect_calibration(truth, bad=bad), IsrSettings())
    assert exposure.mask[10, 11] == int(Mask.NOISY)
    assert exposure.mask[5, 6] == int(Mask.NO_FLAT)
    assert (exposure.mask[:, 33] & int(Mask.DEAD)).all()
    assert (exposure.mask[:2] & int(Mask.EDGE)).all()
    assert (exposure.mask[:, -2:] & int(Mask.EDGE)).all()
    assert not (exposure.mask[2:-2, 2:-2] & int(Mask.EDGE)).any()
    assert np.isfinite(exposure.data).all()


def test_numbers_that_are_none():
    truth = Truth()
    raw = truth.raw(500.0, np.random.default_rng(9))
    data = raw.data.copy()
    data[40:50, 60] = np.nan
    data[3, 3] = np.inf
    ccd = RawCcd({1: replace(raw, data=data)}, "science")
    exposure = reduce_quadrant(ccd, 1, truth.amp, perfect_calibration(truth), IsrSettings())
    assert (exposure.mask[40:50, 60] & int(Mask.NAN)).all()
    assert exposure.mask[3, 3] & int(Mask.NAN)
    assert np.isfinite(exposure.data).all()
    assert np.isfinite(exposure.variance).all()
    assert (exposure.variance > 0).all()


def test_crosstalk_is_removed_in_order_of_readout():
    camera = load_camera("demo")
    amp = replace(camera.amplifier(1, 1), data=amplifier().data, overscan_used=None, bad_columns=())
    assert set(amp.crosstalk) == {2, 4}
    rng = np.random.default_rng(10)
    victim = Truth(amp, seed=3)
    others, ghost = {}, np.zeros((NY, NX))
    for q in amp.crosstalk:
        sibling = Truth(replace(camera.amplifier(1, q), data=amp.data, overscan_used=None), seed=q)
        light = np.full((NY, NX), 500.0)
        light[30 * q, 40] = 250000.0
        light[30 * q + 3, 100] = 2e6  # saturated
        others[q] = sibling.raw(light, rng)
        ghost += amp.crosstalk[q] * (amp.read_with(q, others[q].data) - 1000)
    strip = victim.raw(400.0, rng, crosstalk=ghost)
    settings = IsrSettings(edge_pixels=0)
    calibration = perfect_calibration(victim)
    exposure = reduce_quadrant(RawCcd({1: strip, **others}, "science"), 1, amp, calibration, settings)
    alone = reduce_quadrant(RawCcd({1: strip}, "science"), 1, amp, calibration, settings)
    where = amp.crosstalk[2] * (amp.read_with(2, others[2].data) - 1000) > 5
    assert where.sum() == 2
    assert np.all(np.abs(exposure.data[where] - 400) < 5 * np.sqrt(exposure.variance[where]))
    assert np.all(alone.data[where] - 400 > 40)
    doubtful = (exposure.mask & int(Mask.CROSSTALK)) != 0
    assert doubtful.sum() >= 1
    assert (where & doubtful).sum() == 1
    assert amp.read_with(2, others[2].data)[60, 170 - 1 - 40] == others[2].data[60, 40]


def test_overscan_alone():
    truth = Truth()
    raw = truth.ccd(700.0, np.random.default_rng(11))
    with pytest.raises(UnusableData, match="no master calibration"):
        reduce_quadrant(raw, 1, truth.amp, None, IsrSettings())
    exposure = reduce_quadrant(raw, 1, truth.amp, None, BARE)
    assert exposure.info.provenance["calibration"] == "none"
    assert np.median(exposure.data) == pytest.approx(700, abs=15)
    blind = RawCcd({1: replace(raw.quadrants[1], overscan=np.zeros((NY, 0), np.float32))}, "science")
    with pytest.raises(UnusableData, match="neither overscan nor bias"):
        reduce_quadrant(blind, 1, truth.amp, None, BARE)


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.nan, "no number"), (65535.0, "saturated"), (1000.0, "the same")],
)
def test_hopeless_frames(value, reason):
    truth = Truth()
    raw = truth.raw(700.0, np.random.default_rng(12))
    ccd = RawCcd(
        {
            1: replace(
                raw,
                data=np.full((NY, NX), value, np.float32),
                overscan=np.full((NY, COLUMNS), 1000, np.float32),
            )
        },
        "science",
    )
    with pytest.raises(UnusableData, match=reason):
        reduce_quadrant(ccd, 1, truth.amp, None, BARE)


def test_wrong_shapes():
    truth = Truth()
    raw = truth.ccd(700.0, np.random.default_rng(13))
    with pytest.raises(UnusableData, match="another shape"):
        reduce_quadrant(raw, 1, replace(truth.amp, data=replace(truth.amp.data, x1=NX - 1)), None, BARE)


def test_same_input_same_output():
    truth = Truth()
    raw = truth.ccd(700.0, np.random.default_rng(14))
    calibration = perfect_calibration(truth)
    first = reduce_quadrant(raw, 1, truth.amp, calibration, IsrSettings())
    second = reduce_quadrant(raw, 1, truth.amp, calibration, IsrSettings())
    assert np.array_equal(first.data, second.data)
    assert first.info == second.info
    assert first.info.provenance["calibration"] == "v1"
