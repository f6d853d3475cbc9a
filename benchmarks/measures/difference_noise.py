"""Rows about the noise of a difference: its spectrum, its seams, its peaks."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2
from scipy.ndimage import binary_dilation

from benchmarks.measures.false_candidates import expected_peaks
from benchmarks.measures.skies import QUADRANT_PX, Processed
from benchmarks.rows import Row
from zsds.candidates.peaks import find_peaks
from zsds.core.flags import is_defect
from zsds.subtract.tiles import make_layout

LAGS = 5  # pixels of the autocorrelation that make the spectrum
PEAK_SIGMAS = (4.0, 5.0)
DEFECT_PX = 6  # reach of a defect


def noise_rows(done: Processed, dark: NDArray[np.bool_]) -> list[Row]:
    """Rows about the pixels without light."""
    exposure = done.difference.difference.exposure
    mask = exposure.mask | done.science.simulated.exposure.mask
    dark = dark & ~binary_dilation(is_defect(mask), iterations=DEFECT_PX) & (exposure.variance > 0)
    pull = np.zeros(dark.shape, np.float32)
    pull[dark] = exposure.data[dark] / np.sqrt(exposure.variance[dark])
    np.clip(pull, -5, 5, out=pull)
    return [*_whiteness_rows(done, pull, dark), *_seam_rows(done, pull, dark), *_peak_rows(done, dark)]


def power_spectrum(pull: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Power [2 LAGS + 1, LAGS + 1] of what is known, 1 for white noise; by the autocorrelation, tapered."""
    shape = [next_fast_len(n + LAGS, real=True) for n in pull.shape]
    sums, pairs = (irfft2(np.abs(rfft2(a, shape)) ** 2, shape) for a in (pull, known.astype(np.float32)))
    lags = np.arange(-LAGS, LAGS + 1)
    correlation = (sums[np.ix_(lags, lags)] / np.maximum(pairs[np.ix_(lags, lags)], 1)).astype(np.float64)
    correlation /= correlation[LAGS, LAGS]
    line = np.cos(np.pi / 2 * lags / (LAGS + 1)) ** 2
    power = np.fft.rfft2(np.fft.ifftshift(correlation * np.outer(line, line)))
    return power.real


def _whiteness_rows(done: Processed, pull: NDArray, dark: NDArray) -> list[Row]:
    power = power_spectrum(pull, dark)
    line = np.cos(np.pi / 2 * np.arange(-LAGS, LAGS + 1) / (LAGS + 1)) ** 2
    error = float((line**2).sum()) / np.sqrt(dark.sum())
    worst = 100 * float(np.abs(power - 1).max())
    weight = _score_weight(done)
    seen = power / np.average(power, weights=weight)
    felt = 100 * float(np.sqrt(np.average((seen - 1) ** 2, weights=weight)))
    return [
        Row(f"difference noise, {label} departure of its power from white, %",
            done.case.name, value, 100 * error, 0, high=2.0, n=int(dark.sum()))
        for label, value in (("largest", worst), ("score-weighted", felt))
    ]  # fmt: skip


def _score_weight(done: Processed) -> NDArray[np.float64]:
    """Share of each frequency of `power_spectrum` in the score, |P_D|^2; both signs of those of x."""
    exposure = done.difference.difference.exposure
    ny, nx = exposure.shape
    stamp = exposure.psf.at(nx / 2, ny / 2).astype(np.float64)
    offset = np.arange(stamp.shape[0]) - stamp.shape[0] // 2
    lines = (np.fft.fftfreq(2 * LAGS + 1), np.fft.rfftfreq(2 * LAGS + 1))
    waves = [np.exp(-2j * np.pi * np.outer(line, offset)) for line in lines]
    weight: NDArray[np.float64] = np.abs(waves[0] @ stamp @ waves[1].T) ** 2
    weight[:, 1:] *= 2
    return weight


def _seam_rows(done: Processed, pull: NDArray, dark: NDArray) -> list[Row]:
    """RMS over the sides of tiles of the mean step across them, beyond that within tiles, in pixel noises."""
    size = round(done.difference.metrics["tile_px"])
    layout = make_layout(pull.shape, size, 64)
    at, beside = [], []
    for image, known, rows, cols in (
        (pull, dark, layout.rows, layout.cols),
        (pull.T, dark.T, layout.cols, layout.rows),
    ):
        for border in cols[1:-1]:
            for low, high in pairwise(rows):
                at.append(_step(image[low:high], known[low:high], border))
                beside += [_step(image[low:high], known[low:high], border + k) for k in (-9, -5, 5, 9)]
    if not at:
        return []
    both = [float(np.mean(np.square(steps))) for steps in (at, beside)]
    error = both[1] * np.sqrt(2 / len(at))
    value = np.sqrt(max(both[0] - both[1], 0))
    error = min(error / max(2 * value, 1e-9), np.sqrt(error))
    return [
        Row(
            "step across the borders of tiles, in pixel noises",
            done.case.name,
            value,
            error,
            0,
            high=0.02,
            n=len(at),
        )
    ]


def _step(image: NDArray, known: NDArray, col: int) -> float:
    both = known[:, col - 1] & known[:, col]
    step = (image[:, col] - image[:, col - 1])[both]
    return float(step.mean(dtype=np.float64)) if step.size else 0.0


def _peak_rows(done: Processed, dark: NDArray) -> list[Row]:
    """Peaks on empty sky over what Gaussian noise has there."""
    score, name = np.where(dark, done.difference.difference.score, np.nan), done.case.name
    peaks = find_peaks(score, PEAK_SIGMAS[0], 3.0)
    share = dark.sum() / QUADRANT_PX
    rows = []
    for sigma in PEAK_SIGMAS:
        expected = expected_peaks(done, sigma) / 2
        for sign, label in ((1, "positive"), (-1, "negative")):
            n = int((sign * peaks.score >= sigma).sum())
            error = np.sqrt(max(expected * share, 1)) / share
            label_of_row = f"{label} peaks beyond {sigma:g} on empty sky, per quadrant"
            rows.append(Row(label_of_row, name, n / share, error, expected, expected, expected, n))
    return rows
