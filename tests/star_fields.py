"""Small star fields with known truth, for the tests of the stellar measurements."""

from dataclasses import dataclass

import numpy as np

from zsds.core.exposure import Exposure, Info
from zsds.core.ids import QuadrantId
from zsds.psf import MoffatPsf, PolynomialPsf

INFO = Info(
    QuadrantId("20250101000000", 1, "zg", 1, 1), 60000.0, 30.0, 1, 0, read_noise=8.0, saturation=60000.0
)


@dataclass(frozen=True)
class VaryingMoffat:
    """Elliptical Moffat whose width and shape change over an image of side `side`."""

    fwhm: float
    beta: float = 3.0
    size: int = 41
    growth: float = 0.0
    ratio: float = 1.0
    side: float = 400.0

    def at(self, x, y, dx=0.0, dy=0.0):
        u, v = 2 * x / self.side - 1, 2 * y / self.side - 1
        fwhm = self.fwhm * (1 + self.growth * (0.5 * u + 0.5 * u * v))
        ratio = 1 - (1 - self.ratio) * (0.6 + 0.4 * v)
        return MoffatPsf.of_fwhm(fwhm, self.beta, self.size, ratio, 0.6 * u).at(x, y, dx, dy)


@dataclass(frozen=True)
class Field:
    """A simulated exposure (sky still in) with the truth of its stars."""

    exposure: Exposure
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    sky: float


def draw_stars(image, psf, x, y, flux):
    """Add stars to an image in place."""
    half = psf.size // 2
    ny, nx = image.shape
    for a, b, f in zip(x, y, flux, strict=True):
        col, row = int(np.floor(a + 0.5)), int(np.floor(b + 0.5))
        stamp = f * psf.at(a, b, a - col, b - row)
        top, left = max(0, row - half), max(0, col - half)
        bottom, right = min(ny, row + half + 1), min(nx, col + half + 1)
        if top < bottom and left < right:
            image[top:bottom, left:right] += stamp[
                top - row + half : bottom - row + half, left - col + half : right - col + half
            ]


def star_field(
    psf,
    n_stars=300,
    shape=(380, 420),
    sky=300.0,
    read_noise=8.0,
    seed=1,
    flux=(600.0, 2e5),
    slope=-0.6,
    margin=0,
):
    """Exposure with stars of power-law fluxes (number per dex falls by `slope`) at random places."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    x = rng.uniform(margin - 0.5, nx - 0.5 - margin, n_stars)
    y = rng.uniform(margin - 0.5, ny - 0.5 - margin, n_stars)
    low, high = flux[0] ** slope, flux[1] ** slope
    fluxes = (low + rng.random(n_stars) * (high - low)) ** (1 / slope)
    image = np.full(shape, float(sky))
    draw_stars(image, psf, x, y, fluxes)
    data = (rng.poisson(image) + rng.normal(0, read_noise, shape)).astype(np.float32)
    variance = np.maximum(data + read_noise**2, read_noise**2).astype(np.float32)
    mask = np.zeros(shape, np.uint32)
    mask[data > INFO.saturation] = 256
    for array in (data, variance, mask):
        array.flags.writeable = False
    return Field(Exposure(data, variance, mask, INFO), x, y, fluxes, sky)


PSF = VaryingMoffat(2.1, 3.0, 31, 0.08, 0.9)
MODEL = PolynomialPsf.from_model(PSF, (380, 420))


def grid_field(seed, levels):
    """Sky-free exposure of PSF's stars about 22 px apart, fluxes cycling through `levels`; x, y, flux."""
    rng = np.random.default_rng(seed)
    columns, rows = np.meshgrid(np.arange(20, 400, 22), np.arange(20, 360, 22))
    x, y = (a.ravel() + rng.uniform(-0.5, 0.5, a.size) for a in (columns, rows))
    flux = np.resize(levels, x.size)
    image = np.full((380, 420), 300.0)
    draw_stars(image, PSF, x, y, flux)
    data = (rng.poisson(image) + rng.normal(0, 8, image.shape)).astype(np.float32)
    variance = np.maximum(data + 64, 64).astype(np.float32)
    return Exposure(data - np.float32(300), variance, np.zeros(image.shape, np.uint32), INFO), x, y, flux
