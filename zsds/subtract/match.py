"""Flux scale and registration of a reference against a science image, from the stars both show.

Each image is convolved with the other's PSF, so that a constant star looks the same in both; then
science = f reference(x + d) + constant is solved in a stamp around each star. Nothing but the shapes of the
PSF models enters, and the subtraction makes just this comparison.
"""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.fft import irfft2, next_fast_len, rfft2

from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.flags import is_defect
from zsds.core.robust import central_width
from zsds.reference.psf import phase_ramp
from zsds.subtract.choice import choose_stars
from zsds.subtract.zogy import centred

TWO_SIDED_95 = 1.96  # standard deviations within which 95 % of a normal distribution lie
FEW_STARS = 3  # so many misplaced ones may be variables or movers


@dataclass(frozen=True)
class MatchSettings:
    """How stars tie the reference to the science image."""

    max_stars: int = 300  # brightest isolated stars, spread over the image
    min_stars: int = 8  # fewer are averaged with what the calibration says, and give one shift for all
    calibration_err: float = 0.05  # relative error of the flux scale by the zero points, where stars are few
    misplacement_px: float = 0.1  # registration of one star is trusted no better where stars are few
    min_snr: float = 30.0  # of a star in each image
    radius: int = 9  # half size of the fitted stamp, pixels
    cell: int = 96  # pixels of a cell in which the brightest star is looked for
    clip_sigma: float = 3.5  # stars farther from the fit are left out
    stars_per_term: int = 12  # stars wanted for each coefficient of a polynomial
    max_order: int = 2  # order of the smooth shift
    flux_order: int = 1  # order of the smooth flux scale
    max_shift: float = 1.5  # larger shifts of a star are not believed, pixels
    min_residual: float = 0.01  # registration is never trusted better than this, pixels


@dataclass(frozen=True)
class Surface:
    """Polynomial in position scaled to -1 ... 1 over the image."""

    coefficients: NDArray[np.float64]
    order: int
    shape: tuple[int, int]

    def at(self, x: float, y: float) -> float:
        """Value at a pixel position."""
        return float((_terms(np.array([x]), np.array([y]), self.order, self.shape) @ self.coefficients)[0])

    @property
    def range(self) -> float:
        """From the least to the largest value at the corners of the image."""
        ny, nx = self.shape
        return float(np.ptp([self.at(x, y) for x in (0, nx - 1) for y in (0, ny - 1)]))


@dataclass(frozen=True)
class Match:
    """Flux scale and shift over the image, and what is left.

    Parameters
    ----------
    flux_scale, dx, dy : Surface
        Science electrons per unit of the reference; reference minus science position, pixels.
    flux_rms : float
        Relative scatter of stars about the flux scale.
    flux_excess : float
        Relative scatter of all but the worst 5 % of the brighter stars beyond their noise: what clouds, flats
        and colours leave.
    flux_error : float
        Relative error of the mean flux scale, as far as it comes from the stars' noise.
    dx_rms, dy_rms : float
        Registration that remains, pixels, noise of the stars removed.
    n_stars : int
        Stars that were used.
    """

    flux_scale: Surface
    dx: Surface
    dy: Surface
    flux_rms: float
    flux_excess: float
    flux_error: float
    dx_rms: float
    dy_rms: float
    n_stars: int


@dataclass(frozen=True)
class _Fits:
    """Per star: flux ratio and shift with their errors."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    ratio: NDArray[np.float64]
    ratio_err: NDArray[np.float64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    shift_err: NDArray[np.float64]


def match_stars(
    science: Exposure,
    reference: Exposure,
    expected: float | None,
    settings: MatchSettings,
    stars: Table | None = None,
) -> Match:
    """Measure flux scale and registration.

    Parameters
    ----------
    science, reference : Exposure
        Same grid, with PSFs, sky-subtracted.
    expected : float or None
        Flux scale by the zero points, if they are known; kept (or 1) where there are too few stars.
    settings : MatchSettings
    stars : Table, optional
        Columns x, y and flux of stars in the science image; looked for in the reference otherwise.

    Raises
    ------
    UnusableData
        If bright stars of the reference are not where the science image has them.
    """
    reach = settings.radius + 2 + _half_size(science, reference)
    x, y = choose_stars(science, reference, stars, reach, settings.cell, settings.max_stars)
    fits = _fit_all(science, reference, x, y, expected, settings)
    shape = science.shape
    if fits.x.size < settings.min_stars:
        return _match_few(fits, expected, shape, settings)
    floor = 0.003  # intrinsic scatter of flux ratios: variability, PSF model
    weight = 1 / ((fits.ratio_err / fits.ratio) ** 2 + floor**2)
    scale, scale_kept = _robust_surface(
        fits, fits.ratio, weight / np.median(fits.ratio) ** 2, settings.flux_order, shape, settings
    )
    flux_error, weight_of_scale = float(np.sqrt(1 / weight[scale_kept].sum())), weight
    weight = 1 / (fits.shift_err**2 + settings.min_residual**2)
    shift_x, kept_x = _robust_surface(fits, fits.dx, weight, settings.max_order, shape, settings)
    shift_y, kept_y = _robust_surface(fits, fits.dy, weight, settings.max_order, shape, settings)
    residual = fits.ratio / _evaluate(scale, fits) - 1
    flux_rms = central_width(residual[scale_kept])
    pull = residual * np.sqrt(weight_of_scale)
    flux_error *= max(1.0, central_width(pull[scale_kept]))  # colours and variables scatter more
    return Match(
        scale,
        shift_x,
        shift_y,
        flux_rms,
        _flux_excess(residual, fits.ratio_err / fits.ratio),
        flux_error,
        _excess(fits.dx - _evaluate(shift_x, fits), fits.shift_err, kept_x, settings),
        _excess(fits.dy - _evaluate(shift_y, fits), fits.shift_err, kept_y, settings),
        int(scale_kept.sum()),
    )


def _match_few(fits: _Fits, expected: float | None, shape: tuple[int, int], settings: MatchSettings) -> Match:
    """One flux scale and one shift from a handful of stars, the scale averaged with the expected one."""
    n = fits.x.size
    if n == 0:
        scale, flux_rms, flux_error, dx, dy = expected or 1.0, np.nan, settings.calibration_err, 0.0, 0.0
    else:
        middle = float(np.median(fits.ratio))
        flux_rms = max(central_width(fits.ratio / middle), float(np.median(fits.ratio_err)) / middle)
        flux_error = 1.2533 * max(flux_rms, 0.02) / np.sqrt(n)
        weight = settings.calibration_err**2 / (settings.calibration_err**2 + flux_error**2)
        scale = middle if expected is None else float(expected ** (1 - weight) * middle**weight)
        if expected is not None:
            flux_error *= np.sqrt(weight)
        dx, dy = float(np.median(fits.dx)), float(np.median(fits.dy))
    rms = settings.misplacement_px / np.sqrt(max(n, 1))
    flat = [Surface(np.array([v]), 0, shape) for v in (scale, dx, dy)]
    return Match(*flat, flux_rms, 0.0, flux_error, rms, rms, n)


def _half_size(science: Exposure, reference: Exposure) -> int:
    if science.psf is None or reference.psf is None:
        raise ValueError("science and reference need a PSF")
    return max(science.psf.size, reference.psf.size) // 2


@dataclass(frozen=True)
class _Shape:
    """What the PSFs of the two images say about the errors of a star: the same for all stars.

    Parameters
    ----------
    area : (science, reference)
        1 / sum(P^2), pixels.
    slope : (science, reference)
        1 / sum(P_x^2), pixels^4.
    peak : float
        Of a unit star in the images that are compared.
    """

    area: tuple[float, float]
    slope: tuple[float, float]
    peak: float

    @property
    def noise_left(self) -> NDArray[np.float64]:
        """Variance of the reference's noise, convolved with the science PSF, and of its slopes; 1 before."""
        return 1 / np.array([self.area[0], self.slope[0], self.slope[0]])


def _shape(science: Exposure, reference: Exposure) -> _Shape:
    if science.psf is None or reference.psf is None:
        raise ValueError("science and reference need a PSF")
    ny, nx = science.shape
    stamps = [psf.at(nx / 2, ny / 2).astype(float) for psf in (science.psf, reference.psf)]
    size = 2 * max(stamp.shape[0] for stamp in stamps)
    psf_n, psf_r = (rfft2(centred(stamp, size)) for stamp in stamps)
    joint = irfft2(psf_n * psf_r, (size, size))
    areas = [float(1 / np.sum(stamp**2)) for stamp in stamps]
    slopes = [float(1 / np.sum(np.gradient(stamp, axis=1) ** 2)) for stamp in stamps]
    return _Shape((areas[0], areas[1]), (slopes[0], slopes[1]), float(joint[0, 0]))


def _fit_all(
    science: Exposure,
    reference: Exposure,
    x: NDArray,
    y: NDArray,
    expected: float | None,
    settings: MatchSettings,
) -> _Fits:
    """Fit every star; those too faint, of another flux altogether or shifted too far are left out."""
    rows: list[tuple[float, ...]] = []
    shape = _shape(science, reference)
    missing = 0
    for j, i in zip(x.tolist(), y.tolist(), strict=True):
        row = _fit_star(science, reference, j, i, shape, settings)
        if row is None:
            continue
        ratio, shift = row[0], float(np.hypot(row[2], row[3]))
        if ratio > 0 and (expected is None or 0.2 < ratio / expected < 5) and shift < settings.max_shift:
            rows.append((j, i, *row))
        else:
            missing += 1
    if missing > max(FEW_STARS, 2 * len(rows)):
        numbers = {"bright_stars": missing + len(rows), "matching": len(rows)}
        raise UnusableData("stars of the reference are not where the science image has them", numbers)
    table = np.array(rows, float).reshape(-1, 7)
    return _Fits(*table.T)


def _fit_star(
    science: Exposure, reference: Exposure, x: int, y: int, shape: _Shape, settings: MatchSettings
) -> tuple[float, float, float, float, float] | None:
    """(ratio, its error, dx, dy, their error) of one star, or None where it says too little.

    The ratio is 0 where the science image has nothing like the star of the reference.
    """
    if science.psf is None or reference.psf is None:
        raise ValueError("science and reference need a PSF")
    half = _half_size(science, reference)
    reach = settings.radius + 1 + half
    cut = (slice(y - reach, y + reach + 1), slice(x - reach, x + reach + 1))
    size = 2 * reach + 1
    length = next_fast_len(size, real=True)
    psf_n, psf_r = (rfft2(centred(psf.at(x, y), length)) for psf in (science.psf, reference.psf))
    square = (length, length)
    spectra = [
        rfft2(np.where(is_defect(e.mask[cut]) | ~np.isfinite(e.data[cut]), 0, e.data[cut]), square) * other
        for e, other in ((science, psf_r), (reference, psf_n))
    ]
    core = slice(half + 1, size - half - 1)
    a, b = (irfft2(spectrum, square)[core, core] for spectrum in spectra)
    noise = float(np.nanmedian(reference.variance[cut][::3, ::3])) * shape.noise_left
    ratio, dx, dy = _solve(a, spectra[1], core, (0.0, 0.0), noise)
    if 0.03 < np.hypot(dx, dy) < settings.max_shift:
        ratio, dx, dy = _solve(a, spectra[1], core, (dx, dy), noise)
    errors = _star_errors((science, reference), cut, (a, b), shape)
    if 1 / errors[1][0] < settings.min_snr:
        return None
    if not ratio > 0:
        return 0.0, 0.0, 0.0, 0.0, 0.0
    relative, shift = (float(np.hypot(*pair)) for pair in zip(*errors, strict=True))
    if 1 / relative < settings.min_snr and np.hypot(dx, dy) < settings.max_shift:
        return None
    ratio /= 1 + errors[1][0] ** 2  # the mean of a ratio is so much above the ratio of means
    return ratio, ratio * relative, dx, dy, shift


def _solve(
    a: NDArray, spectrum: NDArray, core: slice, shift: tuple[float, float], noise: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Least squares for a = ratio b(x + d) + constant about a first shift; b comes as its spectrum.

    Derivatives are exact (i k times the spectrum), so the answer is right to second order in what is left.
    The squares of b and its derivatives hold ``noise`` (variances [3]), which would make every ratio low.
    """
    size = spectrum.shape[0]
    spectrum = spectrum * phase_ramp(size, *shift)
    wave_y, wave_x = 2j * np.pi * np.fft.fftfreq(size)[:, None], 2j * np.pi * np.fft.rfftfreq(size)[None, :]
    planes = [irfft2(spectrum * f, (size, size))[core, core] for f in (1, wave_x, wave_y)]
    radius = a.shape[0] // 2
    use = np.hypot(*np.indices(a.shape) - radius) <= radius
    design = np.stack([*(plane[use] for plane in planes), np.ones(use.sum())], axis=1).astype(float)
    normal = design.T @ design - use.sum() * np.diag(np.append(noise, 0))
    solution = np.linalg.lstsq(normal, design.T @ a[use].astype(float), rcond=None)[0]
    ratio = float(solution[0])
    if not ratio > 0:
        return 0.0, 0.0, 0.0
    return ratio, shift[0] + float(solution[1]) / ratio, shift[1] + float(solution[2]) / ratio


def _star_errors(
    exposures: tuple[Exposure, Exposure],
    cut: tuple[slice, slice],
    images: tuple[NDArray, NDArray],
    shape: _Shape,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Relative error of a star's flux and error of its place, pixels, in each image, from the photon noise.

    For a star of PSF P and flux F on noise s per pixel: s / (F sqrt(sum P^2)) and s / (F sqrt(sum P_x^2));
    the variance s^2 is the mean of the sky's and the peak's. Infinite where there is no star.
    """
    found = []
    middle = images[0].shape[0] // 2
    for exposure, image, area, slope in zip(exposures, images, shape.area, shape.slope, strict=True):
        flux = float(image[middle - 1 : middle + 2, middle - 1 : middle + 2].max()) / shape.peak
        local = exposure.variance[cut]
        sky, centre = float(np.median(local[::3, ::3])), local.shape[0] // 2
        peak = float(np.max(local[centre - 1 : centre + 2, centre - 1 : centre + 2]))
        if not (flux > 0 and sky > 0):
            found.append((np.inf, np.inf))
            continue
        noise = np.sqrt((sky + peak) / 2) / flux
        found.append((float(noise * np.sqrt(area)), float(noise * np.sqrt(slope))))
    return found[0], found[1]


def _robust_surface(
    fits: _Fits, values: NDArray, weight: NDArray, order: int, shape: tuple[int, int], settings: MatchSettings
) -> tuple[Surface, NDArray[np.bool_]]:
    """Weighted polynomial, outliers left out; the order falls until there are stars enough."""
    kept = np.abs(values - np.median(values)) < 6 * central_width(values) + 1e-12
    for order_now in range(order, -1, -1):
        terms = _terms(fits.x, fits.y, order_now, shape)
        if terms.shape[1] * settings.stars_per_term <= kept.sum() or order_now == 0:
            break
    coefficients = np.zeros(terms.shape[1])
    root = np.sqrt(weight)
    for _ in range(5):
        coefficients, *_ = np.linalg.lstsq(
            terms[kept] * root[kept, None], values[kept] * root[kept], rcond=None
        )
        pull = (values - terms @ coefficients) * root
        kept = np.abs(pull) < settings.clip_sigma * max(central_width(pull), 1e-12) + 1e-12
    return Surface(coefficients, order_now, shape), kept


def _evaluate(surface: Surface, fits: _Fits) -> NDArray[np.float64]:
    values: NDArray[np.float64] = _terms(fits.x, fits.y, surface.order, surface.shape) @ surface.coefficients
    return values


def _terms(x: NDArray, y: NDArray, order: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    u, v = 2 * x / max(shape[1] - 1, 1) - 1, 2 * y / max(shape[0] - 1, 1) - 1
    return np.stack([u**i * v**j for i in range(order + 1) for j in range(order + 1 - i)], axis=1)


def _flux_excess(residual: NDArray, error: NDArray) -> float:
    """Scatter beyond the noise, from the better half of the stars: nearly all, for a cloud may cover few."""
    sharp = error <= np.median(error)
    wide = float(np.percentile(np.abs(residual[sharp]), 95)) / TWO_SIDED_95
    return float(np.sqrt(max(wide**2 - float(np.median(error[sharp] ** 2)), 0.0)))


def _excess(residual: NDArray, error: NDArray, kept: NDArray, settings: MatchSettings) -> float:
    """Scatter beyond the stars' own noise, from the better half of the stars."""
    sharp = kept & (error <= np.median(error[kept]))
    excess = central_width(residual[sharp]) ** 2 - float(np.median(error[sharp] ** 2))
    return float(np.sqrt(max(excess, settings.min_residual**2)))
