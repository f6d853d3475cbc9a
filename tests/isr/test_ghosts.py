"""Ghosts: marked where they are predicted and seen."""

import numpy as np
import pytest
from frames import noisy_exposure, random_stars, sky_image

from zsds.core.flags import Mask
from zsds.isr import GhostSettings, mark_ghosts, reflected

SETTINGS = GhostSettings(radius=30)


def with_ghost(level, x=150.0, y=120.0):
    rows, cols = np.mgrid[:260, :300]
    ring = (np.hypot(rows - y, cols - x) <= 30) & (np.hypot(rows - y, cols - x) > 10)
    return noisy_exposure(600.0 + level * ring, np.random.default_rng(1))


@pytest.mark.parametrize(("level", "seen"), [(0.0, False), (20.0, True)])
def test_a_predicted_ghost_is_marked_if_it_is_there(level, seen):
    marked = mark_ghosts(with_ghost(level), [150.0, -500.0], [120.0, 3000.0], SETTINGS)
    ghost = (marked.mask & int(Mask.GHOST)) != 0
    rows, cols = np.mgrid[:260, :300]
    assert np.array_equal(ghost, (np.hypot(rows - 120, cols - 150) <= 30) & seen)


def test_stars_are_no_ghosts():
    exposure = sky_image(random_stars(300, np.random.default_rng(2)), 2.3)
    x, y = np.meshgrid(np.arange(30, 330, 40.0), np.arange(30, 290, 40.0))
    assert not (mark_ghosts(exposure, x, y, SETTINGS).mask & int(Mask.GHOST)).any()


def test_cameras_without_ghosts():
    exposure = with_ghost(20.0)
    assert mark_ghosts(exposure, [150.0], [120.0]) is exposure
    assert not (mark_ghosts(exposure, [], [], SETTINGS).mask & int(Mask.GHOST)).any()


def test_opposite_the_axis():
    x, y = reflected([10.0, 2000.0], [20.0, -5.0], (500.0, 400.0))
    assert x.tolist() == [990.0, -1000.0]
    assert y.tolist() == [780.0, 805.0]
