"""PSF catalogs on disk: our table ``stars``, and before it the same in the layout of ZTF's psfcat files."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from zsds.core.exposure import Exposure
from zsds.core.tables import check_table
from zsds.core.units import magnitude, magnitude_error
from zsds.io.files import write_fits
from zsds.io.headers import Cards, exposure_cards
from zsds.io.psf import without_wcs
from zsds.io.tables import fits_table

_EDGE = -1  # ZTF's flag of a source on or near the edge


def write_psf_catalog(path: Path, stars: Table, exposure: Exposure, cards: Cards | None = None) -> None:
    """Write a PSF catalog that readers of ZTF's understand; `zsds.io.tables.read_table` reads ``stars`` back.

    Parameters
    ----------
    path : pathlib.Path
        HDU 1 ``PSF_CATALOG``: positions counted from 1, fluxes in DN, instrumental magnitudes (add
        ``MAGZP``); HDU 2 ``STARS``: our table.
    stars : astropy.table.Table
        Declared as ``stars``; fluxes in electrons.
    exposure : Exposure
        The image they were measured on; its cards go into the primary header.
    cards : mapping, optional
        More header cards.
    """
    check_table(stars, "stars")
    header = without_wcs(exposure_cards(exposure, cards))
    header.remove("BUNIT", ignore_missing=True)
    header["NSOURCES"] = (len(stars), "rows of the catalog")
    ours = fits_table(stars, "stars", header)
    write_fits(path, fits.HDUList([ours[0], _as_ztf(stars, exposure.info.gain), ours[1]]))


def _as_ztf(stars: Table, gain: float) -> fits.BinTableHDU:
    flux, flux_err = np.asarray(stars["flux"]) / gain, np.asarray(stars["flux_err"]) / gain
    flags = np.where(stars["is_edge"], _EDGE, np.asarray(stars["flags"]) & 0xFFFF)
    columns = [
        ("sourceid", "J", "", stars["id"]),
        ("xpos", "E", "pix", np.asarray(stars["x"]) + 1),
        ("ypos", "E", "pix", np.asarray(stars["y"]) + 1),
        ("ra", "D", "deg", stars["ra"]),
        ("dec", "D", "deg", stars["dec"]),
        ("flux", "E", "adu", flux),
        ("sigflux", "E", "adu", flux_err),
        ("mag", "E", "mag", magnitude(flux, 0.0)),
        ("sigmag", "E", "mag", magnitude_error(flux, flux_err)),
        ("snr", "E", "", stars["snr"]),
        ("chi", "E", "", stars["chi"]),
        ("sharp", "E", "", stars["sharp"]),
        ("flags", "I", "", flags.astype(np.int16)),
    ]
    stored = [fits.Column(name, code, unit or None, array=np.asarray(a)) for name, code, unit, a in columns]
    return fits.BinTableHDU.from_columns(stored, name="PSF_CATALOG")
