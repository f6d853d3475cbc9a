"""Names and numbers of things, after ZTF's rules; the same input always gets the same id."""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from zsds.core.errors import WrongCall

MJD_UNIX_EPOCH = 40587.0
MJD_NIGHT_ZERO = 57754  # 2017-01-01 UT, night id 0
JD_MINUS_MJD = 2400000.5
SCIENCE_PIPELINE = 15
REFERENCE_PIPELINE = 12
CANDIDS_PER_PID = 1_000_000
CANDID_DIGITS = 19  # of a candid at most: nights to 2042-04-01
ROWS_PER_SIGN = 5000  # of one version
_NIGHT = re.compile(r"[0-9]{8}")
_STEM = re.compile(
    r"(?P<prefix>[a-z0-9]+)_(?P<time>\d{14})_(?P<field>\d{6})_(?P<band>[a-z]{2})"
    r"_c(?P<ccd>\d{2})_o_q(?P<q>\d{1,2})"
)


def mjd_at(unix_s: float) -> float:
    """Modified Julian Date (UTC) at a Unix time."""
    return MJD_UNIX_EPOCH + unix_s / 86400


@dataclass(frozen=True, order=True)
class QuadrantId:
    """One readout quadrant of one exposure; ``str(id)`` is the stem of every product's file name.

    Parameters
    ----------
    time : str
        ``YYYYMMDDffffff``: UT date and the truncated fraction of the day of the start of the exposure.
    field : int
        Field number of the survey grid.
    band : str
        Two-letter band code of the camera (``zg``).
    ccd, quadrant : int
        Both count from 1.
    prefix : str
        First part of the file names of this camera.
    """

    time: str
    field: int
    band: str
    ccd: int
    quadrant: int
    prefix: str = "ztf"

    def __str__(self) -> str:
        return f"{self.prefix}_{self.time}_{self.field:06d}_{self.band}_c{self.ccd:02d}_o_q{self.quadrant}"

    @property
    def night(self) -> str:
        """UT date of the exposure, ``YYYYMMDD``."""
        return self.time[:8]

    @property
    def fraction(self) -> str:
        """Six digits of the fraction of the UT day."""
        return self.time[8:]

    @property
    def channel(self) -> tuple[int, int]:
        """(ccd, quadrant)."""
        return self.ccd, self.quadrant

    @classmethod
    def parse(cls, text: str) -> "QuadrantId":
        """Read an id back from a file stem or any product's file name.

        Raises
        ------
        ValueError
            If the text does not start with a quadrant id.
        """
        match = _STEM.match(text)
        if match is None:
            raise ValueError(f"not a quadrant id: {text!r}")
        return cls(
            match["time"],
            int(match["field"]),
            match["band"],
            int(match["ccd"]),
            int(match["q"]),
            match["prefix"],
        )


def file_time(mjd: float) -> str:
    """``YYYYMMDDffffff`` of a UTC MJD; the fraction is truncated, as in ZTF's file names."""
    day = math.floor(mjd)
    date = datetime.fromtimestamp(0, UTC) + timedelta(days=day - MJD_UNIX_EPOCH)
    return f"{date:%Y%m%d}{int((mjd - day) * 1e6):06d}"


def parse_night(text: str) -> str:
    """A night as somebody wrote it, which must be a date of the calendar.

    Raises
    ------
    WrongCall
        If it is none.
    """
    try:
        if _NIGHT.fullmatch(text) is None:
            raise ValueError(text)
        datetime.strptime(text, "%Y%m%d")
    except ValueError as error:
        raise WrongCall(text or "NIGHT", "is not a night", "write its UT date as YYYYMMDD") from error
    return text


def night_id(mjd: float) -> int:
    """Days since 2017-01-01 UT (ZTF's ``nid``)."""
    return math.floor(mjd) - MJD_NIGHT_ZERO


def processing_id(mjd: float, channel: int) -> int:
    """ZTF's ``pid``: night id, five digits of the day fraction, channel (2 digits), pipeline number."""
    fraction = int((mjd - math.floor(mjd)) * 1e5)
    return ((night_id(mjd) * 100000 + fraction) * 100 + channel) * 100 + SCIENCE_PIPELINE


def candidate_id(pid: int, row: int, positive: bool, version: int = 1) -> int:
    """ZTF's ``candid``: pid, version (2 digits), 5000 when positive plus the row of that sign's table."""
    return pid * CANDIDS_PER_PID + version * 2 * ROWS_PER_SIGN + (ROWS_PER_SIGN if positive else 0) + row


def reference_id(field: int, band_id: int, channel: int) -> int:
    """ZTF's ``rfid``: field, reference pipeline number, band id (2 digits), channel (2 digits)."""
    return ((field * 100 + REFERENCE_PIPELINE) * 100 + band_id) * 100 + channel


def object_name(sequence: int, year: int, prefix: str = "ZTF") -> str:
    """``ZTFyyaaaaaaa``: seven letters that count from ``aaaaaaa`` within the year of naming."""
    letters = ""
    for _ in range(7):
        sequence, digit = divmod(sequence, 26)
        letters = chr(ord("a") + digit) + letters
    return f"{prefix}{year % 100:02d}{letters}"
