"""Versions of calibrations and references: which is newest, and which number comes next."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from zsds.core.plain import storable
from zsds.db.rows import put
from zsds.db.schema import calibrations, references
from zsds.products import CalibrationId, ReferenceId

_CALIBRATION_KEYS = ("kind", "band", "ccd", "quadrant", "night", "version")
_REFERENCE_KEYS = ("field", "band", "ccd", "quadrant", "version")


@dataclass(frozen=True)
class ReferenceRow:
    """A reference as the database knows it: its id, ``rfid``, inputs and the time they span (MJD)."""

    id: ReferenceId
    rfid: int
    n_frames: int
    start_mjd: float
    end_mjd: float
    inputs: Any = None


def newest(connection: Connection) -> tuple[int, int]:
    """Numbers that grow with every calibration and every reference that becomes known."""
    counts = (connection.scalar(sa.select(sa.func.max(table.c.id))) for table in (calibrations, references))
    n_calibrations, n_references = (count or 0 for count in counts)
    return n_calibrations, n_references


def add_calibration(
    connection: Connection, kind: str, identifier: CalibrationId, n_frames: int, inputs: Any
) -> None:
    """Make a finished calibration (``bias``, ``flat``, ``bad_pixels``) known, with what it was made from."""
    row = {**_key(identifier, ("night", "band", "ccd", "quadrant", "version")), "kind": kind}
    put(
        connection,
        calibrations,
        [{**row, "n_frames": n_frames, "inputs": storable(inputs)}],
        _CALIBRATION_KEYS,
    )


def latest_calibration(
    connection: Connection, kind: str, night: str, band: str, ccd: int, quadrant: int, prefix: str = "ztf"
) -> CalibrationId | None:
    """Newest version of the night itself or else of the last night before; None when there is none."""
    c = calibrations.c
    here = sa.and_(c.kind == kind, c.band == band, c.ccd == ccd, c.quadrant == quadrant, c.night <= night)
    query = sa.select(c.night, c.version).where(here).order_by(c.night.desc(), c.version.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else CalibrationId(row.night, band, ccd, quadrant, row.version, prefix)


def next_calibration(
    connection: Connection, kind: str, night: str, band: str, ccd: int, quadrant: int, prefix: str = "ztf"
) -> CalibrationId:
    """The id a new calibration of that night gets."""
    latest = latest_calibration(connection, kind, night, band, ccd, quadrant, prefix)
    version = latest.version + 1 if latest is not None and latest.night == night else 1
    return CalibrationId(night, band, ccd, quadrant, version, prefix)


def add_reference(connection: Connection, row: ReferenceRow) -> None:
    """Make a finished reference known."""
    values = {
        **_key(row.id, _REFERENCE_KEYS),
        "rfid": row.rfid,
        "n_frames": row.n_frames,
        "start_mjd": row.start_mjd,
        "end_mjd": row.end_mjd,
        "inputs": storable(row.inputs),
    }
    put(connection, references, [values], _REFERENCE_KEYS)


def latest_reference(
    connection: Connection, field: int, band: str, ccd: int, quadrant: int, prefix: str = "ztf"
) -> ReferenceRow | None:
    """Newest version of a reference; None when there is none."""
    c = references.c
    here = sa.and_(c.field == field, c.band == band, c.ccd == ccd, c.quadrant == quadrant)
    row = (
        connection.execute(sa.select(references).where(here).order_by(c.version.desc()).limit(1))
        .mappings()
        .first()
    )
    return None if row is None else _reference(row, prefix)


def next_reference(
    connection: Connection, field: int, band: str, ccd: int, quadrant: int, prefix: str = "ztf"
) -> ReferenceId:
    """The id a new reference gets."""
    latest = latest_reference(connection, field, band, ccd, quadrant, prefix)
    return ReferenceId(field, band, ccd, quadrant, 1 if latest is None else latest.id.version + 1, prefix)


def _reference(row: Mapping[str, Any], prefix: str) -> ReferenceRow:
    identifier = ReferenceId(**{key: row[key] for key in _REFERENCE_KEYS}, prefix=prefix)
    return ReferenceRow(
        identifier, row["rfid"], row["n_frames"], row["start_mjd"], row["end_mjd"], row["inputs"]
    )


def _key(identifier: CalibrationId | ReferenceId, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(identifier, name) for name in names}
