"""Stars of known flux added to a calibrated science exposure, which is subtracted again."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.measures.changes import EDGE_PX, Injected
from benchmarks.measures.psf_stamps import overlap
from benchmarks.measures.skies import Processed
from benchmarks.measures.stars import light_in_stamp
from zsds.core.difference import Difference
from zsds.core.exposure import Exposure
from zsds.pipeline.settings import Settings
from zsds.subtract import subtract

STEP_PX = 60.0  # between added stars: 270 a megapixel
SNR_RANGE = (5.0, 80.0)  # on the median noise of the difference


def add_stars(
    done: Processed, injected: Injected, seed: int
) -> tuple[Difference, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Add stars with the true PSF and their photon noise to the science exposure, and subtract.

    They stand on a grid that is moved at random, away from the sky's own transients, on whatever lies there.

    Returns
    -------
    difference : Difference
    x, y, flux : ndarray of float64 [n]
        Pixels; electrons in the stamp of the PSF model, as fluxes mean.
    """
    rng = np.random.default_rng([done.case.seed, seed])
    science, true = done.science.result.exposure, done.science.simulated.exposure
    x, y = _grid(rng, injected, science.shape)
    noise = float(np.nanmedian(done.difference.difference.flux_err))
    light = noise * np.exp(rng.uniform(*np.log(SNR_RANGE), x.size))
    data, variance = science.data.copy(), science.variance.copy()
    for col, row, flux in zip(x, y, light, strict=True):
        stamp = true.psf.at(col, row, col - round(col), row - round(row))
        pixels, part = overlap(data, stamp, col, row)
        counts = rng.poisson(np.maximum(flux * part, 0)).astype(np.float32)
        pixels += counts
        overlap(variance, stamp, col, row)[0][...] += counts
    exposure = replace(science, data=data, variance=variance)
    return _subtracted(done, exposure), x, y, light_in_stamp(done.science) * light


def _subtracted(done: Processed, exposure: Exposure) -> Difference:
    stars = done.science.result.measured.stars
    return subtract(exposure, done.template, Settings().difference.subtract, stars, reference_id=1)


def _grid(
    rng: np.random.Generator, injected: Injected, shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    start = rng.uniform(EDGE_PX, EDGE_PX + STEP_PX, 2)
    rows, cols = np.meshgrid(*(np.arange(s, n - EDGE_PX, STEP_PX) for s, n in zip(start, shape, strict=True)))
    x, y = (values.ravel() + rng.uniform(-0.5, 0.5, values.size) for values in (cols, rows))
    near = (
        np.hypot(injected.x[:, None] - x, injected.y[:, None] - y).min(axis=0)
        if injected.x.size
        else np.full(x.size, np.inf)
    )
    return x[near > EDGE_PX], y[near > EDGE_PX]
