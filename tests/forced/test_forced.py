"""Forced fluxes against truth: unbiased in either sign, with honest errors, on sky and on galaxies."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from tests.subtract.sky import Stars, add_star, frozen, make_exposure, make_stars, make_wcs
from zsds.core.flags import Mask
from zsds.core.psf import GaussianPsf
from zsds.forced import ForcedSettings, measure_forced
from zsds.forced.measure import CLEAN, OFF_IMAGE, SOME_BAD, TOO_MANY_BAD
from zsds.subtract import SubtractSettings, subtract

SHAPE = (420, 460)
WCS = make_wcs(SHAPE)
NOTHING = Stars(np.zeros(0), np.zeros(0), np.zeros(0))
PLAIN = SubtractSettings(normalise=False)


def places(rng, margin=14, step=26):
    """Positions on a grid, each with its own shift within a pixel: none near another or the edge."""
    rows, cols = np.mgrid[margin : SHAPE[0] - margin : step, margin : SHAPE[1] - margin : step]
    return cols.ravel() + rng.uniform(-0.5, 0.5, cols.size), rows.ravel() + rng.uniform(-0.5, 0.5, cols.size)


def measured(rng, flux, hosts=0.0, science=2.4, reference=2.2, counted=False):
    """Injected fluxes and what is measured of them, in a science image of a deeper reference's sky."""
    x, y = places(rng)
    flux = np.resize(flux, x.size)
    constant = x + 13, y + 13, np.full(x.size, 3e4)
    light = np.concatenate([np.full(x.size, hosts), constant[2]])
    ra, dec = WCS.all_pix2world(np.concatenate([x, constant[0]]), np.concatenate([y, constant[1]]), 0)
    stars = Stars(ra, dec, light)
    n = make_exposure(rng, SHAPE, WCS, stars, science, new=np.column_stack([x, y, flux]))
    r = make_exposure(rng, SHAPE, WCS, stars, reference, sky=60.0)
    if counted:  # the variance a camera's image has
        n, r = (replace(e, variance=np.maximum(np.median(e.variance) + e.data, 1)) for e in (n, r))
    known = Table(constant, names=("x", "y", "flux"))
    return flux, measure_forced(subtract(frozen(n), frozen(r), PLAIN, known), x, y)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize(
    ("hosts", "fwhm"), [(0.0, (2.4, 2.2)), (0.0, (1.5, 2.4)), (0.0, (3.2, 2.0)), (3000.0, (2.4, 2.2))]
)
def test_fluxes_are_unbiased_and_errors_are_honest(hosts, fwhm, counted):
    rng = np.random.default_rng(8)
    pulls, share = [], []
    for _ in range(4):
        flux, found = measured(rng, [0.0, 400.0, -250.0, 2500.0, 9000.0], hosts, *fwhm, counted)
        assert set(found["status"]) == {CLEAN}
        pulls.append((found["flux"] - flux) / found["flux_err"])
        bright = flux > 2000
        share.append(found["flux"][bright] / flux[bright] - 1)
        error = found["flux_err"][bright] / flux[bright]
    pulls, share = np.concatenate(pulls), np.concatenate(share)
    n = pulls.size
    assert pulls.mean() == pytest.approx(0, abs=3.5 / np.sqrt(n))
    assert pulls.std() == pytest.approx(1, abs=3.5 / np.sqrt(2 * n))
    assert share.mean() == pytest.approx(0, abs=3.5 * np.sqrt(np.mean(error**2) / share.size) + 0.002)


def test_apertures_agree_with_psf_fluxes():
    flux, found = measured(np.random.default_rng(4), [20000.0])
    ratio = found["flux_ap"] / flux
    error = found["flux_ap_err"] / flux
    assert ratio.mean() == pytest.approx(1, abs=3.5 * error.mean() / np.sqrt(flux.size) + 0.002)
    assert (found["chi2"] < 2).all()


def difference(rng, new=(), bad=()):
    n = make_exposure(rng, SHAPE, WCS, make_stars(rng, WCS, SHAPE, n=20), 2.4, new=new)
    mask = n.mask.copy()
    for rows, cols in bad:
        mask[rows, cols] = np.uint32(Mask.DEAD)
    r = make_exposure(rng, SHAPE, WCS, NOTHING, 2.2, sky=60.0)
    return subtract(frozen(replace(n, mask=mask)), frozen(r), PLAIN)


def test_positions_that_cannot_be_measured_say_why():
    rng = np.random.default_rng(3)
    bad = [(slice(95, 106), slice(95, 106)), (slice(200, 201), slice(150, 151))]
    found = measure_forced(
        difference(rng, bad=bad), [100, -3, np.nan, 150, 5000, 300.2], [100, 40, 50, 201, 3, 300.7]
    )
    assert found["status"].tolist() == [TOO_MANY_BAD, OFF_IMAGE, OFF_IMAGE, SOME_BAD, OFF_IMAGE, CLEAN]
    assert np.isfinite(found["flux"]).tolist() == [False, False, False, True, False, True]
    assert found["flags"][0] & np.uint32(Mask.DEAD)
    assert found["bad_fraction"][0] > 0.9
    assert len(measure_forced(difference(rng), [], [])) == 0


def test_pixels_left_out_enlarge_the_error_as_they_should():
    rng = np.random.default_rng(6)
    x, y = places(rng)
    pulls = []
    for _ in range(3):
        flux = np.full(x.size, 3000.0)
        holes = [
            (slice(round(b), round(b) + 1), slice(round(a) + 1, round(a) + 2))
            for a, b in zip(x, y, strict=True)
        ]
        n = make_exposure(rng, SHAPE, WCS, NOTHING, 2.4, new=np.column_stack([x, y, flux]))
        mask = n.mask.copy()
        for hole in holes:
            mask[hole] = np.uint32(Mask.DEAD)
        r = make_exposure(rng, SHAPE, WCS, NOTHING, 2.2, sky=60.0)
        found = measure_forced(subtract(frozen(replace(n, mask=mask)), frozen(r), PLAIN), x, y)
        assert set(found["status"]) == {SOME_BAD}
        pulls.append((found["flux"] - flux) / found["flux_err"])
    pulls = np.concatenate(pulls)
    assert pulls.std() == pytest.approx(1, abs=0.15)
    assert pulls.mean() == pytest.approx(0, abs=0.5)


def test_edges_of_the_image_cut_the_psf():
    rng = np.random.default_rng(2)
    found = measure_forced(difference(rng), [0.0, 200.0], [0.0, 419.4], ForcedSettings(max_bad=0.9))
    assert (found["bad_fraction"] > 0.3).all()


def test_psf_is_needed():
    plain = difference(np.random.default_rng(1))
    with pytest.raises(ValueError, match="PSF"):
        measure_forced(replace(plain, exposure=replace(plain.exposure, psf=None)), [10], [10])


def test_what_is_measured_is_a_source_of_the_psf():
    rng = np.random.default_rng(9)
    plain = difference(rng)
    data = np.zeros(SHAPE, np.float32)
    image = data.astype(float)
    add_star(image, plain.exposure.psf, 200.3, 150.8, 500.0)
    exact = replace(plain, exposure=replace(plain.exposure, data=image.astype(np.float32)))
    assert measure_forced(exact, 200.3, 150.8)["flux"][0] == pytest.approx(500, rel=1e-4)
    assert GaussianPsf(2.4).size == 25
