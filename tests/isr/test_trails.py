"""Trails: long straight ones are found; stars, spikes and short streaks are not."""

from dataclasses import replace

import numpy as np
import pytest
from frames import noisy_exposure, random_stars, sky_image
from scipy.ndimage import gaussian_filter

from zsds.core.flags import Mask
from zsds.isr import find_trails, mark_trails

TRAIL = int(Mask.TRAIL)
SHAPE = (480, 520)


def streak(shape, x, y, angle_deg, length, per_pixel, fwhm=2.5):
    """Electrons of a streak of given light per pixel of length, centred on (x, y)."""
    image = np.zeros(shape)
    step = np.arange(-length / 2, length / 2, 0.1)
    xs, ys = x + step * np.cos(np.radians(angle_deg)), y + step * np.sin(np.radians(angle_deg))
    i, j = np.round(ys).astype(int), np.round(xs).astype(int)
    inside = (i >= 0) & (i < shape[0]) & (j >= 0) & (j < shape[1])
    np.add.at(image, (i[inside], j[inside]), 0.1 * per_pixel)
    return gaussian_filter(image, fwhm / 2.355)


def with_light(exposure, light):
    data = (exposure.data + light).astype(np.float32)
    return replace(exposure, data=data, variance=(exposure.variance + light).astype(np.float32))


@pytest.mark.parametrize(
    ("angle", "x", "y", "length", "flux"),
    [
        (33, 250, 220, 900, 60.0),
        (0.5, 250, 130, 900, 150.0),
        (90, 333, 220, 900, 150.0),
        (123, 200, 250, 900, 2000.0),
        (-20, 200, 200, 300, 400.0),
    ],
)
def test_trails_are_found_and_covered(angle, x, y, length, flux):
    stars = random_stars(250, np.random.default_rng(1), SHAPE, high=5.0)
    light = streak(SHAPE, x, y, angle, length, flux)
    marked = (mark_trails(with_light(sky_image(stars, 2.3, shape=SHAPE), light)).mask & TRAIL) != 0
    assert marked[light > 0.15 * light.max()].mean() > 0.93
    assert marked[light < 1e-3 * light.max()].mean() < 0.02


@pytest.mark.parametrize(("x", "y", "angle"), [(480, 440, -45), (30, 30, -50), (60, 460, 30), (0, 200, 88.5)])
def test_trails_across_a_corner(x, y, angle):
    stars = random_stars(250, np.random.default_rng(5), SHAPE, high=5.5)
    light = streak(SHAPE, x, y, angle, 1200, 800)
    marked = (mark_trails(with_light(sky_image(stars, 2.3, shape=SHAPE), light)).mask & TRAIL) != 0
    seen = light > 0.15 * light.max()
    assert marked[seen].mean() > 0.93 or x == 0  # along the border itself it is left alone


def test_two_trails():
    light = streak(SHAPE, 250, 200, 33, 900, 300) + streak(SHAPE, 250, 300, 100, 900, 200)
    trails = find_trails(with_light(sky_image([], shape=SHAPE), light))
    assert len(trails) == 2
    angles = sorted((np.degrees(t.angle) + 90) % 180 for t in trails)
    assert angles == pytest.approx([33, 100], abs=0.3)


@pytest.mark.parametrize("seed", range(4))
def test_no_trail_in_fields_without(seed):
    rng = np.random.default_rng(seed)
    stars = random_stars([0, 200, 1500, 4000][seed], rng, SHAPE, high=6.0)
    assert find_trails(sky_image(stars, 2.3, shape=SHAPE, seed=seed)) == []


@pytest.mark.parametrize("seed", range(12))
def test_chance_alignments_of_bright_stars_are_no_trail(seed):
    shape = (345, 433)
    stars = random_stars(12, np.random.default_rng(seed), shape, low=4.0, high=6.0)
    assert find_trails(sky_image(stars, 4.0, shape=shape, seed=seed)) == []


def test_a_glowing_edge_is_no_trail():
    exposure = sky_image(random_stars(30, np.random.default_rng(1), SHAPE), shape=SHAPE)
    glow = np.broadcast_to(25 * np.exp(-np.arange(SHAPE[1]) / 15), SHAPE)
    assert find_trails(with_light(exposure, glow)) == []


def test_spikes_of_a_bright_star_are_no_trail():
    ny, nx = SHAPE
    rows, cols = np.mgrid[:ny, :nx]
    light = np.zeros(SHAPE)
    for angle in (20, 110):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        along, across = (cols - 260) * c + (rows - 230) * s, -(cols - 260) * s + (rows - 230) * c
        light += 4e4 / (1 + np.abs(along) / 6) ** 2 * np.exp(-0.5 * (across / 1.5) ** 2)
    stars = [*random_stars(200, np.random.default_rng(3), SHAPE), (260.0, 230.0, 2e8)]
    exposure = sky_image(stars, 2.5, shape=SHAPE)
    assert (exposure.mask != 0).sum() > 30
    exposure = with_light(exposure, light)
    assert find_trails(exposure) == []
    over = streak(SHAPE, 250, 330, 8, 900, 200)
    assert len(find_trails(with_light(exposure, over))) == 1


def test_short_streaks_are_left_to_the_asteroids():
    light = streak(SHAPE, 250, 220, 33, 60, 2000)
    assert find_trails(with_light(sky_image([], shape=SHAPE), light)) == []


def test_masked_and_tiny_images():
    rng = np.random.default_rng(4)
    exposure = noisy_exposure(np.full((40, 50), 100.0), rng)
    assert find_trails(exposure) == []
    full = replace(exposure, mask=np.full((40, 50), int(Mask.DEAD), np.uint32))
    assert find_trails(full) == []
    still = replace(exposure, variance=np.zeros((40, 50), np.float32))
    assert find_trails(still) == []
