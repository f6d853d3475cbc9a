"""Calibrated images of other systems as exposures: what a header gives is taken, the rest left open."""

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter

from zsds.core.errors import BadInput
from zsds.core.exposure import Exposure, Info, ZeroPoint
from zsds.core.flags import Mask, is_defect
from zsds.core.ids import JD_MINUS_MJD, QuadrantId, file_time
from zsds.core.robust import mad_width
from zsds.io.files import opened_fits
from zsds.io.header_values import read_angle, read_time
from zsds.io.headers import read_zero_point
from zsds.io.images import read_image, read_mask
from zsds.io.psf import read_psf

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
NO_GAIN = "not known, 1 electron per DN assumed (--gain sets it)"
NO_TIME = "not known, that of the other image assumed"
SOURCE_SIGMAS = 3.0
CLIPPED_PIXELS = 5  # with the very same highest value: the image was cut off there
CLIPPED_FRACTION = 0.9  # of it counts as saturated: flats and resampling have moved the pixels since
CLIPPED_SIGMAS = 50.0
BLANK = 7  # side in pixels of squares of one value: no sky is so even
LAG = 4  # pixels; noise correlated by resampling reaches less far


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


def read_calibrated(
    path: Path,
    mask: Path | None = None,
    uncertainty: Path | None = None,
    weight: Path | None = None,
    psf: Path | None = None,
    known: Known | None = None,
    require_wcs: bool = True,
) -> Exposure:
    """A calibrated image of any system, in electrons, with its sky.

    Parameters
    ----------
    path : pathlib.Path
        FITS image in DN, plain, gzip-ed or tile-compressed; the first image found is read.
    mask : pathlib.Path, optional
        A mask with ZTF's bits when it comes from ZTF or zsds; in any other, pixels that are not 0 are bad.
    uncertainty, weight : pathlib.Path, optional
        1-sigma in DN, or inverse variance in 1/DN**2. Without either the variance is the measured scatter of
        the sky plus the photon noise of what stands above it.
    psf : pathlib.Path, optional
        PSF model written by zsds.
    known : Known, optional
        Overrides the header.
    require_wcs : bool
        Whether an image without WCS is an error.

    Returns
    -------
    Exposure
        ``psf`` and ``zero_point`` are None where they must be measured. Without a gain it is taken as 1, so
        that electrons are DN; the variance of the sky is right all the same, since it is measured.

    Raises
    ------
    BadInput
        If a file is missing, damaged, without numbers, WCS or time, or of another shape.
    """
    path, known = Path(path), known or Known()
    if uncertainty is not None and weight is not None:
        raise BadInput(str(weight), "is given beside an uncertainty", "give one of the two")
    data, header = _image(path)
    stated = _number(header, GAIN, known.gain, math.nan, positive=True)
    gain = stated if math.isfinite(stated) else 1.0
    info = _info(path, header, gain, known, clipped_level(data))
    assumed = {} if math.isfinite(stated) else {"gain": NO_GAIN}
    if known.start_mjd is None and _header_mjd(path, header) is None:
        assumed["time"] = NO_TIME
    info = replace(info, provenance={**info.provenance, **assumed})
    electrons = data * np.float32(gain)
    planes = {"mask": mask, "uncertainty": uncertainty, "weight": weight}
    given = {name: _plane(file, name, data.shape) for name, file in planes.items() if file is not None}
    flags = given.get("mask", np.zeros(data.shape, np.uint32)).copy()
    flags[~np.isfinite(data)] |= np.uint32(Mask.NAN)
    flags[electrons >= info.saturation] |= np.uint32(Mask.SATURATED)
    sky_variance = _sky_variance(electrons, path)
    if "uncertainty" in given:
        variance = (given["uncertainty"] * np.float32(gain)) ** 2
    elif "weight" in given:
        with np.errstate(divide="ignore"):
            variance = np.where(
                given["weight"] > 0, np.float32(gain) ** 2 / given["weight"], np.float32(np.inf)
            )
    else:
        above = electrons - np.float32(np.nanmedian(electrons))
        source = above > SOURCE_SIGMAS * np.sqrt(sky_variance)  # below it the pixel's own noise would decide
        variance = sky_variance + np.where(source, above, np.float32(0))
    variance = np.where(np.isfinite(electrons) & np.isfinite(variance), variance, np.float32(np.inf))
    return Exposure(
        data=electrons,
        variance=variance.astype(np.float32),
        mask=flags,
        info=info,
        wcs=_wcs(path, header, data.shape, require_wcs),
        psf=None if psf is None else read_psf(psf),
        zero_point=_zero_point(header, gain, known),
    )


def _image(path: Path) -> tuple[NDArray[np.float32], fits.Header]:
    """Pixels with NaN for what is not finite, and the image's header over the primary one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        data, header = read_image(path)
        with opened_fits(path) as hdus:
            merged = _readable(hdus[0].header)
        merged.update(_readable(header))
    finite = np.isfinite(data)
    if not finite.any():
        raise BadInput(str(path), "no pixel holds a number", "use another image")
    return np.where(finite & ~blank_areas(data), data, np.float32(np.nan)), merged


def blank_areas(data: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels in a square of `BLANK` by `BLANK` of one and the same value: filled in, not observed.

    Resampling and cutting leave zeros beyond the image. Where many pixels share the highest value they are
    saturated, not blank.
    """
    known = np.where(np.isfinite(data), data, np.float32(np.inf))
    highest = known[np.isfinite(known)].max()
    even = (minimum_filter(known, BLANK) == maximum_filter(known, BLANK)) & (known < highest)
    blank: NDArray[np.bool_] = maximum_filter(even, BLANK)
    return blank


def _readable(header: fits.Header) -> fits.Header:
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


def _plane(file: Path, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    plane: NDArray[Any]
    if name == "mask":
        plane = _mask(file)
    else:
        plane, _ = read_image(file)
    if plane.shape != shape:
        raise BadInput(
            str(file), f"the {name} is {plane.shape}, the image {shape}", "give the one that belongs to it"
        )
    if name == "mask" and is_defect(plane).all():
        raise BadInput(str(file), "the mask hides every pixel", "give one that is 0 where pixels are good")
    if name != "mask" and not (plane > 0).any():
        raise BadInput(str(file), f"no pixel of the {name} is above 0", "give the one that belongs to it")
    return plane


def _mask(file: Path) -> NDArray[np.uint32]:
    plane = read_mask(file)
    with opened_fits(file) as hdus:
        known_bits = any(
            "UNITID" in hdu.header
            or "zwicky" in str(hdu.header.get("ORIGIN", "")).lower()
            or "PMASKVN" in hdu.header
            for hdu in hdus
        )
    if known_bits:
        return plane
    return np.where(plane != 0, np.uint32(Mask.DEAD), np.uint32(0))


def _sky_variance(electrons: NDArray[np.float32], path: Path) -> np.float32:
    """Robust variance of the sky, from differences of pixels a few apart: blind to gradients."""
    lag = min(LAG, max(electrons.shape) - 1)
    pairs = (
        electrons[:, lag:] - electrons[:, :-lag] if electrons.shape[1] > lag else np.diff(electrons, axis=0)
    )
    pairs = pairs[np.isfinite(pairs)]
    if pairs.size == 0:
        raise BadInput(str(path), "too few pixels hold numbers", "use another image")
    sigma = mad_width(pairs) / math.sqrt(2)
    if sigma == 0:
        raise BadInput(str(path), "most pixels are equal: no sky noise can be measured", "use another image")
    return np.float32(sigma**2)


def clipped_level(data: NDArray[np.float32]) -> float:
    """The level from which pixels are saturated by the image's own account, DN; infinite where none are.

    Light does not repeat itself: where several pixels far above the sky share the very highest value, the
    converter or a program put it there.
    """
    values = data[np.isfinite(data)]
    if not values.size:
        return math.inf
    highest = float(values.max())
    low, middle = np.percentile(values, [16, 50])
    far = highest > middle + CLIPPED_SIGMAS * (middle - low)
    clipped = far and np.count_nonzero(values == highest) >= CLIPPED_PIXELS
    return CLIPPED_FRACTION * highest if clipped else math.inf


def _info(path: Path, header: fits.Header, gain: float, known: Known, clipped: float) -> Info:
    start = _start_mjd(path, header, known)
    ccd = int(_number(header, CCD, None, 1))
    quadrant = int(_number(header, QUADRANT, None, 1))
    identifier = _identifier(path, header, start, ccd, quadrant, known)
    saturation = _number(header, SATURATION, known.saturation, clipped, positive=True)
    default_channel = 4 * (identifier.ccd - 1) + identifier.quadrant - 1
    return Info(
        id=identifier,
        start_mjd=start,
        exposure_s=_number(header, EXPOSURE, known.exposure_s, 0.0),
        band_id=int(_number(header, ("FILTERID",), known.band_id, 0)),
        channel=int(_number(header, CHANNEL, None, default_channel)),
        gain=gain,
        read_noise=_number(header, READ_NOISE, known.read_noise, 0.0),
        saturation=saturation * gain,
        ra=_angle(header, ("TELRAD", "RAD", "OBJRAD", "RA", "OBJRA"), hours=True),
        dec=_angle(header, ("TELDECD", "DECD", "OBJDECD", "DEC", "OBJDEC"), hours=False),
        program_id=int(_number(header, ("PROGRMID",), None, 1)),
        program_pi=str(header.get("PROGRMPI", "")),
        airmass=_number(header, ("AIRMASS",), None, math.nan),
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
    field = int(_number(header, FIELD, None, 0))
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
    for start in (known.start_mjd, _header_mjd(path, header), known.default_mjd):
        if start is not None:
            return start
    raise BadInput(
        str(path), f"has no time of exposure ({', '.join(MJD)}, {DATE[1]})", "write its start into MJD-OBS"
    )


def _header_mjd(path: Path, header: fits.Header) -> float | None:
    mjd = _number(header, MJD, None, math.nan)
    if math.isfinite(mjd):
        return _plausible(path, mjd)
    for keyword in DATE:
        text = str(header.get(keyword, ""))
        moment = read_time(text) if "T" in text else None  # a date alone does not say when
        if moment is not None:
            return moment
    jd = _number(header, JD, None, math.nan)
    return _plausible(path, jd - JD_MINUS_MJD) if math.isfinite(jd) else None


def _plausible(path: Path, mjd: float) -> float:
    if not EARLIEST_MJD <= mjd <= LATEST_MJD:
        raise BadInput(str(path), f"says it was taken at MJD {mjd:g}", "mend the header's time")
    return mjd


def _zero_point(header: fits.Header, gain: float, known: Known) -> ZeroPoint | None:
    if known.zero_point is not None:
        return ZeroPoint(known.zero_point + 2.5 * math.log10(gain))
    return read_zero_point(header, gain)


def _wcs(path: Path, header: fits.Header, shape: tuple[int, ...], required: bool) -> WCS | None:
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


def _number(
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
