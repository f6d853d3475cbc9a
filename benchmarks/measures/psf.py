"""Rows about the PSF: model against truth, and what the noise of its stars allows."""

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from benchmarks.measures.psf_stamps import APERTURE_PX, fitted_star, middle, overlap, psf_slopes
from benchmarks.measures.skies import Calibrated
from benchmarks.rows import Row
from zsds.core.psf import PsfModel
from zsds.psf.model import image_geometry, n_terms, terms

BOUND_ORDER = 2  # of the truth's run over the image
BOUND_SNR = 20.0  # of stars that tell of the PSF
DRAWS = 60


def psf_rows(one: Calibrated, model: PsfModel, stars: Table | None = None, n: int = 100) -> list[Row]:
    """Model against truth, without noise, at random places and sub-pixel phases.

    With the truth of isolated stars the rows have their bounds.
    """
    ny, nx = one.result.exposure.shape
    rng = np.random.default_rng(5)
    x, y, shifts = rng.uniform(10, nx - 10, n), rng.uniform(10, ny - 10, n), rng.uniform(-0.5, 0.5, (n, 2))
    places = list(zip(x, y, shifts, strict=True))
    true = one.simulated.exposure.psf
    left = np.array([_left_over(true, model, (x, y), shift, one.case.fwhm) for x, y, shift in places])
    core, aperture = 100 * np.percentile(left, 95, axis=0)
    bounds = (None, None) if stars is None else psf_bounds(one, stars, places)
    name, most = one.case.name, 1.0 if one.case.crowded else 0.5
    return [
        Row("PSF residual within 1 FWHM, % of flux", name, core, bound=bounds[0], high=most, n=n),
        Row("flux left in the aperture, % of flux", name, aperture, bound=bounds[1], high=0.3, n=n),
    ]


def _left_over(
    true: PsfModel, model: PsfModel, place: tuple[float, float], shift: NDArray[np.float64], fwhm: float
) -> tuple[float, float]:
    """Absolute residuals summed in the core, and the sum in the aperture, after fitting flux and place."""
    half = min(true.size, model.size) // 2
    star = middle(true.at(*place, *shift), half)
    rows, cols = np.mgrid[-half : half + 1, -half : half + 1]
    radius = np.hypot(cols - shift[0], rows - shift[1])
    residual = star - fitted_star(star, model, place, shift, (radius < 2 * fwhm).astype(float))
    return float(np.abs(residual[radius < fwhm]).sum()), float(abs(residual[radius < APERTURE_PX].sum()))


def psf_bounds(
    one: Calibrated, stars: Table, places: list[tuple[float, float, NDArray[np.float64]]]
) -> tuple[float | None, float | None]:
    """What photon noise alone leaves, in per cent as in the rows, of a PSF known but for its size and shape.

    These three, each a polynomial of order 2 in the position, are fitted to all stars of S/N > 20 at once;
    noise is the true one, flux and place of each star are free. Residuals are those of draws from the
    Cramer-Rao covariance.
    """
    bright = stars[np.asarray(stars["snr"]) > BOUND_SNR]
    n = 3 * n_terms(BOUND_ORDER)
    if len(bright) < n:
        return None, None
    total = np.zeros((n, n))
    for star in bright:
        x, y = float(star["x"]), float(star["y"])
        own = float(star["flux"]) * _own_and_changes(one, (x, y), (x - round(x), y - round(y)))
        parts = [overlap(one.simulated.exposure.variance, shape, x, y) for shape in own]
        information = _left_free(np.stack([part for _, part in parts]), 1 / parts[0][0])
        total += np.kron(np.outer(*2 * (_basis(one, x, y),)), information)
    draws = np.random.default_rng(6).multivariate_normal(np.zeros(n), np.linalg.inv(total), DRAWS)
    left = np.array([_noise_left(one, (x, y), shift, draws) for x, y, shift in places])
    core, aperture = 100 * np.percentile(left, 95, axis=0).mean(axis=1)
    return float(core), float(aperture)


def _basis(one: Calibrated, x: float, y: float) -> NDArray[np.float64]:
    x0, y0, x_scale, y_scale = image_geometry(one.result.exposure.shape)
    return terms((x - x0) / x_scale, (y - y0) / y_scale, BOUND_ORDER)[0]


def _own_and_changes(
    one: Calibrated, place: tuple[float, float], shift: tuple[float, float]
) -> NDArray[np.float64]:
    """True PSF, its slopes, and its changes when stretched and sheared two ways [6, k, k]."""
    true = one.simulated.exposure.psf
    stamp, (by_x, by_y) = true.at(*place, *shift), psf_slopes(true, *place, *shift)
    rows, cols = np.indices(stamp.shape) - true.size // 2
    u, v = cols - shift[0], rows - shift[1]
    changes = [2 * stamp - u * by_x - v * by_y, v * by_y - u * by_x, -u * by_y - v * by_x]
    return np.stack([stamp, by_x, by_y, *changes]).astype(np.float64)


def _left_free(shapes: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Information [3, 3] about the changes, flux and place free."""
    flat = shapes.reshape(len(shapes), -1)
    gram = (flat * weight.ravel()) @ flat.T
    return gram[3:, 3:] - gram[3:, :3] @ np.linalg.solve(gram[:3, :3], gram[:3, 3:])


def _noise_left(
    one: Calibrated, place: tuple[float, float], shift: NDArray[np.float64], draws: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Absolute residuals in the core, and in the aperture their sum, of each draw [2, n]."""
    shapes = _own_and_changes(one, place, shift)
    rows, cols = np.indices(shapes[0].shape) - shapes.shape[1] // 2
    radius = np.hypot(cols - shift[0], rows - shift[1])
    changes = np.tensordot(draws.reshape(DRAWS, -1, 3), _basis(one, *place), axes=(1, 0))
    residual = np.tensordot(changes, shapes[3:], axes=1)
    fitted = radius < 2 * one.case.fwhm
    answer = np.linalg.lstsq(shapes[:3, fitted].T, residual[:, fitted].T, rcond=None)[0]
    residual -= np.tensordot(answer.T, shapes[:3], axes=1)
    core = np.abs(residual[:, radius < one.case.fwhm]).sum(axis=1)
    return np.stack([core, np.abs(residual[:, radius < APERTURE_PX].sum(axis=1))])
