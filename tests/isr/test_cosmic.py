"""Cosmic rays: found, and no star's core taken for one."""

from dataclasses import replace

import astroscrappy
import numpy as np
import pytest
from frames import noisy_exposure, random_stars, sky_image
from scipy.ndimage import binary_dilation

from zsds.core.flags import Mask
from zsds.isr import CosmicRaySettings, mark_cosmic_rays, sharpest_ratio

CR = int(Mask.COSMIC_RAY)


def with_rays(exposure, n, seed, low=2.7, high=3.8):
    """The exposure with n tracks, and a list of their pixels with the electrons in each."""
    rng = np.random.default_rng(seed)
    ny, nx = exposure.shape
    light, rays = np.zeros(exposure.shape), []
    for _ in range(n):
        y, x, angle = rng.uniform(5, ny - 5), rng.uniform(5, nx - 5), rng.uniform(0, np.pi)
        length, density, pixels = rng.exponential(5), 10 ** rng.uniform(low, high), {}
        for step in np.arange(0, length + 0.05, 0.05):
            i, j = int(y + step * np.sin(angle)), int(x + step * np.cos(angle))
            if 0 <= i < ny and 0 <= j < nx:
                pixels[i, j] = pixels.get((i, j), 0) + density * (0.05 if length > 1 else 0.05 / length)
        for (i, j), value in pixels.items():
            light[i, j] += value
        rays.append(pixels)
    data = (exposure.data + light).astype(np.float32)
    variance = (exposure.variance + light).astype(np.float32)
    return replace(exposure, data=data, variance=variance), rays, light


def cores(found, stars, light=None):
    """Fraction of stars with a flagged pixel in the 3 x 3 around them, rays' own neighbourhood left out."""
    hits = []
    for x, y, _ in stars:
        i, j = round(y), round(x)
        if light is None or not light[i - 3 : i + 4, j - 3 : j + 4].any():
            hits.append(found[i - 1 : i + 2, j - 1 : j + 2].any())
    return np.mean(hits)


@pytest.mark.parametrize("fwhm", [1.8, 2.0, 2.2, 3.0, 5.0])
def test_star_cores_are_left_alone(fwhm):
    stars = random_stars(2500, np.random.default_rng(1), (500, 520))
    exposure = sky_image(stars, fwhm, shape=(500, 520))
    found = (mark_cosmic_rays(exposure, fwhm).mask & CR) != 0
    assert cores(found, stars) < 0.001
    assert found.sum() <= 5


@pytest.mark.parametrize("ratio", [0.85, 1.3])
def test_width_need_not_be_exact(ratio):
    stars = random_stars(800, np.random.default_rng(2))
    exposure = sky_image(stars, 2.2)
    found = (mark_cosmic_rays(exposure, 2.2 * min(ratio, 1 / 0.85)).mask & CR) != 0
    assert cores(found, stars) < 0.002


@pytest.mark.parametrize("fwhm", [2.0, 2.6, 3.5])
def test_rays_are_found(fwhm):
    stars = random_stars(150, np.random.default_rng(3), (500, 520), high=5.0)
    exposure, rays, light = with_rays(sky_image(stars, fwhm, shape=(500, 520)), 200, 4)
    found = (mark_cosmic_rays(exposure, fwhm).mask & CR) != 0
    sigma = np.sqrt(600 + 9.5**2)
    strong = [ray for ray in rays if max(ray.values()) > 10 * sigma]
    assert len(strong) > 150
    assert np.mean([any(found[p] for p in ray) for ray in strong]) >= 0.95
    assert found[light > 20 * sigma].mean() > 0.9
    lit = light > 0
    assert (found & ~binary_dilation(lit, np.ones((3, 3)), 2)).sum() < 0.02 * found.sum()
    assert (found & ~lit).sum() < 0.1 * found.sum()  # noise beside a ray may look like its end
    assert cores(found, stars, light) < 0.001


def test_as_good_as_the_laplacian_method_on_rays_and_better_on_stars():
    fwhm = 2.2
    stars = random_stars(1200, np.random.default_rng(5), (400, 420))
    exposure, rays, light = with_rays(sky_image(stars, fwhm, shape=(400, 420)), 100, 6)
    ours = (mark_cosmic_rays(exposure, fwhm).mask & CR) != 0
    theirs, _ = astroscrappy.detect_cosmics(exposure.data.copy(), gain=1.0, readnoise=9.5, satlevel=3e5)
    rate = {name: np.mean([any(m[p] for p in r) for r in rays]) for name, m in (("a", ours), ("b", theirs))}
    assert rate["a"] > rate["b"] - 0.05
    assert cores(ours, stars, light) <= cores(theirs, stars, light)


def test_both_sides_of_the_threshold():
    """One hot pixel on noiseless sky: the significance is known in closed form."""
    settings = CosmicRaySettings()
    ratio = sharpest_ratio(3.0, settings.narrowest)
    ratio *= 1 - settings.slack * ratio
    weight = 2 * ratio**2 + 2 * ratio**4  # sum of squared pair weights
    sky = np.full((60, 80), 100.0, np.float32)
    noise = np.full((60, 80), 25.0, np.float32)
    limit = settings.n_sigma * 5 * np.sqrt(weight**2 + weight / 2) / weight
    base = noisy_exposure(sky, np.random.default_rng(1))
    for factor, hit in ((0.97, False), (1.03, True)):
        data = sky.copy()
        data[30, 40] += factor * limit
        found = mark_cosmic_rays(replace(base, data=data, variance=noise), 3.0).mask & CR
        assert bool(found[30, 40]) is hit
        assert (found != 0).sum() == hit


def test_saturated_stars_and_bleeds_are_not_rays():
    exposure = sky_image([(100.3, 90.2, 3e7)], 2.2)
    mask = exposure.mask.copy()
    data = exposure.data.copy()
    data[60:130, 100] = 3e5
    mask[60:130, 99:102] |= np.uint32(Mask.SATURATED)
    found = (mark_cosmic_rays(replace(exposure, data=data, mask=mask), 2.2).mask & CR) != 0
    assert found.sum() <= 2


def test_odd_inputs():
    rng = np.random.default_rng(7)
    small = noisy_exposure(np.full((7, 5), 50.0), rng)
    assert mark_cosmic_rays(small, 2.0).shape == (7, 5)
    full = replace(small, mask=np.full((7, 5), int(Mask.SATURATED), np.uint32))
    assert not (mark_cosmic_rays(full, 2.0).mask & CR).any()
    for width in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="psf_fwhm"):
            mark_cosmic_rays(small, width)


CROOKED = {  # (row, column, height in sigma) of their pixels
    "crooked": [(0, -1, 16), (0, 0, 20), (1, 1, 24), (1, 0, 11), (2, 1, 12)],
    "diagonal": [(-1, -1, 9), (0, 0, 20), (1, 1, 14), (0, -1, 6)],
    "long": [(0, k, 12) for k in range(-4, 5)],
}


@pytest.mark.parametrize("name", CROOKED)
@pytest.mark.parametrize("fwhm", [2.0, 2.6])
def test_all_pixels_of_a_ray_on_empty_sky_are_found(name, fwhm):
    exposure, rng = sky_image([], fwhm), np.random.default_rng(3)
    light, sigma = np.zeros(exposure.shape, np.float32), np.sqrt(exposure.variance[0, 0])
    for i in range(20, exposure.shape[0] - 20, 20):
        j = int(rng.integers(20, exposure.shape[1] - 20))
        for di, dj, height in CROOKED[name]:
            light[i + di, j + dj] += height * sigma
    found = mark_cosmic_rays(replace(exposure, data=exposure.data + light), fwhm).mask & CR
    assert (found[light > 0] != 0).mean() > 0.9


def test_star_beside_a_ray_is_spared():
    exposure = sky_image([(60.2 + 40 * k, 60.4, 20000.0) for k in range(5)], 2.3)
    light = np.zeros(exposure.shape, np.float32)
    light[56:66, 54:55], light[56:66, 94:95], light[62, 130:136] = 800, 800, 800
    found = mark_cosmic_rays(replace(exposure, data=exposure.data + light), 2.3).mask & CR
    assert (found[light > 0] != 0).mean() > 0.9
    for k in range(5):
        assert not found[58:63, 59 + 40 * k : 62 + 40 * k].any()
