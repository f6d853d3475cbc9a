"""Rows about the reference on the science grid: what resampling adds, and where its stars lie."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.measures.changes import bare_sky
from benchmarks.measures.skies import Calibrated, Processed, make_template
from benchmarks.measures.stars import true_stars
from benchmarks.rows import Row
from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.subtract import MatchSettings, SubtractSettings, subtract
from zsds.subtract.match import match_stars

NODES = 9  # places each way at which the registration is judged
HARDLY_ANY = np.float32(1e-4)  # of the noise's variance: there is none, and none is to be taken off stars
STAR_SNR = 100.0  # of the stars that tell what is left


def registration_rows(done: Processed) -> list[Row]:
    """What interpolation leaves of constant stars, without noise, and the registration by real stars."""
    error = registration_errors(done)
    spread = float(np.sqrt(np.mean((error - error.mean(axis=(0, 1))) ** 2)))
    rows = [
        Row(
            "registration, error over the image, px", done.case.name, _rms(error), high=0.02, n=error.shape[0]
        ),
        Row("registration, pattern of its error, px", done.case.name, spread, high=0.02, n=error.shape[0]),
    ]
    if done.case.blemished:  # what stars leave needs no more stars, but all images once more
        return rows
    left = 100 * star_residuals(done)
    value = float(np.percentile(np.abs(left), 68.27))
    label = "constant stars without noise, flux left by interpolation, %"
    return [*rows, Row(label, done.case.name, value, value / np.sqrt(left.size), 0, high=0.3, n=left.size)]


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def noiseless(one: Calibrated) -> Exposure:
    """The exposure as expected, sky subtracted, with all that is true of it."""
    true = one.simulated.exposure
    mask = true.mask & ~np.uint32(Mask.COSMIC_RAY)
    return replace(true, data=true.variance - bare_sky(true.variance), mask=mask)


def star_residuals(done: Processed) -> NDArray[np.float64]:
    """Flux left of each constant star over its flux, with true PSFs, solutions and zero points, no noise."""
    science = noiseless(done.science)
    template = make_template([noiseless(one) for one in done.references], science)
    science, template = (replace(one, variance=one.variance * HARDLY_ANY) for one in (science, template))
    settings = SubtractSettings(background_cell=0, normalise=False)
    found = subtract(science, template, settings, done.science.result.measured.stars)
    stars = true_stars(done.science).truth
    stars = stars[stars["snr"] > STAR_SNR]
    x, y = (np.rint(np.asarray(stars[name])).astype(int) for name in ("x", "y"))
    left = np.asarray(found.flux[y, x] / stars["flux"], dtype=np.float64)
    return left[np.isfinite(left)]


def registration_errors(done: Processed) -> NDArray[np.float64]:
    """Found minus true shift (x, y) between reference and science image, [NODES, NODES, 2] pixels.

    Where a star stands in the reference follows from the true and the found solutions of all epochs.
    """
    science = done.science.result.exposure
    template = done.template
    scale = 10 ** (0.4 * (science.zero_point.value - template.zero_point.value))
    match = match_stars(science, template, scale, MatchSettings(), done.science.result.measured.stars)
    ny, nx = science.shape
    x, y = np.meshgrid(np.linspace(20, nx - 21, NODES), np.linspace(20, ny - 21, NODES))
    ra, dec = done.science.simulated.exposure.wcs.all_pix2world(x.ravel(), y.ravel(), 0)
    places, weights = [], []
    for one in done.references:
        there = one.simulated.exposure.wcs.all_world2pix(ra, dec, 0)
        places.append(science.wcs.all_world2pix(*one.result.exposure.wcs.all_pix2world(*there, 0), 0))
        weights.append(1 / np.median(one.result.exposure.variance) / one.result.measured.psf_fit.fwhm**2)
    moved = np.average(places, axis=0, weights=weights) - [x.ravel(), y.ravel()]
    found = [
        [(match.dx.at(a, b), match.dy.at(a, b)) for a, b in zip(*row, strict=True)]
        for row in zip(x, y, strict=True)
    ]
    return np.array(found) - moved.T.reshape(NODES, NODES, 2)
