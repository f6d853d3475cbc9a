"""Features of one candidate from the pixels around it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from zsds.candidates.fits import Patch, PointFit
from zsds.core.psf import FWHM_PER_SIGMA
from zsds.kernels.features import aperture_sums, core_counts, window_moments

BLUR = np.array([1.0, 2.0, 1.0]) / 4  # widens the PSF by 0.7 pixels for the test of shape
SHAPE_FLOOR = 0.15  # of the step to the widened PSF: no PSF model is better known
CORE_ERROR = 0.1  # relative error that the core of a PSF model may have
TRACK_COSTS = (0.0, 16.3, 18.5)  # chi-square that a track of 2, 3, 4 pixels must save
RAY_DOUBT = 0.05  # of S/N^2: a star's own chi-square is better than a track's by at least this
DOUBT_SNR = 20.0  # from here on no more is asked: the error of the PSF model begins to count
TRACK_REST = 50.0  # chi-square that noise leaves in the other pixels of 5 x 5 once in a thousand times


@dataclass(frozen=True)
class Shape:
    """Windowed size and orientation; NaN if unmeasurable.

    Parameters
    ----------
    major, minor : float
        RMS lengths, pixels.
    angle : float
        Of the major axis, radians.
    departure_sigma : float
        Departure of the second moments from the PSF's over their noise.
    """

    major: float
    minor: float
    angle: float
    departure_sigma: float

    @property
    def fwhm(self) -> float:
        """Of a Gaussian of the same mean variance, pixels."""
        return FWHM_PER_SIGMA * float(np.sqrt((self.major**2 + self.minor**2) / 2))


def measure_shape(patch: Patch, fit: PointFit, sign: int, fwhm: float) -> Shape:
    """Second moments under a Gaussian window, scaled so that the PSF itself gives its own width.

    The window, 1.5 times as wide as the PSF, keeps noise and neighbours out but makes every source look
    smaller. The PSF measured on the same pixels says by how much.
    """
    x, y, sigma = fit.x - patch.col, fit.y - patch.row, 1.5 * fwhm / FWHM_PER_SIGMA
    found, own = np.empty(6), np.empty(6)
    window_moments(np.float32(sign) * patch.data, patch.variance, patch.bad, x, y, sigma, found)
    window_moments(fit.stamp, patch.variance, patch.bad, x, y, sigma, own)
    scale = (fwhm / FWHM_PER_SIGMA) ** 2 / ((own[0] + own[1]) / 2)
    xx, yy, xy = found[:3] * scale
    spread = np.hypot((xx - yy) / 2, xy)
    more = (found - own)[:3] * scale
    departure = np.linalg.norm([(more[0] - more[1]) / 2, more[2], (more[0] + more[1]) / 2])
    lengths = np.array([(xx + yy) / 2 + spread, (xx + yy) / 2 - spread])
    if not (lengths > 0).all():
        return Shape(np.nan, np.nan, np.nan, 0.0)
    major, minor = np.sqrt(lengths)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy)
    return Shape(float(major), float(minor), float(angle), float(departure / (found[5] * scale)))


@dataclass(frozen=True)
class ApertureFlux:
    """Flux and error in electrons, corrected to the total of a point source; NaN if half of it is hidden."""

    flux: float
    flux_err: float


def measure_aperture(patch: Patch, fit: PointFit, diameter: float, sky_pixels: float) -> ApertureFlux:
    """Sum of the good pixels of an aperture over the share of the PSF's light that falls on them.

    Parameters
    ----------
    patch : Patch
    fit : PointFit
    diameter : float
        Pixels.
    sky_pixels : float
        Pixels whose median was taken off as the sky; its error (pi/2 that of a mean) is added.
    """
    x, y = fit.x - patch.col, fit.y - patch.row
    flux, noise, share = aperture_sums(patch.data, patch.variance, patch.bad, fit.stamp, x, y, diameter / 2)
    if not share > 0.5:
        return ApertureFlux(np.nan, np.nan)
    n_pixels = np.pi * diameter**2 / 4
    noise *= 1 + np.pi / 2 * n_pixels / sky_pixels
    return ApertureFlux(flux / share, float(np.sqrt(noise)) / share)


def measure_spread(patch: Patch, fit: PointFit) -> tuple[float, float]:
    """Likeness to a widened PSF, and its error: 0 for a star, 1 for a PSF widened by 0.7 pixels.

    The comparison of Desai et al. (2012, ApJ 757, 83) and Mohr et al. (SPREAD_MODEL), scaled.
    """
    star = fit.stamp.astype(np.float64)
    wide = _blurred(star)
    weight = patch.weight.astype(np.float64)

    def difference(pixels: NDArray) -> tuple[float, float, float]:
        on_wide, on_star = (weight * wide * pixels).sum(), (weight * star * pixels).sum()
        return on_wide / on_star, on_wide, on_star

    with np.errstate(divide="ignore", invalid="ignore"):
        zero = difference(star)[0]
        step = difference(wide)[0] - zero
        value, on_wide, on_star = difference(patch.data)
        slope = wide / on_star - star * on_wide / on_star**2
        err = np.sqrt((slope**2 * weight).sum())
        return float((value - zero) / step), float(err / abs(step))


def _blurred(stamp: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(stamp, 1)
    rows = BLUR[0] * padded[:-2] + BLUR[1] * padded[1:-1] + BLUR[2] * padded[2:]
    return BLUR[0] * rows[:, :-2] + BLUR[1] * rows[:, 1:-1] + BLUR[2] * rows[:, 2:]


def star_likeness(spread: float, spread_err: float) -> float:
    """Probability of a star against a PSF widened by 0.7 pixels, equal odds before; 0.5 knows nothing."""
    err2 = spread_err**2 + SHAPE_FLOOR**2
    return float(1 / (1 + np.exp(np.clip((2 * spread - 1) / (2 * err2), -50, 50))))


@dataclass(frozen=True)
class Core:
    """Counts of the central 5 x 5 pixels."""

    n_negative: int
    n_bad: int
    sum_ratio: float


def measure_core(patch: Patch, sign: int) -> Core:
    """Pixels of the wrong sign, with a defect, and the sum ratio, around the middle of the patch."""
    found = core_counts(np.float32(sign) * patch.data, patch.bad, patch.half, patch.half)
    return Core(*found)


def ray_gain(patch: Patch, fit: PointFit, sign: int, model_error: float = CORE_ERROR) -> float:
    """Chi-square of the PSF minus that of a track of touching pixels of any height, over the central 5 x 5.

    A cosmic ray too faint for the mask is a few sharp pixels, which the PSF fits worse than they fit
    themselves; for a star it is the other way round by far. A part ``model_error`` of the model counts as its
    own error. Bad pixels do not count. The track is the best pair, or grown by one or two pixels where these
    gain `TRACK_COSTS` more, what that many free heights fit in noise once in a thousand times. What it leaves
    must be noise, or the gain is negative: neither explains the bright trail of an asteroid. In sharp
    seeing a ray may look much like a star, but hardly a star like a ray: `RAY_DOUBT` is added, which a few
    stars in a hundred do not meet below S/N 8, and none above 12.
    """
    m = patch.half
    core = (slice(m - 2, m + 3), slice(m - 2, m + 3))
    model = fit.flux * fit.stamp[core]
    weight = np.where(patch.bad[core], 0.0, 1 / (patch.variance[core] + (model_error * model) ** 2))
    signal = np.maximum(sign * patch.data[core], 0.0) ** 2 * weight
    point = float(((patch.data[core] - model) ** 2 * weight).sum())
    ray = float((patch.data[core] ** 2 * weight).sum())
    doubt = RAY_DOUBT * min(abs(fit.flux) / fit.flux_err, DOUBT_SNR) ** 2
    found = zip(_track(signal), TRACK_COSTS, strict=True)
    return max(min(doubt + point - ray + gain - cost, TRACK_REST - (ray - gain)) for gain, cost in found)


def _track(signal: NDArray[np.float64]) -> list[float]:
    """Sum of ``signal`` over the best pair of touching pixels, and over it grown by one and by two pixels."""
    pairs = [
        (float(signal[a] + signal[b]), a, b)
        for a in np.ndindex(signal.shape)
        for step in ((0, 1), (1, -1), (1, 0), (1, 1))
        if (b := (a[0] + step[0], a[1] + step[1])) and b[0] < signal.shape[0] and 0 <= b[1] < signal.shape[1]
    ]
    best, *ends = max(pairs)
    track, sums = np.zeros(signal.shape, bool), [best]
    track[tuple(np.transpose(ends))] = True
    for _ in TRACK_COSTS[1:]:
        beside = np.where(binary_dilation(track, np.ones((3, 3), bool)) & ~track, signal, 0.0)
        track[np.unravel_index(int(beside.argmax()), signal.shape)] = True
        sums.append(sums[-1] + float(beside.max()))
    return sums


@dataclass(frozen=True)
class Sharpness:
    """How much a pixel stands out from its neighbours.

    Parameters
    ----------
    ratio : float
        Peak over its fainter pair of opposite neighbours, over the same ratio of a centred PSF.
    excess_sigma : float
        Peak minus what the PSF allows on top of those neighbours, over its noise.
    """

    ratio: float
    excess_sigma: float


def measure_sharpness(patch: Patch, psf_stamp: NDArray[np.float32]) -> Sharpness:
    """Compare the brightest of the central 3 x 3 pixels with its neighbours in the science image.

    No star is sharper than one centred on a pixel, so a greater ratio along either axis betrays a cosmic ray
    (the idea of L.A.Cosmic, van Dokkum 2001, PASP 113, 1420, on few pixels).

    Parameters
    ----------
    patch : Patch
        Of the science image, background-subtracted, without the source's surroundings.
    psf_stamp : ndarray of float32 [k, k]
        PSF of the science image, centred on its middle pixel.
    """
    m = patch.half
    core = patch.data[m - 1 : m + 2, m - 1 : m + 2]
    r, c = np.unravel_index(np.argmax(core), core.shape)
    r, c = int(r) + m - 1, int(c) + m - 1
    k = psf_stamp.shape[0] // 2
    ratios, excesses = [], []
    for (dr, dc), allowed in (
        ((0, 1), psf_stamp[k, k] / psf_stamp[k, k - 1 : k + 2 : 2].mean()),
        ((1, 0), psf_stamp[k, k] / psf_stamp[k - 1 : k + 2 : 2, k].mean()),
    ):
        peak, side_a, side_b = patch.data[r, c], patch.data[r - dr, c - dc], patch.data[r + dr, c + dc]
        noise = patch.variance[r, c] + allowed**2 / 4 * (
            patch.variance[r - dr, c - dc] + patch.variance[r + dr, c + dc]
        )
        sides = max(float(side_a + side_b) / 2, 0.0)
        excesses.append(float((peak - allowed * sides) / np.sqrt(noise)))
        ratios.append(float(peak / (allowed * max(sides, float(np.sqrt(noise)) / allowed))))
    best = int(np.argmax(excesses))
    return Sharpness(ratios[best], excesses[best])
