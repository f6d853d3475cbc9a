"""A raw CCD as read: one array per quadrant with its overscan, in DN."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds.core.exposure import Info


@dataclass(frozen=True)
class RawQuadrant:
    """Pixels of one amplifier, trimmed and turned into the quadrant's frame.

    Parameters
    ----------
    data : ndarray of float32 [ny, nx]
        DN.
    overscan : ndarray of float32 [ny, n_overscan]
        DN, rows aligned with those of ``data``; no columns when the camera has none.
    info : Info
        Gain, read noise and saturation are those of this amplifier.
    """

    data: NDArray[np.float32]
    overscan: NDArray[np.float32]
    info: Info


@dataclass(frozen=True)
class RawCcd:
    """All quadrants of one CCD of one exposure, by quadrant number.

    Parameters
    ----------
    quadrants : mapping of int to RawQuadrant
    frame_type : str
        ``science``, ``bias``, ``dark`` or ``flat``.
    """

    quadrants: Mapping[int, RawQuadrant]
    frame_type: str
