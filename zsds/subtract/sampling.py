"""What pixels too coarse for a PSF do to its stars."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.ndimage import maximum_filter

from zsds.core.psf import PsfModel, effective_fwhm
from zsds.psf.mean import centred, phase_ramp
from zsds.psf.moffat import MoffatPsf

BETA = 3.0  # of the Moffat that stands for all PSFs of a width
FWHMS = (0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.3, 2.7, 3.2, 4.0)  # pixels, before the pixels blur them
PHASES = 4  # sub-pixel places each way


def sampling_error(psf: PsfModel, x: float, y: float) -> float:
    """Error of an interpolated image, in units of its Laplacian, that comes from the size of the pixels.

    By the width of the PSF, since the model of a reference knows of its stars only what interpolation has
    made of them.
    """
    widths, errors = _errors_of_widths()
    return float(np.interp(effective_fwhm(psf.at(x, y)), widths, errors))


@cache
def _errors_of_widths() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Effective FWHM of Moffat PSFs in pixels, and the errors that go with them."""
    psfs = [MoffatPsf.of_fwhm(fwhm, BETA, 31) for fwhm in FWHMS]
    return np.array([effective_fwhm(psf.at(0, 0)) for psf in psfs]), np.array([_error(psf) for psf in psfs])


def _error(psf: PsfModel, size: int = 64) -> float:
    """Factor of a star's Laplacian that makes as large an error of its flux as its sub-pixel place does.

    Frequencies that pixels do not tell apart change sign with the place: a star moved back to the centre of a
    pixel is never quite the mean star, and a matched filter takes up some of the difference.
    """
    shifts = (np.arange(PHASES) + 0.5) / PHASES - 0.5
    stars = np.array([_moved_back(psf, dx, dy, size) for dx in shifts for dy in shifts])
    mean = stars.mean(axis=0)
    flux = np.sum(stars * mean, axis=(1, 2))
    bend = np.abs(4 * mean - sum(np.roll(mean, step, axis) for step in (-1, 1) for axis in (0, 1)))
    return float(flux.std() / np.sqrt(np.sum((mean * maximum_filter(bend, 3)) ** 2)))


def _moved_back(psf: PsfModel, dx: float, dy: float, size: int) -> NDArray[np.float64]:
    spectrum = rfft2(centred(psf.at(0, 0, dx, dy), size)) * phase_ramp(size, dx, dy)
    star: NDArray[np.float64] = irfft2(spectrum, (size, size)).astype(np.float64)
    return star
