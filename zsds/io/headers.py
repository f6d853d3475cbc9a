"""Header cards of our images: what is known of an exposure, in ZTF's keywords, and back again."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from zsds.core.errors import BadInput
from zsds.core.exposure import Exposure, Info, ZeroPoint
from zsds.core.ids import JD_MINUS_MJD, QuadrantId, night_id, processing_id
from zsds.core.sphere import pixel_scale_arcsec

Cards = Mapping[str, Any]  # keyword -> value, or (value, comment)
SOFTWARE_CARD = "PROV"


def exposure_cards(exposure: Exposure, extra: Cards | None = None) -> fits.Header:
    """All cards of an image in DN: identity, detector, photometry, WCS, provenance, then ``extra``.

    Values that are NaN or infinite are left out, since FITS has no way to write them.
    """
    header = fits.Header()
    cards = {
        "BUNIT": ("adu", "DN; multiply by GAIN for electrons"),
        **_info_cards(exposure.info),
        **(zero_point_cards(exposure.zero_point, exposure.info.gain) if exposure.zero_point else {}),
        "STATUS": (1, "overall processing flag: 0 = bad; 1 = usable"),
        "INFOBITS": (0, "quality bits; 0 = nothing to report"),
        **(extra or {}),
    }
    set_cards(header, cards)
    if exposure.wcs is not None:
        header.extend(wcs_cards(exposure.wcs), update=True)
    for number, (name, text) in enumerate(sorted(exposure.info.provenance.items()), start=1):
        header[f"{SOFTWARE_CARD}{number:03d}"] = f"{name}: {text}"
    return header


def set_cards(header: fits.Header, cards: Cards) -> None:
    """Set cards in order; numbers that are not finite are left out."""
    for keyword, value in cards.items():
        content, comment = value if isinstance(value, tuple) else (value, None)
        if isinstance(content, np.generic):
            content = content.item()
        if isinstance(content, float) and not math.isfinite(content):
            continue
        header[keyword] = (content, comment)


def _info_cards(info: Info) -> dict[str, tuple[Any, str]]:
    pid = processing_id(info.start_mjd, info.channel)
    return {
        "UNITID": (str(info.id), "quadrant of exposure"),
        "OBSMJD": (info.start_mjd, "[d] start of exposure, MJD UTC"),
        "OBSJD": (info.start_mjd + JD_MINUS_MJD, "[d] start of exposure, JD UTC"),
        "EXPTIME": (info.exposure_s, "[s] exposure time"),
        "FILTERID": (info.band_id, "filter number"),
        "FILTERCD": (info.id.band, "filter code"),
        "FIELDID": (info.id.field, "field of the survey grid"),
        "CCDID": (info.id.ccd, "detector, from 1"),
        "QID": (info.id.quadrant, "quadrant of the detector, from 1"),
        "RCID": (info.channel, "readout channel, from 0"),
        "EXPID": (pid // 10000, "exposure number"),
        "DBPID": (pid, "processing id"),
        "DBNID": (night_id(info.start_mjd), "night id"),
        "GAIN": (info.gain, "electrons per DN"),
        "READNOI": (info.read_noise, "[electron] read noise"),
        "SATURATE": (info.saturation / info.gain, "[adu] saturation level"),
        "TELRAD": (info.ra, "[deg] pointing, right ascension"),
        "TELDECD": (info.dec, "[deg] pointing, declination"),
        "AIRMASS": (info.airmass, "airmass"),
        "PROGRMID": (info.program_id, "0 engineering 1 public 2 partnership 3 private"),
        "PROGRMPI": (info.program_pi, "investigator"),
    }


def zero_point_cards(zero_point: ZeroPoint, gain: float) -> dict[str, tuple[Any, str]]:
    """Cards of a zero point for electrons, turned into one for DN."""
    to_dn = -2.5 * math.log10(gain)
    return {
        "MAGZP": (zero_point.value + to_dn, "[mag] AB zero point for fluxes in DN"),
        "MAGZPUNC": (zero_point.err, "[mag] its error"),
        "MAGZPRMS": (zero_point.rms, "[mag] scatter of the calibrators"),
        "CLRCOEFF": (zero_point.colour_coeff, "colour coefficient"),
        "CLRCOUNC": (zero_point.colour_err, "its error"),
        "ZPCLRCOV": (zero_point.covariance, "[mag2] covariance of MAGZP and CLRCOEFF"),
        "NMATCHES": (zero_point.n_stars, "calibrators used"),
        "CLRMED": (zero_point.colour_median, "[mag] median colour of the calibrators"),
        "CLRRMS": (zero_point.colour_rms, "[mag] scatter of their colours"),
        "ZPMED": (zero_point.median + to_dn, "[mag] the same for their median colour"),
    }


def wcs_cards(wcs: WCS) -> fits.Header:
    """Cards of a WCS with its distortion (SIP or TPV), as a CD matrix in full precision."""
    header = wcs.to_header(relax=True)
    for axis in (1, 2):
        header[f"CRVAL{axis}"] = float(wcs.wcs.crval[axis - 1])
        header[f"CRPIX{axis}"] = float(wcs.wcs.crpix[axis - 1])
        header.remove(f"CDELT{axis}", ignore_missing=True)
        for other in (1, 2):
            header.remove(f"PC{axis}_{other}", ignore_missing=True)
            header[f"CD{axis}_{other}"] = float(wcs.pixel_scale_matrix[axis - 1, other - 1])
    for axis, term, value in wcs.wcs.get_pv():
        header[f"PV{axis}_{term}"] = float(value)
    if wcs.sip is not None:
        _set_sip(header, wcs)
    for keyword in ("DATE-OBS", "MJD-OBS", "MJDREF", "DATEREF", "TIMESYS"):
        header.remove(keyword, ignore_missing=True)
    if wcs.has_celestial:
        header["PIXSCALE"] = (pixel_scale_arcsec(wcs), "[arcsec] mean pixel scale")
    return header


def _set_sip(header: fits.Header, wcs: WCS) -> None:
    for name, terms in (("A", wcs.sip.a), ("B", wcs.sip.b), ("AP", wcs.sip.ap), ("BP", wcs.sip.bp)):
        if terms is None:
            continue
        for p, q in np.argwhere(terms):
            header[f"{name}_{p}_{q}"] = float(terms[p, q])


def read_wcs(header: fits.Header) -> WCS | None:
    """WCS of a header we wrote; None when it has none."""
    if "CTYPE1" not in header:
        return None
    wcs = WCS(header)
    wcs.pixel_shape = (header["NAXIS1"], header["NAXIS2"])
    return wcs


def read_info(header: fits.Header, source: str) -> Info:
    """What `exposure_cards` wrote of an exposure.

    Raises
    ------
    BadInput
        If a card is missing or no unit id stands in it.
    """
    gain = _required(header, "GAIN", source)
    saturation = header.get("SATURATE")
    try:
        identifier = QuadrantId.parse(_required(header, "UNITID", source))
    except ValueError as error:
        raise BadInput(source, str(error), "make the product again") from error
    return Info(
        id=identifier,
        start_mjd=_required(header, "OBSMJD", source),
        exposure_s=_required(header, "EXPTIME", source),
        band_id=_required(header, "FILTERID", source),
        channel=_required(header, "RCID", source),
        gain=gain,
        read_noise=header.get("READNOI", 0.0),
        saturation=float("inf") if saturation is None else saturation * gain,
        ra=header.get("TELRAD", float("nan")),
        dec=header.get("TELDECD", float("nan")),
        program_id=header.get("PROGRMID", 1),
        program_pi=header.get("PROGRMPI", ""),
        airmass=header.get("AIRMASS", float("nan")),
        provenance=_read_provenance(header),
    )


def read_zero_point(header: fits.Header, gain: float) -> ZeroPoint | None:
    """Zero point for electrons; None when the header has none that is a number."""
    value = _number(header, "MAGZP", math.nan)
    if not math.isfinite(value):
        return None
    return ZeroPoint(
        value=value + 2.5 * math.log10(gain),
        err=_number(header, "MAGZPUNC", 0.0),
        colour_coeff=_number(header, "CLRCOEFF", 0.0),
        colour_err=_number(header, "CLRCOUNC", 0.0),
        covariance=_number(header, "ZPCLRCOV", 0.0),
        rms=_number(header, "MAGZPRMS", 0.0),
        n_stars=int(_number(header, "NMATCHES", 0)),
        colour_median=_number(header, "CLRMED", math.nan),
        colour_rms=_number(header, "CLRRMS", math.nan),
        median=_number(header, "ZPMED", math.nan) + 2.5 * math.log10(gain),
    )


def _number(header: fits.Header, keyword: str, default: float) -> float:
    """A card's number; the default where the card is missing or holds something else."""
    try:
        return float(header[keyword])
    except (KeyError, TypeError, ValueError):
        return default


def _read_provenance(header: fits.Header) -> dict[str, str]:
    provenance = {}
    for keyword in header:
        if keyword.startswith(SOFTWARE_CARD) and keyword[len(SOFTWARE_CARD) :].isdigit():
            name, _, text = str(header[keyword]).partition(": ")
            provenance[name] = text
    return provenance


def _required(header: fits.Header, keyword: str, source: str) -> Any:
    if keyword not in header:
        raise BadInput(source, f"has no {keyword} card", "use read_calibrated for images of other systems")
    return header[keyword]
