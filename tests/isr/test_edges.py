"""Border lines that do not belong to the image."""

from dataclasses import replace

import numpy as np
import pytest

from tests.isr.frames import info
from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.isr import EdgeSettings, mark_edges


def flat_sky(shape=(120, 150), level=900.0):
    rng = np.random.default_rng(3)
    data = rng.normal(level, 30, shape).astype(np.float32)
    return Exposure(data, np.full(shape, 900, np.float32), np.zeros(shape, np.uint32), info())


def marked(exposure):
    return (mark_edges(exposure).mask & np.uint32(Mask.LOW_RESPONSE)) != 0


def test_clean_borders_stay():
    assert not marked(flat_sky()).any()


@pytest.mark.parametrize("side", range(4))
def test_weak_lines_are_marked_from_the_border_inwards(side):
    sky = flat_sky()
    data = np.rot90(sky.data.copy(), side)
    data[0] *= 0.3
    data[2] *= 0.9  # one good line between two weak ones goes as well
    data = np.ascontiguousarray(np.rot90(data, -side))
    data.flags.writeable = False
    exposure = replace(sky, data=data, variance=np.resize(sky.variance, data.shape))
    found = np.rot90(marked(exposure), side)
    assert found[:3].all() and not found[3:].any()


def test_step_below_half_the_noise_stays():
    sky = flat_sky()
    for factor, expected in ((1 - 14 / 900, False), (1 - 20 / 900, True)):
        data = sky.data.copy()
        data[:, -1] = (data[:, -1] - 900) + np.float32(900 * factor)
        assert marked(replace(sky, data=data))[:, -1].all() == expected


def test_lines_without_numbers_are_marked_and_small_images_left_alone():
    sky = flat_sky()
    data = sky.data.copy()
    data[:, :2] = np.nan
    assert marked(replace(sky, data=data))[:, :2].all()
    empty = np.full_like(data, np.nan)
    assert not marked(replace(sky, data=empty)).any()
    assert not marked(flat_sky((20, 20))).any()
    assert EdgeSettings().reach == 16
