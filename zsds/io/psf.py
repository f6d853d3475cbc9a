"""PSF models on disk: the stamp at the middle in HDU 0, as outside tools expect, the model behind it."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from zsds.core.errors import BadInput
from zsds.core.psf import GaussianPsf, PsfModel
from zsds.io.files import opened_fits, write_fits
from zsds.psf.model import GridPsf, model_knots

OUTSIDE_SIZE = 25  # side of the stamp in HDU 0
SAMPLE_SPACING = 256.0  # pixels between samples of a model that cannot be stored as it is
OVERSAMPLING = 2  # knots per pixel of a sampled model
_OURS = "zsds."
_WCS_CARD = re.compile(r"(CTYPE|CRVAL|CRPIX|CUNIT|WCSAXES|CD\d_|PV\d_|(A|B|AP|BP)_(\d_\d|ORDER))")


def write_psf(path: Path, psf: PsfModel, shape: tuple[int, int], header: fits.Header | None = None) -> None:
    """Write the PSF of an image.

    Parameters
    ----------
    path : pathlib.Path
    psf : PsfModel
        Stored through its ``to_arrays`` where it has one, else sampled every 256 pixels.
    shape : (ny, nx)
        Of the image; HDU 0 holds the PSF at its middle, 25 x 25.
    header : astropy.io.fits.Header, optional
        More cards for HDU 0; those of a WCS are left out.
    """
    ny, nx = shape
    x, y = (nx - 1) / 2, (ny - 1) / 2
    primary = fits.PrimaryHDU(_resized(psf.at(x, y), OUTSIDE_SIZE))
    if header is not None:
        primary.header.extend(without_wcs(header), unique=True)
    storable = psf if isinstance(psf, GaussianPsf) or hasattr(psf, "to_arrays") else sampled_psf(psf, shape)
    kind = type(storable)
    primary.header["PSFMODEL"] = (
        f"{kind.__module__}.{kind.__qualname__}",
        "its arrays are in the extensions",
    )
    primary.header["PSFX"] = (x, "image position of this stamp, from 0")
    primary.header["PSFY"] = (y, "image position of this stamp, from 0")
    extensions = [fits.ImageHDU(_storable(array), name=key) for key, array in _arrays(storable).items()]
    write_fits(path, fits.HDUList([primary, *extensions]))


def read_psf(path: Path) -> PsfModel:
    """Read back what `write_psf` wrote, or a single stamp in HDU 0 as ZTF's PSF files hold.

    Raises
    ------
    BadInput
        If the file is damaged or holds neither.
    """
    with opened_fits(path) as hdus:
        name = str(hdus[0].header.get("PSFMODEL", ""))
        stamp = hdus[0].data
        arrays = {hdu.name.lower(): _native(hdu.data) for hdu in hdus[1:] if hdu.data is not None}
    if not name:
        return _single_stamp(path, stamp)
    module, _, kind = name.rpartition(".")
    try:
        if name == f"{GaussianPsf.__module__}.GaussianPsf":
            return GaussianPsf(float(arrays["fwhm"][0]), int(arrays["size"][0]))
        if not module.startswith(_OURS):
            raise KeyError(name)
        model: PsfModel = getattr(import_module(module), kind).from_arrays(arrays)
    except (ImportError, AttributeError, KeyError, ValueError) as error:
        raise BadInput(str(path), f"holds no PSF model known here ({name})", "make it again") from error
    return model


def sampled_psf(psf: PsfModel, shape: tuple[int, int]) -> GridPsf:
    """Any model, sampled on a grid of positions over an image."""
    y, x = (np.linspace(0, n - 1, 2 + int(n // SAMPLE_SPACING)) if n > 1 else np.zeros(1) for n in shape)
    knots = np.array([[model_knots(psf, float(a), float(b), OVERSAMPLING) for a in x] for b in y])
    return GridPsf(knots.astype(np.float32), x, y, psf.size, OVERSAMPLING)


def _single_stamp(path: Path, stamp: NDArray | None) -> GridPsf:
    if stamp is None or stamp.ndim != 2 or stamp.shape[0] != stamp.shape[1] or stamp.shape[0] % 2 == 0:
        raise BadInput(
            str(path), "holds no square PSF stamp of odd side in its first HDU", "leave it to be measured"
        )
    stamp = _native(stamp).astype(np.float32)
    total = float(stamp.sum(dtype=float))
    if not np.isfinite(total) or total <= 0:
        raise BadInput(
            str(path), "its PSF stamp does not sum to a positive number", "leave it to be measured"
        )
    return GridPsf.from_stamps((stamp / np.float32(total))[None, None], [0.0], [0.0])


def _resized(stamp: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The middle of a stamp, with zeros around it where it is smaller; not normalised again."""
    resized = np.zeros((size, size), np.float32)
    half = min(stamp.shape[0], size) // 2
    from_, to = stamp.shape[0] // 2, size // 2
    inner = slice(from_ - half, from_ + half + 1)
    resized[to - half : to + half + 1, to - half : to + half + 1] = stamp[inner, inner]
    return resized


def _arrays(psf: Any) -> dict[str, np.ndarray]:
    if isinstance(psf, GaussianPsf):
        return {"fwhm": np.array([psf.fwhm]), "size": np.array([psf.size])}
    arrays: dict[str, np.ndarray] = psf.to_arrays()
    return arrays


def _storable(array: np.ndarray) -> np.ndarray:
    array = np.atleast_1d(array)
    return array.astype(np.int32) if array.dtype == bool else array


def _native(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def without_wcs(header: fits.Header) -> fits.Header:
    """A copy of a header without structure and WCS, for data that are not the image itself."""
    kept = header.copy(strip=True)
    for keyword in [k for k in kept if _WCS_CARD.match(k)]:
        kept.remove(keyword)
    return kept
