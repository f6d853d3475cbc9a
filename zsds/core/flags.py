"""Mask bits of a pixel. The lower 16 are ZTF's own; the upper 16 are ours."""

from enum import IntFlag

import numpy as np


class Mask(IntFlag):
    """What is known of a pixel. ``FLAG_MEANINGS`` has a line for each."""

    TRAIL = 1 << 0
    SOURCE = 1 << 1
    LOW_RESPONSE = 1 << 2
    HIGH_RESPONSE = 1 << 3
    NOISY = 1 << 4
    GHOST = 1 << 5
    BLEED = 1 << 6
    COSMIC_RAY = 1 << 7
    SATURATED = 1 << 8
    DEAD = 1 << 9
    NAN = 1 << 10
    PSF_SOURCE = 1 << 11
    HALO = 1 << 12
    EDGE = 1 << 16
    NO_FLAT = 1 << 17
    CROSSTALK = 1 << 18
    NO_REFERENCE = 1 << 19
    FILLED = 1 << 20


FLAG_MEANINGS = {
    Mask.TRAIL: "crossed by a satellite, an aircraft or another long trail",
    Mask.SOURCE: "belongs to a detected source (not a defect)",
    Mask.LOW_RESPONSE: "responds far less than its neighbours",
    Mask.HIGH_RESPONSE: "responds far more than its neighbours",
    Mask.NOISY: "noisier than its neighbours, or with more dark current, in the calibration frames",
    Mask.GHOST: "in the predicted or measured ghost of a bright source",
    Mask.BLEED: "charge spilled here from a saturated pixel",
    Mask.COSMIC_RAY: "hit by a cosmic ray",
    Mask.SATURATED: "at or above the saturation level",
    Mask.DEAD: "does not respond",
    Mask.NAN: "has no number",
    Mask.PSF_SOURCE: "holds the position of a source of the PSF catalog (not a defect)",
    Mask.HALO: "in the halo of a very bright star",
    Mask.EDGE: "too near the edge of the detector to be trusted",
    Mask.NO_FLAT: "the flat is too weak here to divide by",
    Mask.CROSSTALK: "received the ghost of a bright source read at the same time",
    Mask.NO_REFERENCE: "the reference does not cover this pixel",
    Mask.FILLED: "filled with the scaled reference before a transform",
}

SOURCES = Mask.SOURCE | Mask.PSF_SOURCE
DEFECTS = Mask(sum(FLAG_MEANINGS)) & ~SOURCES  # a pixel with any of these must not be trusted


def is_defect(mask: np.ndarray) -> np.ndarray:
    """Boolean array, True where any defect bit is set (source bits do not count)."""
    defect: np.ndarray = (mask & np.uint32(DEFECTS)) != 0
    return defect
