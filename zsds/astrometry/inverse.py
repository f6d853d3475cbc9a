"""From the sky to the pixels of an image by one polynomial, without its WCS at hand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.wcs import WCS
from numpy.typing import ArrayLike, NDArray

from zsds.astrometry.polynomial import PlanePolynomial, fit_polynomial
from zsds.core.sphere import project
from zsds.kernels.sky_map import map_to_pixels

ORDER = 5
NODES = 14  # along each axis, at which the WCS is asked


@dataclass(frozen=True)
class SkyMap:
    """Pixels of directions: a polynomial of gnomonic coordinates about the middle of the image.

    Parameters
    ----------
    ra, dec : float
        Of the middle, degrees.
    polynomial : PlanePolynomial
        Arcseconds to pixels, 0 at the centre of the first.
    """

    ra: float
    dec: float
    polynomial: PlanePolynomial

    def __call__(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.float64]:
        """Pixels [n, 2] (x, y) of directions in degrees; NaN for those on the other side of the sky."""
        ra, dec = (np.ascontiguousarray(np.atleast_1d(angle), dtype=np.float64) for angle in (ra, dec))
        pixels, p = np.empty((ra.size, 2)), self.polynomial
        map_to_pixels(ra, dec, self.ra, self.dec, p.scale, p.order, p.coefficients, pixels)
        return pixels

    def to_values(self) -> dict[str, Any]:
        """Plain numbers that `from_values` reads back."""
        p = self.polynomial
        return {
            "ra": self.ra,
            "dec": self.dec,
            "scale": p.scale,
            "order": p.order,
            "x": p.coefficients[:, 0].tolist(),
            "y": p.coefficients[:, 1].tolist(),
        }

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "SkyMap":
        """The map written by `to_values`."""
        coefficients = np.stack([values["x"], values["y"]], axis=1)
        polynomial = PlanePolynomial(int(values["order"]), float(values["scale"]), coefficients)
        return cls(values["ra"], values["dec"], polynomial)


def fit_sky_map(wcs: WCS, shape: tuple[int, int]) -> SkyMap:
    """The inverse of a WCS over an image of the shape (ny, nx), within a hundredth of a pixel.

    A fit of fifth order to nodes all over the image, which the distortion of no survey camera resists.
    """
    ny, nx = shape
    ra, dec = (float(value) for value in wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0))
    x, y = (
        grid.ravel() for grid in np.meshgrid(np.linspace(0, nx - 1, NODES), np.linspace(0, ny - 1, NODES))
    )
    plane = project(*wcs.all_pix2world(x, y, 0), ra, dec)
    scale = float(np.abs(plane).max())
    return SkyMap(ra, dec, fit_polynomial(plane, np.stack([x, y], axis=1), np.ones(x.size), ORDER, scale))
