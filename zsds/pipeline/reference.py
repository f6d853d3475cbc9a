"""From calibrated epochs of one field, band and quadrant to its reference."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.wcs import WCS

from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.psf import effective_fwhm, noise_pixels
from zsds.core.units import magnitude
from zsds.reference import (
    Reference,
    ReferenceSettings,
    SelectionSettings,
    build_reference,
    select_epochs,
)


@dataclass(frozen=True)
class ReferencePipelineSettings:
    """Choice of epochs, then their co-add."""

    select: SelectionSettings = field(default_factory=SelectionSettings)
    build: ReferenceSettings = field(default_factory=ReferenceSettings)


def make_reference(
    epochs: Sequence[Exposure],
    settings: ReferencePipelineSettings,
    rfid: int = 0,
    wcs: WCS | None = None,
    shape: tuple[int, int] | None = None,
) -> Reference:
    """Choose the good epochs and co-add them.

    Parameters
    ----------
    epochs : sequence of Exposure
        Calibrated, background-subtracted, with ``wcs``, ``psf`` and ``zero_point``.
    settings : ReferencePipelineSettings
    rfid : int
        Id of the reference.
    wcs, shape : WCS, (ny, nx), optional
        Nominal grid of the quadrant at the scale of the pixels; that of the best epoch when absent.

    Raises
    ------
    UnusableData
        If too few epochs are good.
    """
    fwhm = [_fwhm(epoch) for epoch in epochs]
    depth = [point_source_depth(epoch) for epoch in epochs]
    chosen = select_epochs(fwhm, depth, settings.select)
    kept = [epochs[k] for k in chosen.index]
    best = kept[0]
    if wcs is None:
        wcs, shape = best.wcs, best.shape
    if wcs is None or shape is None:
        raise UnusableData("no astrometric solution for the reference's grid", {"epochs": len(kept)})
    build = replace(settings.build, min_epochs=settings.select.min_epochs)  # one limit, set in one place
    return build_reference(kept, wcs, shape, build, rfid=rfid)


def point_source_depth(exposure: Exposure) -> float:
    """5-sigma AB magnitude of a point source on empty sky; NaN where the calibration is missing."""
    if exposure.psf is None or exposure.zero_point is None:
        return float("nan")
    ny, nx = exposure.shape
    stamp = exposure.psf.at(nx / 2, ny / 2)
    sample = exposure.variance[::7, ::7]
    sample = sample[np.isfinite(sample) & (sample > 0)]
    if sample.size == 0:
        return float("nan")
    flux_err = np.sqrt(float(np.percentile(sample, 30)) * noise_pixels(stamp))
    return float(magnitude(5 * flux_err, exposure.zero_point.value))


def _fwhm(exposure: Exposure) -> float:
    if exposure.psf is None:
        return float("nan")
    ny, nx = exposure.shape
    return effective_fwhm(exposure.psf.at(nx / 2, ny / 2))
