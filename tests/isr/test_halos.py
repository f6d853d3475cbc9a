"""Halos: disks around very bright stars, as large as they are seen."""

from dataclasses import replace

import numpy as np
import pytest
from frames import noisy_exposure, random_stars, sky_image

from zsds.core.flags import Mask
from zsds.isr import HaloSettings, find_halos, mark_halos

SHAPE = (400, 420)


def bright(radius=80, x=200.0, y=190.0, level=60.0, tilt=0.0):
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    distance = np.hypot(rows - y, cols - x)
    light = np.where(distance < radius, level, 0.0) + 3e7 * np.exp(-0.5 * (distance / 2) ** 2)
    image = np.minimum(600 + tilt * cols + light, 3e5)
    return noisy_exposure(image, np.random.default_rng(1))


@pytest.mark.parametrize(("radius", "tilt"), [(50, 0.0), (80, 0.0), (80, 0.3), (120, 0.0)])
def test_radius_is_measured(radius, tilt):
    (halo,) = find_halos(bright(radius, tilt=tilt), HaloSettings(min_saturated=10))
    assert halo.radius == pytest.approx(radius, abs=0.1 * radius)
    assert (halo.x, halo.y) == pytest.approx((200, 190), abs=0.6)


def test_bleed_trails_do_not_move_the_centre():
    exposure = bright()
    mask, data = exposure.mask.copy(), exposure.data.copy()
    mask[190:330, 199:202] |= np.uint32(Mask.SATURATED)
    data[190:330, 199:202] = 3e5
    (halo,) = find_halos(replace(exposure, mask=mask, data=data))
    assert halo.y == pytest.approx(190, abs=3)


def test_disk_is_marked_and_inputs_are_not_touched():
    exposure = bright(60, x=10.0)
    marked = mark_halos(exposure, HaloSettings(radius=55))
    halo = (marked.mask & int(Mask.HALO)) != 0
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    assert np.abs(halo.sum() - (np.hypot(rows - 190, cols - 10) <= 55).sum()) < 60
    assert marked.data is exposure.data


def test_ordinary_stars_have_none():
    exposure = sky_image(random_stars(300, np.random.default_rng(2), high=5.8), 2.3)
    assert mark_halos(exposure) is exposure


def test_bounded_by_the_largest_radius():
    settings = HaloSettings(max_radius=40)
    (halo,) = find_halos(bright(120), settings)
    assert halo.radius == 40
