"""How far the scale of PSF fluxes may be off from place to place, because the PSF is known from few stars."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zsds.extract.noise import SkyNoise
from zsds.psf.model import PolynomialPsf, terms
from zsds.psf.solver import Prior, SolverSettings, StarPixels, model_stamps, shape_modes, stamps_with_slopes

PHASES = 4  # sub-pixel places per axis at which shapes are drawn; stars take the nearest
RINGS_FWHM = (0.35, 0.7, 1.2, 1.9, 2.8, 3.8, 4.8)  # radii where rings begin, peak and end
RING_SHARE = 0.25  # departure common to a ring, relative to that of single knots
TYPICAL_SNR = 200.0  # of the stars whose scale it is


@dataclass(frozen=True)
class FluxScale:
    """Error of PSF fluxes that all stars of a place share, relative to the flux.

    Parameters
    ----------
    covariance : ndarray of float64 [n_terms, n_terms]
        Of the polynomial in position that the relative error of fluxes is.
    order : int
    geometry : tuple of float
        As in `PolynomialPsf`.
    """

    covariance: NDArray[np.float64]
    order: int
    geometry: tuple[float, float, float, float]

    def error(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.float64]:
        """1-sigma relative error at image positions."""
        x0, y0, x_scale, y_scale = self.geometry
        basis = terms((np.asarray(x) - x0) / x_scale, (np.asarray(y) - y0) / y_scale, self.order)
        return np.sqrt(np.maximum(np.einsum("st,tu,su->s", basis, self.covariance, basis), 0))


def flux_scale(
    pixels: StarPixels,
    prior: Prior,
    model: PolynomialPsf,
    noise: SkyNoise,
    settings: SolverSettings,
    radius: int,
) -> FluxScale:
    """Error of the flux scale of a fitted PSF, from the posterior of its size, shape, core and wings.

    Stars say how far the PSF may differ from the model by changes of size and shape (`shape_modes`) and by
    rings, each a polynomial of the position; their own flux and place are free. What such a change does to
    the flux of a fitted star is linear in it.

    Parameters
    ----------
    pixels : StarPixels
        Those the PSF was fitted to.
    prior : Prior
    model : PolynomialPsf
    noise : SkyNoise
    settings : SolverSettings
    radius : int
        Pixels within which fluxes are fitted.
    """
    x0, y0, x_scale, y_scale = model.geometry
    basis = terms((pixels.x - x0) / x_scale, (pixels.y - y0) / y_scale, model.order)
    changes, expected = _changes(model, prior, settings)
    own, drawn = _drawn(model, changes)
    phase = _nearest(pixels.dy) * PHASES + _nearest(pixels.dx)
    weight = (pixels.weight * pixels.flux[:, None, None] ** 2).reshape(pixels.flux.size, 1, -1)
    information = _information(own[phase], drawn[phase], weight)
    n, m = basis.shape[1], len(changes)
    total = np.einsum("st,su,sab->taub", basis, basis, information, optimize=True).reshape(n * m, n * m)
    widths = np.concatenate([expected[0], *[expected[1]] * (n - 1)])
    posterior = np.linalg.inv(total + np.diag(widths**-2.0)).reshape(n, m, n, m)
    response = _response(model, own, drawn, noise, radius)
    covariance = np.einsum("a,taub,b->tu", response, posterior, response)
    return FluxScale(covariance, model.order, model.geometry)


def _changes(
    model: PolynomialPsf, prior: Prior, settings: SolverSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Changes [m, K, K] of the PSF that leave its sum, and their expected sizes [2, m]: mean, variation."""
    knots = model.coefficients[0].astype(np.float64)
    offset = (np.arange(len(knots)) - len(knots) // 2) / (model.oversampling * model.fwhm())
    place = np.log(np.maximum(np.hypot(offset[:, None], offset[None, :]), 0.1))
    edges = np.log(RINGS_FWHM)
    rings = [
        prior.width * np.interp(place, edges[k : k + 3], [0, 1, 0 if k + 3 < len(edges) else 1])
        for k in range(len(edges) - 2)
    ]
    shapes = shape_modes(model)
    changes = np.concatenate([shapes, rings])
    changes -= changes.sum(axis=(1, 2), keepdims=True) / knots.sum() * knots
    of_shapes = np.full(len(shapes), settings.modes)
    of_rings = np.full(len(rings), RING_SHARE)
    mean = np.concatenate([of_shapes, of_rings])
    return changes, np.stack([mean, np.concatenate([of_shapes, settings.variation * of_rings])])


def _drawn(
    model: PolynomialPsf, changes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of every sub-pixel phase: PSF with slopes [p, 3, k * k], and changes [p, m, k * k], mid-image."""
    x0, y0 = np.floor(model.geometry[0]), np.floor(model.geometry[1])
    line = (np.arange(PHASES) + 0.5) / PHASES - 0.5
    y, x = (grid.ravel() for grid in np.meshgrid(y0 + line, x0 + line, indexing="ij"))
    own = stamps_with_slopes(model, x, y)
    drawn = [
        model_stamps(
            PolynomialPsf(change[None].astype(np.float32), 0, model.size, model.oversampling, model.geometry),
            x,
            y,
        )
        for change in changes
    ]
    return own.reshape(x.size, 3, -1), np.stack(drawn, axis=1).reshape(x.size, len(changes), -1)


def _nearest(offset: NDArray[np.float64]) -> NDArray[np.int64]:
    """Phase of a sub-pixel offset from -1/2 to 1/2."""
    return np.clip(np.floor((offset + 0.5) * PHASES).astype(np.int64), 0, PHASES - 1)


def _information(
    own: NDArray[np.float64], drawn: NDArray[np.float64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What each star says about the changes [n, m, m], its flux and place free."""
    heavy, seen = own * weight, drawn * weight
    free = heavy @ own.transpose(0, 2, 1)
    free += (1e-9 * np.trace(free, axis1=1, axis2=2) + 1e-30)[:, None, None] * np.eye(3)
    mixed = heavy @ drawn.transpose(0, 2, 1)
    return seen @ drawn.transpose(0, 2, 1) - mixed.transpose(0, 2, 1) @ np.linalg.solve(free, mixed)


def _response(
    model: PolynomialPsf, own: NDArray[np.float64], drawn: NDArray[np.float64], noise: SkyNoise, radius: int
) -> NDArray[np.float64]:
    """Relative change [m] of a fitted star's flux with each change of the PSF, mean over the phases."""
    offset = np.arange(model.size) - model.size // 2
    inside = (np.hypot(offset[:, None], offset[None, :]) <= radius + 0.5).ravel()
    sky = max(noise.sigma, 1e-30) ** 2
    stamp = np.maximum(own[0, 0], 0)
    flux = TYPICAL_SNR * np.sqrt(sky / np.sum(stamp**2))
    for _ in range(4):
        flux = TYPICAL_SNR / np.sqrt(np.sum(stamp**2 / (sky + noise.slope * flux * stamp)))
    weight = inside / (sky + noise.slope * flux * np.maximum(own[:, :1], 0))
    heavy = own * weight
    solved = np.linalg.solve(heavy @ own.transpose(0, 2, 1), heavy @ drawn.transpose(0, 2, 1))
    return solved[:, 0].mean(axis=0)
