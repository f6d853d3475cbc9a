"""Mask bits: each has a meaning; sources are not defects."""

import numpy as np

from zsds.core.flags import DEFECTS, FLAG_MEANINGS, Mask, is_defect


def test_every_flag_has_a_meaning():
    assert set(FLAG_MEANINGS) == set(Mask)
    assert all(FLAG_MEANINGS.values())


def test_template_of_documented_ztf_defects():
    assert int(DEFECTS) & 0x1FFF == 6141


def test_sources_are_not_defects():
    mask = np.array([[0, Mask.SOURCE, Mask.SATURATED | Mask.SOURCE]], dtype=np.uint32)
    assert is_defect(mask).tolist() == [[False, False, True]]
