"""Directions to pixels by a polynomial of gnomonic coordinates."""

import numpy as np
from numba import njit

ARCSEC_PER_RADIAN = 206264.80624709636


@njit(cache=True, nogil=True)
def map_to_pixels(ra, dec, ra0, dec0, scale, order, coefficients, out):
    """Fill ``out`` [n, 2] for directions in degrees; NaN for those 90 degrees or more away.

    ``coefficients`` [terms, 2] by rising total power, as in `zsds.astrometry.polynomial.exponents`. One
    direction after the other, so that each gives the same to the last bit in whatever company it comes.
    """
    sin0, cos0 = np.sin(np.radians(dec0)), np.cos(np.radians(dec0))
    for n in range(ra.size):
        east, sin, cos = np.radians(ra[n] - ra0), np.sin(np.radians(dec[n])), np.cos(np.radians(dec[n]))
        depth = sin0 * sin + cos0 * cos * np.cos(east)
        if not depth > 1e-6:
            out[n] = np.nan
            continue
        u = cos * np.sin(east) / depth * ARCSEC_PER_RADIAN / scale
        v = (cos0 * sin - sin0 * cos * np.cos(east)) / depth * ARCSEC_PER_RADIAN / scale
        x, y, term = 0.0, 0.0, 0
        for total in range(order + 1):
            for j in range(total + 1):
                value = u ** (total - j) * v**j
                x += coefficients[term, 0] * value
                y += coefficients[term, 1] * value
                term += 1
        out[n, 0], out[n, 1] = x, y
