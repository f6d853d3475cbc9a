"""What one night teaches about a quadrant's response."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds.core.exposure import Exposure


@dataclass(frozen=True)
class Calibration:
    """Master calibrations of one quadrant and band.

    Parameters
    ----------
    bias : Exposure
        Electrons, above the overscan where there is one.
    flat : Exposure
        Response, median 1.
    bad_pixels : ndarray of uint32 [ny, nx]
        Mask bits of pixels that are always bad.
    version : str
        The same inputs and settings always give the same.
    """

    bias: Exposure
    flat: Exposure
    bad_pixels: NDArray[np.uint32]
    version: str

    def __post_init__(self) -> None:
        for name, shape in (("flat", self.flat.shape), ("bad_pixels", self.bad_pixels.shape)):
            if shape != self.bias.shape:
                raise ValueError(f"{name} has shape {shape}, bias {self.bias.shape}")
