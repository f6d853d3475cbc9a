"""From a candidate, its exposure, object and history to an alert packet of our own schema, ``zsds/1_0``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Row

from zsds.alerts.forced import ForcedPoint
from zsds.alerts.packet import HISTORY_DAYS, PUBLISHER, Past
from zsds.candidates.flags import CandidateFlag
from zsds.core.alert_schema import OWN_VERSION
from zsds.core.ids import JD_MINUS_MJD
from zsds.core.packet import AlertPacket
from zsds.core.units import MAG_PER_RELATIVE_FLUX, NJY_ZERO_POINT, magnitude

SECONDS_PER_DAY = 86400.0
STATUS = {0: "clean", 56: "some_bad_pixels", 55: "too_many_bad_pixels", 61: "off_image"}
LIMIT_SIGMA = 5.0


@dataclass(frozen=True)
class OwnFacts:
    """What a packet says besides the candidate and its history.

    Parameters
    ----------
    unit : str
        Quadrant id of the exposure.
    band : str
        Name of the band.
    exposure : mapping
        From `zsds.alerts.exposure_facts`.
    image : mapping
        From the difference unit: see `zsds.runner.difference.image_facts`.
    n_own_epochs : int
        Epochs of this night in the reference.
    pixel_arcsec : float
    software, settings : str
    """

    unit: str
    band: str
    exposure: Mapping[str, Any]
    image: Mapping[str, Any]
    n_own_epochs: int
    pixel_arcsec: float
    software: str
    settings: str

    @property
    def zero_point(self) -> float:
        """AB magnitude of one electron."""
        return electron_zero_point({**self.exposure, "image": self.image})

    @property
    def njy(self) -> float:
        """NJy of one electron."""
        return njy_of(self.zero_point)


def electron_zero_point(facts: Mapping[str, Any]) -> float:
    """AB magnitude of one electron of an exposure, whose facts have that of one DN."""
    return float(facts["magzpsci"] + 2.5 * np.log10(facts["image"]["gain"]))


def njy_of(zero_point: float) -> float:
    """NJy of one electron."""
    return float(10 ** (-0.4 * (zero_point - NJY_ZERO_POINT)))


def build_own_packet(
    candidate: Row,
    facts: OwnFacts,
    about: Row,
    past: Past,
    history: Iterable[Mapping[str, Any]] = (),
    forced: Iterable[ForcedPoint] | None = None,
    cutout: bytes | None = None,
) -> AlertPacket:
    """Alert packet of schema ``zsds/1_0``.

    Parameters
    ----------
    candidate : Row
        Of the table ``candidates``.
    facts : OwnFacts
    about : Row
        Of the table ``objects``.
    past : Past
    history : iterable of mapping
        As `build_packet` takes it; only detections are shown, since limits are those of ``forced``.
    forced : iterable of ForcedPoint, optional
        By time; None for a body that moves.
    cutout : bytes, optional
        From `zsds.alerts.cutouts.cut_planes`.
    """
    since = facts.exposure["jd"] - HISTORY_DAYS
    points = None if forced is None else [_forced(p) for p in forced if p.facts["jd"] >= since]
    found = {name: _plain(candidate[name]) for name in candidate.colnames}
    record = {
        "schemavsn": OWN_VERSION,
        "publisher": PUBLISHER,
        "objectId": str(about["id"]),
        "candid": int(candidate["candid"]),
        "candidate": _candidate(found, facts),
        "exposure": _exposure(facts),
        "reference": _reference(facts, float(about["first_jd"])),
        "object": _object(about, past),
        "previous_detections": [_previous(row) for row in history if row.get("candid") is not None],
        "forced": points,
        "neighbours": _neighbours(found, facts.pixel_arcsec),
        "body": _body(found),
        "cutout": cutout,
        "provenance": {
            "software": facts.software,
            "settings": facts.settings,
            "image_version": facts.image["version"],
        },
    }
    return AlertPacket(record, OWN_VERSION)


def _plain(value: Any) -> Any:
    """A Python value; None for a NaN or an empty text."""
    value = value.item() if hasattr(value, "item") else value
    return None if value != value or value == "" else value  # noqa: PLR0124 - not a NaN


def _times(start_jd: float, exposure_s: float) -> dict[str, float]:
    start = start_jd - JD_MINUS_MJD
    half = exposure_s / 2 / SECONDS_PER_DAY
    return {"start_mjd": start, "mid_mjd": start + half, "end_mjd": start + 2 * half}


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _candidate(found: Mapping[str, Any], facts: OwnFacts) -> dict[str, Any]:
    njy = facts.njy
    kept = ("ra", "dec", "x", "y", "x_err", "y_err", "snr", "score", "fwhm", "theta", "sharpness")
    fluxes = {
        name: _scaled(found[column], njy)
        for name, column in (
            ("flux", "flux"),
            ("flux_err", "flux_err"),
            ("aperture_flux", "ap_flux"),
            ("aperture_flux_err", "ap_flux_err"),
            ("total_flux", "total_flux"),
            ("total_flux_err", "total_flux_err"),
            ("reference_flux", "reference_flux"),
            ("reference_flux_err", "reference_flux_err"),
        )
    }
    return {
        **{name: found[name] for name in kept},
        **fluxes,
        "chi2": found["chipsf"],
        "limit_mag": float(magnitude(found["limit_flux"], facts.zero_point)),
        "major": found["aimage"],
        "minor": found["bimage"],
        "star_likeness": found["classtar"],
        "edge_distance": found["mindtoedge"],
        "n_negative": found["nneg"],
        "n_defects": found["nbad"],
        "n_blend": found["nblend"],
        "flags": [flag.name for flag in CandidateFlag if found["flags"] & flag],
        "dipole": _fit(found, "dipole", njy),
        "trail": _fit(found, "trail", njy),
    }


def _fit(found: Mapping[str, Any], kind: str, njy: float) -> dict[str, Any] | None:
    """The fit of a dipole or a trail; None where none was made."""
    fit = {name: found[f"{kind}_{name}"] for name in ("flux", "length", "angle", "chi_ratio")}
    return None if None in fit.values() else {**fit, "flux": fit["flux"] * njy}


def _exposure(facts: OwnFacts) -> dict[str, Any]:
    told, image, njy = facts.exposure, facts.image, facts.njy
    return {
        "id": facts.unit,
        "pid": told["pid"],
        "field": told["field"],
        "channel": told["rcid"],
        "band": facts.band,
        "band_id": told["fid"],
        "program_id": told["programid"],
        "program_pi": told["programpi"],
        "is_target": None if told["tooflag"] is None else bool(told["tooflag"]),
        **_times(told["jd"], told["exptime"]),
        "exposure_s": told["exptime"],
        "limit_mag": told["diffmaglim"],
        "seeing_px": image["sciinpseeing"],
        "sky": image["scibckgnd"] * image["gain"] * njy,
        "sky_sigma": image["scisigpix"] * image["gain"] * njy,
        "zero_point": facts.zero_point,
        "zero_point_err": told["magzpsciunc"],
        "zero_point_rms": told["magzpscirms"],
        "colour_coeff": told["clrcoeff"],
        "colour_err": told["clrcounc"],
        "n_calibrators": told["nmatches"],
        "rms_ra": image["adpctdif1"],
        "rms_dec": image["adpctdif2"],
    }


def _reference(facts: OwnFacts, first_jd: float) -> dict[str, Any]:
    told = facts.exposure
    return {
        "rfid": told["rfid"],
        "version": facts.image["reference"]["version"],
        "start_mjd": told["jdstartref"] - JD_MINUS_MJD,
        "end_mjd": told["jdendref"] - JD_MINUS_MJD,
        "n_frames": told["nframesref"],
        "n_own_epochs": facts.n_own_epochs,
        "is_contaminated": bool(told["jdendref"] >= first_jd),
    }


def _object(about: Row, past: Past) -> dict[str, Any]:
    is_fixed = not about["designation"]
    first, last = (_plain(jd) for jd in (past.first_jd, past.last_jd))
    return {
        "ra": float(about["ra"]) if is_fixed else None,
        "dec": float(about["dec"]) if is_fixed else None,
        "first_mjd": float(about["first_jd"]) - JD_MINUS_MJD,
        "designation": None if is_fixed else str(about["designation"]),
        "n_detections": past.n_detections,
        "n_covered": past.n_covered,
        "first_detection_mjd": None if first is None else first - JD_MINUS_MJD,
        "last_detection_mjd": None if last is None else last - JD_MINUS_MJD,
    }


def _previous(row: Mapping[str, Any]) -> dict[str, Any]:
    size = njy_of(row["magpsf"])
    exposure_s = row.get("exptime")
    return {
        "candid": row["candid"],
        "pid": row["pid"],
        "start_mjd": row["jd"] - JD_MINUS_MJD,
        "mid_mjd": None if exposure_s is None else _times(row["jd"], exposure_s)["mid_mjd"],
        "band_id": row["fid"],
        "program_id": row["programid"],
        "ra": row["ra"],
        "dec": row["dec"],
        "flux": size if row["isdiffpos"] == "t" else -size,
        "flux_err": size * row["sigmapsf"] / MAG_PER_RELATIVE_FLUX,
    }


def _forced(point: ForcedPoint) -> dict[str, Any]:
    told = point.facts
    zero_point = electron_zero_point(told)
    njy, times = njy_of(zero_point), _times(told["jd"], told["exptime"])
    err = point.flux_err
    return {
        "pid": told["pid"],
        "rfid": told["rfid"],
        "field": told["field"],
        "channel": told["rcid"],
        "band_id": told["fid"],
        "program_id": told["programid"],
        "start_mjd": times["start_mjd"],
        "mid_mjd": times["mid_mjd"],
        "flux": _scaled(point.flux, njy),
        "flux_err": _scaled(err, njy),
        "limit_mag": None if err is None else float(magnitude(LIMIT_SIGMA * err, zero_point)),
        "bad_fraction": point.bad_fraction,
        "status": STATUS[point.status],
        "zero_point_err": told["magzpsciunc"],
    }


_NO_NEIGHBOUR = dict.fromkeys(
    ("id", "ra", "dec", "mag", "mag_err", "chi", "sharp", "g", "r", "i", "z", "star_score")
)


def _neighbours(found: Mapping[str, Any], pixel_arcsec: float) -> list[dict[str, Any]]:
    near = []
    if found["distnr"] is not None:
        names = {
            "ra": "ranr",
            "dec": "decnr",
            "mag": "magnr",
            "mag_err": "sigmagnr",
            "chi": "chinr",
            "sharp": "sharpnr",
        }
        distance = found["distnr"] * pixel_arcsec
        near.append({"catalog": "reference", "distance": distance, **{k: found[v] for k, v in names.items()}})
    for rank in "123":
        if found[f"distpsnr{rank}"] is not None:
            mags = {band: found[f"s{band}mag{rank}"] for band in "griz"}
            about = {"id": found[f"objectidps{rank}"], "star_score": found[f"sgscore{rank}"]}
            near.append({"catalog": "ps1", "distance": found[f"distpsnr{rank}"], **about, **mags})
    if found["neargaia"] is not None:
        near.append({"catalog": "gaia", "distance": found["neargaia"], "mag": found["maggaia"]})
    return [{**_NO_NEIGHBOUR, **one} for one in near]


def _body(found: Mapping[str, Any]) -> dict[str, Any] | None:
    if found["ssnamenr"] is None:
        return None
    return {"name": found["ssnamenr"], "distance": found["ssdistnr"], "mag": found["ssmagnr"]}
