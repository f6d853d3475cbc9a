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
from zsds.core.psf import PsfModel
from zsds.core.robust import central_width
from zsds.psf.mean import centred, mean_psf
from zsds.subtract.choice import choose_stars

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
    ny, nx = science.shape
    stamps = [_mean_psf(exposure).at(nx / 2, ny / 2).astype(float) for exposure in (science, reference)]
    size = 2 * max(stamp.shape[0] for stamp in stamps)
    psf_n, psf_r = (rfft2(centred(stamp, size)) for stamp in stamps)
    joint = irfft2(psf_n * psf_r, (size, size))
    areas = [float(1 / np.sum(stamp**2)) for stamp in stamps]
    slopes = [float(1 / np.sum(np.gradient(stamp, axis=1) ** 2)) for stamp in stamps]
    return _Shape((areas[0], areas[1]), (slopes[0], slopes[1]), float(joint[0, 0]))


def _fit_all(
    science: Exposure,
    reference: Exposure,
    x: NDArray[np.int64],
    y: NDArray[np.int64],
    expected: float | None,
    settings: MatchSettings,
) -> _Fits:
    """Fit every star; those too faint, of another flux altogether or shifted too far are left out."""
    if x.size == 0:
        return _Fits(*np.zeros((7, 0)))
    half = _half_size(science, reference)
    reach = settings.radius + 1 + half
    size = 2 * reach + 1
    length = next_fast_len(size, real=True)
    psf_n, psf_r = (_psf_spectra(exposure, x, y, length) for exposure in (science, reference))
    spectra = [
        rfft2(_cuts(exposure, x, y, reach), (length, length)) * other
        for exposure, other in ((science, psf_r), (reference, psf_n))
    ]
    core = slice(half + 1, size - half - 1)
    a, b = (_inverse(spectrum, length, core) for spectrum in spectra)
    shape = _shape(science, reference)
    variance = np.nan_to_num(reference.variance[_around(x, y, reach, 3)], nan=np.inf, posinf=np.inf)
    variance = np.median(variance, axis=(1, 2))
    noise = variance[:, None].astype(float) * shape.noise_left
    found = _solve(a, spectra[1], core, np.zeros((2, x.size)), noise)
    near = np.hypot(*found[1:]) < settings.max_shift
    again = near & (np.hypot(*found[1:]) > 0.03)
    if again.any():
        found[:, again] = _solve(a[again], spectra[1][again], core, found[1:, again], noise[again])
        near = np.hypot(*found[1:]) < settings.max_shift
    errors = _star_errors((science, reference), (x, y), reach, (a, b), shape)
    relative, shift_err = np.hypot(errors[0], errors[1])
    ratio = found[0] / (1 + errors[1][0] ** 2)  # the mean of a ratio is so much above the ratio of means
    bright = ~(1 / errors[1][0] < settings.min_snr)
    faint_there = (ratio > 0) & (1 / relative < settings.min_snr) & near
    told = bright & ~faint_there
    good = told & (ratio > 0) & near
    if expected is not None:
        good &= (ratio > 0.2 * expected) & (ratio < 5 * expected)
    missing, matching = int((told & ~good).sum()), int(good.sum())
    if missing > max(FEW_STARS, 2 * matching):
        numbers = {"bright_stars": missing + matching, "matching": matching}
        raise UnusableData("stars of the reference are not where the science image has them", numbers)
    table = np.array([x, y, ratio, relative, found[1], found[2], shift_err])[:, good]
    table[3] *= table[2]
    return _Fits(*table)


def _psf_spectra(
    exposure: Exposure, x: NDArray[np.int64], y: NDArray[np.int64], length: int
) -> NDArray[np.complex64]:
    """Spectrum of the PSF at every star, [n, length, length // 2 + 1]."""
    psf = _mean_psf(exposure)
    stamps = [centred(psf.at(i, j), length) for i, j in zip(x.tolist(), y.tolist(), strict=True)]
    spectra: NDArray[np.complex64] = rfft2(np.array(stamps))
    return spectra


def _mean_psf(exposure: Exposure) -> PsfModel:
    """PSF of stars anywhere on their pixels, which is what Fourier space compares."""
    if exposure.psf is None:
        raise ValueError("science and reference need a PSF")
    return mean_psf(exposure.psf, exposure.shape)


def _cuts(exposure: Exposure, x: NDArray[np.int64], y: NDArray[np.int64], reach: int) -> NDArray[np.float32]:
    """Squares of the data around the stars, zero where nothing is known."""
    around = _around(x, y, reach)
    data = exposure.data[around]
    known = ~is_defect(exposure.mask[around]) & np.isfinite(data)
    return np.where(known, data, np.float32(0))


def _around(
    x: NDArray[np.int64], y: NDArray[np.int64], reach: int, step: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index of the squares that reach so far from the stars, [n, size, size]."""
    offset = np.arange(-reach, reach + 1, step)
    return y[:, None, None] + offset[:, None], x[:, None, None] + offset


def _inverse(spectra: NDArray[np.complexfloating], length: int, core: slice) -> NDArray[np.float32]:
    planes: NDArray[np.float32] = irfft2(spectra, (length, length))[:, core, core]
    return planes


def _solve(
    a: NDArray[np.float32],
    spectra: NDArray[np.complex64],
    core: slice,
    shift: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Least squares for a = ratio b(x + d) + constant about a first shift; b comes as its spectrum.

    (ratio, d_x, d_y) of every star, zeros where the ratio is not positive. Derivatives are exact (i k times
    the spectrum), so the answer is right to second order in what is left.
    The squares of b and its derivatives hold ``noise`` (variances [n, 3]), which would make every ratio low.
    """
    length = spectra.shape[1]
    lines = np.fft.fftfreq(length)[:, None], np.fft.rfftfreq(length)[None, :]
    waves = [(2j * np.pi * line).astype(np.complex64) for line in lines]
    ramps = [
        np.exp(wave * d[:, None, None].astype(np.float32)) for wave, d in zip(waves, shift[::-1], strict=True)
    ]
    spectra = spectra * ramps[0] * ramps[1]
    radius = a.shape[1] // 2
    use = np.hypot(*np.indices(a.shape[1:]) - radius) <= radius
    planes = [
        _inverse(spectrum, length, core)[:, use]
        for spectrum in (spectra, spectra * waves[1], spectra * waves[0])
    ]
    design = np.stack([*planes, np.ones_like(planes[0])], axis=1).astype(float)
    vector = design @ a[:, use, None].astype(float)
    normal = design @ design.swapaxes(1, 2)
    size = np.sqrt(np.maximum(np.diagonal(normal, axis1=1, axis2=2), 1e-300))[:, :, None]  # any units will do
    normal[:, range(3), range(3)] -= use.sum() * noise
    inverse = np.linalg.pinv(normal / size / size.swapaxes(1, 2), hermitian=True)
    ratio, *moved = (inverse @ (vector / size) / size)[:, :3, 0].T
    there = ratio > 0
    return np.where(there, [ratio, *(shift + np.array(moved) / np.where(there, ratio, 1))], 0)


def _star_errors(
    exposures: tuple[Exposure, Exposure],
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
    reach: int,
    images: tuple[NDArray, NDArray],
    shape: _Shape,
) -> NDArray[np.float64]:
    """Relative errors of the stars' fluxes and errors of their places, pixels, in each image: [2, 2, n].

    From the photon noise. For a star of PSF P and flux F on noise s per pixel: s / (F sqrt(sum P^2)) and
    s / (F sqrt(sum P_x^2)); the variance s^2 is the mean of the sky's and the peak's. Infinite where there
    is no star.
    """
    errors = np.full((2, 2, places[0].size), np.inf)
    middle = images[0].shape[1] // 2
    peak_of = slice(middle - 1, middle + 2)
    for error, exposure, image, area, slope in zip(
        errors, exposures, images, shape.area, shape.slope, strict=True
    ):
        flux = image[:, peak_of, peak_of].max(axis=(1, 2)).astype(float) / shape.peak
        sky = np.median(exposure.variance[_around(*places, reach, 3)], axis=(1, 2)).astype(float)
        peak = exposure.variance[_around(*places, 1)].max(axis=(1, 2)).astype(float)
        there = (flux > 0) & (sky > 0)
        noise = np.sqrt((sky[there] + peak[there]) / 2) / flux[there]
        error[:, there] = noise * np.sqrt(area), noise * np.sqrt(slope)
    return errors


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
