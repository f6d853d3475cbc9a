"""What all candidates of one difference share: its planes, PSFs, noise and calibration."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zsds.candidates.settings import CandidateSettings
from zsds.core.difference import Difference
from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, Mask, is_defect
from zsds.core.psf import PsfModel, noise_pixels
from zsds.core.robust import mad_width, variance_per_noise
from zsds.core.units import magnitude

SOFT_DEFECTS = Mask.GHOST | Mask.HALO  # raise the background, but the pixels still measure
HARD_DEFECTS = DEFECTS & ~SOFT_DEFECTS
MIN_STARS = 10  # fewer do not tell how good the PSF is
NOISE_STRIDE = 7  # every seventh pixel tells the noise of the image well enough


@dataclass(frozen=True)
class Field:
    """All that is the same for every candidate of one difference.

    Parameters
    ----------
    data, variance, score, flux_err, science, science_variance : ndarray of float32 [ny, nx]
    reference : ndarray of float32 [ny, nx] or None
        Scaled to the science image.
    mask : ndarray of uint32 [ny, nx]
    bad : ndarray of bool [ny, nx]
        Pixels that must not be used.
    own_noise : float
        Variance that an electron of a source's own light adds.
    psf, science_psf : PsfModel
    noise : float
        Robust scatter of the difference image, electrons.
    noise_slope : float
        Variance that goes with an electron of noise in the difference; see
        `zsds.core.robust.variance_per_noise`.
    model_error : float
        Relative error of the PSF that a point source may show.
    zero_point, limit_mag, gain : float
        NaN magnitudes without a calibration.
    settings : CandidateSettings
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    score: NDArray[np.float32]
    flux_err: NDArray[np.float32]
    science: NDArray[np.float32]
    science_variance: NDArray[np.float32]
    reference: NDArray[np.float32] | None
    mask: NDArray[np.uint32]
    bad: NDArray[np.bool_]
    own_noise: float
    psf: PsfModel
    science_psf: PsfModel
    noise: float
    noise_slope: float
    model_error: float
    zero_point: float
    limit_mag: float
    gain: float
    settings: CandidateSettings


def limiting_magnitude(difference: Difference, zero_point: float, n_sigma: float = 5.0) -> float:
    """Magnitude of a point source of ``n_sigma`` in a PSF fit on the difference's typical noise.

    The variance of a fitted flux on noise v is v / sum P^2.

    Raises
    ------
    UnusableData
        If the difference has no usable pixel.
    """
    exposure = difference.exposure
    psf = _psf_of(exposure)
    ny, nx = exposure.shape
    usable = (exposure.mask & np.uint32(HARD_DEFECTS)) == 0
    variance = exposure.variance[::NOISE_STRIDE, ::NOISE_STRIDE][usable[::NOISE_STRIDE, ::NOISE_STRIDE]]
    variance = variance[np.isfinite(variance) & (variance > 0)]
    if variance.size == 0:
        raise UnusableData("the difference image has no usable pixel")
    flux_err = np.sqrt(np.median(variance) * noise_pixels(psf.at(nx / 2, ny / 2)))
    return float(magnitude(n_sigma * flux_err, zero_point))


def _psf_of(exposure: Exposure) -> PsfModel:
    if exposure.psf is None:
        raise ValueError("the difference image needs its PSF")
    return exposure.psf


def make_field(
    difference: Difference,
    science: Exposure,
    reference: Exposure | None,
    stars: Table | None,
    settings: CandidateSettings,
) -> Field:
    """Gather them; the reference is scaled to the science image as it was to be subtracted."""
    exposure = difference.exposure
    psf = _psf_of(exposure)
    bad = (exposure.mask & np.uint32(HARD_DEFECTS)) != 0
    bad |= ~np.isfinite(exposure.data)
    zero_point = science.zero_point.value if science.zero_point else np.nan
    sparse_bad = bad[::NOISE_STRIDE, ::NOISE_STRIDE]
    sample = exposure.data[::NOISE_STRIDE, ::NOISE_STRIDE][~sparse_bad]
    noise = mad_width(sample)
    slope = variance_per_noise(sample, exposure.variance[::NOISE_STRIDE, ::NOISE_STRIDE][~sparse_bad], noise)
    return Field(
        data=exposure.data,
        variance=exposure.variance,
        score=difference.score,
        flux_err=difference.flux_err,
        own_noise=difference.own_noise,
        science=science.data,
        science_variance=science.variance,
        reference=None if reference is None else reference.data * np.float32(difference.flux_scale),
        mask=exposure.mask,
        bad=bad,
        psf=psf,
        science_psf=science.psf or psf,
        noise=noise,
        noise_slope=slope,
        model_error=model_error(stars, settings),
        zero_point=zero_point,
        limit_mag=limiting_magnitude(difference, zero_point) if sample.size else np.nan,
        gain=science.info.gain,
        settings=settings,
    )


def model_error(stars: Table | None, settings: CandidateSettings) -> float:
    """Relative error of the PSF that the image's own stars show, at least the one of the settings.

    A PSF wrong by a fraction e leaves e^2 (S/N)^2 of chi-square in a star. What ``star_share`` of the bright
    stars stay below is what a point source looks like; the others may be galaxies or blends.
    """
    if stars is None:
        return settings.model_error
    snr, chi, degrees = (np.asarray(stars[name], float) for name in ("snr", "chi", "n_pixels"))
    bright = (snr > settings.star_snr) & np.isfinite(chi) & (degrees > 3) & ~is_defect(stars["flags"])
    if bright.sum() < MIN_STARS:
        return settings.model_error
    left = np.maximum(chi[bright] ** 2 - 1, 0) * (degrees[bright] - 3)
    errors = np.sqrt(left) / snr[bright]
    shown = float(np.quantile(errors, settings.star_share))
    return float(np.clip(shown, settings.model_error, settings.max_model_error))
