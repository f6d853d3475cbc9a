"""References through their files."""

from dataclasses import replace

import numpy as np
import pytest

from tests.io.test_images import make_exposure, tangent_wcs
from zsds.core.errors import BadInput
from zsds.io.references import load_reference, save_reference
from zsds.io.store import Store
from zsds.products import ReferenceId
from zsds.psf.model import GridPsf
from zsds.reference import Reference

IDENTIFIER = ReferenceId(249, "zg", 9, 1, 2)


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "archive", "demo")


def make_reference():
    exposure = make_exposure((90, 131))
    rng = np.random.default_rng(7)
    stamps = rng.uniform(size=(2, 3, 25, 25)).astype(np.float32)
    variance = exposure.variance.copy()
    variance[5, 5] = np.inf
    return Reference(
        coefficients=np.nan_to_num(exposure.data),
        variance=variance,
        mask=exposure.mask,
        coverage=np.full(exposure.shape, 16, np.uint16),
        wcs=tangent_wcs(),
        zero_point=exposure.zero_point,
        info=exposure.info,
        psf=GridPsf.from_stamps(stamps, [0.0, 60.0, 130.0], [0.0, 89.0]),
        oversampling=1.5,
        epochs=tuple(f"ztf_2025012014{n:04d}_000249_zg_c09_o_q1" for n in range(16)),
        start_mjd=60000.125,
        end_mjd=60100.0625,
        rfid=249120132,
    )


def test_round_trip(store):
    reference = make_reference()
    with store.unit("reference") as staging:
        save_reference(staging, IDENTIFIER, reference)
    back = load_reference(store, IDENTIFIER)
    step = np.sqrt(np.median(reference.variance)) / 32
    assert np.abs(back.coefficients - reference.coefficients).max() <= 0.51 * step
    finite = np.isfinite(reference.variance)
    np.testing.assert_allclose(back.variance[finite], reference.variance[finite], rtol=0.01)
    assert np.isinf(back.variance[5, 5])
    np.testing.assert_array_equal(back.mask, reference.mask)
    np.testing.assert_array_equal(back.coverage, reference.coverage)
    np.testing.assert_array_equal(back.psf.knots, reference.psf.knots)
    for name in ("info", "epochs", "start_mjd", "end_mjd", "rfid", "oversampling", "zero_point"):
        assert getattr(back, name) == getattr(reference, name)
    np.testing.assert_allclose(
        back.wcs.all_pix2world(10, 20, 0), reference.wcs.all_pix2world(10, 20, 0), rtol=1e-12
    )


def test_without_psf(store):
    save_reference(store, IDENTIFIER, replace(make_reference(), psf=None))
    assert load_reference(store, IDENTIFIER).psf is None


def test_missing_reference_and_other_file(store):
    with pytest.raises(BadInput, match="no such file"):
        load_reference(store, IDENTIFIER)
    store.save_plane("reference_spline", IDENTIFIER, np.ones((5, 5), np.float32), make_exposure((20, 20)))
    with pytest.raises(BadInput, match="COEFFICIENTS"):
        load_reference(store, IDENTIFIER)
