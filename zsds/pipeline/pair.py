"""One calibrated science image and one reference image, of any camera: what is not given is measured."""

import logging
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray
from scipy.ndimage import spline_filter

from zsds import astrometry, isr
from zsds.core.errors import BadInput, UnusableData
from zsds.core.exposure import Exposure, ZeroPoint
from zsds.extract import ExtractSettings
from zsds.isr import ColumnSettings, EdgeSettings
from zsds.pipeline.difference import DifferenceResult, DifferenceSettings, make_difference
from zsds.pipeline.measure import Measured, MeasureSettings, measure
from zsds.psf import PsfSettings
from zsds.reference import Reference, sample_reference
from zsds.reference.mapping import pixels_to_sky, sky_to_pixels

log = logging.getLogger(__name__)
BRIGHT_SNR = 20.0  # such stars show in both images
ENOUGH_STARS = 5  # in each image, so that not a single match is no accident
RELATIVE_ZERO_POINT = 25.0  # of the science image where none is known: magnitudes are relative


def _few_stars() -> MeasureSettings:
    """A cut-out may hold three stars, or none if its PSF is given: a pair is what the user has."""
    return MeasureSettings(extract=ExtractSettings(min_sources=0), psf=PsfSettings(min_stars=3))


@dataclass(frozen=True)
class PairSettings:
    """Settings of the measurements on each image, and of the subtraction."""

    edges: EdgeSettings = field(default_factory=EdgeSettings)
    columns: ColumnSettings = field(default_factory=ColumnSettings)
    measure: MeasureSettings = field(default_factory=_few_stars)
    difference: DifferenceSettings = field(default_factory=DifferenceSettings)
    search_px: float = 20.0  # the two WCSs may disagree by so much
    align_px: float = 0.5  # larger disagreements are taken out of the reference's WCS before it is sampled
    match_stars: int = 300  # brightest stars of each image that are compared


@dataclass(frozen=True)
class Alignment:
    """How the reference lay on the science image by the two WCSs, from the stars of both.

    Parameters
    ----------
    dx, dy : float
        Science minus reference, science pixels; taken out of the reference's WCS when ``is_applied``.
    n_stars : int
        Stars found in both; 0 when there was nothing to be learnt.
    is_applied : bool
    flux_ratio : float
        Median flux in science electrons over that in the reference's; NaN without stars.
    """

    dx: float = 0.0
    dy: float = 0.0
    n_stars: int = 0
    is_applied: bool = False
    flux_ratio: float = float("nan")


@dataclass(frozen=True)
class PairResult:
    """A subtraction with the two images it was made from, both without their sky.

    Parameters
    ----------
    science : Measured
        ``exposure`` has a zero point, if only a relative one.
    reference : Measured
        On its own pixels.
    alignment : Alignment
    result : DifferenceResult
    """

    science: Measured
    reference: Measured
    alignment: Alignment
    result: DifferenceResult


def subtract_pair(science: Exposure, reference: Exposure, settings: PairSettings) -> PairResult:
    """Subtract a reference image from a science image.

    Parameters
    ----------
    science, reference : Exposure
        Electrons, with their sky; a PSF that is given is kept. Both have a WCS, or neither has one and they
        share their pixels.

    Raises
    ------
    BadInput
        If only one has a WCS, or neither and the shapes differ.
    UnusableData
        If one of them has too few stars, or they do not overlap.
    """
    _check(science, reference)
    new = _measured(science, settings)
    old = _measured(reference, settings)
    alignment = align(new, old, settings)
    old = replace(old, exposure=_aligned(old.exposure, new.exposure, alignment))
    new, old = _calibrated(new, old, alignment)
    template = old.exposure
    if new.exposure.wcs is not None:
        template = sample_reference(_as_reference(old.exposure), new.exposure.wcs, new.exposure.shape)
    result = make_difference(new.exposure, template, settings.difference, new.stars)
    return PairResult(new, old, alignment, _with_psf_errors(result, new, old))


def _with_psf_errors(result: DifferenceResult, new: Measured, old: Measured) -> DifferenceResult:
    """The result with the errors of the two PSFs in that of the flux scale: all stars share them."""
    ny, nx = result.template.shape
    middle = np.array([nx / 2]), np.array([ny / 2])
    shared = [one.psf_fit.scale.error(*middle)[0] for one in (new, old)]
    error = float(np.hypot.reduce([result.metrics["flux_scale_err"], *shared]))
    return replace(result, metrics={**result.metrics, "flux_scale_err": error})


def _check(science: Exposure, reference: Exposure) -> None:
    if (science.wcs is None) != (reference.wcs is None):
        without = science if science.wcs is None else reference
        source = without.info.provenance.get("input", str(without.info.id))
        raise BadInput(source, "has no WCS, the other image has one", "solve its astrometry first")
    if science.wcs is None and science.shape != reference.shape:
        problem = (
            f"without WCS the images must share their pixels, but are {science.shape} and {reference.shape}"
        )
        source = science.info.provenance.get("input", str(science.info.id))
        raise BadInput(source, problem, "solve their astrometry first")
    if science.wcs is not None:
        _check_overlap(science, reference)


def _check_overlap(science: Exposure, reference: Exposure) -> None:
    """Whether any of a grid of places on the science image lies on the reference, 5 % of it around."""
    assert science.wcs is not None and reference.wcs is not None
    ny, nx = science.shape
    x, y = np.meshgrid(np.linspace(0, nx - 1, 25), np.linspace(0, ny - 1, 25))
    ra, dec = pixels_to_sky(science.wcs, x, y)
    there_x, there_y = sky_to_pixels(reference.wcs, ra, dec)
    my, mx = reference.shape
    inside = (np.abs(there_x - mx / 2) < 0.55 * mx) & (np.abs(there_y - my / 2) < 0.55 * my)
    if not inside.any():
        places = _middle(science.wcs, science.shape), _middle(reference.wcs, reference.shape)
        names = ("science_ra", "science_dec"), ("reference_ra", "reference_dec")
        numbers = {
            n: v for pair, place in zip(names, places, strict=True) for n, v in zip(pair, place, strict=True)
        }
        raise UnusableData("the reference shows another part of the sky", numbers)


def _middle(wcs: WCS, shape: tuple[int, int]) -> tuple[float, float]:
    ra, dec = wcs.all_pix2world(shape[1] / 2, shape[0] / 2, 0)
    return float(ra), float(dec)


def _measured(exposure: Exposure, settings: PairSettings) -> Measured:
    source = exposure.info.provenance.get("input", str(exposure.info.id))
    try:
        exposure = isr.mark_columns(isr.mark_edges(exposure, settings.edges), settings.columns)
        return measure(exposure, settings.measure)
    except UnusableData as error:
        raise UnusableData(f"{source}: {error.reason}", error.numbers) from error


def align(new: Measured, old: Measured, settings: PairSettings) -> Alignment:
    """Compare where the two WCSs (or the shared pixels) put the stars of both, and how bright they are."""
    stars, others = (_brightest(m.stars, settings.match_stars) for m in (new, old))
    places = np.stack([stars["x"], stars["y"]], axis=1).astype(np.float64)
    x, y = np.asarray(others["x"], np.float64), np.asarray(others["y"], np.float64)
    if new.exposure.wcs is not None:
        x, y = sky_to_pixels(new.exposure.wcs, *pixels_to_sky(old.exposure.wcs, x, y))
    offset = astrometry.find_offset(np.stack([x, y], axis=1), places, settings.search_px)
    if not offset.first.size:
        _check_stars_absent(np.stack([x, y], axis=1), np.asarray(others["snr"]), new, stars)
        return Alignment()
    ratio = np.asarray(stars["flux"], float)[offset.second] / np.asarray(others["flux"], float)[offset.first]
    applied = new.exposure.wcs is not None and np.hypot(offset.dx, offset.dy) > settings.align_px
    return Alignment(offset.dx, offset.dy, offset.first.size, applied, float(np.median(ratio)))


def _check_stars_absent(
    others: NDArray[np.float64], others_snr: NDArray[np.float64], new: Measured, stars: Table
) -> None:
    """Refuse two images with bright stars on the same sky that no shift brings together."""
    ny, nx = new.exposure.shape
    x, y = others.T
    inside = (x > 0) & (x < nx - 1) & (y > 0) & (y < ny - 1)
    bright = [int(np.sum(snr > BRIGHT_SNR)) for snr in (np.asarray(stars["snr"]), others_snr[inside])]
    if min(bright) >= ENOUGH_STARS:
        raise UnusableData(
            "the stars of the two images do not match: is one WCS wrong by more than search_px?",
            {"science_stars": bright[0], "reference_stars": bright[1]},
        )


def _brightest(stars: Table, count: int) -> Table:
    known = stars[np.isfinite(stars["x"]) & np.isfinite(stars["y"]) & (stars["flux"] > 0)]
    return known[np.argsort(-np.asarray(known["flux"]), kind="stable")[:count]]


def _aligned(reference: Exposure, science: Exposure, alignment: Alignment) -> Exposure:
    """The reference with its WCS moved so that its stars fall on those of the science image."""
    if not alignment.is_applied or reference.wcs is None or science.wcs is None:
        return reference
    ny, nx = science.shape
    ra, dec = pixels_to_sky(
        science.wcs, np.array([nx / 2, nx / 2 - alignment.dx]), np.array([ny / 2, ny / 2 - alignment.dy])
    )
    x, y = sky_to_pixels(reference.wcs, ra, dec)
    wcs = reference.wcs.deepcopy()
    wcs.wcs.crpix = np.asarray(wcs.wcs.crpix) + np.array([x[1] - x[0], y[1] - y[0]])
    wcs.wcs.set()
    if wcs.sip is not None:
        wcs.sip = Sip(wcs.sip.a, wcs.sip.b, wcs.sip.ap, wcs.sip.bp, wcs.wcs.crpix)
    log.info("reference moved by %.2f, %.2f pixels of the science image", alignment.dx, alignment.dy)
    return replace(reference, wcs=wcs)


def _calibrated(new: Measured, old: Measured, alignment: Alignment) -> tuple[Measured, Measured]:
    """Zero points for both: one that is missing follows from the other and the stars in both."""
    ratio = alignment.flux_ratio if alignment.flux_ratio > 0 else 1.0
    zero_new, zero_old = new.exposure.zero_point, old.exposure.zero_point
    if zero_new is None:
        value = RELATIVE_ZERO_POINT if zero_old is None else zero_old.value + 2.5 * np.log10(ratio)
        zero_new = ZeroPoint(float(value))
    if zero_old is None:
        zero_old = ZeroPoint(float(zero_new.value - 2.5 * np.log10(ratio)))
    return (
        replace(new, exposure=replace(new.exposure, zero_point=zero_new)),
        replace(old, exposure=replace(old.exposure, zero_point=zero_old)),
    )


def _as_reference(exposure: Exposure) -> Reference:
    """A single image as a reference on its own pixels, ready to be sampled anywhere."""
    assert exposure.wcs is not None and exposure.zero_point is not None
    known = np.isfinite(exposure.data)
    coefficients = spline_filter(np.where(known, exposure.data, 0), order=3, mode="mirror", output=np.float32)
    info = exposure.info
    return Reference(
        coefficients=coefficients,
        variance=exposure.variance,
        mask=exposure.mask,
        coverage=known.astype(np.uint16),
        wcs=exposure.wcs,
        zero_point=exposure.zero_point,
        info=info,
        psf=exposure.psf,
        oversampling=1.0,
        epochs=(str(info.id),),
        start_mjd=info.start_mjd,
        end_mjd=info.start_mjd + info.exposure_s / 86400,
        resampled=False,
    )
