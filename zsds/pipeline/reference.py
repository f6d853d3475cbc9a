"""From calibrated epochs of one field, band and quadrant to its reference."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.wcs import WCS
from numpy.typing import NDArray

from zsds.core.errors import UnusableData
from zsds.core.exposure import Epoch
from zsds.core.psf import effective_fwhm, noise_pixels
from zsds.core.units import magnitude
from zsds.reference import (
    Reference,
    ReferenceSettings,
    SelectionSettings,
    build_reference,
    select_epochs,
)
from zsds.reference.mapping import pixels_to_sky, sky_to_pixels, tangent_wcs


@dataclass(frozen=True)
class ReferencePipelineSettings:
    """Choice of epochs, then their co-add."""

    select: SelectionSettings = field(default_factory=SelectionSettings)
    build: ReferenceSettings = field(default_factory=ReferenceSettings)
    max_margin: float = 0.1  # the grid reaches at most this part of a side beyond the best epoch


def make_reference(epochs: Sequence[Epoch], settings: ReferencePipelineSettings, rfid: int = 0) -> Reference:
    """Choose the good epochs and co-add them on the best one's grid, widened to hold the others.

    Parameters
    ----------
    epochs : sequence of Epoch
        Exposures in memory or on disk, calibrated, background-subtracted, with ``wcs``, ``psf`` and
        ``zero_point``.
    settings : ReferencePipelineSettings
    rfid : int
        Id of the reference.

    Raises
    ------
    UnusableData
        If too few epochs are good.
    """
    fwhm = [_fwhm(epoch) for epoch in epochs]
    depth = [point_source_depth(epoch) for epoch in epochs]
    chosen = select_epochs(fwhm, depth, settings.select)
    kept = [epochs[k] for k in chosen.index]
    if any(epoch.wcs is None for epoch in kept):
        raise UnusableData("no astrometric solution for the reference's grid", {"epochs": len(kept)})
    wcs, shape = common_grid(kept, settings.max_margin)
    build = replace(settings.build, min_epochs=settings.select.min_epochs)  # one limit, set in one place
    return build_reference(kept, wcs, shape, build, rfid=rfid)


def common_grid(epochs: Sequence[Epoch], max_margin: float) -> tuple[WCS, tuple[int, int]]:
    """Tangential grid at the pixels' scale, on the first epoch and wide enough for all of them.

    Pointings scatter; a grid of one epoch alone would leave a rim of the others without a reference.
    """
    first = epochs[0]
    ny, nx = first.shape
    wcs = tangent_wcs(first.wcs, first.shape)
    x, y = [], []
    for epoch in epochs:
        my, mx = epoch.shape
        ra, dec = pixels_to_sky(
            epoch.wcs, np.array([0, mx - 1, mx - 1, 0.0]), np.array([0, 0, my - 1, my - 1.0])
        )
        corner = sky_to_pixels(wcs, ra, dec)
        x.append(corner[0])
        y.append(corner[1])
    left, right = _margins(np.concatenate(x), nx, max_margin)
    low, high = _margins(np.concatenate(y), ny, max_margin)
    wcs.wcs.crpix = wcs.wcs.crpix + np.array([left, low])
    wcs.wcs.set()
    return wcs, (ny + low + high, nx + left + right)


def _margins(position: NDArray[np.float64], n: int, max_margin: float) -> tuple[int, int]:
    """Whole pixels to add before and after ``n`` so that the positions lie inside, within the limit."""
    most = int(max_margin * n)
    before = int(np.clip(np.ceil(-position.min()), 0, most))
    after = int(np.clip(np.ceil(position.max() - (n - 1)), 0, most))
    return before, after


def point_source_depth(exposure: Epoch) -> float:
    """5-sigma AB magnitude of a point source on empty sky; NaN where the calibration is missing."""
    if exposure.psf is None or exposure.zero_point is None:
        return float("nan")
    ny, nx = exposure.shape
    stamp = exposure.psf.at(nx / 2, ny / 2)
    sample = exposure.rows(0, ny).variance[::7, ::7]
    sample = sample[np.isfinite(sample) & (sample > 0)]
    if sample.size == 0:
        return float("nan")
    flux_err = np.sqrt(float(np.percentile(sample, 30)) * noise_pixels(stamp))
    return float(magnitude(5 * flux_err, exposure.zero_point.value))


def _fwhm(exposure: Epoch) -> float:
    if exposure.psf is None:
        return float("nan")
    ny, nx = exposure.shape
    return effective_fwhm(exposure.psf.at(nx / 2, ny / 2))
