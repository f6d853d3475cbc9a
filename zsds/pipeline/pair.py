"""One calibrated science image and one reference image, of any camera: what is not given is measured."""

from dataclasses import dataclass, field, replace

import numpy as np
from astropy.table import Table
from scipy.ndimage import spline_filter

from zsds.core.errors import BadInput
from zsds.core.exposure import Exposure, ZeroPoint
from zsds.pipeline.difference import DifferenceResult, DifferenceSettings, make_difference
from zsds.pipeline.measure import MeasureSettings, measure
from zsds.reference import Reference, sample_reference


@dataclass(frozen=True)
class PairSettings:
    """Settings of the measurements on each image, and of the subtraction."""

    measure: MeasureSettings = field(default_factory=MeasureSettings)
    difference: DifferenceSettings = field(default_factory=DifferenceSettings)


@dataclass(frozen=True)
class PairResult:
    """A subtraction with the two images it was made from, both without their sky.

    Parameters
    ----------
    science : Exposure
    reference : Exposure
        On its own pixels.
    stars, reference_stars : Table
        PSF photometry of each.
    result : DifferenceResult
    """

    science: Exposure
    reference: Exposure
    stars: Table
    reference_stars: Table
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
    new, new_stars = _prepared(science, settings.measure)
    old, old_stars = _prepared(reference, settings.measure)
    template = old if science.wcs is None else sample_reference(_as_reference(old), new.wcs, new.shape)
    result = make_difference(new, template, settings.difference, new_stars)
    return PairResult(new, old, new_stars, old_stars, result)


def _check(science: Exposure, reference: Exposure) -> None:
    if (science.wcs is None) != (reference.wcs is None):
        without = science if science.wcs is None else reference
        raise BadInput(
            str(without.info.id), "has no WCS, the other image has one", "solve its astrometry first"
        )
    if science.wcs is None and science.shape != reference.shape:
        problem = (
            f"without WCS the images must share their pixels, but are {science.shape} and {reference.shape}"
        )
        raise BadInput(str(science.info.id), problem, "solve their astrometry first")


def _prepared(exposure: Exposure, settings: MeasureSettings) -> tuple[Exposure, Table]:
    measured = measure(exposure, settings)
    psf = measured.exposure.psf if exposure.psf is None else exposure.psf
    return replace(measured.exposure, psf=psf), measured.stars


def _as_reference(exposure: Exposure) -> Reference:
    """A single image as a reference on its own pixels, ready to be sampled anywhere."""
    known = np.isfinite(exposure.data)
    coefficients = spline_filter(np.where(known, exposure.data, 0), order=3, mode="mirror", output=np.float32)
    info = exposure.info
    return Reference(
        coefficients=coefficients,
        variance=exposure.variance,
        mask=exposure.mask,
        coverage=known.astype(np.uint16),
        wcs=exposure.wcs,
        zero_point=exposure.zero_point or ZeroPoint(float("nan")),
        info=info,
        psf=exposure.psf,
        oversampling=1.0,
        epochs=(str(info.id),),
        start_mjd=info.start_mjd,
        end_mjd=info.start_mjd + info.exposure_s / 86400,
    )
