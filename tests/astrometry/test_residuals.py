"""Parts of an image that the reference catalog does not reach."""

import numpy as np
import pytest

from zsds.astrometry import uncovered_cells

SHAPE = (600, 300)  # cells of 200 rows and 100 columns


def scattered(n, x=(0, 299), y=(0, 599), seed=1):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(*x, n), rng.uniform(*y, n)], axis=1)


@pytest.mark.parametrize(
    "known, gaps",
    [
        (scattered(200, x=(-100, 400), y=(-100, 700)), 0),
        (scattered(200, y=(201, 900)), 3),
        (scattered(200, x=(-500, 190)), 3),
        (np.zeros((0, 2)), 9),
    ],
    ids=["all", "the lower third is missing", "the right third is missing", "nothing"],
)
def test_cells_without_catalog(known, gaps):
    assert uncovered_cells(known, scattered(300), 0.6, SHAPE) == gaps


def test_an_empty_part_of_the_sky_is_no_gap():
    crowd = scattered(300, y=(201, 599))
    assert uncovered_cells(crowd, crowd, 0.9, SHAPE) == 0


@pytest.mark.parametrize("n, gaps", [(13, 0), (14, 1)])
def test_few_stars_may_be_unmatched_by_chance(n, gaps):
    known = scattered(100, y=(201, 599))
    found = np.concatenate([known, scattered(n, x=(0, 99), y=(0, 199))])
    assert uncovered_cells(known, found, 0.5, SHAPE) == gaps  # 2**-13 is more than 1e-4, 2**-14 less
