"""Difference images with known sources, as a perfect subtraction would make them."""

import numpy as np
from astropy.wcs import WCS
from scipy.signal import fftconvolve
from scipy.spatial import cKDTree

from zsds.candidates import find_candidates
from zsds.core.difference import Difference, Registration
from zsds.core.exposure import Exposure, Info, ZeroPoint
from zsds.core.ids import QuadrantId
from zsds.core.psf import GaussianPsf

NOISE = 10.0
PSF = GaussianPsf(2.4, 25)
ZERO_POINT = 26.0


def tan_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 20.0]
    wcs.wcs.crpix = [100.5, 100.5]
    wcs.wcs.cdelt = [-1.01 / 3600, 1.01 / 3600]
    return wcs


def draw(image, x, y, flux, psf=PSF):
    """Add a source; parts beyond the image are lost."""
    col, row, half = round(x), round(y), psf.size // 2
    padded = np.pad(image, half)
    stamp = psf.at(x, y, x - col, y - row)
    padded[row : row + psf.size, col : col + psf.size] += np.float32(flux) * stamp
    image[:] = padded[half:-half, half:-half]


def exposure(data, variance, mask=None, psf=PSF, gain=6.0):
    info = Info(QuadrantId("20230225250000", 505, "zg", 1, 2), 60000.25, 30.0, 1, 1, gain=gain)
    mask = np.zeros(data.shape, np.uint32) if mask is None else mask
    made = Exposure(data, variance, mask, info, tan_wcs(), psf, ZeroPoint(ZERO_POINT, 0.01))
    for array in (made.data, made.variance, made.mask):
        array.flags.writeable = False
    return made


def subtraction(signal, star_light=None, seed=1, mask=None, psf=PSF, gain=6.0):
    """Difference and science exposure of a noiseless signal (electrons), on white noise.

    ``star_light`` is what science holds besides the signal.
    """
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, NOISE, signal.shape).astype(np.float32)
    variance = np.full(signal.shape, NOISE**2, np.float32)
    data = (signal + noise).astype(np.float32)
    kernel = psf.at(0, 0)[::-1, ::-1]
    flux_err = NOISE / np.sqrt((kernel.astype(float) ** 2).sum())
    matched = fftconvolve(data, kernel, mode="same") / (kernel.astype(float) ** 2).sum()
    score = (matched / flux_err).astype(np.float32)
    if mask is not None:
        score[mask != 0] = np.nan
    errors = np.full(signal.shape, flux_err, np.float32)
    light = 0 if star_light is None else star_light
    science = exposure((data + light).astype(np.float32), variance.copy(), mask, psf, gain)
    made = Difference(exposure(data, variance, mask, psf, gain), score, errors, 1.0, 7, Registration())
    score.flags.writeable = False
    return made, science


def flux_error(psf=PSF):
    """Error of a PSF flux on the noise of these scenes."""
    return NOISE / np.sqrt((psf.at(0, 0).astype(float) ** 2).sum())


def blank(ny=101, nx=131):
    return np.zeros((ny, nx), np.float32)


def has(row, flag):
    return bool(int(row["flags"]) & flag)


def only(signal, *args, **kwargs):
    """The strongest candidate of a scene."""
    return find_candidates(*subtraction(signal, *args, **kwargs))[0]


def starfield(snr, seed, ny=301, nx=331):
    rng, signal, truth = np.random.default_rng(seed), blank(ny, nx), []
    for row in range(20, ny - 15, 26):
        for col in range(20, nx - 15, 26):
            x, y, sign = col + rng.uniform(-0.5, 0.5), row + rng.uniform(-0.5, 0.5), rng.choice([-1, 1])
            flux = sign * snr * flux_error()
            draw(signal, x, y, flux)
            truth.append((x, y, flux))
    return signal, np.array(truth)


def matched(table, truth):
    distance, index = cKDTree(truth[:, :2]).query(np.column_stack([table["x"], table["y"]]))
    assert (distance < 2).all()
    return truth[index]
