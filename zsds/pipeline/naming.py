"""Names for the candidates of an exposure: one transaction, so that one source never gets two names."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from zsds.associate.objects import RADIUS_ARCSEC, Association, associate_objects, nearest
from zsds.core.ids import JD_MINUS_MJD, file_time
from zsds.core.sphere import separation_arcsec
from zsds.db.history import save_detections
from zsds.db.objects import (
    add_objects,
    lock_names,
    moving_objects,
    names_of,
    new_names,
    objects_named,
    objects_near,
)


@dataclass(frozen=True)
class NamingSettings:
    """How candidates become objects.

    Parameters
    ----------
    radius_arcsec : float
        A candidate within this distance of a known object is that object.
    prefix : str
        First letters of names; readers of ZTF packets expect ``ZTF``.
    """

    radius_arcsec: float = RADIUS_ARCSEC
    prefix: str = "ZTF"


def name_exposure(
    connection: Connection,
    detections: Table,
    designations: Sequence[str],
    is_alert: NDArray[np.bool_],
    settings: NamingSettings,
    records: Sequence[Mapping[str, Any]] | None = None,
) -> Table:
    """Name the candidates of one exposure and save them.

    A candidate matched to a Solar-System body takes the name of that body, wherever it is, and leaves the
    fixed objects alone. Any other takes the nearest object within the radius, else a new name if it becomes a
    packet. What becomes none joins only objects that were there by its time, so a run that is done again does
    not see what later exposures founded. A candid that has a name from an earlier run keeps it as long as it
    still lies on that object. Names count upward in the order of candid, so exposures named in the order of
    time get the same names in every run.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
        A writing transaction; nobody else names until it ends.
    detections : astropy.table.Table
        Declared as ``detections``; one exposure, any number of quadrants, ``object_id`` is ignored.
    designations : sequence of str
        Name of the Solar-System body each candidate is, else empty.
    is_alert : ndarray of bool
        Whether each becomes a packet: only then may it found an object.
    settings : NamingSettings
    records : sequence of mapping, optional
        What later packets show of each detection.

    Returns
    -------
    astropy.table.Table
        The detections with their ``object_id``, in the order given.
    """
    order = np.argsort(detections["candid"], kind="stable")
    names = np.full(len(detections), "", dtype="U16")
    if len(detections):
        sorted_names = name_candidates(
            connection,
            detections[order],
            [designations[i] for i in order.tolist()],
            np.asarray(is_alert, bool)[order],
            settings,
        )
        names[order] = sorted_names
    named = detections.copy()
    named["object_id"] = names
    for pid in sorted(set(named["pid"].tolist())):
        here = np.flatnonzero(named["pid"] == pid)
        chosen = None if records is None else [records[i] for i in here.tolist()]
        save_detections(connection, pid, named[here], chosen)
    return named


def name_candidates(
    connection: Connection,
    candidates: Table,
    designations: Sequence[str],
    is_alert: NDArray[np.bool_],
    settings: NamingSettings,
) -> NDArray[np.str_]:
    """Names, in order, of candidates of one exposure (columns ``candid ra dec jd``); empty for none.

    New objects are stored, detections are not; see `name_exposure`.
    """
    year = int(file_time(float(np.min(candidates["jd"])) - JD_MINUS_MJD)[:4])
    lock_names(connection, year)
    moving = np.array([bool(designation) for designation in designations])
    names = _kept_names(connection, candidates, moving, settings.radius_arcsec)
    founding = np.flatnonzero(~moving & (names == "") & is_alert)
    fixed = candidates[founding]
    known = objects_near(connection, fixed["ra"], fixed["dec"], settings.radius_arcsec)
    found = associate_objects(fixed["ra"], fixed["dec"], known["ra"], known["dec"], settings.radius_arcsec)
    bodies = moving_objects(connection, [d for d in designations if d])
    first = _first_rows(designations, set(bodies["designation"].tolist()), is_alert)
    founders = {int(founding[row]): "" for row in np.flatnonzero(found.founds)} | first
    rows = _found_objects(connection, candidates, founders, year, settings.prefix)
    names[founding] = _names(found, known, [row["id"] for row in rows if not row["designation"]])
    joining = np.flatnonzero(~moving & (names == ""))
    names[joining] = _joined(connection, candidates[joining], settings.radius_arcsec)
    names[moving] = _body_names(connection, candidates, designations, is_alert)
    return names


def _joined(connection: Connection, candidates: Table, radius_arcsec: float) -> NDArray[np.str_]:
    """Names of the nearest objects that were there by the time of the candidates; empty without one."""
    known = objects_near(connection, candidates["ra"], candidates["dec"], radius_arcsec)
    if len(candidates):
        known = known[known["first_jd"] <= np.min(candidates["jd"])]
    row = nearest(candidates["ra"], candidates["dec"], known["ra"], known["dec"], radius_arcsec)
    names = np.full(len(candidates), "", dtype="U16")
    names[row >= 0] = known["id"][row[row >= 0]]
    return names


def _body_names(
    connection: Connection, candidates: Table, designations: Sequence[str], is_alert: NDArray[np.bool_]
) -> list[str]:
    """Names of the candidates that are bodies, empty before the first packet of theirs."""
    bodies = moving_objects(connection, [d for d in designations if d])
    known = {row["designation"]: (row["id"], row["first_jd"]) for row in bodies}
    names = []
    for designation, alert, jd in zip(designations, is_alert, candidates["jd"], strict=True):
        if designation:
            name, first_jd = known.get(designation, ("", np.inf))
            names.append(name if alert or first_jd <= jd else "")
    return names


def _kept_names(
    connection: Connection, candidates: Table, moving: NDArray[np.bool_], radius_arcsec: float
) -> NDArray[np.str_]:
    """Names given by an earlier run, where the candidate still lies on the fixed object."""
    names = np.full(len(candidates), "", dtype="U16")
    before = names_of(connection, candidates["candid"].tolist())
    objects = objects_named(connection, before.values())
    objects = objects[objects["designation"] == ""]
    position = {name: row for row, name in enumerate(objects["id"].tolist())}
    had = np.array([position.get(before.get(candid, ""), -1) for candid in candidates["candid"].tolist()])
    again = np.flatnonzero((had >= 0) & ~moving)
    there, here = objects[had[again]], candidates[again]
    apart = separation_arcsec(here["ra"], here["dec"], there["ra"], there["dec"])
    still = apart <= radius_arcsec
    names[again[still]] = there["id"][still]
    return names


def _first_rows(
    designations: Sequence[str], known: Collection[str], is_alert: NDArray[np.bool_]
) -> dict[int, str]:
    """Row -> designation of bodies without an object, at the first of their candidates that is a packet."""
    first: dict[str, int] = {}
    for row, designation in enumerate(designations):
        if designation and designation not in known and is_alert[row]:
            first.setdefault(designation, row)
    return {row: designation for designation, row in first.items()}


def _found_objects(
    connection: Connection, candidates: Table, founders: Mapping[int, str], year: int, prefix: str
) -> list[dict[str, Any]]:
    """Store the new objects, in the order of the candidates that found them."""
    order = sorted(founders)
    rows = []
    for name, row in zip(new_names(connection, year, len(order), prefix), order, strict=True):
        candidate = candidates[row]
        rows.append(
            {
                "id": name,
                "ra": float(candidate["ra"]),
                "dec": float(candidate["dec"]),
                "first_candid": int(candidate["candid"]),
                "first_jd": float(candidate["jd"]),
                "designation": founders[row] or None,
            }
        )
    add_objects(connection, rows)
    return rows


def _names(found: Association, known: Table, new: Sequence[str]) -> list[str]:
    """Names of fixed candidates that become packets: of the known object, or of the new one."""
    pairs = zip(found.known.tolist(), found.new.tolist(), strict=True)
    return [str(known["id"][old]) if old >= 0 else new[fresh] for old, fresh in pairs]
