"""Fits of matched stars."""

import numpy as np
import pytest

from zsds.astrometry.fit import common_error


@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_common_error_is_what_the_precise_stars_say(jitter):
    rng = np.random.default_rng(8)
    errors = np.concatenate([np.full(400, 0.008), np.full(600, 0.08)])
    wider = np.where(errors > 0.01, 1.3, 1.0)  # the faint ones are worse than they claim
    squares = np.sum(rng.normal(0, np.hypot(wider * errors, jitter), (2, 1000)) ** 2, axis=0)
    squares[::100] = 1.0  # wrong matches
    assert common_error(squares, errors) == pytest.approx(jitter, abs=0.005)
