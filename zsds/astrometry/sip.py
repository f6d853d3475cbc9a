"""TAN-SIP coordinates (Shupe et al. 2005) that reproduce any smooth map of an image on the sky."""

from collections.abc import Callable

import numpy as np
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray

from zsds.astrometry.polynomial import PlanePolynomial, design, exponents, fit_polynomial
from zsds.core.sphere import deproject, project

Points = NDArray[np.float64]
MAX_SIP_ORDER = 7


def sip_wcs(to_plane: Callable[[Points], Points], ra0: float, dec0: float, shape: tuple[int, int]) -> WCS:
    """WCS whose reference pixel is the middle of the image.

    Parameters
    ----------
    to_plane : callable
        Pixel positions [n, 2] (origin 0) -> gnomonic coordinates [n, 2] in arcsec about (ra0, dec0).
    ra0, dec0 : float
        Degrees.
    shape : tuple of int
        (ny, nx).

    Returns
    -------
    astropy.wcs.WCS
        Of the lowest order that follows the map within 0.1 mas or, at most, order 7; with the inverse
        polynomials AP and BP, good to 0.0001 px where any order reaches that.
    """
    ny, nx = shape
    middle = np.array([(nx - 1) / 2, (ny - 1) / 2])
    x, y = np.meshgrid(_nodes(nx), _nodes(ny))
    offsets = np.stack([x.ravel(), y.ravel()], axis=1) - middle
    ra, dec = deproject(to_plane(offsets + middle), ra0, dec0)
    crval = np.array([part[0] for part in deproject(to_plane(middle[None]), ra0, dec0)])
    sky = project(ra, dec, *crval) / 3600
    scale = max(nx, ny) / 2
    ones = np.ones(len(offsets))
    for order in range(1, MAX_SIP_ORDER + 1):
        forward = fit_polynomial(offsets, sky, ones, order, scale)
        if np.abs(forward(offsets) - sky).max() * 3600 < 1e-4:
            break
    return _make_wcs(forward, offsets, crval, middle, shape)


def _nodes(n: int) -> NDArray[np.float64]:
    """Chebyshev nodes over the image including its outer edges."""
    return (n - 1) / 2 - n / 2 * np.cos(np.linspace(0, np.pi, 25))


def _make_wcs(
    forward: PlanePolynomial,
    offsets: Points,
    crval: NDArray[np.float64],
    middle: Points,
    shape: tuple[int, int],
) -> WCS:
    cd = forward.linear
    wcs = WCS(naxis=2)
    suffix = "" if forward.order == 1 else "-SIP"
    wcs.wcs.ctype = [f"RA---TAN{suffix}", f"DEC--TAN{suffix}"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.cd = cd
    wcs.wcs.radesys = "ICRS"
    wcs.wcs.equinox = 2000.0
    wcs.wcs.crpix = middle + 1
    ra, dec = deproject(forward.coefficients[:1] * 3600, *crval)
    wcs.wcs.crval = [ra[0], dec[0]]
    if forward.order > 1:
        wcs.sip = _sip(forward, np.linalg.inv(cd), offsets, middle + 1)
    wcs.pixel_shape = (shape[1], shape[0])
    wcs.wcs.set()
    return wcs


def _sip(forward: PlanePolynomial, inverse_cd: Points, offsets: Points, crpix: Points) -> Sip:
    """Forward polynomials as they are; inverse ones fitted to them."""
    order, scale = forward.order, forward.scale
    terms = forward.coefficients @ inverse_cd.T
    a, b = (_matrix(terms[:, axis], order, scale) for axis in range(2))
    for matrix in (a, b):
        matrix[0, 0] = matrix[1, 0] = matrix[0, 1] = 0.0
    distorted = offsets + _evaluate(a, b, offsets)
    for inverse_order in range(order, 10):
        inverse = fit_polynomial(distorted, offsets - distorted, np.ones(len(offsets)), inverse_order, scale)
        if np.abs(inverse(distorted) - (offsets - distorted)).max() < 1e-4:
            break
    ap, bp = (_matrix(inverse.coefficients[:, axis], inverse_order, scale) for axis in range(2))
    return Sip(a, b, ap, bp, crpix)


def _matrix(coefficients: NDArray[np.float64], order: int, scale: float) -> NDArray[np.float64]:
    """Coefficients of one axis as SIP's square matrix [x power, y power], in pixels."""
    matrix = np.zeros((order + 1, order + 1))
    for (i, j), value in zip(exponents(order), coefficients, strict=True):
        matrix[i, j] = value / scale ** (i + j)
    return matrix


def _evaluate(a: Points, b: Points, offsets: Points) -> Points:
    order = len(a) - 1
    basis = design(offsets, order)
    return np.stack([basis @ [m[i, j] for i, j in exponents(order)] for m in (a, b)], axis=1)
