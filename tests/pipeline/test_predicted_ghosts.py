"""Ghosts are looked for opposite the bright stars, where the stars really are."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from zsds.core.flags import Mask
from zsds.isr import GhostSettings
from zsds.pipeline.science import _without_ghosts
from zsds.sim import frame_wcs, simple_quadrant

RADIUS = 20
AXIS = np.array([300.0, -150.0])  # outside the quadrant, as for most of a camera


@pytest.mark.parametrize("moved", [(0.0, 0.0), (25.0, -18.0)])
def test_disk_is_marked_in_spite_of_a_pointing_error(moved):
    exposure = simple_quadrant((240, 260), n_stars=20, seed=4).exposure
    guess = frame_wcs(exposure.shape)
    guess.wcs.crpix = AXIS + 1
    guess.wcs.set()
    solution = guess.deepcopy()
    solution.wcs.crpix = AXIS + 1 + np.array(moved)
    solution.wcs.set()
    ghost = np.array([120.0, 90.0])
    ra, dec = solution.wcs_pix2world(*(2 * AXIS - ghost), 0)  # where the star that makes it is
    rows, cols = np.mgrid[:240, :260]
    disk = np.hypot(cols - ghost[0], rows - ghost[1]) <= RADIUS
    noise = np.sqrt(np.median(exposure.variance))
    exposure = replace(exposure, data=(exposure.data + disk * noise).astype(np.float32), wcs=solution)
    stars = Table({"ra": [float(ra)], "dec": [float(dec)]})
    marked = _without_ghosts(exposure, guess, stars, GhostSettings(radius=RADIUS))
    found = (marked.mask & np.uint32(Mask.GHOST)) != 0
    assert (found == disk).mean() > 0.995
    elsewhere = Table({"ra": [float(ra) + 0.05], "dec": [float(dec)]})
    assert not (
        _without_ghosts(exposure, guess, elsewhere, GhostSettings(radius=RADIUS)).mask & np.uint32(Mask.GHOST)
    ).any()
