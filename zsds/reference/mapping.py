"""Where the pixels of one grid fall on another."""

import warnings
from dataclasses import dataclass

import numpy as np
from astropy.wcs import WCS, FITSFixedWarning
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

SPACING = 32  # output pixels between evaluations of the two solutions
STEP = 8  # output pixels between the nodes handed to the kernels, linear between


@dataclass(frozen=True)
class PixelMap:
    """Input pixel coordinates of output pixels (0, 0), (step, 0), ...; linear between.

    Parameters
    ----------
    x, y : ndarray of float64 [my, mx]
        Input pixel coordinates, origin 0.
    area : ndarray of float64 [my, mx]
        Area of an output pixel in input pixels.
    step : int
        Output pixels between nodes.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    area: NDArray[np.float64]
    step: int

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Input coordinates of one output position."""
        return _bilinear(self.x, x / self.step, y / self.step), _bilinear(
            self.y, x / self.step, y / self.step
        )

    def matrix(self, x: float, y: float) -> NDArray[np.float64]:
        """d(input x, y) / d(output x, y) [2, 2] around an output position."""
        reach = float(self.step)
        right, left = self.at(x + reach, y), self.at(x - reach, y)
        above, below = self.at(x, y + reach), self.at(x, y - reach)
        return np.array(
            [[right[0] - left[0], above[0] - below[0]], [right[1] - left[1], above[1] - below[1]]]
        ) / (2 * reach)


def map_pixels(output: WCS, source: WCS, shape: tuple[int, int]) -> PixelMap:
    """Places on ``source`` of the pixels of an ``output`` grid of ``shape`` (ny, nx), to 1e-4 pixels.

    The two solutions are evaluated every 32 pixels and interpolated with a cubic spline.
    """
    ny, nx = shape
    rows, cols = _coarse(ny), _coarse(nx)
    x, y = np.meshgrid(cols, rows)
    coarse_x, coarse_y = sky_to_pixels(source, *pixels_to_sky(output, x, y))
    fine_rows = np.arange(0, ny + 2 * STEP, STEP, dtype=float)
    fine_cols = np.arange(0, nx + 2 * STEP, STEP, dtype=float)
    spline_x = RectBivariateSpline(rows, cols, coarse_x)
    spline_y = RectBivariateSpline(rows, cols, coarse_y)
    area = spline_x(fine_rows, fine_cols, dy=1) * spline_y(fine_rows, fine_cols, dx=1)
    area -= spline_x(fine_rows, fine_cols, dx=1) * spline_y(fine_rows, fine_cols, dy=1)
    return PixelMap(spline_x(fine_rows, fine_cols), spline_y(fine_rows, fine_cols), np.abs(area), STEP)


def pixels_to_sky(wcs: WCS, x: NDArray, y: NDArray) -> tuple[NDArray, NDArray]:
    """Right ascension and declination, degrees."""
    ra, dec = wcs.all_pix2world(np.ravel(x), np.ravel(y), 0)
    return ra.reshape(np.shape(x)), dec.reshape(np.shape(x))


def sky_to_pixels(wcs: WCS, ra: NDArray, dec: NDArray) -> tuple[NDArray, NDArray]:
    """Pixel coordinates, origin 0; without distortion where the distorted solution has no answer."""
    flat = np.ravel(ra), np.ravel(dec)
    x, y = wcs.wcs_world2pix(*flat, 0)
    if wcs.sip is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            full_x, full_y = wcs.all_world2pix(*flat, 0, quiet=True, tolerance=1e-6)
        sane = np.hypot(full_x - x, full_y - y) < 1000  # False for NaN as well
        x, y = np.where(sane, full_x, x), np.where(sane, full_y, y)
    x, y = np.where(np.isfinite(x), x, -1e6), np.where(np.isfinite(y), y, -1e6)
    return x.reshape(np.shape(ra)), y.reshape(np.shape(ra))


def tangent_wcs(wcs: WCS, shape: tuple[int, int]) -> WCS:
    """Plain tangential solution that follows ``wcs`` at the centre of an image of ``shape`` (ny, nx)."""
    ny, nx = shape
    centre = np.array([(nx - 1) / 2, (ny - 1) / 2])
    reach = min(nx, ny) / 4
    x = centre[0] + reach * np.array([0, 1, -1, 0, 0])
    y = centre[1] + reach * np.array([0, 0, 0, 1, -1])
    ra, dec = pixels_to_sky(wcs, x, y)
    plain = empty_tangent(ra[0], dec[0])
    xi, eta = plain.wcs_world2pix(ra, dec, 0)  # degrees on the tangent plane
    plain.wcs.cd = np.array([[xi[1] - xi[2], xi[3] - xi[4]], [eta[1] - eta[2], eta[3] - eta[4]]]) / (
        2 * reach
    )
    plain.wcs.crpix = centre + 1
    plain.wcs.set()
    return plain


def finer_wcs(wcs: WCS, oversampling: float) -> WCS:
    """A plain tangential solution on a grid ``oversampling`` times finer; both cover the same sky."""
    finer = empty_tangent(*wcs.wcs.crval)
    finer.wcs.cd = wcs.pixel_scale_matrix / oversampling
    finer.wcs.crpix = (np.asarray(wcs.wcs.crpix) - 0.5) * oversampling + 0.5
    finer.wcs.set()
    return finer


def empty_tangent(ra: float, dec: float) -> WCS:
    """Tangential solution about a sky position; pixels of one degree, the tangent point at (0, 0)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [float(ra), float(dec)]
        wcs.wcs.cd = np.eye(2)
        wcs.wcs.crpix = [1.0, 1.0]
        wcs.wcs.set()
    return wcs


def _coarse(n: int) -> NDArray[np.float64]:
    """Nodes about SPACING apart, from one spacing before pixel 0 to one after the last."""
    return np.arange(-SPACING, n + 2 * SPACING, SPACING, dtype=float)


def _bilinear(values: NDArray[np.float64], x: float, y: float) -> float:
    ny, nx = values.shape
    j, i = int(np.clip(np.floor(x), 0, nx - 2)), int(np.clip(np.floor(y), 0, ny - 2))
    u, v = x - j, y - i  # beyond the nodes: linear
    low = values[i, j] * (1 - u) + values[i, j + 1] * u
    high = values[i + 1, j] * (1 - u) + values[i + 1, j + 1] * u
    return float(low * (1 - v) + high * v)
