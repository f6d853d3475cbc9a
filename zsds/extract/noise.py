"""The part of the variance that does not come from the sources, so that fits can add the model's own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS
from zsds.core.robust import mad_width, variance_per_noise
from zsds.kernels.stats import mark_unusable, remove_source_noise


@dataclass(frozen=True)
class SkyNoise:
    """Variance of sky and electronics, and how variance grows with source flux.

    Parameters
    ----------
    variance : ndarray of float32 [ny, nx]
        Electrons squared; 0 marks pixels not to be used.
    slope : float
        Variance per unit of source flux: 1 for electrons of one exposure, 0 where the variance plane holds no
        source noise.
    sigma : float
        Typical noise of a usable pixel without sources.
    """

    variance: NDArray[np.float32]
    slope: float
    sigma: float


def measure_sky_noise(exposure: Exposure) -> SkyNoise:
    """Split the variance plane of a background-subtracted exposure into sky and source noise.

    A variance made from the data holds the data's own noise: pixels that fluctuate down get too much weight
    and fluxes come out low. Its slope against the data is measured, and data times slope taken away, which
    leaves the variance of sky and electronics; fits then add slope times their model. A variance that does
    not follow the data's noise, as that of a model, stays as it is.
    """
    unusable = unusable_pixels(exposure)
    slope = variance_slope(exposure, unusable)
    data, variance = _sample(exposure, unusable)
    if variance_per_noise(data, variance, mad_width(data), unknown=slope) < 0.5 * slope:
        slope = 0.0
    typical = float(np.median(variance - slope * data)) if data.size else 0.0
    sky_variance = np.empty(exposure.shape, np.float32)
    floor = 0.5 * typical if slope else 0.0
    remove_source_noise(exposure.data, exposure.variance, unusable, slope, floor, sky_variance)
    return SkyNoise(sky_variance, slope, float(np.sqrt(max(typical, 0.0))))


def unusable_pixels(exposure: Exposure, defects: int = int(DEFECTS)) -> NDArray[np.bool_]:
    """Boolean [ny, nx], True where a pixel is defective, not finite, or has no positive variance."""
    unusable = np.empty(exposure.shape, bool)
    mark_unusable(exposure.data, exposure.variance, exposure.mask, np.uint32(defects), unusable)
    return unusable


def variance_slope(exposure: Exposure, bad: NDArray[np.bool_]) -> float:
    """Slope of the variance against the data over all pixels, from pairs of medians; between 0 and 2."""
    data, variance = _sample(exposure, bad)
    if data.size < 20:
        return 0.0
    low, middle, high = np.percentile(data, [16, 50, 84])
    bright = data > middle + 10 * (high - low)
    below, above = data < low, bright if bright.sum() >= 100 else data > high
    if not below.any() or not above.any():
        return 0.0
    rise = np.median(data[above]) - np.median(data[below])
    if not rise > 0:
        return 0.0
    slope = float((np.median(variance[above]) - np.median(variance[below])) / rise)
    return float(np.clip(slope, 0.0, 2.0)) if slope > 0.02 else 0.0


def _sample(exposure: Exposure, bad: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Data and variance of about 100,000 usable pixels."""
    step = max(1, int(np.sqrt(exposure.data.size / 1e5)))
    good = ~bad[::step, ::step]
    return exposure.data[::step, ::step][good], exposure.variance[::step, ::step][good]
