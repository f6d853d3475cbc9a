"""Stamps of point-spread functions and of images."""

import numpy as np
from numpy.typing import NDArray

from zsds.core.psf import PsfModel

APERTURE_PX = 7.0  # radius of the largest aperture


def psf_slopes(
    psf: PsfModel, x: float, y: float, dx: float, dy: float, step: float = 0.05
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Derivatives of a stamp by the star's x and y."""
    return (
        (psf.at(x, y, dx + step, dy) - psf.at(x, y, dx - step, dy)) / (2 * step),
        (psf.at(x, y, dx, dy + step) - psf.at(x, y, dx, dy - step)) / (2 * step),
    )


def overlap(
    image: NDArray[np.float32], stamp: NDArray[np.float32], x: float, y: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The part of an image under a stamp centred on the pixel nearest to (x, y), and that of the stamp."""
    half = stamp.shape[0] // 2
    top, left = round(y) - half, round(x) - half
    size = stamp.shape[0]
    part = image[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)]
    return part, stamp[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]


def middle(stamp: NDArray[np.float32], half: int) -> NDArray[np.float64]:
    """The middle [2 half + 1, 2 half + 1] of a stamp."""
    centre = stamp.shape[0] // 2
    cut = slice(centre - half, centre + half + 1)
    return stamp[cut, cut].astype(np.float64)


def fitted_star(
    star: NDArray[np.float64],
    model: PsfModel,
    place: tuple[float, float],
    shift: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The model [k, k] with the flux and sub-pixel shift that fit a stamp best, from a first shift.

    The shift is found until it rests: centres of lopsided PSFs differ by a tenth of a pixel.
    """
    half, root = star.shape[0] // 2, np.sqrt(weight).ravel()
    for _ in range(3):
        parts = (model.at(*place, *shift), *psf_slopes(model, *place, *shift))
        columns = np.stack([middle(part, half).ravel() for part in parts], axis=1)
        flux, *moved = np.linalg.lstsq(root[:, None] * columns, root * star.ravel(), rcond=None)[0]
        shift = shift + np.array(moved) / flux
    return flux * middle(model.at(*place, *shift), half)
