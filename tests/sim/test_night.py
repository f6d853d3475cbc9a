import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from zsds.core.camera_file import load_camera
from zsds.io.raw import read_raw
from zsds.io.tables import read_table
from zsds.sim import NightSettings, SkySettings, plan_survey, shrunken, simulate_night
from zsds.sim.detector import full_well, nonlinear
from zsds.sim.frames import survey_detector

SETTINGS = NightSettings(
    n_reference=1, reference_nights=1, n_science=2, n_bias=2, n_flat=2, n_dark=1,
    transients_per_sq_deg=3000.0, asteroids_per_sq_deg=600.0, satellites=1.0, near_asteroids=1,
    pointing_arcsec=4.0, sky=SkySettings(stars_per_sq_deg=40000.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def camera():
    return shrunken(load_camera("demo"), 150, 130)


@pytest.fixture(scope="module")
def night(tmp_path_factory, camera):
    root = tmp_path_factory.mktemp("night")
    return root, simulate_night(root, camera, 5, SETTINGS)


def test_same_pixels_whatever_the_number_of_processes(night, camera, tmp_path):
    root, _ = night
    simulate_night(tmp_path, camera, 5, replace(SETTINGS, processes=2))
    first, again = (json.loads((r / "manifest.json").read_text()) for r in (root, tmp_path))
    assert first == again
    for name in ("gaia", "ps1", "orbits"):
        path = f"catalogs/{name}.parquet"
        assert (root / path).read_bytes() == (tmp_path / path).read_bytes()


def test_another_seed_gives_another_night(night, camera, tmp_path):
    root, _ = night
    simulate_night(tmp_path, camera, 6, replace(SETTINGS, n_reference=0, n_science=1, n_bias=1, n_flat=0))
    first, other = (json.loads((r / "manifest.json").read_text())["frames"] for r in (root, tmp_path))
    assert not set(first.values()) & set(other.values())


def test_frames_are_where_and_what_they_should_be(night, camera):
    root, summary = night
    assert len(summary.raw) == 2 * 3
    assert len(summary.calibration) == 2 * (2 + 2 + 1) * 2
    assert len(summary.reference_nights) == 1
    path = summary.raw[-1]
    assert path.relative_to(root).parts[:3] == ("raw", "2019", "0110")
    ccd = read_raw(path, camera)
    assert ccd.frame_type == "science"
    assert ccd.quadrants[1].data.shape == (130, 150)
    assert ccd.quadrants[1].overscan.shape == (130, 24)
    overscan = np.median(ccd.quadrants[1].overscan[:, 8:])
    assert 850 < overscan < 1150
    exposures = read_table(summary.truth["truth_exposures"], "truth_exposures")
    info = ccd.quadrants[1].info
    same = (exposures["time"] == info.id.time) & (exposures["ccd"] == 2) & (exposures["quadrant"] == 1)
    assert same.sum() == 1
    sky = exposures["sky"][same][0] / info.gain
    assert np.median(ccd.quadrants[1].data) - overscan == pytest.approx(sky, rel=0.1)


def test_flats_and_biases_have_the_noise_of_the_amplifier(night, camera):
    _, summary = night
    flats = [read_raw(p, camera) for p in summary.calibration if p.name.endswith("c01_f.fits.fz")][:2]
    biases = [read_raw(p, camera) for p in summary.calibration if p.name.endswith("c01_b.fits.fz")][:2]
    for quadrant, amplifier in camera.detectors[1].amplifiers.items():
        bias = [b.quadrants[quadrant].data.astype(float) for b in biases]
        noise = np.std(np.diff(bias, axis=0)[0] - np.median(np.diff(bias, axis=0), axis=2).T) / np.sqrt(2)
        assert noise * amplifier.gain == pytest.approx(amplifier.read_noise, rel=0.05)
        flat = [f.quadrants[quadrant].data - b for f, b in zip(flats, bias, strict=True)]
        a, b = amplifier.linearity
        true = [x / (a * x * x + b * x + 1) for x in flat]
        ratio = true[0] / true[1] * np.median(true[1]) / np.median(true[0])
        level = np.median(true[0])
        gain = 2 / (level * (0.7413 * np.subtract(*np.percentile(ratio, [75, 25]))) ** 2)
        assert gain == pytest.approx(amplifier.gain, rel=0.06)


def test_truth_says_where_stars_are(night, camera):
    _, summary = night
    exposures = read_table(summary.truth["truth_exposures"], "truth_exposures")
    stars = read_table(summary.truth["truth_stars"], "truth_stars")
    row = exposures[(exposures["ccd"] == 1) & (exposures["quadrant"] == 2)][-1]
    wcs = WCS(fits.Header.fromstring(row["wcs"], sep="\n"))
    path = next(p for p in summary.raw if row["time"] in p.name and "c01" in p.name)
    raw = read_raw(path, camera).quadrants[2]
    image = raw.data - np.median(raw.data)
    x, y = wcs.all_world2pix(stars["ra"], stars["dec"], 0)
    inside = (x > 8) & (x < 141) & (y > 8) & (y < 121) & (stars["r"] > 13.5) & (stars["r"] < 19)
    assert inside.sum() >= 5
    residuals = []
    for sx, sy in zip(x[inside], y[inside], strict=True):
        column, line = round(sx), round(sy)
        cut = image[line - 4 : line + 5, column - 4 : column + 5]
        v, u = np.mgrid[-4:5, -4:5]
        weight = cut * np.exp(-(u**2 + v**2) / 8)
        residuals.append((np.sum(weight * u) / weight.sum() - 0.5 * (sx - column),
                          np.sum(weight * v) / weight.sum() - 0.5 * (sy - line)))  # fmt: skip
    # a star under a Gaussian weight of about its own width shows about half of its offset
    assert np.abs(np.median(residuals, axis=0)).max() < 0.1


def test_changes_know_transients_of_both_signs_and_asteroids(night):
    _, summary = night
    changes = read_table(summary.truth["truth_changes"], "truth_changes")
    science = changes[np.char.startswith(np.asarray(changes["time"]), "201901")]
    transients = science[science["kind"] == "transient"]
    assert (transients["change"] > 0).any()
    assert (transients["change"] < 0).any()
    assert np.all((transients["snr"] > 1) & (transients["snr"] < 300))
    earlier = changes[(changes["kind"] == "transient") & (changes["mid_mjd"] < 58480)]
    assert np.abs(earlier["change"]).max() < 1e-3 * np.abs(transients["change"]).max()
    moving = science[science["kind"] == "asteroid"]
    assert len(moving) > 0
    first = moving[moving["name"] == moving["name"][0]]
    assert len(np.unique(first["time"])) == len(first)


def read_columns(path):
    table = pq.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def test_catalogs_have_their_errors(night):
    _, summary = night
    gaia, stars = read_columns(summary.gaia), read_table(summary.truth["truth_stars"], "truth_stars")
    close = stars[stars["gaia_g"] < 20.7]
    assert len(gaia["ra"]) == len(close)
    pull = (gaia["dec"] - close["dec"]) * 3.6e6 / gaia["dec_error"]
    assert np.std(pull) == pytest.approx(1, abs=4 / np.sqrt(2 * len(close)))
    ps1 = read_columns(summary.ps1)
    assert set("griz") <= set(ps1)
    assert np.nanmedian(ps1["sgscore"][ps1["r"] < 19]) > 0.8
    orbits = read_columns(summary.orbits)
    asteroids = read_table(summary.truth["truth_asteroids"], "truth_asteroids")
    assert len(orbits["name"]) == asteroids["known"].sum()


def test_plan_does_not_depend_on_the_quadrants_chosen(camera):
    both = plan_survey(camera, 5, SETTINGS)
    assert [p.conditions.start_mjd for p in both.plans] == sorted(p.conditions.start_mjd for p in both.plans)
    response = survey_detector(both, 1, 1).response
    assert response is survey_detector(both, 1, 1).response
    assert 0.8 < np.median(response) < 1.05


def test_nonlinearity_is_the_inverse_of_the_cameras(camera):
    amplifier = camera.amplifier(2, 4)
    true = np.linspace(0, 60000, 101).astype(np.float32)
    x = nonlinear(true, amplifier.linearity).astype(float)
    a, b = amplifier.linearity
    assert np.allclose(x / (a * x * x + b * x + 1), true, rtol=1e-5, atol=1e-2)
    assert full_well(amplifier) == pytest.approx(amplifier.gain * 50000, rel=0.05)
