"""What every calibrated image goes through, ours or another camera's: sky, cosmic rays, PSF, stars."""

from dataclasses import dataclass, field, replace

import numpy as np
from astropy.table import Table

from zsds import extract, isr, photometry, psf
from zsds.core.exposure import Exposure
from zsds.core.flags import SOURCES, Mask
from zsds.extract import BackgroundSettings, ExtractSettings
from zsds.isr import CosmicRaySettings
from zsds.photometry import StarSettings
from zsds.psf import PsfSettings


@dataclass(frozen=True)
class MeasureSettings:
    """Settings of the measurements on one image."""

    background: BackgroundSettings = field(default_factory=BackgroundSettings)
    extract: ExtractSettings = field(default_factory=ExtractSettings)
    cosmic_rays: CosmicRaySettings = field(default_factory=CosmicRaySettings)
    psf: PsfSettings = field(default_factory=PsfSettings)
    stars: StarSettings = field(default_factory=StarSettings)
    crowded_share: float = 0.12  # of sources with another within 3 FWHM; beyond it hidden ones are sought


@dataclass(frozen=True)
class Measured:
    """An image without its sky, with its PSF and the sources in it.

    Parameters
    ----------
    exposure : Exposure
        Sky subtracted; ``psf`` set; mask with cosmic rays and sources.
    background : extract.Background
    sources, stars, apertures : Table
        Detections, PSF photometry, aperture photometry; one row a source in each.
    psf_fit : psf.PsfFit
    """

    exposure: Exposure
    background: extract.Background
    sources: Table
    stars: Table
    apertures: Table
    psf_fit: psf.PsfFit


def measure(exposure: Exposure, settings: MeasureSettings) -> Measured:
    """Measure sky, PSF and sources of an image in electrons; a PSF that the image brings is kept.

    Raises
    ------
    UnusableData
        If the image has too little usable sky, or too few stars for a PSF.
    """
    background = extract.measure_background(exposure, settings.background)
    flat = extract.subtract_background(exposure, background)
    unusable = extract.unusable_pixels(exposure)
    seeing = extract.measure_seeing(flat.data, background.rms, unusable)
    flat = isr.mark_cosmic_rays(flat, seeing.sharpness, settings.cosmic_rays)
    marked = replace(exposure, mask=flat.mask)
    sources = extract.detect_sources(marked, background, settings.extract)
    if exposure.psf is None:
        psf_fit = psf.fit_psf(flat, sources, settings.psf)
    else:
        psf_fit = psf.given_psf(exposure.psf, exposure.shape)
    first = None
    if extract.share_with_neighbours(sources, 3 * psf_fit.fwhm) > settings.crowded_share:
        first = photometry.fit_first(flat, psf_fit.model, sources)
        left = photometry.without_stars(flat, first)
        missed = extract.residual_sky(flat, left.data, background, settings.background)
        background = background.with_more(missed)
        flat, left = (replace(one, data=one.data - missed) for one in (flat, left))
        first = replace(first, residual=left.data)
        sources = extract.detect_hidden(left, background, sources, psf_fit.fwhm, settings.extract)
        if exposure.psf is None:
            psf_fit = psf.fit_psf(flat, sources, settings.psf)
    else:
        level = np.float32(photometry.missed_sky(flat, psf_fit.model, sources))
        background, flat = background.with_more(level), replace(flat, data=flat.data - level)
    flat = replace(flat, psf=exposure.psf or psf_fit.model)
    stars = photometry.fit_stars(flat, psf_fit.model, sources, settings.stars, psf_fit.scale, first)
    apertures = photometry.measure_apertures(flat, stars, psf_fit.model)
    return Measured(_with_sources(flat, stars), background, sources, stars, apertures, psf_fit)


def _with_sources(exposure: Exposure, stars: Table) -> Exposure:
    """Mark the pixel under each PSF-catalog position, as ZTF's masks do."""
    mask = exposure.mask & ~np.uint32(SOURCES)
    ny, nx = mask.shape
    x = np.clip(np.rint(stars["x"]).astype(int), 0, nx - 1)
    y = np.clip(np.rint(stars["y"]).astype(int), 0, ny - 1)
    mask[y, x] |= np.uint32(Mask.PSF_SOURCE)
    return replace(exposure, mask=mask)
