"""What every point-spread function of zsds can do, and the simplest one."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf


@runtime_checkable
class PsfModel(Protocol):
    """A point-spread function that may vary over the image.

    Pixel-integrated: multiplied with a star's flux it is the star as the pixels see it.
    """

    @property
    def size(self) -> int:
        """Side of the stamps, odd."""
        ...

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
        """Stamp [size, size] for image position (x, y), summing to 1 over all its flux.

        The star sits at (dx, dy) pixels from the centre of the stamp's middle pixel.
        """
        ...


@dataclass(frozen=True)
class GaussianPsf:
    """Round Gaussian, the same everywhere.

    Parameters
    ----------
    fwhm : float
        Pixels.
    size : int
        Side of the stamps, odd.
    """

    fwhm: float
    size: int = 25

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:  # noqa: ARG002
        """Gaussian integrated over each pixel."""
        edges = np.arange(self.size + 1) - self.size / 2
        scale = self.fwhm / 2.3548200450309493 * np.sqrt(2.0)
        column = np.diff(erf((edges - dx) / scale)) / 2
        row = np.diff(erf((edges - dy) / scale)) / 2
        return np.outer(row, column).astype(np.float32)
