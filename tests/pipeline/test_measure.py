"""Measurements on one image."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree
from star_fields import VaryingMoffat, star_field

from zsds.core.flags import Mask
from zsds.extract import measure_background
from zsds.pipeline.measure import MeasureSettings, measure
from zsds.sim import simple_quadrant

TRUTH = VaryingMoffat(2.2, 3.0, 61)


class Trailed:
    """A sharp star drawn out along a slanted line of 4 pixels, as by a guiding error."""

    size = 41
    still = VaryingMoffat(1.2, 2.5, 41)

    def at(self, x, y, dx=0.0, dy=0.0):
        along = np.linspace(-2, 2, 13)
        stamps = [self.still.at(x, y, dx + 0.88 * a, dy + 0.48 * a) for a in along]
        return np.mean(stamps, axis=0)


def test_stars_hidden_beside_others_are_found_in_crowds():
    field = star_field(TRUTH, n_stars=700, flux=(800, 2e5), seed=6)
    settings = MeasureSettings()
    once = measure(field.exposure, replace(settings, crowded_share=1.0))
    twice = measure(field.exposure, settings)
    assert len(twice.sources) > 1.1 * len(once.sources)
    assert list(twice.sources["id"]) == list(range(len(twice.sources)))
    new = twice.sources[len(once.sources) :]
    there = cKDTree(np.column_stack([field.x, field.y]))
    distance, _ = there.query(np.column_stack([new["x"], new["y"]]))
    assert np.mean(distance < 1) > 0.8  # the others are blends of two that stay unresolved
    true = TRUTH.at(200, 200)[30 - 7 : 30 + 8, 30 - 7 : 30 + 8].sum()
    light = _light(twice.psf_fit.model, 7)
    assert light == pytest.approx(true, abs=0.001)


def _light(model, half):
    middle = model.size // 2
    cut = slice(middle - half, middle + half + 1)
    return model.at(200, 200)[cut, cut].sum()


def test_sharp_stars_of_a_trailed_exposure_are_no_cosmic_rays():
    field = star_field(Trailed(), n_stars=60, flux=(5000, 2e5), seed=7, margin=20)
    measured = measure(field.exposure, MeasureSettings())
    rays = (measured.exposure.mask & np.uint32(Mask.COSMIC_RAY)) != 0
    x, y = (np.rint(values).astype(int) for values in (field.x, field.y))
    hit = [rays[b - 2 : b + 3, a - 2 : a + 3].any() for a, b in zip(x, y, strict=True)]
    assert np.mean(hit) <= 0.02


def test_sources_that_stand_apart_are_sought_once():
    field = star_field(TRUTH, n_stars=60, flux=(5000, 2e5), seed=7, margin=10)
    settings = MeasureSettings()
    assert len(measure(field.exposure, settings).sources) == len(
        measure(field.exposure, replace(settings, crowded_share=1.0)).sources
    )


def test_pixels_that_are_no_number_do_no_harm():
    field = star_field(TRUTH, n_stars=60, flux=(5000, 2e5), seed=7, margin=10)
    data = field.exposure.data.copy()
    data[20], data[:, 30] = np.inf, np.nan
    measured = measure(replace(field.exposure, data=data), MeasureSettings())
    assert np.isfinite(measured.background.level).all()
    assert measured.psf_fit.fwhm == pytest.approx(TRUTH.fwhm, rel=0.2)


def test_faint_stars_do_not_raise_the_sky_under_the_others():
    """Most lie below what single pixels show, so that the first sky holds their light."""
    made = simple_quadrant((700, 720), 500, fwhm=3.6, mag_range=(14.0, 21.0), seed=1)
    exposure, true = replace(made.exposure, psf=None), float(made.expected.min())
    measured = measure(exposure, MeasureSettings(crowded_share=1.0))
    first = float(measure_background(exposure).level.mean()) - true
    noise = 1.25 * np.sqrt(true / made.expected.size)
    assert first > 10 * noise
    assert float(measured.background.level.mean()) - true < first / 2
    assert np.median(measured.exposure.data + measured.background.level - exposure.data) == 0
