"""Forced fluxes from windows of stored images: those of the image in memory, and those injected."""

import numpy as np
import pytest
from test_forced import NOTHING, PLAIN, SHAPE, places

from tests.subtract.sky import frozen, make_exposure, make_wcs
from zsds.astrometry.inverse import SkyMap, fit_sky_map
from zsds.core.flags import Mask
from zsds.forced import measure_forced, measure_windows, nearest_pixels
from zsds.forced.measure import CLEAN, OFF_IMAGE, SOME_BAD, TOO_MANY_BAD
from zsds.io.store import Tree
from zsds.io.windows import open_windows, write_flux_error
from zsds.subtract import subtract

WCS = make_wcs(SHAPE)


def stored(folder, rng, new, bad=()):
    """A difference in memory, and the same in files."""
    n = make_exposure(rng, SHAPE, WCS, NOTHING, 2.4, new=new)
    for hole in bad:
        n.mask[hole] = np.uint32(Mask.DEAD)
    difference = subtract(frozen(n), frozen(make_exposure(rng, SHAPE, WCS, NOTHING, 2.2, sky=60.0)), PLAIN)
    products, identifier = Tree(folder), n.info.id
    products.save_exposure("difference", identifier, difference.exposure)
    write_flux_error(products.path("difference_flux_error", identifier), difference)
    return difference, open_windows(products, identifier)


def measured(difference, windows, x, y):
    at = np.stack([x, y], axis=1)
    pixels = nearest_pixels(at, difference.exposure.shape)
    data, errors = windows.around(*pixels.T.tolist(), difference.exposure.info.gain)
    return measure_windows(data, errors, at, pixels, windows.psf, difference.own_noise)


def test_fluxes_are_those_injected_with_honest_errors(tmp_path):
    rng = np.random.default_rng(12)
    pulls, changes = [], []
    for _ in range(3):
        x, y = places(rng)
        flux = np.resize([0.0, 400.0, -250.0, 2500.0], x.size)
        difference, windows = stored(tmp_path, rng, np.column_stack([x, y, flux]))
        found = measured(difference, windows, x, y)
        whole = measure_forced(difference, x, y)
        assert {one.status for one in found} == {CLEAN}
        errors = np.array([one.flux_err for one in found])
        pulls.append((np.array([one.flux for one in found]) - flux) / errors)
        changes.append((np.array([one.flux for one in found]) - whole["flux"]) / errors)
        np.testing.assert_allclose(errors, whole["flux_err"], rtol=1 / 64)
    pulls, changes = np.concatenate(pulls), np.concatenate(changes)
    assert pulls.mean() == pytest.approx(0, abs=3.5 / np.sqrt(pulls.size))
    assert pulls.std() == pytest.approx(1, abs=3.5 / np.sqrt(2 * pulls.size))
    assert np.std(changes) < 2 / 16 / np.sqrt(12)  # steps of a sixteenth of the noise


def test_status_is_that_of_the_whole_image(tmp_path):
    bad = [(slice(95, 106), slice(95, 106)), (slice(200, 201), slice(150, 151))]
    difference, windows = stored(tmp_path, np.random.default_rng(3), (), bad)
    x, y = np.array([100, -3, np.nan, 150, 300.2]), np.array([100, 40, 50, 201, 300.7])
    found = measured(difference, windows, x, y)
    assert [one.status for one in found] == [TOO_MANY_BAD, OFF_IMAGE, OFF_IMAGE, SOME_BAD, CLEAN]
    assert [one.status for one in found] == measure_forced(difference, x, y)["status"].tolist()
    assert np.isfinite([one.flux for one in found]).tolist() == [False, False, False, True, True]


def test_sky_map_is_the_inverse_of_the_wcs():
    rng = np.random.default_rng(1)
    x, y = (rng.uniform(0, n - 1, 500) for n in SHAPE[::-1])
    sky_map = SkyMap.from_values(fit_sky_map(WCS, SHAPE).to_values())
    found = sky_map(*WCS.all_pix2world(x, y, 0))
    np.testing.assert_allclose(found, np.stack([x, y], axis=1), atol=0.002)
    assert np.isnan(sky_map((WCS.wcs.crval[0] + 180) % 360, -WCS.wcs.crval[1])).all()
