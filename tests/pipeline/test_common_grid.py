"""The grid of a reference holds every epoch, whatever the pointings."""

import numpy as np
import pytest

from zsds.core.exposure import Exposure, Info
from zsds.core.ids import QuadrantId
from zsds.pipeline.reference import common_grid
from zsds.sim import frame_wcs

INFO = Info(QuadrantId("20260101500000", 1, "zr", 1, 1), 61041.5, 30.0, 2, 0)


def epoch(ra, dec, shape=(200, 260), rotation_deg=0.0):
    planes = np.zeros(shape, np.float32), np.ones(shape, np.float32), np.zeros(shape, np.uint32)
    return Exposure(*planes, INFO, frame_wcs(shape, ra, dec, rotation_deg=rotation_deg, distortion_px=1.0))


def test_every_corner_of_every_epoch_lies_on_the_grid():
    offsets = [(0, 0), (12, -9), (-7, 14), (3, 5)]
    epochs = [epoch(150 + dx / 3600, 20 + dy / 3600, rotation_deg=0.1 * dx) for dx, dy in offsets]
    wcs, (ny, nx) = common_grid(epochs, 0.2)
    for one in epochs:
        my, mx = one.shape
        corners = one.wcs.all_pix2world([[0, 0], [mx - 1, 0], [mx - 1, my - 1], [0, my - 1]], 0)
        x, y = wcs.all_world2pix(corners, 0).T
        assert x.min() > -0.5
        assert y.min() > -0.5
        assert x.max() < nx - 0.5
        assert y.max() < ny - 0.5


def test_one_epoch_keeps_its_own_grid_but_for_its_distortion():
    _, (ny, nx) = common_grid([epoch(150, 20)], 0.2)
    assert 200 <= ny <= 204
    assert 260 <= nx <= 264


@pytest.mark.parametrize("limit", [0.0, 0.05])
def test_a_stray_pointing_does_not_blow_up_the_grid(limit):
    _, (ny, nx) = common_grid([epoch(150, 20), epoch(150.2, 20.2)], limit)
    assert ny <= 200 * (1 + 2 * limit)
    assert nx <= 260 * (1 + 2 * limit)
