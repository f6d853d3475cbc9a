"""Reference and subtraction together, on simulated epochs and on real pairs."""

import gzip
import io
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from zsds.core.flags import Mask
from zsds.extract import detect_sources, measure_background, subtract_background
from zsds.io.calibrated import read_calibrated
from zsds.psf import fit_psf
from zsds.reference import ReferenceSettings, build_reference, sample_reference
from zsds.sim import EpochSettings, epochs
from zsds.subtract import SubtractSettings, subtract

SHAPE = (330, 350)


def without_sky(exposure):
    return subtract_background(exposure, measure_background(exposure))


@pytest.fixture(scope="module")
def night():
    """Fifteen rotated, dithered, distorted epochs and a science exposure with new sources."""
    settings = EpochSettings(
        n_stars=250, n_galaxies=30, n_transients=40, rotation_deg=0.3, mag_range=(12.5, 21.5), cosmic_rays=8.0
    )
    series = epochs(16, SHAPE, 4, settings)
    references = [without_sky(q.exposure) for q in series.references]
    reference = build_reference(
        references, references[0].wcs, SHAPE, ReferenceSettings(strip_gb=0.004, psf_spacing=100)
    )
    science = without_sky(series.science.exposure)
    # the PSF runs over these few pixels as it would over a whole quadrant
    sampled = sample_reference(reference, science.wcs, SHAPE, psf_spacing=100)
    result = subtract(science, sampled, SubtractSettings(tile_size=120))
    return series, science, result


def peaks(score, threshold):
    score = np.nan_to_num(score)
    found = np.argwhere((maximum_filter(score, 5) == score) & (score > threshold))
    inside = (found > 9).all(axis=1) & (found < np.array(SHAPE) - 9).all(axis=1)
    return found[inside][:, ::-1]


def new_sources(series, wcs):
    sky = series.sky.transients
    return np.stack(wcs.all_world2pix(np.asarray(sky["ra"]), np.asarray(sky["dec"]), 0), axis=1)


def test_nothing_is_found_but_what_is_new(night):
    series, science, result = night
    truth = new_sources(series, science.wcs)
    for sign in (1, -1):
        for place in peaks(sign * result.score, 5):
            if np.hypot(*(truth - place).T).min() > 3:
                assert result.exposure.mask[place[1], place[0]], f"false peak at {place}"


def test_new_sources_are_found_with_their_flux(night):
    series, _, result = night
    truth = series.science.truth
    truth = truth[(np.asarray(truth["kind"]) == "transient") & (np.asarray(truth["snr"]) > 7)]
    found, pulls = [], []
    for row in truth:
        x, y = round(row["x"]), round(row["y"])
        if not (10 < x < SHAPE[1] - 10 and 10 < y < SHAPE[0] - 10):
            continue
        near = (slice(y - 1, y + 2), slice(x - 1, x + 2))
        if result.exposure.mask[near].any():
            continue
        stamp = result.exposure.psf.at(row["x"], row["y"], row["x"] - x, row["y"] - y).astype(float)
        centred = result.exposure.psf.at(row["x"], row["y"]).astype(float)
        share = np.sum(stamp * centred) / np.sum(centred**2)
        found.append(np.nanmax(result.score[near]) > 5)
        pulls.append((result.flux[y, x] / share - row["flux"]) / result.flux_err[y, x])
    assert len(found) > 12 and np.mean(found) > 0.95
    assert abs(np.median(pulls)) < 0.8
    assert np.median(np.abs(pulls)) < 1.2


def test_score_is_calibrated(night):
    _, _, result = night
    assert result.metrics["score_width"] == pytest.approx(1, abs=0.04)
    assert abs(result.metrics["score_mean"]) < 0.15
    assert result.registration.dx_rms < 0.03 and result.registration.n_stars > 20


def real_exposure(path):
    exposure = read_calibrated(path)
    background = measure_background(exposure)
    sources = detect_sources(exposure, background)
    exposure = subtract_background(exposure, background)
    return replace(exposure, psf=fit_psf(exposure, sources).model)


def test_real_ztf_pair_from_two_ccds_shows_the_comet(shared_data):
    """Rotated by 3 degrees, other CCDs, 33 minutes apart: the comet moves, the rest vanishes."""
    folder = shared_data / "ztf_images"
    first = real_exposure(folder / "ztf_20250120147292_000249_zg_c09_o_q1_sciimg.fits.gz")
    second = real_exposure(folder / "ztf_20250120170289_000250_zg_c12_o_q2_sciimg.fits.gz")
    one = ReferenceSettings(min_epochs=1)
    reference = build_reference([second], second.wcs, second.shape, one)
    result = subtract(first, sample_reference(reference, first.wcs, first.shape))
    good = (result.exposure.mask & np.uint32(Mask.EDGE | Mask.NO_REFERENCE)) == 0
    score = np.where(good, result.score, 0)
    bright = [np.argwhere((maximum_filter(s, 9) == s) & (s > 6)) for s in (score, -score)]
    assert [136, 295] in np.round(bright[0][:, ::-1] / 2).astype(int).tolist() or any(
        np.hypot(x - 136, y - 295) < 3 for y, x in bright[0]
    )
    assert len(bright[0]) <= 3 and 1 <= len(bright[1]) <= 3
    assert result.metrics["score_width"] == pytest.approx(1, abs=0.06)
    expected = 10 ** (0.4 * (first.zero_point.value - reference.zero_point.value))
    assert result.flux_scale / expected == pytest.approx(1, abs=0.06)


def test_real_aligned_pair(shared_data, tmp_path):
    """Two frames a minute apart: a few hundred stars vanish."""
    from astropy.io import fits

    from tests.subtract.sky import Stars, make_exposure, make_wcs

    pair = []
    for number in ("004", "005"):
        path = shared_data / "subtraction" / "eso085_pair" / f"aligned_eso085-030-{number}.fit.gz"
        data = fits.getdata(io.BytesIO(gzip.decompress(path.read_bytes()))).astype(np.float32)[
            60:460, 200:700
        ]
        noise = np.median(np.abs(np.diff(data, axis=1))) * 1.4826 / np.sqrt(2)
        gain = np.median(data) / noise**2
        blank = make_exposure(
            np.random.default_rng(0), data.shape, make_wcs(data.shape), Stars(*[np.zeros(0)] * 3)
        )
        mask = np.where(data > 50000, np.uint32(Mask.SATURATED), np.uint32(0))
        exposure = replace(blank, data=data, variance=np.maximum(data, 1) / np.float32(gain), mask=mask)
        background = measure_background(exposure)
        sources = detect_sources(exposure, background)
        exposure = subtract_background(exposure, background)
        pair.append(replace(exposure, psf=fit_psf(exposure, sources).model))
    result = subtract(*pair)
    assert result.metrics["score_width"] == pytest.approx(1, abs=0.15)
    assert result.registration.n_stars > 20
    score = result.score[10:-10, 10:-10]
    assert np.mean(np.abs(score) > 5) < 1.5e-3
