"""Headers of other systems: what they state of an image, whatever they call it."""

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

from zsds.core.errors import BadInput
from zsds.core.exposure import Info, ZeroPoint
from zsds.core.ids import JD_MINUS_MJD, QuadrantId, file_time
from zsds.io.header_values import read_angle, read_time
from zsds.io.headers import read_zero_point

GAIN = ("GAIN", "EGAIN", "GAINA", "CCDGAIN", "ARAWGAIN")
READ_NOISE = ("READNOI", "RDNOISE", "READNOIS", "RDNOISEA", "RON")
SATURATION = ("SATURATE", "SATURVAL", "MAXLIN", "SATLEVEL")
MJD = ("OBSMJD", "MJD-OBS", "MJD_OBS", "MJD")
JD = ("OBSJD", "JD", "JULDAT")
DATE = ("DATE-BEG", "DATE-OBS", "UTC-OBS", "UTSHUT", "SHUTOPEN")
EXPOSURE = ("EXPTIME", "EXPOSURE", "AEXPTIME", "ITIME")
FIELD = ("PTFFIELD", "FIELDID", "DBFIELD")
CCD = ("CCDID", "CCD_ID", "CCDNUM")
QUADRANT = ("QID",)
CHANNEL = ("RCID", "DBRCID")
EARLIEST_MJD, LATEST_MJD = 15020.0, 88069.0  # 1900 to 2100


@dataclass(frozen=True)
class Known:
    """What the user knows better than the header.

    Parameters
    ----------
    gain : float, optional
        Electrons per DN.
    read_noise : float, optional
        Electrons.
    saturation : float, optional
        DN.
    zero_point : float, optional
        AB mag of 1 DN.
    start_mjd : float, optional
        Start of the exposure, UTC.
    default_mjd : float, optional
        The same where the header has none, as of a co-add.
    exposure_s : float, optional
    band : str, optional
        Two-letter code.
    band_id : int, optional
    """

    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    zero_point: float | None = None
    start_mjd: float | None = None
    default_mjd: float | None = None
    exposure_s: float | None = None
    band: str | None = None
    band_id: int | None = None

    def __post_init__(self) -> None:
        for name in ("gain", "saturation", "exposure_s"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise BadInput(name, f"cannot be {value}", "give a number above 0")
        if self.zero_point is not None and not math.isfinite(self.zero_point):
            raise BadInput("zero_point", f"cannot be {self.zero_point}", "give the AB mag of 1 DN")


def readable_cards(header: fits.Header) -> fits.Header:
    """The cards that follow the standard; comments and what no reader understands are left out."""
    cards = []
    for card in header.cards:
        try:
            card.verify("silentfix")
            if card.keyword and card.keyword not in {"COMMENT", "HISTORY", "END"}:
                cards.append((card.keyword, card.value, card.comment))
        except (ValueError, fits.VerifyError):
            continue
    return fits.Header(cards)


def stated_info(path: Path, header: fits.Header, gain: float, known: Known, clipped: float) -> Info:
    """Facts of an image; ``clipped`` (DN) is its saturation where neither header nor user state one."""
    start = _start_mjd(path, header, known)
    ccd = int(stated_number(header, CCD, None, 1))
    quadrant = int(stated_number(header, QUADRANT, None, 1))
    identifier = _identifier(path, header, start, ccd, quadrant, known)
    saturation = stated_number(header, SATURATION, known.saturation, clipped, positive=True)
    default_channel = 4 * (identifier.ccd - 1) + identifier.quadrant - 1
    return Info(
        id=identifier,
        start_mjd=start,
        exposure_s=stated_number(header, EXPOSURE, known.exposure_s, 0.0),
        band_id=int(stated_number(header, ("FILTERID",), known.band_id, 0)),
        channel=int(stated_number(header, CHANNEL, None, default_channel)),
        gain=gain,
        read_noise=stated_number(header, READ_NOISE, known.read_noise, 0.0),
        saturation=saturation * gain,
        ra=_angle(header, ("TELRAD", "RAD", "OBJRAD", "RA", "OBJRA"), hours=True),
        dec=_angle(header, ("TELDECD", "DECD", "OBJDECD", "DEC", "OBJDEC"), hours=False),
        program_id=int(stated_number(header, ("PROGRMID",), None, 1)),
        program_pi=str(header.get("PROGRMPI", "")),
        airmass=stated_number(header, ("AIRMASS",), None, math.nan),
        provenance={"input": path.name},
    )


def _identifier(
    path: Path, header: fits.Header, start: float, ccd: int, quadrant: int, known: Known
) -> QuadrantId:
    for text in (path.name, str(header.get("UNITID", ""))):
        try:
            return QuadrantId.parse(text)
        except ValueError:
            continue
    field = int(stated_number(header, FIELD, None, 0))
    band = known.band or _band(header)
    return QuadrantId(file_time(start), field % 10**6, band, ccd % 100, quadrant % 10, "img")


def _band(header: fits.Header) -> str:
    """Two letters: ``zg`` of ``ZTF_g``, else ``x`` and the first letter of the filter's name."""
    name = str(header.get("FILTER", "")).strip()
    ztf = re.match(r"ZTF[_ ]([gri])", name, re.IGNORECASE)
    if ztf:
        return "z" + ztf[1].lower()
    return "x" + name[0].lower() if name[:1].isascii() and name[:1].isalpha() else "xx"


def _start_mjd(path: Path, header: fits.Header, known: Known) -> float:
    for start in (known.start_mjd, stated_mjd(path, header), known.default_mjd):
        if start is not None:
            return start
    raise BadInput(
        str(path), f"has no time of exposure ({', '.join(MJD)}, {DATE[1]})", "write its start into MJD-OBS"
    )


def stated_mjd(path: Path, header: fits.Header) -> float | None:
    """Start of the exposure by the header, UTC; None where it tells none."""
    mjd = stated_number(header, MJD, None, math.nan)
    if math.isfinite(mjd):
        return _plausible(path, mjd)
    for keyword in DATE:
        text = str(header.get(keyword, ""))
        moment = read_time(text) if "T" in text else None  # a date alone does not say when
        if moment is not None:
            return moment
    jd = stated_number(header, JD, None, math.nan)
    return _plausible(path, jd - JD_MINUS_MJD) if math.isfinite(jd) else None


def _plausible(path: Path, mjd: float) -> float:
    if not EARLIEST_MJD <= mjd <= LATEST_MJD:
        raise BadInput(str(path), f"says it was taken at MJD {mjd:g}", "mend the header's time")
    return mjd


def stated_zero_point(header: fits.Header, gain: float, known: Known) -> ZeroPoint | None:
    """Zero point for electrons; None where it must be measured."""
    if known.zero_point is not None:
        return ZeroPoint(known.zero_point + 2.5 * math.log10(gain))
    return read_zero_point(header, gain)


def stated_wcs(path: Path, header: fits.Header, shape: tuple[int, ...], required: bool) -> WCS | None:
    """A celestial WCS; None where there is none and none is required."""
    remedy = "solve its astrometry first, or give two aligned images of one shape"
    celestial = re.match(r"(RA|DEC|.LON|.LAT)-", str(header.get("CTYPE1", "")))
    if celestial is None or "CRVAL1" not in header:
        if required:
            raise BadInput(str(path), "has no WCS", remedy)
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AstropyWarning)
            wcs = WCS(_image_axes(header, shape), naxis=2)
            if not wcs.has_celestial:
                raise ValueError("its axes are not celestial")
            corners = wcs.all_pix2world([0, shape[1] - 1], [0, shape[0] - 1], 0)
    except Exception as error:  # wcslib raises a dozen types, all meaning an unusable header
        problem = f"its WCS cannot be used ({str(error).splitlines()[0]})"
        raise BadInput(str(path), problem, remedy) from error
    if not np.isfinite(corners).all():
        raise BadInput(str(path), "its WCS gives no sky position for its corners", remedy)
    wcs.pixel_shape = (shape[1], shape[0])
    return wcs


def _image_axes(header: fits.Header, shape: tuple[int, ...]) -> fits.Header:
    """A header astropy reads without complaint: right axes, one spelling of the frame."""
    header = header.copy()
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, shape[1], shape[0]
    if "RADECSYS" in header:
        header.setdefault("RADESYS", header["RADECSYS"])
        del header["RADECSYS"]
    distorted = [keyword for keyword in header if re.fullmatch(r"PV[12]_\d+", keyword)]
    if "SIP" in str(header["CTYPE1"]):
        for keyword in distorted:  # the same distortion a second time, in a form TAN-SIP does not know
            del header[keyword]
    elif "TAN" in str(header["CTYPE1"]) and any(int(keyword[4:]) > 4 for keyword in distorted):
        header["CTYPE1"] = str(header["CTYPE1"]).replace("TAN", "TPV")  # written before TPV had its name
        header["CTYPE2"] = str(header["CTYPE2"]).replace("TAN", "TPV")
    return header


def stated_number(
    header: fits.Header, keywords: Sequence[str], given: float | None, default: float, positive: bool = False
) -> float:
    """The given value, else the first keyword that holds a usable number, else the default."""
    if given is not None:
        return given
    for keyword in keywords:
        try:
            value = float(header[keyword])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(value) and (value > 0 or not positive):
            return value
    return default


def _angle(header: fits.Header, keywords: Sequence[str], hours: bool) -> float:
    for keyword in keywords:
        value = header.get(keyword)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        degrees = read_angle(value, in_hours=hours) if isinstance(value, str) else math.nan
        if math.isfinite(degrees):
            return degrees
    return math.nan
