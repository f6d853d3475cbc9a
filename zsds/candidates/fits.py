"""Fits of point sources, dipoles and trails to the pixels around one candidate."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zsds.core.psf import PsfModel
from zsds.kernels.features import chi_square, draw_trail, normal_equations

POINT_STEPS = 3
LOBE_STEPS = 8
TRAIL_STEPS = 8
SHIFT = 0.2  # pixels, for numerical derivatives
SETTLED = 0.01  # pixels: a step smaller than this is the last
MAX_STEP = 0.5  # pixels a position may move in one iteration
THIN = np.ones((1, 1), np.float32)  # stamp of what no optics has spread
NOISE_LIMIT = 3.0  # sigma; what a pixel has beyond is no noise


@dataclass(frozen=True)
class Patch:
    """Square of pixels around a candidate.

    Parameters
    ----------
    data, variance : ndarray of float32 [k, k]
        Sky-subtracted electrons; 0 and 1 where bad.
    weight : ndarray of float32 [k, k]
        1 / variance within the fitting radius, 0 beyond it and at bad pixels.
    bad : ndarray of bool [k, k]
        Defects and pixels beyond the image.
    col, row : int
        Image pixel of the patch's first pixel.
    """

    data: NDArray[np.float32]
    variance: NDArray[np.float32]
    weight: NDArray[np.float32]
    bad: NDArray[np.bool_]
    col: int
    row: int

    @property
    def half(self) -> int:
        """Pixels from the middle to the rim."""
        return self.data.shape[0] // 2


@dataclass(frozen=True)
class PointFit:
    """A PSF fitted to a patch; positions in pixels of the image, flux in electrons."""

    flux: float
    flux_err: float
    x: float
    y: float
    x_err: float
    y_err: float
    chi2: float
    n_pixels: int
    stamp: NDArray[np.float32]

    @property
    def chi(self) -> float:
        """Reduced chi-square of the three parameters; NaN with too few pixels."""
        return self.chi2 / (self.n_pixels - 3) if self.n_pixels > 3 else float("nan")


@dataclass(frozen=True)
class DipoleFit:
    """Two PSFs, meant to be of opposite sign.

    Parameters
    ----------
    positive, negative : (float, float)
        Positions of the lobes, pixels of the image.
    fluxes : (float, float)
        Theirs, electrons.
    chi2 : float
    """

    positive: tuple[float, float]
    negative: tuple[float, float]
    fluxes: tuple[float, float]
    chi2: float

    @property
    def flux(self) -> float:
        """Mean absolute flux of the lobes; 0 if they are not of opposite sign."""
        up, down = self.fluxes
        return (up - down) / 2 if up > 0 > down else 0.0

    @property
    def dx(self) -> float:
        """From the negative to the positive lobe along x, pixels."""
        return self.positive[0] - self.negative[0]

    @property
    def dy(self) -> float:
        """From the negative to the positive lobe along y, pixels."""
        return self.positive[1] - self.negative[1]


@dataclass(frozen=True)
class TrailFit:
    """A PSF drawn out to a line: flux, middle (pixels of the image), half length as a vector, chi-squares.

    ``chi2_thin`` is that of the same line one pixel wide, such as a cosmic ray's track.
    """

    flux: float
    flux_err: float
    x: float
    y: float
    ux: float
    uy: float
    chi2: float
    chi2_point: float
    chi2_thin: float
    n_pixels: int


def cut_patch(
    data: NDArray[np.float32],
    variance: NDArray[np.float32],
    bad: NDArray[np.bool_],
    col: int,
    row: int,
    half: int,
    radius: float,
    sky: float,
) -> Patch:
    """Patch of side 2 half + 1 with (col, row) in its middle; what lies beyond the image is bad."""
    side = 2 * half + 1
    left, bottom = col - half, row - half
    pixels, noise = np.zeros((side, side), np.float32), np.ones((side, side), np.float32)
    unusable = np.ones((side, side), dtype=bool)
    rows = slice(max(bottom, 0), min(bottom + side, data.shape[0]))
    cols = slice(max(left, 0), min(left + side, data.shape[1]))
    inside = (slice(rows.start - bottom, rows.stop - bottom), slice(cols.start - left, cols.stop - left))
    pixels[inside], noise[inside] = data[rows, cols] - np.float32(sky), variance[rows, cols]
    unusable[inside] = bad[rows, cols]
    unusable |= ~(np.isfinite(pixels) & (noise > 0))
    pixels[unusable], noise[unusable] = 0, 1
    offset = np.arange(side) - half
    near = offset[:, None] ** 2 + offset[None, :] ** 2 <= radius**2
    weight = np.where(unusable | ~near, np.float32(0), 1 / noise)
    return Patch(pixels, noise, weight, unusable, left, bottom)


def steadied(patch: Patch, psf: PsfModel, x: float, y: float, slope: float) -> Patch:
    """The patch with a variance that does not follow its own noise.

    A variance made from the counts is small where the noise is negative. Weights would then favour such
    pixels, and every flux would come out low by about 1 / sum(P^2) electrons.

    Parameters
    ----------
    patch : Patch
        Of the PSF's size.
    psf : PsfModel
    x, y : float
        Of the source, pixels of the image.
    slope : float
        Variance that goes with an electron of noise.
    """
    stamp = _stamp_at(psf, patch, x, y)
    used = stamp * (patch.weight > 0)
    norm = float((used * used).sum())
    if not norm > 0:
        return patch
    residual = patch.data - stamp * (float((used * patch.data).sum()) / norm)
    most = NOISE_LIMIT * np.sqrt(patch.variance)
    variance = patch.variance - np.float32(slope) * np.clip(residual, -most, most)
    variance = np.where(patch.bad, np.float32(1), np.maximum(variance, 0.5 * patch.variance))
    return replace(patch, variance=variance, weight=np.where(patch.weight > 0, 1 / variance, patch.weight))


def _normal(basis: NDArray, patch: Patch) -> tuple[NDArray, NDArray]:
    m = len(basis)
    matrix, vector = np.empty((m, m)), np.empty(m)
    normal_equations(np.ascontiguousarray(basis, dtype=np.float32), patch.data, patch.weight, matrix, vector)
    return matrix, vector


def _solve(matrix: NDArray, vector: NDArray) -> NDArray[np.float64]:
    ridge = 1e-9 * np.trace(matrix) / len(matrix)
    try:
        return np.linalg.solve(matrix + ridge * np.eye(len(matrix)), vector)
    except np.linalg.LinAlgError:
        return np.zeros(len(vector))


def _stamp_at(psf: PsfModel, patch: Patch, x: float, y: float) -> NDArray[np.float32]:
    """PSF on the pixels of the patch, for a source at (x, y) of the image."""
    middle_x, middle_y = patch.col + patch.half, patch.row + patch.half
    return psf.at(x, y, x - middle_x, y - middle_y)


def _slopes(psf: PsfModel, patch: Patch, x: float, y: float) -> tuple[NDArray, NDArray]:
    along_x = _stamp_at(psf, patch, x + SHIFT, y) - _stamp_at(psf, patch, x - SHIFT, y)
    along_y = _stamp_at(psf, patch, x, y + SHIFT) - _stamp_at(psf, patch, x, y - SHIFT)
    return along_x / (2 * SHIFT), along_y / (2 * SHIFT)


def fit_point(patch: Patch, psf: PsfModel, x: float, y: float) -> PointFit:
    """Flux and position of a point source by Gauss-Newton with the slopes of the start.

    Parameters
    ----------
    patch : Patch
        Of the PSF's size.
    psf : PsfModel
    x, y : float
        Start, pixels of the image.

    Returns
    -------
    PointFit
        Errors from the curvature at the solution; infinite where nothing constrains them.
    """
    start_x, start_y = x, y
    slope_x, slope_y = _slopes(psf, patch, x, y)
    stamp = _stamp_at(psf, patch, x, y)
    for _ in range(POINT_STEPS):
        matrix, vector = _normal(np.stack([stamp, slope_x, slope_y]), patch)
        flux, shift_x, shift_y = _solve(matrix, vector)  # shifts times flux
        if flux == 0:
            break
        dx = min(max(shift_x / flux, -MAX_STEP), MAX_STEP)
        dy = min(max(shift_y / flux, -MAX_STEP), MAX_STEP)
        x, y = float(x + dx), float(y + dy)
        lost = abs(x - start_x) > 2 or abs(y - start_y) > 2
        if lost:
            x, y = start_x, start_y
        stamp = _stamp_at(psf, patch, x, y)
        if lost or max(abs(dx), abs(dy)) < SETTLED:
            break
    matrix, vector = _normal(np.stack([stamp, slope_x, slope_y]), patch)
    if not matrix[0, 0] > 0:
        return PointFit(0.0, np.inf, x, y, np.inf, np.inf, np.nan, 0, stamp)
    flux = vector[0] / matrix[0, 0]
    chi2, n = chi_square(np.float32(flux) * stamp, patch.data, patch.weight)
    errors = _errors(matrix)
    with np.errstate(divide="ignore"):
        x_err, y_err = errors[1:] / np.float64(abs(flux))
    return PointFit(flux, errors[0], x, y, x_err, y_err, chi2, n, stamp)


def _errors(matrix: NDArray) -> NDArray[np.float64]:
    ridge = 1e-12 * np.trace(matrix) * np.eye(len(matrix))
    return np.sqrt(np.abs(np.diag(np.linalg.inv(matrix + ridge))))


def fit_dipole(
    patch: Patch, psf: PsfModel, positive: tuple[float, float], negative: tuple[float, float]
) -> DipoleFit:
    """Two point sources, one of each sign, by damped Gauss-Newton (Levenberg-Marquardt).

    Lobes much closer than the PSF's width trade flux against distance; their product stays well measured.

    Parameters
    ----------
    patch : Patch
        Of the PSF's size; both lobes inside its fitting radius.
    psf : PsfModel
    positive, negative : (float, float)
        Where the lobes seem to be, pixels of the image.
    """
    lobes, damping = np.array([positive, negative], dtype=float), 1e-2
    fluxes, chi2 = _lobe_fluxes(psf, patch, lobes)
    for _ in range(LOBE_STEPS):
        shifts = _lobe_shifts(psf, patch, lobes, fluxes, damping)
        trial_fluxes, trial_chi2 = _lobe_fluxes(psf, patch, lobes + shifts)
        if trial_chi2 < chi2:
            done = chi2 - trial_chi2 < 1e-3 * chi2
            lobes, fluxes, chi2, damping = lobes + shifts, trial_fluxes, trial_chi2, damping / 5
            if done:
                break
        else:
            damping *= 20
    first, second = (tuple(map(float, lobe)) for lobe in lobes)
    return DipoleFit(first, second, (float(fluxes[0]), float(fluxes[1])), chi2)


def _lobe_shifts(
    psf: PsfModel, patch: Patch, lobes: NDArray, fluxes: NDArray, damping: float
) -> NDArray[np.float64]:
    basis = []
    for (x, y), flux in zip(lobes, fluxes, strict=True):
        slope_x, slope_y = _slopes(psf, patch, x, y)
        basis += [_stamp_at(psf, patch, x, y), np.float32(-flux) * slope_x, np.float32(-flux) * slope_y]
    matrix, vector = _normal(np.stack(basis), patch)
    matrix[np.diag_indices(6)] *= 1 + damping
    shifts = -_solve(matrix, vector).reshape(2, 3)[:, 1:]
    return np.clip(shifts, -MAX_STEP, MAX_STEP)


def _lobe_fluxes(psf: PsfModel, patch: Patch, lobes: NDArray) -> tuple[NDArray[np.float64], float]:
    stamps = np.stack([_stamp_at(psf, patch, x, y) for x, y in lobes])
    fluxes = _solve(*_normal(stamps, patch))
    model = np.tensordot(fluxes.astype(np.float32), stamps, axes=1)
    return fluxes, chi_square(model, patch.data, patch.weight)[0]


def without_source(patch: Patch, psf: PsfModel, position: tuple[float, float], flux: float) -> Patch:
    """The patch with a point source taken out."""
    stamp = _stamp_at(psf, patch, *position)
    return replace(patch, data=np.where(patch.bad, np.float32(0), patch.data - np.float32(flux) * stamp))


def fit_trail(
    patch: Patch, stamp: NDArray[np.float32], position: tuple[float, float], half: tuple[float, float]
) -> TrailFit:
    """A point source drawn out evenly along a line, by damped Gauss-Newton.

    Parameters
    ----------
    patch : Patch
        Large enough for the line.
    stamp : ndarray of float32 [k, k]
        PSF centred on its middle pixel; only its core is needed.
    position : (float, float)
        Middle of the line, pixels of the image.
    half : (float, float)
        First guess of the vector from the middle to one end, pixels.
    """
    start = np.array([position[0] - patch.col, position[1] - patch.row, 0.0, 0.0])
    point = _trail_flux(patch, stamp, start)
    best = np.array([*start[:2], *half])
    flux, chi2, model = _trail_flux(patch, stamp, best)
    damping = 1e-3
    for _ in range(TRAIL_STEPS):
        slopes = [model]
        for i in range(4):
            moved = best.copy()
            moved[i] += SHIFT
            slopes.append((_draw(patch, stamp, moved) - model) * (flux / SHIFT))
        matrix, _ = _normal(np.stack(slopes), patch)
        residual = ((patch.data - flux * model) * patch.weight).astype(np.float64)
        vector = np.array([(residual * slope).sum() for slope in slopes])
        matrix[np.diag_indices(5)] *= 1 + damping
        step = np.clip(_solve(matrix, vector)[1:], -2, 2)
        trial = _trail_flux(patch, stamp, best + step)
        if trial[1] < chi2:
            done = chi2 - trial[1] < 0.01
            best, (flux, chi2, model) = best + step, trial
            damping /= 5
            if done:
                break
        else:
            damping *= 10
    n_pixels = int(np.count_nonzero(patch.weight))
    x, y = best[0] + patch.col, best[1] + patch.row
    thin = _trail_flux(patch, THIN, best)
    information = float((model.astype(float) ** 2 * patch.weight).sum())
    flux_err = information**-0.5 if information > 0 else np.inf
    return TrailFit(flux, flux_err, x, y, best[2], best[3], chi2, point[1], thin[1], n_pixels)


def points_chi2(patch: Patch, stamp: NDArray[np.float32], positions: NDArray[np.float64]) -> float:
    """Chi-square of point sources held at given positions [n, 2], pixels of the image; fluxes are free."""
    lines = [np.array([x - patch.col, y - patch.row, 0.0, 0.0]) for x, y in positions]
    basis = np.stack([_draw(patch, stamp, line) for line in lines])
    fluxes = _solve(*_normal(basis, patch)).astype(np.float32)
    return float(chi_square(np.tensordot(fluxes, basis, axes=1), patch.data, patch.weight)[0])


def _draw(patch: Patch, stamp: NDArray[np.float32], line: NDArray) -> NDArray[np.float32]:
    out = np.zeros_like(patch.data)
    draw_trail(stamp, line[0], line[1], line[2], line[3], 1.0, out)
    return out


def _trail_flux(patch: Patch, stamp: NDArray[np.float32], line: NDArray) -> tuple[float, float, NDArray]:
    model = _draw(patch, stamp, line)
    matrix, vector = _normal(model[None], patch)
    flux = float(vector[0] / matrix[0, 0]) if matrix[0, 0] > 0 else 0.0
    return flux, chi_square(np.float32(flux) * model, patch.data, patch.weight)[0], model
