"""References on disk: spline coefficients, noise, mask and coverage on the fine grid, and the PSF."""

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from zsds.core.errors import BadInput
from zsds.core.exposure import ZeroPoint
from zsds.io.files import opened_fits, write_fits
from zsds.io.headers import exposure_cards, read_info, read_wcs, read_zero_point, set_cards, zero_point_cards
from zsds.io.images import sky_noise
from zsds.io.psf import read_psf, write_psf
from zsds.io.store import Products
from zsds.io.tiles import compressed, read_pixels
from zsds.products import ReferenceId
from zsds.reference import Reference

COEFFICIENT_STEPS = 32.0  # quantisation steps per sigma
UNCERTAINTY_STEPS = 128.0
_PLANES = ("COEFFICIENTS", "SIGMA", "MASK", "COVERAGE")


def save_reference(products: Products, identifier: ReferenceId, reference: Reference) -> None:
    """Write a reference: its PSF, then everything on the fine grid in one file.

    Coefficients are quantised to 1/32 of the median noise and the noise to 1/128 of its median; mask and
    coverage are lossless.
    """
    header = _header(reference)
    if reference.psf is not None:
        write_psf(products.path("reference_spline_psf", identifier), reference.psf, reference.shape, header)
    with np.errstate(invalid="ignore"):
        sigma = np.sqrt(reference.variance)
    noise = sky_noise(sigma, reference.mask)
    planes = {
        "COEFFICIENTS": (reference.coefficients, noise / COEFFICIENT_STEPS),
        "SIGMA": (np.where(np.isfinite(sigma), sigma, np.float32(np.nan)), noise / UNCERTAINTY_STEPS),
        "MASK": (reference.mask.view(np.int32), 0.0),
        "COVERAGE": (reference.coverage.astype(np.int16), 0.0),
    }
    hdus = [fits.PrimaryHDU()]
    for name, (plane, step) in planes.items():
        hdu = compressed(plane, header if name == _PLANES[0] else fits.Header(), step)
        hdu.name = name
        hdus.append(hdu)
    epochs = np.array(reference.epochs, dtype="S")
    hdus.append(
        fits.BinTableHDU.from_columns(
            [fits.Column("epoch", f"{epochs.itemsize}A", array=epochs)], name="EPOCHS"
        )
    )
    write_fits(products.path("reference_spline", identifier), fits.HDUList(hdus))


def load_reference(products: Products, identifier: ReferenceId) -> Reference:
    """Read back what `save_reference` wrote.

    Raises
    ------
    BadInput
        If a file is missing or damaged.
    """
    path = products.path("reference_spline", identifier)
    with opened_fits(path) as hdus:
        missing = [name for name in (*_PLANES, "EPOCHS") if name not in hdus]
        if missing:
            raise BadInput(str(path), f"has no extension {missing[0]}", "make the reference again")
        planes = {name: read_pixels(hdus[name]) for name in _PLANES}
        header = hdus["COEFFICIENTS"].header.copy()
        epochs = tuple(str(epoch) for epoch in hdus["EPOCHS"].data["epoch"])
    return _reference(path, planes, header, epochs, products.path("reference_spline_psf", identifier))


def _reference(
    path: Path, planes: dict[str, NDArray[Any]], header: fits.Header, epochs: tuple[str, ...], psf: Path
) -> Reference:
    variance = np.square(planes["SIGMA"].astype(np.float32, copy=False))
    variance[np.isnan(variance)] = np.inf
    wcs = read_wcs(header)
    if wcs is None:
        raise BadInput(str(path), "has no WCS", "make the reference again")
    return Reference(
        coefficients=np.ascontiguousarray(planes["COEFFICIENTS"], dtype=np.float32),
        variance=variance,
        mask=np.ascontiguousarray(planes["MASK"], dtype=np.int32).view(np.uint32),
        coverage=planes["COVERAGE"].astype(np.uint16),
        wcs=wcs,
        zero_point=read_zero_point(header, 1.0) or ZeroPoint(float("nan")),
        info=read_info(header, str(path)),
        psf=read_psf(psf) if psf.exists() else None,
        oversampling=float(header["OVERSAMP"]),
        epochs=epochs,
        start_mjd=float(header["REFSTART"]),
        end_mjd=float(header["REFEND"]),
        rfid=int(header["RFID"]),
    )


def _header(reference: Reference) -> fits.Header:
    header = exposure_cards(reference.exposure)
    header.remove("BUNIT")
    cards = {
        **zero_point_cards(reference.zero_point, 1.0),
        "RFID": (reference.rfid, "reference id"),
        "NFRAMES": (reference.n_frames, "epochs co-added"),
        "REFSTART": (reference.start_mjd, "[d] start of the first epoch, MJD UTC"),
        "REFEND": (reference.end_mjd, "[d] end of the last epoch, MJD UTC"),
        "OVERSAMP": (reference.oversampling, "pixels of this grid per pixel of the camera"),
    }
    set_cards(header, cards)
    return header
