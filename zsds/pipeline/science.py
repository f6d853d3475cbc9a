"""A raw quadrant becomes a calibrated exposure with its catalogs."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS

from zsds import astrometry, isr, photometry
from zsds.astrometry import AstrometrySettings
from zsds.core.camera import Band, Camera
from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure, ZeroPoint
from zsds.core.flags import Mask, is_defect
from zsds.core.raw import RawCcd
from zsds.core.sphere import pixel_scale_arcsec
from zsds.core.units import magnitude, magnitude_error
from zsds.isr import GhostSettings, HaloSettings, IsrSettings, TrailSettings
from zsds.photometry import StarFlatSettings, ZeroPointSettings
from zsds.pipeline.calibrators import CalibratorSettings, Tie, TieSettings, tie_to_catalog
from zsds.pipeline.measure import Measured, MeasureSettings, measure

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReferenceSky:
    """What the reference catalogs say about the sky around a quadrant.

    Parameters
    ----------
    gaia, ps1 : Table
        Columns of the tables ``gaia`` and ``ps1``; positions at the catalogs' epochs.
    ghost_makers : Table, optional
        Bright stars (table ``gaia``) whose ghosts may fall on the quadrant.
    """

    gaia: Table
    ps1: Table
    ghost_makers: Table | None = None


@dataclass(frozen=True)
class QualitySettings:
    """Beyond these a quadrant is rejected."""

    max_rms_arcsec: float = 0.5  # astrometric residual per axis
    max_place_error_arcsec: float = 0.3  # of the astrometric solution itself, per axis, in the worst corner
    max_zero_point_rms: float = 0.2  # mag
    max_defects: float = 0.5  # fraction of pixels


@dataclass(frozen=True)
class ScienceSettings:
    """Settings of every step from raw pixels to a calibrated exposure."""

    isr: IsrSettings = field(default_factory=IsrSettings)
    trails: TrailSettings = field(default_factory=TrailSettings)
    halos: HaloSettings = field(default_factory=HaloSettings)
    ghosts: GhostSettings = field(default_factory=GhostSettings)
    measure: MeasureSettings = field(default_factory=MeasureSettings)
    astrometry: AstrometrySettings = field(default_factory=AstrometrySettings)
    calibrators: CalibratorSettings = field(default_factory=CalibratorSettings)
    zero_point: ZeroPointSettings = field(default_factory=ZeroPointSettings)
    star_flat: StarFlatSettings = field(default_factory=StarFlatSettings)
    quality: QualitySettings = field(default_factory=QualitySettings)

    @property
    def tie(self) -> TieSettings:
        """Those of the photometric calibration."""
        limit = self.quality.max_zero_point_rms
        return TieSettings(self.calibrators, self.zero_point, self.star_flat, limit)


@dataclass(frozen=True)
class ScienceResult:
    """A calibrated quadrant.

    Parameters
    ----------
    exposure : Exposure
        Sky subtracted, with WCS, PSF and zero point.
    measured : Measured
        Background and the catalogs; ``stars`` have positions and magnitudes.
    matches : Table
        Astrometric residuals.
    metrics : mapping
        Numbers worth plotting, by the names of the table ``quadrants`` where it has them.
    """

    exposure: Exposure
    measured: Measured
    matches: Table
    metrics: Mapping[str, float]


def reduce_science(
    raw: RawCcd,
    quadrant: int,
    camera: Camera,
    calibration: isr.Calibration | None,
    sky: ReferenceSky,
    settings: ScienceSettings,
) -> ScienceResult:
    """Raw pixels to a calibrated exposure.

    Parameters
    ----------
    raw : RawCcd
        All quadrants of the CCD; the others give the crosstalk.
    quadrant : int
    camera : Camera
    calibration : isr.Calibration or None
        None corrects with the overscan alone.
    sky : ReferenceSky
        Stars over the quadrant and the pointing error around it.
    settings : ScienceSettings

    Raises
    ------
    UnusableData
        With the numbers that condemn the quadrant.
    """
    info = raw.quadrants[quadrant].info
    ccd = info.id.ccd
    exposure = isr.reduce_quadrant(raw, quadrant, camera.amplifier(ccd, quadrant), calibration, settings.isr)
    _check_pixels(exposure, settings.quality)
    guess = camera.nominal_wcs(ccd, quadrant, info.ra, info.dec)
    if camera.ghosts is not None:
        radius = round(camera.ghosts.radius_arcsec / camera.pixel_scale_arcsec)
        settings = replace(settings, ghosts=replace(settings.ghosts, radius=radius))
    return calibrate(exposure, guess, camera.bands[info.id.band], sky, settings)


def calibrate(
    exposure: Exposure, guess: WCS, band: Band, sky: ReferenceSky, settings: ScienceSettings
) -> ScienceResult:
    """Measure an image in electrons and tie it to the sky and to the photometric system."""
    exposure = isr.mark_trails(exposure, settings.trails)
    exposure = isr.mark_halos(exposure, settings.halos)
    measured = measure(exposure, settings.measure)
    solution = astrometry.fit_astrometry(
        measured.stars, sky.gaia, guess, exposure.info.mid_mjd, settings.astrometry
    )
    check_astrometry(solution, measured.stars, sky.gaia, settings.quality)
    measured = replace(measured, stars=with_positions(measured.stars, solution.wcs))
    fwhm_arcsec = measured.psf_fit.fwhm * pixel_scale_arcsec(solution.wcs)
    tie = tie_to_catalog(measured, sky.ps1, band, fwhm_arcsec, settings.tie)
    stars = with_magnitudes(tie.measured.stars, tie.zero_point)
    calibrated = replace(tie.measured.exposure, wcs=solution.wcs, zero_point=tie.zero_point)
    calibrated = _without_ghosts(calibrated, guess, sky.ghost_makers, settings.ghosts)
    measured = replace(tie.measured, exposure=calibrated, stars=stars)
    metrics = _metrics(measured, solution, tie)
    log.info("seeing %.2f px, limit %.2f mag", metrics["seeing_px"], metrics["limiting_mag"])
    return ScienceResult(calibrated, measured, solution.matches, metrics)


def _without_ghosts(exposure: Exposure, guess: WCS, stars: Table | None, settings: GhostSettings) -> Exposure:
    """Ghosts marked where bright stars, seen where the solution says, are reflected about the axis.

    The optical axis stays on its pixel when the pointing errs; the stars move.
    """
    if stars is None or len(stars) == 0 or exposure.wcs is None:
        return exposure
    ny, nx = exposure.shape
    middle = np.array([[(nx - 1) / 2, (ny - 1) / 2]])
    moved = exposure.wcs.all_world2pix(guess.wcs_pix2world(middle, 0), 0) - middle
    x, y = guess.wcs_world2pix(stars["ra"], stars["dec"], 0)
    axis = guess.wcs.crpix - 1
    x, y = isr.reflected(x + moved[0, 0], y + moved[0, 1], (float(axis[0]), float(axis[1])))
    return isr.mark_ghosts(exposure, x, y, settings)


def _check_pixels(exposure: Exposure, quality: QualitySettings) -> None:
    defects = float(is_defect(exposure.mask).mean())
    if defects > quality.max_defects:
        saturated = float(((exposure.mask & np.uint32(Mask.SATURATED)) != 0).mean())
        raise UnusableData("too many unusable pixels", {"fraction": defects, "saturated": saturated})


def check_astrometry(
    solution: astrometry.Astrometry, stars: Table, gaia: Table, quality: QualitySettings
) -> None:
    """Refuse a solution whose residuals are large, or that few matches leave unknown in a corner.

    A catalog with gaps is no fault of the image: it is let pass, and whoever brought the catalog told.

    Raises
    ------
    UnusableData
    """
    worst = max(solution.rms_ra, solution.rms_dec)
    if worst > quality.max_rms_arcsec:
        numbers = {"rms_arcsec": worst, "matches": solution.n_matches}
        raise UnusableData("astrometric residuals are too large", numbers)
    place = solution.metrics["worst_place_arcsec"]
    if place > quality.max_place_error_arcsec and not astrometry.catalog_gaps(
        solution.wcs, gaia, stars, solution.n_matches
    ):
        numbers = {"error_arcsec": place, "matches": solution.n_matches}
        raise UnusableData("too few matches for coordinates all over the image", numbers)


def with_positions(stars: Table, wcs: WCS) -> Table:
    """The stars with ``ra`` and ``dec`` from their pixel positions."""
    stars = stars.copy()
    stars["ra"][:], stars["dec"][:] = wcs.all_pix2world(stars["x"], stars["y"], 0)
    return stars


def with_magnitudes(stars: Table, zero_point: ZeroPoint) -> Table:
    """The stars with ``mag`` and ``mag_err`` from their fluxes."""
    stars = stars.copy()
    stars["mag"][:] = magnitude(stars["flux"], zero_point.value)
    stars["mag_err"][:] = magnitude_error(stars["flux"], stars["flux_err"])
    return stars


def _metrics(measured: Measured, solution: astrometry.Astrometry, tie: Tie) -> dict[str, float]:
    exposure, zero_point = measured.exposure, tie.zero_point
    return {
        "seeing_px": measured.psf_fit.fwhm,
        "sky_e": measured.background.median,
        "sky_sigma_e": measured.background.sigma,
        "limiting_mag": photometry.limiting_magnitude(exposure, measured.psf_fit.model, zero_point),
        "zero_point": zero_point.value,
        "zero_point_err": zero_point.err,
        "zero_point_rms": zero_point.rms,
        "colour_coeff": zero_point.colour_coeff,
        "transparency_range": tie.star_flat.range,
        "patchiness": tie.patchiness.scatter,
        "n_calibrators": zero_point.n_stars,
        "n_sources": len(measured.sources),
        "n_stars": measured.psf_fit.n_stars,
        "n_astrometry": solution.n_matches,
        "rms_ra_arcsec": solution.rms_ra,
        "rms_dec_arcsec": solution.rms_dec,
        "shift_arcsec": solution.shift_arcsec,
        "psf_residual": measured.psf_fit.residual,
        **solution.metrics,
    }
