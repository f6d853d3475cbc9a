"""What forced photometry needs of a difference image on disk: errors of fluxes, and windows around places."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zsds.core.difference import Difference
from zsds.core.flags import is_defect
from zsds.core.ids import QuadrantId
from zsds.core.psf import PsfModel
from zsds.io.images import write_plane
from zsds.io.psf import read_psf
from zsds.io.store import Products
from zsds.io.tile_windows import SMALL_COLUMNS, TiledImage, open_tiles

ERROR_STEPS = 64.0  # quantisation steps per median error


def write_flux_error(path: Path, difference: Difference) -> None:
    """Write the error of a flux measured in each pixel, in DN; NaN where the pixel cannot be used."""
    exposure = difference.exposure
    usable = ~is_defect(exposure.mask) & np.isfinite(exposure.data) & (exposure.variance > 0)
    to_dn = np.float32(1 / exposure.info.gain)
    plane = np.where(usable, difference.flux_err * to_dn, np.float32(np.nan))
    sample = plane[::3, ::3]
    known = np.isfinite(sample)
    step = float(np.median(sample[known])) / ERROR_STEPS if known.any() else 0.0
    cards = {"BUNIT": ("DN", "of a source's flux; NaN: pixel unusable")}
    write_plane(path, plane, step, cards, exposure, SMALL_COLUMNS)


@dataclass(frozen=True)
class DifferenceWindows:
    """A difference image of the archive, open for windows.

    Parameters
    ----------
    difference, errors : TiledImage
        DN.
    psf : PsfModel
    """

    difference: TiledImage
    errors: TiledImage
    psf: PsfModel

    def around(
        self, cols: Sequence[int], rows: Sequence[int], gain: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Difference and errors [n, k, k] in electrons, k the size of the PSF; NaN beyond the image."""
        half, factor = self.psf.size // 2, np.float32(gain)
        windows = (image.windows(cols, rows, half) * factor for image in (self.difference, self.errors))
        data, errors = windows
        return data, errors


def open_windows(store: Products, identifier: QuadrantId) -> DifferenceWindows:
    """Open the difference of a quadrant.

    Raises
    ------
    BadInput
        If a file is missing or damaged.
    """
    return DifferenceWindows(
        open_tiles(store.path("difference", identifier)),
        open_tiles(store.path("difference_flux_error", identifier)),
        read_psf(store.path("difference_psf", identifier)),
    )
