"""Master calibrations on disk: bias, flat and bad pixels of one quadrant, each with uncertainty and mask."""

from dataclasses import replace
from typing import Any

from zsds.core.errors import BadInput
from zsds.io.files import write_fits
from zsds.io.headers import exposure_cards
from zsds.io.images import mask_hdus, read_exposure, read_header, read_mask
from zsds.io.store import Products
from zsds.isr import Calibration
from zsds.products import CalibrationId

GAIN_CARD = "AMPGAIN"  # a flat has no unit: it is stored as it is, and the gain beside it


def save_calibration(products: Products, identifier: CalibrationId, calibration: Calibration) -> None:
    """Write bias, flat and bad pixels of one version; the flat, which names the version, comes last."""
    cards: dict[str, Any] = {"CALVERS": (calibration.version, "version of the calibration")}
    products.save_exposure("bias", identifier, calibration.bias, cards)
    header = exposure_cards(calibration.flat, cards)
    write_fits(products.path("bad_pixels", identifier), mask_hdus(calibration.bad_pixels, header))
    info = calibration.flat.info
    cards[GAIN_CARD] = (info.gain, "electrons per DN")
    cards["BUNIT"] = ("", "response, median 1")
    flat = replace(calibration.flat, info=replace(info, gain=1.0))
    products.save_exposure("flat", identifier, flat, cards)


def load_calibration(products: Products, identifier: CalibrationId) -> Calibration:
    """Read back what `save_calibration` wrote, but for the masks of bias and flat: the bad pixels hold both.

    Raises
    ------
    BadInput
        If a file is missing or damaged, or the three are not of one version.
    """
    flat_files = products.image_set("flat", identifier)
    bias_files = products.image_set("bias", identifier)
    header = read_header(flat_files.image)
    version = str(header.get("CALVERS", ""))
    if read_header(bias_files.image).get("CALVERS") != version:
        problem = "is not of the version of the flat beside it"
        raise BadInput(str(bias_files.image), problem, "make the calibration again")
    bad_pixels = read_mask(products.path("bad_pixels", identifier))
    flat = read_exposure(flat_files, bad_pixels)
    return Calibration(
        bias=read_exposure(bias_files, bad_pixels),
        flat=replace(flat, info=replace(flat.info, gain=float(header.get(GAIN_CARD, 1.0)))),
        bad_pixels=bad_pixels,
        version=version,
    )
