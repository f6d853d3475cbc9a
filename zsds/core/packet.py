"""One alert as a record of its schema, with the few look-ups every reader needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

SENTINELS = (-999.0, -99999.0)  # ZTF ships these for a missing number


def present(value: Any) -> Any:
    """The value itself, or None where it is a NaN or one of ZTF's stand-ins for a missing value."""
    if value == "null" or (isinstance(value, int | float) and (not isfinite(value) or value in SENTINELS)):
        return None
    return value


@dataclass(frozen=True)
class AlertPoint:
    """One epoch of a packet's light curve, as shipped: a magnitude, or only a limit.

    Parameters
    ----------
    jd : float
        Start of the exposure, days.
    band_id : int
        1 g, 2 r, 3 i.
    mag, mag_err : float or None
        Magnitude of the absolute difference; None for a non-detection.
    limit : float or None
        5-sigma limit of the difference image, mag.
    positive : bool
        Brighter than in the reference.
    """

    jd: float
    band_id: int
    mag: float | None
    mag_err: float | None
    limit: float | None
    positive: bool


@dataclass(frozen=True)
class AlertPacket:
    """An alert, made once and never changed.

    Parameters
    ----------
    record : mapping
        Fields of the alert schema; nested records are mappings, arrays are lists.
    schema_version : str
        ``schemavsn`` of the schema the record follows (``4.02``).
    """

    record: Mapping[str, Any]
    schema_version: str

    @property
    def candid(self) -> int:
        """Number of the candidate."""
        return int(self.record["candid"])

    @property
    def object_id(self) -> str:
        """Name of the object; empty in packets older than that field."""
        return str(self.record.get("objectId") or "")

    @property
    def program_id(self) -> int:
        """1 for public data; anything else is proprietary."""
        return int(self.record["candidate"]["programid"])

    def value(self, name: str) -> Any:
        """A field of the candidate, None where it is missing in any of ZTF's ways."""
        return present(self.record["candidate"].get(name))

    @property
    def history(self) -> list[Mapping[str, Any]]:
        """Detections and non-detections before this one, by time; empty if there are none."""
        rows = self.record.get("prv_candidates") or []
        return sorted(rows, key=lambda row: row["jd"])

    def stamp(self, name: str) -> bytes | None:
        """Bytes of ``Science``, ``Template`` or ``Difference``, gzip-compressed FITS; None if not shipped."""
        cutout = self.record.get(f"cutout{name}")
        return cutout["stampData"] if cutout else None

    def light_curve(self) -> list[AlertPoint]:
        """History and this detection, by time."""
        return [_point(row) for row in [*self.history, self.record["candidate"]]]


def _point(row: Mapping[str, Any]) -> AlertPoint:
    return AlertPoint(
        jd=row["jd"],
        band_id=row["fid"],
        mag=present(row.get("magpsf")),
        mag_err=present(row.get("sigmapsf")),
        limit=present(row.get("diffmaglim")),
        positive=row.get("isdiffpos") in ("t", "1"),
    )
