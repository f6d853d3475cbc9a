"""Our point-spread functions in the forms other tools read."""

from typing import Union

import numpy as np
from astropy.nddata import NDData
from photutils.psf import GriddedPSFModel, ImagePSF

from zsds.psf.model import PolynomialPsf, fine_image


def to_photutils(
    psf: PolynomialPsf, oversampling: int = 4, nodes: int = 5
) -> Union[ImagePSF, GriddedPSFModel]:  # noqa: UP007 - photutils' classes take | as an operation on models
    """The model for photutils: an ``ImagePSF`` when it does not vary, else a ``GriddedPSFModel``.

    Parameters
    ----------
    psf : PolynomialPsf
    oversampling : int
        Samples per pixel of the exported images.
    nodes : int
        Positions per axis of the grid.
    """
    x0, y0, x_scale, y_scale = psf.geometry
    if psf.order == 0:
        return ImagePSF(fine_image(psf, x0, y0, oversampling), oversampling=oversampling)
    line = np.linspace(-1, 1, nodes)
    places = [(x0 + x_scale * u, y0 + y_scale * v) for v in line for u in line]
    images = np.array([fine_image(psf, x, y, oversampling) for x, y in places])
    return GriddedPSFModel(NDData(images, meta={"grid_xypos": places, "oversampling": oversampling}))
