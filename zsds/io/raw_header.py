"""The header of a raw frame: read through the camera's keywords, and checked."""

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from astropy.io import fits

from zsds.core.camera import Band, Camera
from zsds.core.camera_header import NO_BAND
from zsds.core.errors import BadInput
from zsds.core.exposure import Info
from zsds.core.ids import JD_MINUS_MJD, MJD_UNIX_EPOCH, QuadrantId, file_time
from zsds.io.header_values import is_date, read_angle, read_time

EARLIEST_MJD = 44239.0  # 1980-01-01: no CCD survey is older
LATEST_MJD = 66976.0  # 2042-04-02: the candid of later nights would not fit into 64 bits
LONGEST_EXPOSURE_S = 14400.0
GIVE_DEFAULT = "mend the header, or give header.defaults in the camera file"
BUILT_IN = {"program_id": 1, "program_pi": "", "airmass": math.nan}


@dataclass(frozen=True)
class RawHeader:
    """What the header of a raw frame says of the exposure.

    Parameters
    ----------
    start_mjd, exposure_s, ra, dec, airmass, field, program_id, program_pi
        As in `zsds.core.exposure.Info`.
    frame_type : str
        ``science``, ``bias``, ``dark`` or ``flat``.
    band : Band, optional
        None for bias and dark frames.
    ccd : int
    """

    start_mjd: float
    exposure_s: float
    frame_type: str
    band: Band | None
    field: int
    ra: float
    dec: float
    ccd: int
    program_id: int
    program_pi: str
    airmass: float

    def info(self, camera: Camera, quadrant: int) -> Info:
        """The header's values with those of one amplifier."""
        amplifier = camera.amplifier(self.ccd, quadrant)
        code = NO_BAND[self.frame_type] if self.band is None else self.band.code
        name = QuadrantId(file_time(self.start_mjd), self.field, code, self.ccd, quadrant, camera.prefix)
        return Info(
            id=name,
            start_mjd=self.start_mjd,
            exposure_s=self.exposure_s,
            band_id=0 if self.band is None else self.band.id,
            channel=camera.channel(self.ccd, quadrant),
            gain=amplifier.gain,
            read_noise=amplifier.read_noise,
            saturation=amplifier.saturation_dn * amplifier.gain,
            ra=self.ra,
            dec=self.dec,
            program_id=self.program_id,
            program_pi=self.program_pi,
            airmass=self.airmass,
        )


def read_header(
    headers: Sequence[fits.Header], source: str, camera: Camera, ccd: int | None = None
) -> RawHeader:
    """Read and check the values the camera's keywords name.

    Parameters
    ----------
    headers : sequence of astropy.io.fits.Header
        Searched in this order.
    source : str
        File name, for messages.
    camera : Camera
    ccd : int, optional
        The detector, where one file holds them all.

    Raises
    ------
    BadInput
        Naming the keyword that is missing or absurd.
    """
    values = _Values(headers, source, camera)
    frame_type = values.frame_type()
    is_science = frame_type == "science"
    return RawHeader(
        start_mjd=values.start_mjd(),
        exposure_s=values.exposure_s(frame_type),
        frame_type=frame_type,
        band=None if frame_type in NO_BAND else values.band(),
        field=values.whole("field", 0, 999999, required=is_science),
        ra=values.angle("ra", 0.0, 360.0, required=is_science),
        dec=values.angle("dec", -90.0, 90.0, required=is_science),
        ccd=values.ccd() if ccd is None else ccd,
        program_id=values.whole("program_id", 0, 99, required=False),
        program_pi=str(values.get("program_pi", required=False)),
        airmass=values.airmass(),
    )


class _Values:
    """Header values by our own names."""

    def __init__(self, headers: Sequence[fits.Header], source: str, camera: Camera) -> None:
        self.headers, self.source, self.camera = headers, source, camera

    def wrong(self, name: str, problem: str, remedy: str = "") -> BadInput:
        words = "/".join(self.camera.keywords.get(name, (name,)))
        return BadInput(
            self.source, f"header {words} ({name}) {problem}", remedy or "mend the header or drop the file"
        )

    def get(self, name: str, required: bool = True) -> Any:
        for word in self.camera.keywords.get(name, ()):
            for header in self.headers:
                value = header.get(word)
                if value is not None and not isinstance(value, fits.card.Undefined) and str(value).strip():
                    return value
        default = self.camera.defaults.get(name, BUILT_IN.get(name))
        if default is None and required:
            raise self.wrong(name, "is missing", GIVE_DEFAULT)
        return default

    def number(self, name: str, required: bool = True) -> float | None:
        value = self.get(name, required)
        if value is None:
            return None
        try:
            return float(value)
        except (TypeError, ValueError):
            raise self.wrong(name, f"is not a number: {value!r}") from None

    def whole(self, name: str, low: int, high: int, required: bool) -> int:
        value = self.number(name, required)
        if value is None:
            return 0
        if not math.isfinite(value) or value != int(value) or not low <= value <= high:
            raise self.wrong(name, f"is {value:g}, not a whole number from {low} to {high}")
        return int(value)

    def frame_type(self) -> str:
        seen = []
        for word in self.camera.keywords.get("frame_type", ()):
            text = next((str(h[word]).strip() for h in self.headers if h.get(word) is not None), "")
            for pattern, frame_type in self.camera.frame_types.items():
                if text and fnmatch.fnmatchcase(text.lower(), pattern.lower()):
                    return frame_type
            seen.append(repr(text))
        if "frame_type" in self.camera.defaults and all(text == "''" for text in seen):
            return str(self.camera.defaults["frame_type"])
        if all(text == "''" for text in seen):
            raise self.wrong("frame_type", "is missing", GIVE_DEFAULT)
        known = ", ".join(self.camera.frame_types)
        raise self.wrong("frame_type", f"is {' and '.join(seen)}", f"the camera file knows {known}")

    def start_mjd(self) -> float:
        value = self.get("start_time")
        if is_date(value):
            clock = self.get("time_of_day", required=False)
            if clock is None:
                problem, remedy = f"{value!r} is a date alone", "name header.keywords.time_of_day"
                raise self.wrong("start_time", problem, remedy)
            value = f"{str(value).strip()}T{str(clock).strip()}"
        mjd = read_time(value)
        if mjd is None or not math.isfinite(mjd):
            raise self.wrong("start_time", f"is not a time: {value!r}", "write ISO 8601 UTC, MJD or JD")
        if not EARLIEST_MJD <= mjd <= LATEST_MJD:
            raise self.wrong(
                "start_time", f"{value!r} is not between 1980 and 2042-04-01", "mend the camera's clock"
            )
        return mjd

    def exposure_s(self, frame_type: str) -> float:
        seconds = self.number("exposure_s", required=frame_type != "bias")
        seconds = 0.0 if seconds is None else seconds * self.camera.exposure_unit_s
        good = 0 <= seconds <= LONGEST_EXPOSURE_S and (seconds > 1e-6 or frame_type == "bias")
        if not good:
            raise self.wrong("exposure_s", f"is {seconds:g} s for a {frame_type} frame")
        return seconds

    def band(self) -> Band:
        text = " ".join(str(self.get("band")).split())
        bands = self.camera.bands
        for band in bands.values():
            if text.lower() in (" ".join(band.name.lower().split()), band.code):
                return band
        known = ", ".join(band.name for band in bands.values())
        raise self.wrong("band", f"is {text!r}, an unknown filter", f"the camera file knows {known}")

    def angle(self, name: str, low: float, high: float, required: bool) -> float:
        value = self.get(name, required)
        degrees = math.nan if value is None else read_angle(value, in_hours=name == "ra")
        if not required and not low <= degrees <= high:
            return math.nan
        if not low <= degrees <= high:
            raise self.wrong(name, f"is {value!r}, not an angle from {low:g} to {high:g} degrees")
        return degrees % 360.0 if name == "ra" else degrees

    def ccd(self) -> int:
        detectors = self.camera.detectors
        only = next(iter(detectors)) if len(detectors) == 1 else None
        value = self.get("ccd", required=only is None)
        if value is None:
            return int(only or 0)
        names = {ccd: detector.name or str(ccd) for ccd, detector in detectors.items()}
        for ccd, name in names.items():
            if _same_name(str(value).strip(), name):
                return ccd
        known = ", ".join(names.values())
        raise self.wrong(
            "ccd", f"is {value!r}, no detector of the camera {self.camera.name}", f"it has {known}"
        )

    def airmass(self) -> float:
        value = self.get("airmass", required=False)
        try:
            airmass = float(value)
        except (TypeError, ValueError):
            return math.nan
        return airmass if 0.99 <= airmass <= 40 else math.nan


def _same_name(text: str, name: str) -> bool:
    """Whether two names are the same, in any case; numbers may be written 1, 01 or 1.0."""
    try:
        return float(text) == float(name)
    except ValueError:
        return text.lower() == name.lower()


def header_cards(info: Info, frame_type: str, camera: Camera) -> list[tuple[str, Any]]:
    """Header cards, under the camera's preferred keywords, that `read_header` turns back into ``info``."""
    value: dict[str, Any] = {
        "start_time": info.start_mjd,
        "exposure_s": info.exposure_s / camera.exposure_unit_s,
        "band": next((b.name for b in camera.bands.values() if b.id == info.band_id), "none"),
        "field": info.id.field,
        "ra": info.ra,
        "dec": info.dec,
        "frame_type": _header_frame_type(frame_type, camera),
        "program_id": info.program_id,
        "program_pi": info.program_pi,
        "airmass": info.airmass,
        "ccd": _header_ccd(info.id.ccd, camera),
    }
    cards = []
    for name, words in camera.keywords.items():
        if name == "time_of_day":  # the start time is written whole
            continue
        item = _header_time(info.start_mjd, words[0]) if name == "start_time" else value[name]
        if not (isinstance(item, float) and math.isnan(item)):
            cards.append((words[0], item))
    return cards


def _header_ccd(ccd: int, camera: Camera) -> str | int:
    name = camera.detectors[ccd].name
    return ccd if name in ("", str(ccd)) else name


def _header_frame_type(frame_type: str, camera: Camera) -> str:
    for pattern, kind in camera.frame_types.items():
        if kind == frame_type:
            return pattern.replace("*", "")
    raise BadInput(camera.name, f"the camera file has no header value for {frame_type} frames")


def _header_time(mjd: float, keyword: str) -> str | float:
    if "MJD" in keyword:
        return mjd
    if "JD" in keyword:
        return mjd + JD_MINUS_MJD
    moment = datetime.fromtimestamp(0, UTC) + timedelta(days=mjd - MJD_UNIX_EPOCH)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")
