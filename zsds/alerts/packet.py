"""From a candidate, its exposure and its history to an alert packet of ZTF's schema."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zsds.alerts.forced import ForcedPoint, fp_hist
from zsds.alerts.stamps import cut_stamp
from zsds.core.alert_schema import ZTF_VERSION, record_fields
from zsds.core.exposure import Exposure
from zsds.core.ids import JD_MINUS_MJD, night_id, processing_id
from zsds.core.packet import AlertPacket

HISTORY_DAYS = 30.0
NO_CLASSIFIER = "none"
NO_MATCH = {"int": -999, "long": -999, "float": -999.0, "double": -999.0, "string": "null"}  # ZTF's own
PUBLISHER = "zsds"
FIRST_PIXEL = 1  # xpos and ypos of the packet count from 1, our x and y from 0
MATCHES = frozenset(  # fields of a source near the candidate
    [
        *(
            "distnr",
            "magnr",
            "sigmagnr",
            "chinr",
            "sharpnr",
            "ranr",
            "decnr",
            "ssdistnr",
            "ssmagnr",
            "ssnamenr",
        ),
        *("neargaia", "neargaiabright", "maggaia", "maggaiabright"),
        *(f"{name}{rank}" for name in ("objectidps", "sgscore", "distpsnr") for rank in "123"),
        *(f"s{band}mag{rank}" for band in "griz" for rank in "123"),
    ]
)
_REQUIRED = object()
_PYTHON = {"int": int, "long": int, "float": float, "double": float, "string": str}


@dataclass(frozen=True)
class ReferenceFacts:
    """What a packet says of the reference image.

    Parameters
    ----------
    rfid : int
        Number of the reference.
    start_mjd, end_mjd : float
        First and last exposure in it, UTC.
    n_frames : int
    """

    rfid: int
    start_mjd: float
    end_mjd: float
    n_frames: int


@dataclass(frozen=True)
class Past:
    """How often the object and its position were seen before; this detection included.

    Parameters
    ----------
    n_detections : int
        Detections within 1.5 arcsec in the same field and channel.
    n_covered : int
        Exposures of any field and channel that covered the position.
    first_jd, last_jd : float or None
        Of the detections.
    """

    n_detections: int = 1
    n_covered: int = 1
    first_jd: float | None = None
    last_jd: float | None = None


@dataclass(frozen=True)
class Stamps:
    """The three cutouts, each a gzip-compressed FITS file."""

    science: bytes
    template: bytes
    difference: bytes


def exposure_facts(
    science: Exposure, reference: ReferenceFacts, limit_mag: float, is_target: bool | None = None
) -> dict[str, Any]:
    """Fields of the candidate record that all candidates of one exposure share.

    Parameters
    ----------
    science : Exposure
        Calibrated; needs its zero point (of electrons, turned into that of DN here).
    reference : ReferenceFacts
    limit_mag : float
        5-sigma limit of the difference image.
    is_target : bool or None
        Whether this is a target-of-opportunity exposure; None if unknown.

    Returns
    -------
    dict
        In the packet's names. With nothing else it is a non-detection's row of the history.

    Raises
    ------
    ValueError
        If the exposure has no zero point.
    """
    info, zero_point = science.info, science.zero_point
    if zero_point is None:
        raise ValueError("a packet needs the exposure's zero point")
    to_dn = -2.5 * np.log10(info.gain)
    return {
        "jd": info.start_mjd + JD_MINUS_MJD,
        "fid": info.band_id,
        "pid": processing_id(info.start_mjd, info.channel),
        "diffmaglim": _number(limit_mag),
        "pdiffimfilename": f"{info.id}_scimrefdiffimg.fits.fz",
        "programpi": info.program_pi or None,
        "programid": info.program_id,
        "nid": night_id(info.start_mjd),
        "rcid": info.channel,
        "field": info.id.field,
        "tooflag": None if is_target is None else int(is_target),
        "rfid": reference.rfid,
        "jdstartref": reference.start_mjd + JD_MINUS_MJD,
        "jdendref": reference.end_mjd + JD_MINUS_MJD,
        "nframesref": reference.n_frames,
        "magzpsci": _number(zero_point.value + to_dn),
        "magzpsciunc": _number(zero_point.err),
        "magzpscirms": _number(zero_point.rms),
        "nmatches": zero_point.n_stars,
        "clrcoeff": _number(zero_point.colour_coeff),
        "clrcounc": _number(zero_point.colour_err),
        "zpclrcov": _number(zero_point.covariance),
        "zpmed": _number(zero_point.median + to_dn),
        "clrmed": _number(zero_point.colour_median),
        "clrrms": _number(zero_point.colour_rms),
        "exptime": _number(info.exposure_s),
        "rbversion": NO_CLASSIFIER,
        "drbversion": NO_CLASSIFIER,
    }


def candidate_records(candidates: Table, facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table ``candidates`` as candidate records in the packet's names and units.

    Parameters
    ----------
    candidates : Table
        Declared columns of ``candidates``; a NaN, an empty text or a negative catalog number is null.
    facts : mapping
        From `exposure_facts`.

    Returns
    -------
    list of dict
        One a row, complete but for the counts of the history. Also the rows that later packets of the
        same object take as history.
    """
    names = [field.name for field in record_fields("candidate") if field.name in candidates.colnames]
    columns = {name: _cleaned(candidates[name], name) for name in names}
    columns["xpos"] = _cleaned(candidates["x"] + FIRST_PIXEL, "xpos")
    columns["ypos"] = _cleaned(candidates["y"] + FIRST_PIXEL, "ypos")
    columns["isdiffpos"] = ["t" if positive else "f" for positive in candidates["is_positive"]]
    rows = zip(*columns.values(), strict=True)
    return [{**facts, **dict(zip(columns, row, strict=True))} for row in rows]


def _cleaned(column: Any, name: str) -> list[Any]:
    values = np.ma.getdata(column)
    if values.dtype.kind in "US":
        missing = values == ""
    elif name.startswith("objectidps"):
        missing = values < 0
    else:
        missing = ~np.isfinite(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    missing = missing | np.ma.getmaskarray(column)
    return [None if gone else value for value, gone in zip(values.tolist(), missing.tolist(), strict=True)]


def _number(value: float) -> float | None:
    value = float(value)
    return value if np.isfinite(value) else None


def cut_stamps(
    images: Sequence[NDArray[np.float32]], x: float, y: float, gain: float, is_positive: bool
) -> Stamps:
    """Cutouts in DN of the science, reference and difference image (all [ny, nx], electrons).

    Parameters
    ----------
    images : sequence of three ndarrays
        Science, reference on the same pixels, science minus reference.
    x, y : float
        Pixels, 0 at the centre of the first.
    gain : float
        Electrons per DN.
    is_positive : bool
        False turns the difference stamp into reference minus science, so that the source is positive in it.
    """
    science, template, difference = images
    sign = 1 if is_positive else -1
    return Stamps(
        cut_stamp(science, x, y, scale=1 / gain),
        cut_stamp(template, x, y, scale=1 / gain),
        cut_stamp(difference, x, y, scale=sign / gain),
    )


def build_packet(
    candidate: Mapping[str, Any],
    object_id: str,
    history: Iterable[Mapping[str, Any]] = (),
    past: Past | None = None,
    stamps: Stamps | None = None,
    publisher: str = PUBLISHER,
    forced: Iterable[ForcedPoint] | None = None,
) -> AlertPacket:
    """Alert packet of schema ``ztf/4_02``.

    Parameters
    ----------
    candidate : mapping
        From `candidate_records`, with the classifiers' scores if there are any.
    object_id : str
        ``ZTFyyaaaaaaa``.
    history : iterable of mapping
        Earlier detections (as `candidate_records` gives them) and non-detections (as `exposure_facts`)
        at this object; older than 30 days or not earlier than this exposure are left out. A row that
        holds such a mapping under ``record``, as the database gives them, is taken apart.
    past : Past, optional
        Counts since the beginning of the survey (a `zsds.associate.history.History` will do); without it,
        those of the history given.
    stamps : Stamps, optional
    publisher : str
    forced : iterable of ForcedPoint, optional
        By time; those of the last 30 days before this exposure become ``fp_hists``, null without any.

    Returns
    -------
    AlertPacket

    Raises
    ------
    ValueError
        If a field that must not be null has no value, naming it.
    """
    rows = _recent(history, candidate["jd"])
    past = past or _counted(rows, candidate["jd"])
    counts = {
        "ndethist": past.n_detections,
        "ncovhist": past.n_covered,
        "jdstarthist": past.first_jd,
        "jdendhist": past.last_jd,
    }
    record = {
        "schemavsn": ZTF_VERSION,
        "publisher": publisher,
        "objectId": object_id,
        "candid": int(candidate["candid"]),
        "candidate": _project({**_defaults(), **candidate, **counts}, "candidate"),
        "prv_candidates": [_project(row, "prv_candidate") for row in rows] or None,
        "fp_hists": _forced(forced or (), candidate["jd"]) or None,
        **_cutouts(stamps, candidate),
    }
    return AlertPacket(record, ZTF_VERSION)


@cache
def _defaults() -> dict[str, Any]:
    return {"nmtchps": 0, "rbversion": NO_CLASSIFIER, "drbversion": NO_CLASSIFIER, "nmatches": 0}


def _recent(history: Iterable[Mapping[str, Any]], jd: float) -> list[Mapping[str, Any]]:
    rows = [_shown(row) for row in history if jd - HISTORY_DAYS <= row["jd"] < jd]
    return sorted(rows, key=lambda row: (row["jd"], row.get("candid") or 0))


def _forced(points: Iterable[ForcedPoint], jd: float) -> list[dict[str, Any]]:
    """Rows of ``fp_hists``; as in ZTF's packets this exposure is not among them."""
    return [
        _project(fp_hist(point), "fp_hist") for point in points if jd - HISTORY_DAYS <= point.facts["jd"] < jd
    ]


def _shown(row: Mapping[str, Any]) -> Mapping[str, Any]:
    record = row.get("record")
    return {**row, **record, "candid": row.get("candid")} if record else row


def _counted(rows: Sequence[Mapping[str, Any]], jd: float) -> Past:
    detections = [row["jd"] for row in rows if row.get("candid") is not None] + [jd]
    return Past(len(detections), len(rows) + 1, min(detections), max(detections))


def _project(row: Mapping[str, Any], record: str) -> dict[str, Any]:
    """Only the record's fields, as plain Python values; missing becomes null or its stand-in."""
    out: dict[str, Any] = {}
    value_of = row.get
    for name, kind, stand_in in _shapes(record):
        value = value_of(name)
        if value is not None and value == value:  # noqa: PLR0124 - not a NaN
            out[name] = value if type(value) is kind else kind(value)
        elif stand_in is _REQUIRED:
            raise ValueError(f"a packet needs a value for {name}")
        else:
            out[name] = stand_in
    return out


@cache
def _shapes(record: str) -> tuple[tuple[str, type, Any], ...]:
    """Name, Python type and stand-in for a missing value of each field of a record.

    ZTF's candidates never have a null where nothing lies nearby, its history rows always: readers rely on it.
    """
    shapes = []
    for field in record_fields(record):
        stand_in: Any = None if field.nullable else _REQUIRED
        if field.name in MATCHES and (record == "candidate" or not field.nullable):
            stand_in = NO_MATCH[field.kind]
        elif field.name in ("rbversion", "drbversion") and not field.nullable:
            stand_in = NO_CLASSIFIER
        shapes.append((field.name, _PYTHON[field.kind], stand_in))
    return tuple(shapes)


def _cutouts(stamps: Stamps | None, candidate: Mapping[str, Any]) -> dict[str, Any]:
    if stamps is None:
        return {"cutoutScience": None, "cutoutTemplate": None, "cutoutDifference": None}
    candid, pid = candidate["candid"], candidate["pid"]
    stem = f"candid{candid}_pid{pid}_targ"
    kind = "scimref" if candidate["isdiffpos"] == "t" else "refmsci"
    return {
        "cutoutScience": {"fileName": f"{stem}_sci.fits.gz", "stampData": stamps.science},
        "cutoutTemplate": {"fileName": f"candid{candid}_ref.fits.gz", "stampData": stamps.template},
        "cutoutDifference": {"fileName": f"{stem}_{kind}.fits.gz", "stampData": stamps.difference},
    }
