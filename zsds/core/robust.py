"""Widths that a few outliers do not change: the standard deviation of the normal core of a sample."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAD_TO_SIGMA = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
MIN_SKY = 1000  # pixels that tell how the variance goes with the noise
SKY_VARIANCE = 0.3  # pixels whose variance is farther from the median, relatively, are not empty sky
CENTRAL_SHARES = np.array([0.158655, 0.5, 0.841345])  # median, and one standard deviation to its sides


def mad_width(values: ArrayLike, centre: float | None = None) -> float:
    """1.4826 times the median distance of the finite values from their median, or from a given centre.

    NaN without any.
    """
    sample: NDArray[np.float64] = np.asarray(values)
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return float("nan")
    middle = np.median(sample) if centre is None else centre
    return MAD_TO_SIGMA * float(np.median(np.abs(sample - middle)))


def central_width(values: ArrayLike) -> float:
    """Half the range of the central 68.27 %; NaN without values."""
    return median_and_width(values)[1]


def median_and_width(values: ArrayLike) -> tuple[float, float]:
    """Median, and half the range of the central 68.27 %; both NaN without values."""
    sample: NDArray[np.float64] = np.asarray(values)
    if sample.size == 0:
        return float("nan"), float("nan")
    ranks = CENTRAL_SHARES * (sample.size - 1)
    below = ranks.astype(int)
    above = np.minimum(below + 1, sample.size - 1)
    ordered = np.partition(sample, sorted({*below.tolist(), *above.tolist(), sample.size - 1}), axis=None)
    if np.isnan(ordered[-1]):  # NaNs come last
        return float("nan"), float("nan")
    low, middle, high = ordered[below] + (ranks - below) * (ordered[above] - ordered[below])
    return float(middle), float(high - low) / 2


def variance_per_noise(
    data: NDArray[np.floating], variance: NDArray[np.floating], noise: float, unknown: float = 0.0
) -> float:
    """Slope of the variance against the data on empty sky, where the data are but noise.

    1 where the variance is made from the counts, 0 where it knows only their expectation; ``unknown`` where
    there is too little sky to tell.
    """
    if data.size < MIN_SKY:
        return unknown
    typical = float(np.median(variance))
    sky = (np.abs(data) < 3 * noise) & (np.abs(variance - typical) < SKY_VARIANCE * typical)
    if sky.sum() < MIN_SKY:
        return unknown
    x, y = data[sky].astype(np.float64), variance[sky].astype(np.float64)
    return max(float(np.cov(x, y)[0, 1] / np.var(x, ddof=1)), 0.0)
