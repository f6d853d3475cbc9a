"""Times and angles as headers write them."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from zsds.core.ids import JD_MINUS_MJD, MJD_UNIX_EPOCH

_SEXAGESIMAL = re.compile(r"([-+]?)\s*(\d+)\s*[:hd\s]\s*(\d+)\s*[:m'\s]\s*(\d+(?:\.\d*)?)\s*[s\"]?")


def is_date(value: Any) -> bool:
    """Whether a header value is a calendar date without a time of day."""
    return re.fullmatch(r"\d{4}-\d\d-\d\d", str(value).strip()) is not None


def read_time(value: Any) -> float | None:
    """MJD of a header value: MJD, JD (recognised by its size) or ISO 8601 UTC; None if it is none of them."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _iso_mjd(str(value).strip())
    return number - JD_MINUS_MJD if number > 1e6 else number


def _iso_mjd(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    days = (moment - datetime.fromtimestamp(0, UTC)) / timedelta(days=1)
    return MJD_UNIX_EPOCH + days


def read_angle(value: Any, in_hours: bool) -> float:
    """Degrees of a number (degrees) or of sexagesimal text (hours for right ascension); NaN if neither."""
    try:
        return float(value)
    except (TypeError, ValueError):
        match = _SEXAGESIMAL.fullmatch(str(value).strip())
    if match is None:
        return math.nan
    sign, whole, minutes, seconds = match.groups()
    size = int(whole) + int(minutes) / 60 + float(seconds) / 3600
    if int(minutes) >= 60 or float(seconds) >= 61:
        return math.nan
    return (-size if sign == "-" else size) * (15 if in_hours else 1)
