from dataclasses import replace

import numpy as np
import pytest

from tests.candidates.scenes import (
    PSF,
    blank,
    draw,
    flux_error,
    has,
    only,
    starfield,
    subtraction,
)
from zsds.candidates import (
    CandidateFlag,
    find_candidates,
)
from zsds.core.flags import Mask
from zsds.core.psf import GaussianPsf
from zsds.core.tables import new_table


@pytest.mark.parametrize(
    "pixels",
    [
        [(50, 60, 600)],
        [(50, 60, 400), (50, 61, 500)],
        [(50, 60, 500), (51, 61, 600), (52, 62, 500)],
        [(50, 60, 500), (51, 60, 600), (52, 60, 500), (53, 60, 500)],
    ],
)
def test_cosmic_rays_are_sharper_than_the_psf(pixels):
    signal = blank()
    for row, col, value in pixels:
        signal[row, col] = value
    found = only(signal)
    assert has(found, CandidateFlag.COSMIC_RAY)
    assert found["sharpness"] > 2
    assert not found["is_alert"]


def stars_of(psf, degrees=67):
    """PSF photometry of stars that look like ``psf``, fitted with the PSF of these scenes."""
    shape, model = (one.at(0, 0).astype(float).ravel() for one in (psf, PSF))
    fitted = model * (shape @ model) / (model @ model)
    error = np.linalg.norm(shape - fitted) / np.linalg.norm(fitted)
    stars = new_table("stars", 40)
    stars["snr"], stars["n_pixels"] = np.linspace(60, 400, 40), degrees + 3
    stars["chi"] = np.sqrt(1 + (error * stars["snr"]) ** 2 / degrees)
    return stars


def test_stars_of_the_image_say_how_well_point_sources_fit():
    wide, signal = GaussianPsf(2.7, 25), blank()
    draw(signal, 60.2, 50.3, 600 * flux_error(), wide)
    difference, science = subtraction(signal)
    good = find_candidates(difference, science, stars=stars_of(PSF))[0]
    assert has(good, CandidateFlag.POOR_FIT)
    assert not good["is_alert"]
    same = find_candidates(difference, science, stars=stars_of(wide))[0]
    assert same["is_alert"]


def test_rays_are_told_from_stars_of_a_poor_psf():
    signal = blank()
    signal[50, 60], signal[51, 61] = 3000, 2500
    difference, science = subtraction(signal)
    found = find_candidates(difference, science, stars=stars_of(GaussianPsf(3.2, 25)))[0]
    assert has(found, CandidateFlag.COSMIC_RAY)
    assert not found["is_alert"]


def test_stars_at_any_subpixel_offset_are_not_cosmic_rays():
    for snr in (8, 40, 1000):
        signal, _ = starfield(snr, seed=snr)
        table = find_candidates(*subtraction(signal))
        stars = table[np.abs(table["snr"]) > 6.5]  # below, peaks of the noise come in
        assert len(stars) > 100
        assert not any(has(row, CandidateFlag.COSMIC_RAY | CandidateFlag.NARROW) for row in stars)


@pytest.mark.parametrize("heights", [(150, 0), (110, 110), (150, 60)])
def test_faint_rays_that_the_mask_misses_are_told_from_stars(heights):
    """Two touching pixels of some ten sigma, alone in a noisy image."""
    signal = blank()
    signal[50, 60], signal[50, 61] = heights
    found = only(signal)
    assert found["ray_gain"] > 0
    assert has(found, CandidateFlag.COSMIC_RAY)


def test_short_faint_tracks_are_told_from_stars():
    """A real track over a corner of four pixels: no pixel stands out from its neighbours by five sigma."""
    signal = blank()
    signal[50:54, 60:63] = [[20, 15, 0], [94, 16, 3], [60, 59, 18], [4, 83, 19]]
    assert only(signal)["ray_gain"] > 0


def test_neighbours_of_a_masked_ray_are_not_alerts():
    signal = blank()
    draw(signal, 60, 50, 1000)
    difference, science, *_ = subtraction(signal)
    mask = difference.exposure.mask.copy()
    mask[51, 62] |= np.uint32(Mask.COSMIC_RAY)
    difference = replace(difference, exposure=replace(difference.exposure, mask=mask))
    found = find_candidates(difference, science)[0]
    assert has(found, CandidateFlag.COSMIC_RAY)
    assert not found["is_alert"]


@pytest.mark.parametrize("kind", ["star", "ray"])
def test_rays_like_stars_and_stars_like_rays_in_sharp_seeing(kind):
    """S/N 10 in a PSF 1.4 pixels wide, at all sub-pixel places; rays of three pixels about a corner."""
    psf, rng, signal = GaussianPsf(1.4, 25), np.random.default_rng(5), blank(301, 331)
    for row in range(20, 286, 26):
        for col in range(20, 316, 26):
            if kind == "star":
                draw(
                    signal,
                    col + rng.uniform(-0.5, 0.5),
                    row + rng.uniform(-0.5, 0.5),
                    11 * flux_error(psf),
                    psf,
                )
            else:
                signal[row, col], signal[row, col + 1], signal[row + 1, col] = 90, 50, 40
    found = find_candidates(*subtraction(signal, psf=psf))
    found = found[found["snr"] > 8]
    assert len(found) > 80
    told = np.mean([has(row, CandidateFlag.COSMIC_RAY) for row in found])
    assert told < 0.04 if kind == "star" else told > 0.65  # half of them otherwise
