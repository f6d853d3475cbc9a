"""Master calibrations through their files."""

from dataclasses import replace

import numpy as np
import pytest

from tests.io.test_images import make_exposure
from zsds.core.errors import BadInput
from zsds.core.flags import Mask
from zsds.io.calibrations import load_calibration, save_calibration
from zsds.io.store import Store
from zsds.isr import Calibration
from zsds.products import CalibrationId

IDENTIFIER = CalibrationId("20250120", "zg", 9, 1, 2)


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "archive", "demo")


def make_calibration(version="abc123"):
    bare = replace(make_exposure(), wcs=None, psf=None, zero_point=None)
    rng = np.random.default_rng(3)
    shape = bare.shape
    mask = np.zeros(shape, np.uint32)
    bias = replace(
        bare,
        data=rng.normal(5, 0.7, shape).astype(np.float32),
        variance=np.full(shape, 0.5, np.float32),
        mask=mask,
    )
    flat_data = rng.normal(1, 0.003, shape).astype(np.float32)
    flat_data[4, 4] = np.nan
    flat = replace(bare, data=flat_data, variance=np.full(shape, 9e-6, np.float32), mask=mask)
    bad = mask.copy()
    bad[:, 17] = Mask.DEAD | Mask.NO_FLAT
    return Calibration(bias, flat, bad, version)


def test_round_trip(store):
    calibration = make_calibration()
    with store.unit("calibration") as staging:
        save_calibration(staging, IDENTIFIER, calibration)
    back = load_calibration(store, IDENTIFIER)
    assert back.version == "abc123"
    np.testing.assert_array_equal(back.bad_pixels, calibration.bad_pixels)
    assert back.flat.info == calibration.flat.info
    assert back.bias.info == calibration.bias.info
    assert np.nanmax(np.abs(back.flat.data - calibration.flat.data)) <= 0.003 / 16 * 0.52
    assert np.abs(back.bias.data - calibration.bias.data).max() <= np.sqrt(0.5) / 16 * 0.52
    assert np.isnan(back.flat.data[4, 4])


def test_files_of_two_versions_are_refused(store):
    save_calibration(store, IDENTIFIER, make_calibration())
    other = make_calibration("def456")
    store.save_exposure("bias", IDENTIFIER, other.bias, {"CALVERS": "def456"})
    with pytest.raises(BadInput, match="not of the version"):
        load_calibration(store, IDENTIFIER)


def test_missing(store):
    with pytest.raises(BadInput, match="no such file"):
        load_calibration(store, IDENTIFIER)
