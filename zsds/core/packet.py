"""One alert as a record of its schema, with the few look-ups every reader needs."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

from zsds.core.ids import JD_MINUS_MJD
from zsds.core.programs import program_of
from zsds.core.units import NJY_ZERO_POINT, magnitude, magnitude_error

OWN_SCHEMA = "zsds/"  # how versions of our own schema begin
LIMIT_SIGMA = 5.0
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
        return program_of(self.record)

    def value(self, name: str) -> Any:
        """A field of the candidate by ZTF's name, None where it is missing in any of ZTF's ways."""
        return present(self.candidate.get(name))

    @cached_property
    def candidate(self) -> Mapping[str, Any]:
        """The candidate in ZTF's words, whatever the schema."""
        is_own = self.schema_version.startswith(OWN_SCHEMA)
        return in_ztf_words(self.record) if is_own else self.record["candidate"]

    @property
    def history(self) -> list[Mapping[str, Any]]:
        """Detections and non-detections before this one, by time; empty if there are none."""
        rows = self.record.get("prv_candidates") or self.record.get("previous_detections") or []
        return sorted(rows, key=lambda row: row["jd"] if "jd" in row else row["start_mjd"])

    def stamp(self, name: str) -> bytes | None:
        """Bytes of ``Science``, ``Template`` or ``Difference``, gzip-compressed FITS; None if not shipped."""
        cutout = self.record.get(f"cutout{name}")
        return cutout["stampData"] if cutout else None

    def light_curve(self) -> list[AlertPoint]:
        """History and this detection, by time."""
        if self.schema_version.startswith(OWN_SCHEMA):
            rows = self.record["forced"] or [*self.history, {**self.record["exposure"], **self._own_flux()}]
            return [_own_point(row) for row in rows if row["flux"] is not None]
        return [_point(row) for row in [*self.history, self.record["candidate"]]]

    def _own_flux(self) -> dict[str, float]:
        return {name: self.record["candidate"][name] for name in ("flux", "flux_err")}


def in_ztf_words(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a packet of our schema says of its candidate, by the names and in the units of ZTF's."""
    candidate, exposure, about = record["candidate"], record["exposure"], record["object"]
    ps1: Mapping[str, Any] = next((one for one in record["neighbours"] if one["catalog"] == "ps1"), {})
    mag, mag_err = _magnitudes(candidate["flux"], candidate["flux_err"])
    major, minor = candidate["major"], candidate["minor"]
    return {
        **candidate,
        "jd": exposure["start_mjd"] + JD_MINUS_MJD,
        "fid": exposure["band_id"],
        "xpos": candidate["x"] + 1,
        "ypos": candidate["y"] + 1,
        "isdiffpos": "t" if candidate["flux"] > 0 else "f",
        "magpsf": mag,
        "sigmapsf": mag_err,
        "diffmaglim": exposure["limit_mag"],
        "scorr": abs(candidate["score"]),
        "elong": major / minor if major and minor else None,
        "distpsnr1": ps1.get("distance"),
        "sgscore1": ps1.get("star_score"),
        "ssdistnr": record["body"]["distance"] if record["body"] else None,
        "ndethist": about["n_detections"],
    }


def _magnitudes(flux: float, flux_err: float) -> tuple[float, float]:
    """Magnitude of the absolute flux in nJy, and its error."""
    size = abs(flux)
    return float(magnitude(size, NJY_ZERO_POINT)), float(magnitude_error(size, flux_err))


def _own_point(row: Mapping[str, Any]) -> AlertPoint:
    """A row with ``flux flux_err``; a flux below 5 sigma is a limit."""
    mag, err = _magnitudes(row["flux"], row["flux_err"])
    is_seen = abs(row["flux"]) >= LIMIT_SIGMA * row["flux_err"]
    limit = float(magnitude(LIMIT_SIGMA * row["flux_err"], NJY_ZERO_POINT))
    return AlertPoint(
        jd=row["start_mjd"] + JD_MINUS_MJD,
        band_id=row["band_id"],
        mag=mag if is_seen else None,
        mag_err=err if is_seen else None,
        limit=limit,
        positive=row["flux"] > 0,
    )


def _point(row: Mapping[str, Any]) -> AlertPoint:
    return AlertPoint(
        jd=row["jd"],
        band_id=row["fid"],
        mag=present(row.get("magpsf")),
        mag_err=present(row.get("sigmapsf")),
        limit=present(row.get("diffmaglim")),
        positive=row.get("isdiffpos") in ("t", "1"),
    )
