"""Pairs of images of one sky, with their truth, for the tests of references and subtraction."""

from dataclasses import dataclass, replace

import numpy as np

from zsds.core.exposure import Exposure, Info, ZeroPoint
from zsds.core.ids import QuadrantId
from zsds.core.psf import GaussianPsf
from zsds.reference.mapping import empty_tangent


@dataclass(frozen=True)
class Stars:
    """Positions on the sky, degrees, and fluxes at zero point 25."""

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray


def make_wcs(shape, scale=1.0, rotation=0.0, dx=0.0, dy=0.0, ra=150.0, dec=20.0):
    wcs = empty_tangent(ra, dec)
    angle = np.radians(rotation)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    wcs.wcs.cd = turn @ np.diag([-scale, scale]) / 3600
    wcs.wcs.crpix = [shape[1] / 2 + 0.5 + dx, shape[0] / 2 + 0.5 + dy]
    wcs.wcs.set()
    return wcs


def make_stars(rng, wcs, shape, n=60, faint=300.0, bright=60000.0, margin=0):
    x = rng.uniform(-margin, shape[1] + margin, n)
    y = rng.uniform(-margin, shape[0] + margin, n)
    ra, dec = wcs.all_pix2world(x, y, 0)
    return Stars(ra, dec, np.exp(rng.uniform(np.log(faint), np.log(bright), n)))


def add_star(image, psf, x, y, flux):
    half = psf.size // 2
    j, i = round(x), round(y)
    stamp = flux * psf.at(x, y, x - j, y - i)
    rows = slice(max(i - half, 0), min(i + half + 1, image.shape[0]))
    cols = slice(max(j - half, 0), min(j + half + 1, image.shape[1]))
    if rows.start < rows.stop and cols.start < cols.stop:
        image[rows, cols] += stamp[
            rows.start - i + half : rows.stop - i + half, cols.start - j + half : cols.stop - j + half
        ]


def make_exposure(
    rng,
    shape,
    wcs,
    stars,
    fwhm=2.4,
    sky=400.0,
    zero_point=25.0,
    new=(),
    time="20260101000000",
    psf=None,
    noise=True,
):
    """Background-subtracted exposure; ``new`` holds (x, y, flux) of sources of this exposure only."""
    psf = psf or GaussianPsf(fwhm, 31)
    truth = np.zeros(shape)
    x, y = wcs.all_world2pix(stars.ra, stars.dec, 0)
    gain = 10 ** (0.4 * (zero_point - 25.0))
    for star_x, star_y, flux in zip(x, y, stars.flux * gain, strict=True):
        if -20 < star_x < shape[1] + 20 and -20 < star_y < shape[0] + 20:
            add_star(truth, psf, star_x, star_y, flux)
    for star_x, star_y, flux in new:
        add_star(truth, psf, star_x, star_y, flux)
    variance = np.maximum(truth, 0) + sky
    data = truth + (rng.normal(size=shape) * np.sqrt(variance) if noise else 0)
    info = Info(QuadrantId(time, 1, "zr", 1, 1), 61000.0 + int(time[6:8]), 30.0, 2, 0)
    return Exposure(
        data.astype(np.float32),
        variance.astype(np.float32),
        np.zeros(shape, np.uint32),
        info,
        wcs,
        psf,
        ZeroPoint(zero_point),
    )


def frozen(exposure):
    """The same with read-only arrays."""
    arrays = {}
    for name in ("data", "variance", "mask"):
        array = getattr(exposure, name).copy()
        array.flags.writeable = False
        arrays[name] = array
    return replace(exposure, **arrays)
