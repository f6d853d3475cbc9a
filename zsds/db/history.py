"""Detections, coverage and objects: saved once per exposure, asked for by position."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from astropy.table import Table
from numpy.typing import ArrayLike
from sqlalchemy.engine import Connection

from zsds.associate.history import DAYS, MIN_SNR, Epoch, History, assemble_histories
from zsds.associate.objects import RADIUS_ARCSEC
from zsds.core.tables import check_table
from zsds.db.rows import put
from zsds.db.schema import coverage as coverage_table
from zsds.db.schema import coverage_cells, packets
from zsds.db.schema import detections as detection_table
from zsds.db.sky import CELL_ORDER, footprint_cells, footprint_contains, healpix_index, rows_near

_LIGHT = ("candid", "pid", "jd", "ra", "dec", "field", "channel", "snr")
_LIGHT_COVERAGE = ("id", "pid", "jd", "corners")  # old exposures are only counted


@dataclass(frozen=True)
class Coverage:
    """A quadrant that was searched for candidates: what it covered and how deep.

    Parameters
    ----------
    pid : int
    unit : str
        Its quadrant id.
    jd : float
        Start of the exposure.
    band_id, field, channel, program_id : int
    diffmaglim : float
        5-sigma limit of the difference image, mag.
    corners : sequence of (ra, dec)
        Degrees, in order around the footprint.
    record : mapping
        What a non-detection shows besides (seeing, zero point, …).
    """

    pid: int
    unit: str
    jd: float
    band_id: int
    field: int
    channel: int
    program_id: int
    diffmaglim: float
    corners: Sequence[tuple[float, float]]
    record: Mapping[str, Any] | None = None


def save_coverage(connection: Connection, coverage: Coverage) -> None:
    """Record that a quadrant was searched; doing it again replaces what was known of it."""
    row = {name: getattr(coverage, name) for name in Coverage.__dataclass_fields__}
    row["corners"] = [[float(ra), float(dec)] for ra, dec in coverage.corners]
    put(connection, coverage_table, [row], ["pid"])
    identifier = connection.scalar(sa.select(coverage_table.c.id).where(coverage_table.c.pid == coverage.pid))
    connection.execute(coverage_cells.delete().where(coverage_cells.c.coverage_id == identifier))
    cells = footprint_cells(row["corners"])
    values = [{"cell": int(cell), "jd": coverage.jd, "coverage_id": identifier} for cell in cells]
    connection.execute(coverage_cells.insert(), values)


def save_detections(
    connection: Connection, pid: int, detections: Table, records: Sequence[Mapping[str, Any]] | None = None
) -> None:
    """Record all detections of one quadrant; those of an earlier run that are gone now are removed.

    Detections that became packets stay, since their ids are known outside.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
        A writing transaction.
    pid : int
        Processing id of the quadrant.
    detections : astropy.table.Table
        Declared as ``detections``; an empty ``object_id`` means none.
    records : sequence of mapping, optional
        What a later packet shows of each detection in its history.
    """
    check_table(detections, "detections")
    if np.any(detections["pid"] != pid):
        raise ValueError(f"detections of other quadrants among those of pid {pid}")
    rows = _rows(detections, records)
    _remove_unsent(connection, pid)
    put(connection, detection_table, rows, ["candid"])


def forget_search(connection: Connection, pid: int) -> None:
    """Forget that a quadrant was searched, and what was found there, as its image turned out to be no good.

    Detections that became packets stay, and if there are any, so does the quadrant's coverage: whoever has
    those packets finds them in the history of later ones, and never more detections than exposures.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
        A writing transaction, in which the packets that did not go out were withdrawn.
    pid : int
        Processing id of the quadrant.
    """
    _remove_unsent(connection, pid)
    if connection.scalar(sa.select(sa.exists().where(detection_table.c.pid == pid))):
        return
    connection.execute(coverage_table.delete().where(coverage_table.c.pid == pid))  # and its cells


def _remove_unsent(connection: Connection, pid: int) -> None:
    """Remove detections of a quadrant that are no packets."""
    is_packet = sa.exists().where(packets.c.candid == detection_table.c.candid)  # looked up one by one
    gone = sa.and_(detection_table.c.pid == pid, ~is_packet)
    connection.execute(detection_table.delete().where(gone))


def _rows(detections: Table, records: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    columns = {name: detections[name].tolist() for name in detections.colnames}
    columns["ipix"] = healpix_index(columns["ra"], columns["dec"]).tolist() if len(detections) else []
    columns["object_id"] = [name or None for name in columns["object_id"]]
    columns["record"] = list(records) if records else [None] * len(detections)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def histories_of(
    connection: Connection,
    ra: ArrayLike,
    dec: ArrayLike,
    epoch: Epoch,
    *,
    days: float = DAYS,
    radius_arcsec: float = RADIUS_ARCSEC,
    min_snr: float = MIN_SNR,
    program_ids: Collection[int] | None = None,
) -> list[History]:
    """The past of each position, as known at an epoch; the cost depends on what lies near only.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
    ra, dec : array [n]
        Degrees, of one quadrant: they are looked up together.
    epoch : Epoch
        Nothing later is used, so that a rerun gives the same.
    days, radius_arcsec, min_snr
        As in `zsds.associate.history.assemble_histories`.
    program_ids : collection of int, optional
        Programs whose data may be shown; all by default.

    Returns
    -------
    list of History
        Rows of ``previous`` carry the columns of detections or coverage and their ``record``.
    """
    ra, dec = np.atleast_1d(ra), np.atleast_1d(dec)
    if len(ra) == 0:
        return []
    detections = _detections_near(connection, ra, dec, epoch, days, radius_arcsec, program_ids)
    covers = _coverage_of(connection, ra, dec, epoch, days, program_ids)
    covered = np.zeros((0, len(ra)), bool)
    if covers:
        covered = footprint_contains([row["corners"] for row in covers], ra, dec)
    return assemble_histories(ra, dec, epoch, detections, covers, covered, days, radius_arcsec, min_snr)


def _detections_near(
    connection: Connection,
    ra: np.ndarray,
    dec: np.ndarray,
    epoch: Epoch,
    days: float,
    radius_arcsec: float,
    program_ids: Collection[int] | None,
) -> list[dict[str, Any]]:
    """All detections near until the epoch, light; those of the last days with everything."""
    d = detection_table.c
    shown = [] if program_ids is None else [d.program_id.in_(list(program_ids))]
    full = rows_near(
        connection, detection_table, ra, dec, radius_arcsec, d.jd >= epoch.jd - days, d.jd <= epoch.jd, *shown
    )
    light = rows_near(
        connection, detection_table, ra, dec, radius_arcsec, d.jd < epoch.jd - days, *shown, columns=_LIGHT
    )
    return [dict(row) for row in (*full, *light)]


def _coverage_of(
    connection: Connection,
    ra: np.ndarray,
    dec: np.ndarray,
    epoch: Epoch,
    days: float,
    program_ids: Collection[int] | None,
) -> list[dict[str, Any]]:
    """Exposures near until the epoch, by time: light ones, then those of the last days with everything."""
    cells = np.unique(healpix_index(ra, dec, CELL_ORDER)).tolist()
    of_cell, since = coverage_cells.c, epoch.jd - days
    shown = [] if program_ids is None else [coverage_table.c.program_id.in_(list(program_ids))]
    light = [coverage_table.c[name] for name in _LIGHT_COVERAGE]
    found: list[dict[str, Any]] = []
    for columns, when in (
        (light, of_cell.jd < since),
        ([coverage_table], sa.and_(of_cell.jd >= since, of_cell.jd <= epoch.jd)),
    ):
        here = sa.select(of_cell.coverage_id).where(of_cell.cell.in_(cells), when)
        query = sa.select(*columns).where(coverage_table.c.id.in_(here), *shown)
        found += [dict(row) for row in connection.execute(query.order_by(coverage_table.c.id)).mappings()]
    return found
