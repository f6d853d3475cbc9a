"""Marks cosmic rays."""

import logging
from dataclasses import replace

import numpy as np

from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, Mask
from zsds.core.psf import FWHM_PER_SIGMA
from zsds.isr.settings import CosmicRaySettings
from zsds.isr.sky import quick_sky
from zsds.kernels.cosmic import find_sharp_pixels

log = logging.getLogger(__name__)


def sharpest_ratio(psf_fwhm: float, narrowest: float = 1.0) -> float:
    """Mean of two opposite neighbours over the pixel between, for a star centred on it.

    Parameters
    ----------
    psf_fwhm : float
        Pixels, as seen in the image (pixels included).
    narrowest : float
        Narrowest PSF to allow for, as a fraction of ``psf_fwhm``.
    """
    sigma = narrowest * psf_fwhm / FWHM_PER_SIGMA
    return float(np.exp(-0.5 / sigma**2))


def mark_cosmic_rays(
    exposure: Exposure,
    psf_fwhm: float,
    settings: CosmicRaySettings = CosmicRaySettings(),  # noqa: B008
) -> Exposure:
    """The exposure with COSMIC_RAY set where the light is sharper than a star could be.

    Parameters
    ----------
    exposure : Exposure
        Electrons, with or without its sky.
    psf_fwhm : float
        Typical full width at half maximum of stars, pixels; of their short axis where all are drawn out.
    settings : CosmicRaySettings

    Raises
    ------
    ValueError
        If the width is not a positive number.
    """
    if not (np.isfinite(psf_fwhm) and psf_fwhm > 0):
        raise ValueError(f"psf_fwhm is {psf_fwhm}")
    level = quick_sky(exposure, settings.cell, fraction=0.35, lowest=True, samples=16)
    usable = (exposure.mask & np.uint32(DEFECTS & ~Mask.EDGE & ~Mask.COSMIC_RAY)) == 0
    usable &= exposure.variance > 0
    ratio = sharpest_ratio(psf_fwhm, settings.narrowest)
    ratio *= 1 - settings.slack * ratio
    variance = np.where(usable, exposure.variance, np.float32(np.inf))
    found = find_sharp_pixels(
        *(exposure.data - level, variance, ratio),
        *(settings.n_sigma, settings.grow_sigma, settings.iterations),
        *(settings.track_sigma, settings.max_chi2),
    )
    log.info("%d pixels hit by cosmic rays", np.count_nonzero(found))
    return replace(exposure, mask=exposure.mask | np.where(found, np.uint32(Mask.COSMIC_RAY), np.uint32(0)))
