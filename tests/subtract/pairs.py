"""Pairs of a science image and a deeper reference of the same pixels, for the tests of subtraction."""

import numpy as np

from tests.subtract.sky import Stars, frozen, make_exposure, make_wcs
from zsds.subtract import SubtractSettings

SHAPE = (330, 390)
WCS = make_wcs(SHAPE)
NOTHING = Stars(np.zeros(0), np.zeros(0), np.zeros(0))
PLAIN = SubtractSettings(normalise=False)


def pair(rng, stars=NOTHING, science=2.4, reference=2.2, reference_sky=60.0, new=(), zero=25.3):
    """A science image and a deeper reference of the same pixels."""
    n = make_exposure(rng, SHAPE, WCS, stars, science, new=new)
    r = make_exposure(rng, SHAPE, WCS, stars, reference, sky=reference_sky, zero_point=zero)
    return frozen(n), frozen(r)
