"""What every point-spread function of zsds can do, and the simplest one."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

FWHM_PER_SIGMA = 2.3548200450309493  # of a Gaussian


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
        scale = self.fwhm / FWHM_PER_SIGMA * np.sqrt(2.0)
        column = np.diff(erf((edges - dx) / scale)) / 2
        row = np.diff(erf((edges - dy) / scale)) / 2
        return np.outer(row, column).astype(np.float32)


def noise_pixels(stamp: NDArray[np.floating]) -> float:
    """Pixels whose noise the flux of a fitted PSF holds, 1 / sum(P^2), P scaled to sum 1 (King 1983)."""
    stamp = stamp.astype(np.float64)
    return float(stamp.sum() ** 2 / np.square(stamp).sum())


def effective_fwhm(stamp: NDArray[np.floating]) -> float:
    """FWHM in pixels of the Gaussian that holds the noise of as many pixels, 4 pi sigma^2."""
    return FWHM_PER_SIGMA * float(np.sqrt(noise_pixels(stamp) / (4 * np.pi)))
