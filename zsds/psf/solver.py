"""The most probable PSF given the pixels of stars and a prior."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from zsds.kernels.psf_fit import draw_stamps
from zsds.kernels.psf_solve import apply_normal, project_out, to_knots
from zsds.psf.model import PolynomialPsf, n_terms, terms

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SolverSettings:
    """How departures from the prior are found."""

    prior_width: float = 0.2  # expected departure from the best Moffat, relative to its local maximum
    wings: float = 0.15  # expected departure of the wings, of the peak where r = FWHM, falling as r^(-11/3)
    modes: float = 0.025  # expected changes of size and shape over the image, relative to the PSF
    variation: float = 0.2  # any other change over the image, relative to the departure from the Moffat
    smoothness: float = 2.0  # weight of the prior that departures are smooth
    max_steps: int = 20  # of conjugate gradients, each round; too few, and bright stars seem not to fit
    tolerance: float = 1e-3  # of the right-hand side's norm


@dataclass(frozen=True)
class StarPixels:
    """Pixels of the PSF stars: data and inverse variances [n, k, k], flux, place, sub-pixel shift, chi."""

    data: NDArray[np.float64]
    weight: NDArray[np.float64]
    flux: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    chi: NDArray[np.float64]

    @property
    def dx(self) -> NDArray[np.float64]:
        """Pixels from the nearest pixel's centre."""
        return self.x - np.floor(self.x + 0.5)

    @property
    def dy(self) -> NDArray[np.float64]:
        """Pixels from the nearest pixel's centre."""
        return self.y - np.floor(self.y + 0.5)

    def take(self, kept: NDArray[np.bool_]) -> "StarPixels":
        """The chosen stars."""
        return StarPixels(*(a[kept] for a in (self.data, self.weight, self.flux, self.x, self.y, self.chi)))


@dataclass(frozen=True)
class Prior:
    """Expected knots [K, K], and the departure from them that would not surprise."""

    knots: NDArray[np.float64]
    width: NDArray[np.float64]
    smoothness: float

    @classmethod
    def around(cls, model: PolynomialPsf, settings: SolverSettings) -> "Prior":
        """The prior that expects the given model, the same everywhere."""
        knots = model.coefficients[0].astype(np.float64)
        fwhm = model.fwhm() * model.oversampling
        width = settings.prior_width * maximum_filter(knots, 2 * round(0.5 * fwhm) + 1)
        offset = (np.arange(len(knots)) - len(knots) // 2) / fwhm
        wings = (1 + offset[:, None] ** 2 + offset[None, :] ** 2) ** (-11 / 6)  # as the atmosphere's
        width += settings.wings * knots.max() * wings
        step = 0.65 * model.fwhm() * model.oversampling  # knots over which a departure keeps its sign
        return cls(knots, width, settings.smoothness * step**4 / 4)

    def stamps(self, model: PolynomialPsf, pixels: "StarPixels") -> NDArray[np.float64]:
        """The expected PSF at each star."""
        expected = PolynomialPsf(
            self.knots[None].astype(np.float32), 0, model.size, model.oversampling, model.geometry
        )
        return model_stamps(expected, pixels.x, pixels.y)


def model_stamps(model: PolynomialPsf, x: NDArray, y: NDArray) -> NDArray[np.float64]:
    """Stamps [n, k, k] of a model for stars at (x, y), each about the pixel nearest to its star."""
    return _draw(model, x, y, 1)[:, 0]


def stamps_with_slopes(model: PolynomialPsf, x: NDArray, y: NDArray) -> NDArray[np.float64]:
    """The same with the derivatives by the star's x and y, [n, 3, k, k]."""
    return _draw(model, x, y, 3)


def _draw(model: PolynomialPsf, x: NDArray, y: NDArray, count: int) -> NDArray[np.float64]:
    """Stamps [n, count, k, k], with a count of 3 those with slopes."""
    stamps = np.empty((x.size, count, model.size, model.size))
    shape = (model.coefficients, model.geometry, model.oversampling, model.order, model.size // 2)
    draw_stamps(*shape, np.asarray(x, np.float64), np.asarray(y, np.float64), stamps)
    return stamps


def _free_shapes(
    model: PolynomialPsf, pixels: StarPixels, information: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Shapes [n, 2, k, k] that a change of place adds, orthonormal under the information [n, k, k]."""
    by_x, by_y = stamps_with_slopes(model, pixels.x, pixels.y)[:, 1:].astype(np.float32).swapaxes(0, 1)
    by_x /= _norm(by_x, information)
    by_y -= np.einsum("skl,skl,skl->s", by_x, by_y, information)[:, None, None] * by_x
    by_y /= _norm(by_y, information)
    return np.stack([by_x, by_y], axis=1)


def _norm(shapes: NDArray[np.float32], information: NDArray[np.float32]) -> NDArray[np.float32]:
    """Root [n, 1, 1] of the sum of information times shape squared, never 0."""
    square = np.einsum("skl,skl,skl->s", shapes, shapes, information)
    return np.sqrt(np.maximum(square, np.float32(1e-20)))[:, None, None]


@dataclass(frozen=True)
class Unknowns:
    """What the solver turns: numbers of unit expected size, and the knots they stand for.

    Every knot of every term departs by itself; terms that vary have the changes of size and shape besides.

    Parameters
    ----------
    width : ndarray of float32 [n_terms, K, K]
        Expected departure of each knot.
    modes : ndarray of float32 [m, K * K]
        Changes of size and shape as large as expected.
    """

    width: NDArray[np.float32]
    modes: NDArray[np.float32]

    @classmethod
    def around(cls, model: PolynomialPsf, prior: Prior, order: int, settings: SolverSettings) -> "Unknowns":
        """For a PSF near the model."""
        width = np.repeat(prior.width[None].astype(np.float32), n_terms(order), axis=0)
        width[1:] *= settings.variation
        return cls(width, np.float32(settings.modes) * shape_modes(model).reshape(-1, width[0].size))

    def own(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """The part [n_terms, K, K] of the numbers that moves single knots."""
        return z[: self.width.size].reshape(self.width.shape)

    def knots(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Knots [n_terms, K, K] of the numbers."""
        knots = self.width * self.own(z)
        varying = knots[1:].reshape(-1, knots[0].size)
        varying += z[self.width.size :].reshape(-1, len(self.modes)) @ self.modes
        return knots

    def gathered(self, knots: NDArray[np.float32]) -> NDArray[np.float32]:
        """Adjoint of `knots`."""
        varying = knots[1:].reshape(-1, knots[0].size)
        return np.concatenate([(self.width * knots).ravel(), (varying @ self.modes.T).ravel()])

    def of(self, knots: NDArray[np.float32]) -> NDArray[np.float32]:
        """Numbers that stand for these knots: as much as possible by changes of size and shape."""
        weight = 1 / self.width[0].ravel()
        varying = knots[1:].reshape(-1, knots[0].size)
        design = (self.modes * weight).T.astype(np.float64)
        share = np.linalg.lstsq(design, (varying * weight).T.astype(np.float64), rcond=1e-6)[0].T
        rest = knots.copy()
        rest[1:] -= (share @ self.modes).reshape(knots[1:].shape).astype(np.float32)
        return np.concatenate([(rest / self.width).ravel(), share.ravel().astype(np.float32)])


def shape_modes(model: PolynomialPsf) -> NDArray[np.float32]:
    """Changes [10, K, K] of the PSF's mean that optics and air make from place to place, each of its norm.

    To first order: stretched, sheared along the axes and the diagonals; convolved with something wider, or
    longer along the axes and the diagonals (defocus, astigmatism); with coma and trefoil, two each.
    """
    knots = model.coefficients[0].astype(np.float64)
    offset = (np.arange(knots.shape[0]) - knots.shape[0] // 2) / model.oversampling
    x, y = offset[None, :], offset[:, None]

    def slopes(image: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return np.gradient(image, 1 / model.oversampling)[::-1]

    by_x, by_y = slopes(knots)
    (xx, xy), yy = slopes(by_x), slopes(by_y)[1]
    (round_x, round_y), (long_x, long_y), (skew_x, skew_y) = slopes(xx + yy), slopes(xx - yy), slopes(xy)
    stretches = [2 * knots + x * by_x + y * by_y, x * by_x - y * by_y, x * by_y + y * by_x]
    thirds = [round_x, round_y, long_x - 2 * skew_y, long_y + 2 * skew_x]
    modes = np.array([*stretches, xx + yy, xx - yy, xy, *thirds])
    norms = np.sqrt(np.sum(modes**2, axis=(1, 2)) / np.sum(knots**2))
    return (modes / norms[:, None, None]).astype(np.float32)


def solve(
    pixels: StarPixels, prior: Prior, model: PolynomialPsf, order: int, settings: SolverSettings
) -> PolynomialPsf:
    """Most probable PSF given the pixels: conjugate gradients on the scaled normal equations.

    Places of the stars are free beside it: what a change of them explains of a star's pixels says nothing
    about the PSF. With places held, PSF and places would confirm each other's errors, the more so
    the fewer pixels a star covers.
    """
    x0, y0, x_scale, y_scale = model.geometry
    basis = terms((pixels.x - x0) / x_scale, (pixels.y - y0) / y_scale, order).astype(np.float32)
    n, count, side = n_terms(order), pixels.flux.size, prior.knots.shape[0]
    information = (pixels.weight * pixels.flux[:, None, None] ** 2).astype(np.float32)
    free = _free_shapes(model, pixels, information)
    unknowns = Unknowns.around(model, prior, order, settings)

    def data_term(knots: NDArray[np.float32]) -> NDArray[np.float32]:
        return unknowns.gathered((basis.T @ knots.reshape(count, -1)).reshape(n, side, side))

    def normal(z: NDArray[np.float32]) -> NDArray[np.float32]:
        knots = (basis @ unknowns.knots(z).reshape(n, -1)).reshape(count, side, side)
        apply_normal(knots, information, free, pixels.dx, pixels.dy, model.oversampling)
        image = data_term(knots) + z
        image[: unknowns.width.size] += (np.float32(prior.smoothness) * _bending(unknowns.own(z))).ravel()
        return image

    own = prior.stamps(model, pixels)
    target_pixels = information * (pixels.data / pixels.flux[:, None, None] - own).astype(np.float32)
    for star in range(count):
        project_out(target_pixels[star], information[star], free[star])
    knots = np.zeros((count, side, side), np.float32)
    to_knots(target_pixels, pixels.dx, pixels.dy, model.oversampling, knots)
    target = data_term(knots)
    start = np.zeros((n, side, side), np.float32)
    known = min(n, model.coefficients.shape[0])
    start[:known] = model.coefficients[:known]
    start[0] -= prior.knots.astype(np.float32)
    scale = _diagonal(information, basis, unknowns, model.oversampling, prior.smoothness)
    z = _conjugate_gradients(normal, target, unknowns.of(start), scale, settings)
    coefficients = unknowns.knots(z).astype(np.float64)
    coefficients[0] += prior.knots
    return _normalised(coefficients, model, order)


def _bending(knots: NDArray[np.float32]) -> NDArray[np.float32]:
    """L' L of the Laplacian of each grid [n, K, K] with zeros beyond the border (L is symmetric there)."""
    for _ in range(2):
        bent = -4 * knots
        bent[:, 1:] += knots[:, :-1]
        bent[:, :-1] += knots[:, 1:]
        bent[:, :, 1:] += knots[:, :, :-1]
        bent[:, :, :-1] += knots[:, :, 1:]
        knots = bent
    return knots


def _diagonal(
    information: NDArray[np.float32],
    basis: NDArray[np.float32],
    unknowns: Unknowns,
    oversampling: int,
    smoothness: float,
) -> NDArray[np.float32]:
    """Approximate diagonal of the normal equations, the preconditioner."""
    side, size = unknowns.width.shape[-1], information.shape[1]
    maps = (basis.T**2 @ information.reshape(len(basis), -1)).reshape(-1, size, size)
    maps *= (1 / oversampling) ** 2
    place = np.clip(
        np.rint((np.arange(side) - side // 2) / oversampling).astype(int) + size // 2, 0, size - 1
    )
    maps = maps[:, place][:, :, place]
    single = unknowns.width**2 * maps * np.float32((151 / 315) ** 2) + np.float32(1 + 20 * smoothness)
    together = 1 + maps[1:].reshape(-1, side * side) @ unknowns.modes.T**2
    return np.concatenate([single.ravel(), together.ravel()])


def _conjugate_gradients(operator, target, start, scale, settings: SolverSettings) -> NDArray[np.float32]:
    """Preconditioned conjugate gradients from `start` until the residual is small against the target."""
    z = start
    rest = target - operator(z)
    direction = rest / scale
    energy = float(np.vdot(rest, direction))
    enough = settings.tolerance**2 * float(np.vdot(target, target / scale))
    for _ in range(settings.max_steps):
        if not energy > enough:
            break
        image = operator(direction)
        step = energy / float(np.vdot(direction, image))
        z = z + np.float32(step) * direction
        rest = rest - np.float32(step) * image
        scaled = rest / scale
        now = float(np.vdot(rest, scaled))
        direction = scaled + np.float32(now / energy) * direction
        energy = now
    log.debug("solver left %.1e of the target", np.sqrt(energy / enough) * settings.tolerance)
    return z


def _normalised(coefficients: NDArray[np.float64], model: PolynomialPsf, order: int) -> PolynomialPsf:
    """Taper to zero at the stamp's border, centre, and scale to unit sum everywhere."""
    side = coefficients.shape[1]
    offset = (np.arange(side) - side // 2) / model.oversampling
    radius = np.hypot(offset[:, None], offset[None, :]) / (model.size / 2)
    taper = np.cos(np.pi / 2 * np.clip((radius - 0.85) / 0.15, 0, 1)) ** 2
    coefficients = coefficients * taper
    coefficients[0] *= model.oversampling**2 / coefficients[0].sum()
    weight = np.exp(-4 * np.log(2) * (offset[:, None] ** 2 + offset[None, :] ** 2) / model.fwhm() ** 2)
    shapes = np.gradient(coefficients[0], 1 / model.oversampling)
    for axis, position in ((1, offset[None, :]), (0, offset[:, None])):
        response = np.sum(weight * position * shapes[axis])
        shifts = np.sum(weight * position * coefficients, axis=(1, 2)) / response
        coefficients -= shifts[:, None, None] * shapes[axis]
    _even_out(coefficients, model.oversampling)
    return PolynomialPsf(
        coefficients.astype(np.float32), order, model.size, model.oversampling, model.geometry
    )


def _even_out(coefficients: NDArray[np.float64], oversampling: int) -> None:
    """Make stamps sum to 1 at every place and sub-pixel shift, in place.

    Pixels gather all light wherever a star falls on them. So the knots that share a phase sum to 1 in the
    middle of the image, and to 0 in the terms that vary.
    """
    for a, b in np.ndindex(oversampling, oversampling):
        phase = coefficients[:, a::oversampling, b::oversampling]
        sums = phase.sum(axis=(1, 2))
        phase[1:] -= (sums[1:] / sums[0])[:, None, None] * phase[0]
        phase[0] /= sums[0]
