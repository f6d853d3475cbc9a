"""PSF models on disk: the stamp at the middle in HDU 0, as outside tools expect, the model behind it."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from zsds.core.errors import BadInput
from zsds.core.psf import GaussianPsf, PsfModel
from zsds.io.files import opened_fits, write_fits

_MODELS = {"PolynomialPsf": "zsds.psf.model"}  # classes with to_arrays and from_arrays, and where they live


def write_psf(path: Path, psf: PsfModel, x: float, y: float, header: fits.Header | None = None) -> None:
    """Write a model; ``x, y`` is the image position of the stamp in HDU 0, ``header`` gives it more cards."""
    primary = fits.PrimaryHDU(psf.at(x, y).astype(np.float32))
    if header is not None:
        primary.header.extend(header.copy(strip=True), unique=True)
        _remove_wcs(primary.header)
    name = type(psf).__name__
    primary.header["PSFMODEL"] = (name, "kind of model; its arrays are in the extensions")
    primary.header["PSFX"] = (x, "image position of this stamp, from 0")
    primary.header["PSFY"] = (y, "image position of this stamp, from 0")
    extensions = [fits.ImageHDU(_storable(array), name=key) for key, array in _arrays(psf).items()]
    write_fits(path, fits.HDUList([primary, *extensions]))


def read_psf(path: Path) -> PsfModel:
    """Read back what `write_psf` wrote.

    Raises
    ------
    BadInput
        If the file is damaged or holds no model known here.
    """
    with opened_fits(path) as hdus:
        name = hdus[0].header.get("PSFMODEL", "")
        arrays = {hdu.name.lower(): _native(hdu.data) for hdu in hdus[1:]}
    if name == "GaussianPsf":
        return GaussianPsf(float(arrays["fwhm"][0]), int(arrays["size"][0]))
    if name not in _MODELS:
        raise BadInput(
            str(path), f"holds no PSF model known here ({name or 'no PSFMODEL card'})", "make it again"
        )
    model: PsfModel = getattr(import_module(_MODELS[name]), name).from_arrays(arrays)
    return model


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


def _remove_wcs(header: fits.Header) -> None:
    starts = (
        "CTYPE",
        "CRVAL",
        "CRPIX",
        "CD1_",
        "CD2_",
        "PV1_",
        "PV2_",
        "A_",
        "B_",
        "AP_",
        "BP_",
        "CUNIT",
        "WCSAXES",
    )
    for keyword in [k for k in header if k.startswith(starts)]:
        header.remove(keyword)
