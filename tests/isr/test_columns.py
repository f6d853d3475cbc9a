"""Straight defects within an image that no calibration knows of."""

from dataclasses import replace

import numpy as np
import pytest

from tests.isr.frames import info
from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.isr import mark_columns


def sky(shape=(420, 510), level=900.0, seed=3):
    data = np.random.default_rng(seed).normal(level, 30, shape)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    data += 0.3 * cols  # 5 sigma from side to side
    for x, y, flux in ((200, 100, 3e5), (333, 250, 4e6), (50, 380, 2e4)):
        data += flux / 40 * (1 + np.hypot(cols - x, rows - y) ** 2 / 9) ** -2.5
    return data


def marked(data):
    data = np.ascontiguousarray(data, dtype=np.float32)
    data.flags.writeable = False
    exposure = Exposure(data, np.full(data.shape, 900, np.float32), np.zeros(data.shape, np.uint32), info())
    return mark_columns(exposure).mask


@pytest.mark.parametrize("seed", range(4))
def test_sky_stars_and_gradients_stay(seed):
    assert not marked(sky(seed=seed)).any()


@pytest.mark.parametrize("turned", [False, True])
def test_dark_and_bright_lines_are_marked_in_their_length(turned):
    data = sky()
    data[:, 120] *= 0.4
    data[:, 300:302] += 40
    data[200:, 400] -= 25  # less than a pixel's noise
    mask = marked(data.T if turned else data)
    mask = mask.T if turned else mask
    low, high = ((mask & np.uint32(bit)) != 0 for bit in (Mask.LOW_RESPONSE, Mask.HIGH_RESPONSE))
    assert low[:, 120].all() and high[:, 300:302].all()
    assert low[215:, 400].all() and not low[:150, 400].any()
    others = np.delete(low | high, [120, 300, 301, 400], axis=1)
    assert not others.any()


def test_short_images_and_blank_parts_are_no_trouble():
    assert not marked(sky((100, 90))).any()
    data = sky()
    data[:200] = np.nan
    data[:, 77] = np.nan
    assert not marked(data).any()
    assert not marked(np.full((300, 300), np.nan)).any()


def test_nothing_is_changed_but_the_mask():
    data = sky().astype(np.float32)
    exposure = Exposure(data, np.full(data.shape, 900, np.float32), np.full(data.shape, 2, np.uint32), info())
    after = mark_columns(replace(exposure))
    assert after.data is exposure.data
    assert (after.mask == 2).all()
