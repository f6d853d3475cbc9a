"""The tie to the catalog, under clear and under cloudy skies."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from zsds.core.camera_file import load_camera
from zsds.core.errors import UnusableData
from zsds.core.tables import new_table
from zsds.photometry import fit_star_flat
from zsds.pipeline.calibrators import CalibratorSettings, find_calibrators, levelled
from zsds.pipeline.science import QualitySettings, ReferenceSky, ScienceSettings, calibrate
from zsds.sim import EpochSettings, epochs, frame_wcs
from zsds.sim.catalogs import gaia_catalog, ps1_catalog

BAND = load_camera("demo").bands["zr"]
SHAPE = (420, 600)


def clouds(x, y):
    return 0.5 + 0.3 * (x / SHAPE[1] - 0.5) - 0.1 * (y / SHAPE[0] - 0.5)


def calibrated(lost, settings):
    made = epochs(1, SHAPE, 4, EpochSettings(n_stars=300, colour_coeff=0.05, clouds=lost))
    rng = np.random.default_rng(5)
    sky = ReferenceSky(gaia_catalog(made.sky, rng), ps1_catalog(made.sky, rng))
    exposure = replace(made.science.exposure, wcs=None, psf=None, zero_point=None)
    guess = frame_wcs(SHAPE, exposure.info.ra, exposure.info.dec)
    return made.science, calibrate(exposure, guess, BAND, sky, settings)


@pytest.fixture(scope="module")
def cloudy():
    return calibrated(clouds, ScienceSettings())


def offsets(made, result):
    """Calibrated minus true magnitudes of bright stars, and their places."""
    truth, stars = made.truth[made.truth["snr"] > 80], result.measured.stars
    near = np.argmin(np.hypot(stars["x"] - truth["x"][:, None], stars["y"] - truth["y"][:, None]), axis=1)
    zero = result.exposure.zero_point
    off = stars["mag"][near] + zero.colour_coeff * truth["colour"] - truth["mag"]
    good = np.abs(off - np.median(off)) < 0.1
    return (
        np.asarray(off[good]),
        np.asarray(truth["x"])[good] / SHAPE[1],
        np.asarray(truth["y"])[good] / SHAPE[0],
    )


def test_slope_of_the_transparency_is_taken_out_of_pixels_and_magnitudes(cloudy):
    made, result = cloudy
    off, x, y = offsets(made, result)
    slope = np.linalg.lstsq(np.stack([np.ones(off.size), x, y], axis=1), off, rcond=None)[0]
    least = 0.03 * np.sqrt(12 / result.exposure.zero_point.n_stars)
    assert slope[1:] == pytest.approx([0, 0], abs=4 * least)
    assert np.median(off) == pytest.approx(0, abs=4 * result.exposure.zero_point.err)
    assert result.metrics["transparency_range"] == pytest.approx(0.4, abs=8 * least)
    star = result.measured.stars[np.argmax(result.measured.stars["flux"])]
    row, column = round(float(star["y"])), round(float(star["x"]))
    place = result.exposure.data[row, column] / (made.exposure.data[row, column] - 900)
    assert place == pytest.approx(10 ** (0.4 * (clouds(column, row) - 0.5)), rel=0.1)


def test_clear_sky_is_left_as_it_is():
    made, result = calibrated(None, ScienceSettings())
    assert result.metrics["transparency_range"] == 0
    assert result.metrics["patchiness"] == 0
    assert np.median(offsets(made, result)[0]) == pytest.approx(0, abs=4 * result.exposure.zero_point.err)


def test_levelling_keeps_significance_and_inputs(cloudy):
    _, result = cloudy
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, SHAPE[1], 200), rng.uniform(0, SHAPE[0], 200)
    flat = fit_star_flat(x, y, 0.001 * (x - 300) + rng.normal(0, 0.01, 200), np.full(200, 0.01), SHAPE)
    before = result.measured
    after = levelled(before, flat)
    assert after.exposure.data is not before.exposure.data
    good = before.exposure.variance > 0
    old, new = ((one.exposure.data / np.sqrt(one.exposure.variance))[good] for one in (before, after))
    np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-4)
    for name in ("stars", "apertures", "sources"):
        one, other = getattr(before, name), getattr(after, name)
        flux = "flux_14" if name == "apertures" else "flux"
        factor = 10 ** (-0.4 * flat.at(one["x"], one["y"]))
        assert np.asarray(other[flux]) == pytest.approx(np.asarray(one[flux]) * factor, rel=1e-5)


@pytest.mark.parametrize("lost", [1.0, 2.0])
def test_a_cloud_over_half_the_image_condemns_it(lost):
    def edge(x, y):
        return np.where(x > SHAPE[1] / 2, lost, 0.0) + 0 * y

    with pytest.raises(UnusableData, match="place to place"):
        calibrated(edge, ScienceSettings())


def test_scattered_magnitudes_condemn_an_image():
    with pytest.raises(UnusableData, match="clouds"):
        calibrated(None, ScienceSettings(quality=QualitySettings(max_zero_point_rms=0.001)))


def test_a_catalog_need_not_tell_errors_and_scores():
    stars, catalog = catalog_and_stars(40, 0)
    catalog["r_err"] = 0.0
    known = find_calibrators(stars, catalog, BAND, 2.5, CalibratorSettings())
    catalog.remove_columns(["r_err", "sgscore"])
    found = find_calibrators(stars, catalog, BAND, 2.5, CalibratorSettings())
    assert np.array_equal(found.x, known.x)
    assert np.array_equal(found.mag_err, np.zeros(40))


def catalog_and_stars(n, n_blends):
    """Stars a minute apart; the first ones have a neighbour of a tenth of their light, 1.5" off."""
    ra = 150 + np.arange(n) / 60
    dec = np.concatenate([np.full(n, 20.0), np.full(n_blends, 20 + 1.5 / 3600)])
    catalog = Table({"ra": np.concatenate([ra, ra[:n_blends]]), "dec": dec})
    catalog["r"] = np.repeat([16.0, 18.5], [n, n_blends])
    catalog["g"] = catalog["r"] + 0.5
    catalog["r_err"], catalog["sgscore"] = 0.01, 1.0
    stars = new_table("stars", n)
    stars["ra"], stars["dec"], stars["snr"] = ra, 20.0, 100.0
    stars["flux"], stars["flux_err"], stars["x"] = 1000.0, 10.0, np.arange(n)
    return stars, catalog


@pytest.mark.parametrize(("n", "n_blends", "left"), [(60, 20, 40), (40, 20, 30), (25, 20, 25)])
def test_blended_calibrators_are_left_out_while_others_are_enough(n, n_blends, left):
    stars, catalog = catalog_and_stars(n, n_blends)
    found = find_calibrators(stars, catalog, BAND, 2.5, CalibratorSettings())
    assert found.flux.size == left
    assert np.isin(np.arange(n_blends, n), found.x).all()
