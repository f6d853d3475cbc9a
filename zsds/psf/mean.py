"""The mean star of a PSF that the pixels undersample, and what Fourier space needs of a stamp.

A star's spectrum on the pixels is a sum over aliases m of p(k + m) exp(-2 pi i (k + m) d), p that of the PSF
and d the star's place. Moved back to the centre of a pixel each alias but m = 0 keeps a phase that goes round
with d, so that the mean over all places is p(k) alone: blunter than a star that stands on a centre.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

from zsds.core.psf import PsfModel, effective_fwhm
from zsds.psf.model import GridPsf

SAMPLED_FWHM = 2.6  # pixels, effective; from there on a star on a centre is the mean star to 0.3 % of flux
FADE = 5  # pixels; 3 to 6 leave the same fluxes, and 9 begin to ring
HALF = (0.0, 0.5)  # places each way whose mean is free of the nearest aliases, the only ones above 0.003


@dataclass(frozen=True)
class MeanPsf:
    """A PSF whose stamps are the mean star: over sub-pixel places, each star moved back by Fourier phases.

    What p(k) ends with at the pixels' highest frequencies rings in the stamp as far as it reaches, and so
    would all that is made with it; the mean's departure from the star on a centre fades within a few pixels.

    Parameters
    ----------
    psf : PsfModel
        Of the stars.
    """

    psf: PsfModel

    @property
    def size(self) -> int:
        """Side of the stamps, odd."""
        return self.psf.size

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
        """Stamp of the mean star for image position (x, y), moved by (dx, dy)."""
        length, half = next_fast_len(self.size + 1, real=True), self.size // 2
        stars = [
            rfft2(centred(self.psf.at(x, y, *place), length)) * back for place, back in _back(length).items()
        ]
        mean = irfft2(np.mean(stars, axis=0) * phase_ramp(length, -dx, -dy), (length, length))
        mean = np.roll(mean, (half, half), axis=(0, 1))[: self.size, : self.size]
        star = self.psf.at(x, y, dx, dy)
        stamp: NDArray[np.float32] = star + _fading(self.size) * (mean - star)
        return stamp


@cache
def _back(length: int) -> dict[tuple[float, float], NDArray[np.complex64]]:
    """Sub-pixel places, and what moves a star that stands there back to the centre of its pixel."""
    return {(dx, dy): phase_ramp(length, dx, dy) for dx in HALF for dy in HALF}


@cache
def _fading(size: int) -> NDArray[np.float32]:
    """From 1 in the middle of a stamp to 0 at the fade's distance along either axis, as a squared cosine."""
    distance = np.abs(np.arange(size) - size // 2)
    line = np.cos(np.pi / 2 * np.minimum(distance / FADE, 1)) ** 2
    return np.outer(line, line).astype(np.float32)


def mean_psf(psf: PsfModel, shape: tuple[int, int]) -> PsfModel:
    """The mean star of a PSF over an image of a shape (ny, nx).

    The PSF itself where its stamps are that already, or where the pixels sample it well everywhere.
    """
    if isinstance(psf, MeanPsf) or (isinstance(psf, GridPsf) and psf.is_mean):
        return psf
    columns, rows = ((0.0, (n - 1) / 2, n - 1.0) for n in shape[::-1])
    sharpest = min(effective_fwhm(psf.at(x, y)) for x in columns for y in rows)
    return MeanPsf(psf) if sharpest < SAMPLED_FWHM else psf


def centred(stamp: NDArray, size: int) -> NDArray[np.float32]:
    """Stamp on a grid [size, size] with its middle pixel at [0, 0], wrapped around; cut if larger."""
    half = stamp.shape[0] // 2
    reach = min(half, (size - 1) // 2)
    cut = stamp[half - reach : half + reach + 1, half - reach : half + reach + 1]
    grid, end = np.zeros((size, size), np.float32), size - reach
    grid[: reach + 1, : reach + 1], grid[: reach + 1, end:] = cut[reach:, reach:], cut[reach:, :reach]
    grid[end:, : reach + 1], grid[end:, end:] = cut[:reach, reach:], cut[:reach, :reach]
    return grid


def phase_ramp(length: int, dx: float, dy: float) -> NDArray[np.complex64]:
    """Factor on an rfft2 spectrum that turns image(x, y) into image(x + dx, y + dy)."""
    fy = np.fft.fftfreq(length)[:, None]
    fx = np.fft.rfftfreq(length)[None, :]
    return np.exp(2j * np.pi * (fx * dx + fy * dy)).astype(np.complex64)
