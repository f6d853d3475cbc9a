"""What is to do and what was done: raw frames, and units of work with state, attempt, lease and outcome.

A unit is claimed by one process at a time. A lease that ran out means that its holder died; whoever claims
the unit next gets the next attempt number, and the old holder can no longer finish it. A unit that is done
and claimed again begins its next version; what was known of the version before stays, as superseded.
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from zsds.core.errors import BadInput, ZsdsError
from zsds.core.plain import storable
from zsds.db.rows import add
from zsds.db.schema import frames as frame_table
from zsds.db.schema import units as unit_table

LEASE_S = 1800.0
PLACES = ("raw", "bias", "dark", "flat")  # inputs that say where files lie, whose content is in ``digest``


class State(StrEnum):
    """Where a unit stands."""

    PENDING = "pending"
    NO_CALIBRATION = "waiting for calibration"
    NO_REFERENCE = "waiting for reference"
    RUNNING = "running"
    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    SUPERSEDED = "superseded"  # done, and begun again since


WAITING = (State.NO_CALIBRATION, State.NO_REFERENCE)
FINISHED = (State.DONE, State.REJECTED)  # not claimed again unless asked for, or settings or inputs changed
_IS_NEWEST = unit_table.c.state != State.SUPERSEDED.value


class LeaseLostError(ZsdsError):
    """Another process took the unit over after this one's lease ran out; its result must be thrown away."""


@dataclass(frozen=True)
class Frame:
    """A raw frame of one CCD.

    Parameters
    ----------
    path : str
        Absolute, or relative to the archive.
    size : int
        Bytes.
    digest : str
        SHA-256 of the content.
    frame_type : str
        ``science``, ``bias``, ``dark`` or ``flat``.
    time : str
        ``YYYYMMDDffffff``.
    start_mjd, exposure_s : float
    field : int
    band : str
        Two letters.
    band_id, ccd : int
    night : str
        ``YYYYMMDD``.
    program_id : int
    """

    path: str
    size: int
    digest: str
    frame_type: str
    time: str
    start_mjd: float
    exposure_s: float
    field: int
    band: str
    band_id: int
    ccd: int
    night: str
    program_id: int = 1


@dataclass(frozen=True)
class Registration:
    """What came of registering frames: new ones, known ones as the ledger has them, and contradictions."""

    new: list[Frame]
    known: list[Frame]
    conflicts: list[BadInput]


@dataclass(frozen=True)
class Unit:
    """A unit of work as the database has it."""

    kind: str
    key: str
    night: str
    state: State
    attempt: int
    owner: str | None = None
    lease_until: float | None = None
    inputs: Any = None
    settings_hash: str | None = None
    software: str | None = None
    started: float | None = None
    seconds: float | None = None
    peak_memory_mb: float | None = None
    reason: str | None = None
    metrics: Any = None
    version: int = 1
    superseded: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Parameters
    ----------
    state : State
    reason : str, optional
        Why it was rejected, failed or waits.
    metrics : mapping
        Numbers worth plotting.
    seconds, peak_memory_mb : float, optional
    """

    state: State
    reason: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    peak_memory_mb: float | None = None


def register_frames(
    connection: Connection, frames: Iterable[Frame], lost: Collection[Frame] = ()
) -> Registration:
    """Record raw frames; a frame known already, wherever it lies, changes nothing.

    Two files of one exposure and CCD with different content are a conflict, and so are two exposures of a CCD
    that start at the same moment: the first stays, unless it is lost (and, of the two at one moment, none of
    its quadrants is done). A file that was replaced in its place counts as new.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
    frames : iterable of Frame
    lost : collection of Frame
        Registered frames (see `rivals`) whose files are gone, or hold something else now: the same frame
        elsewhere takes their place.
    """
    new, known, conflicts = [], [], []
    for frame in frames:
        present = _same_exposure(connection, frame)
        twin = _same_moment(connection, frame) if present is None else None
        if twin is not None and not (twin in lost and _forgotten(connection, twin)):
            problem = f"starts at the same moment as {twin.path}, of the same CCD"
            remedy = "mend the camera's clock, or remove the wrong one of the two and ingest the other"
            conflicts.append(BadInput(frame.path, problem, remedy))
        elif present is None:
            connection.execute(frame_table.insert(), storable(asdict(frame)))
            new.append(frame)
        elif present.digest == frame.digest and present not in lost:
            known.append(present)
        elif present.path == frame.path or present in lost:
            values = storable(asdict(frame))
            connection.execute(frame_table.update().where(_same(frame)).values(values))
            (known if present.digest == frame.digest else new).append(frame)
        else:
            problem = f"differs from {present.path}, which is registered for the same exposure"
            remedy = "remove the wrong one of the two, then ingest the other"
            conflicts.append(BadInput(frame.path, problem, remedy))
    return Registration(new, known, conflicts)


def rivals(connection: Connection, frame: Frame) -> list[Frame]:
    """What is registered from another file of the exposure, or else the moment, and the CCD of a frame."""
    found = _same_exposure(connection, frame) or _same_moment(connection, frame)
    return [] if found is None or found.path == frame.path else [found]


def _same_moment(connection: Connection, frame: Frame) -> Frame | None:
    """Another science frame of the CCD whose candidates would get the same numbers (see `processing_id`)."""
    moment = frame.time[:13]  # date and five digits of the day, 0.9 s
    c = frame_table.c
    near = sa.and_(c.time.between(f"{moment}0", f"{moment}9"), c.ccd == frame.ccd, c.path != frame.path)
    wanted = sa.and_(near, c.frame_type == "science")
    return _first_frame(connection, wanted) if frame.frame_type == "science" else None


def _forgotten(connection: Connection, frame: Frame) -> bool:
    """Remove a science frame and its units; not if one of them was done, since numbers were given then."""
    c, exposure = unit_table.c, f"_{frame.time}_{frame.field:06d}_{frame.band}_c{frame.ccd:02d}_o_q"
    its_units = sa.and_(c.night == frame.night, c.key.contains(exposure, autoescape=True))
    kept = c.state.in_([state.value for state in (State.DONE, State.RUNNING, State.SUPERSEDED)])
    if connection.scalar(sa.select(c.id).where(its_units, kept)) is not None:
        return False
    connection.execute(unit_table.delete().where(its_units))
    connection.execute(frame_table.delete().where(_same(frame)))
    return True


def _same_exposure(connection: Connection, frame: Frame) -> Frame | None:
    return _first_frame(connection, _same(frame))


def _first_frame(connection: Connection, wanted: sa.ColumnElement[bool]) -> Frame | None:
    row = connection.execute(_select_frames().where(wanted)).mappings().first()
    return None if row is None else Frame(**row)


def _select_frames() -> sa.Select[Any]:
    return sa.select(*(frame_table.c[f.name] for f in fields(Frame)))


def _same(frame: Frame) -> sa.ColumnElement[bool]:
    keys = ("frame_type", "time", "field", "band", "ccd")
    return sa.and_(*(frame_table.c[key] == getattr(frame, key) for key in keys))


def frames_of(
    connection: Connection,
    night: str | None = None,
    frame_type: str | None = None,
    below: str = "",
) -> list[Frame]:
    """Registered frames, of those below a folder if one is named, in order of time, field, band and CCD."""
    query = _select_frames().order_by(*(frame_table.c[k] for k in ("time", "field", "band", "ccd")))
    for name, value in (("night", night), ("frame_type", frame_type)):
        if value is not None:
            query = query.where(frame_table.c[name] == value)
    if below:
        query = query.where(frame_table.c.path.startswith(f"{below}/", autoescape=True))
    return [Frame(**row) for row in connection.execute(query).mappings()]


def nights(connection: Connection) -> list[str]:
    """Nights that have frames."""
    return list(connection.scalars(sa.select(frame_table.c.night).distinct().order_by(frame_table.c.night)))


def add_units(connection: Connection, kind: str, night: str, keys: Iterable[str]) -> None:
    """Add units of work; those known already stay as they are."""
    unit = {"kind": kind, "night": night, "state": State.PENDING.value, "attempt": 0, "version": 1}
    add(connection, unit_table, [{**unit, "key": key} for key in keys], ["kind", "key", "version"])


def claim(
    connection: Connection,
    kind: str,
    key: str,
    owner: str,
    *,
    settings_hash: str = "",
    software: str = "",
    inputs: Any = None,
    again: bool = False,
    lease_s: float = LEASE_S,
) -> Unit | None:
    """Take a unit to work on it.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
        A writing transaction.
    kind, key : str
    owner : str
        Who works on it, for people to read.
    settings_hash, software, inputs
        What it will be made with.
    again : bool
        Whether to do a finished unit again although nothing changed.
    lease_s : float
        Seconds after which the holder counts as dead.

    Returns
    -------
    Unit or None
        The unit with its new attempt number, and the next version if the one before was done; None when
        another process holds it, or it was finished with the same settings and inputs.

    Raises
    ------
    KeyError
        If there is no such unit.
    """
    unit = unit_of(connection, kind, key, lock=True)
    now = time.time()
    if unit.state == State.RUNNING and unit.lease_until is not None and unit.lease_until > now:
        return None
    same = unit.settings_hash == settings_hash and same_content(unit.inputs, storable(inputs))
    if unit.state in FINISHED and same and not again:
        return None
    values = {
        "state": State.RUNNING.value,
        "attempt": unit.attempt + 1,
        "version": unit.version + (unit.state is State.DONE),
        "owner": owner,
        "lease_until": now + lease_s,
        "inputs": storable(inputs),
        "settings_hash": settings_hash,
        "software": software,
        "started": now,
        "seconds": None,
        "peak_memory_mb": None,
        "reason": None,
        "metrics": None,
    }
    connection.execute(unit_table.update().where(_is(kind, key)).values(values))
    if unit.state is State.DONE:
        before = {**asdict(unit), "state": State.SUPERSEDED.value, "superseded": now}
        connection.execute(unit_table.insert(), before)
    return replace(unit, **{**values, "state": State.RUNNING})


def same_content(before: Any, now: Any) -> bool:
    """Whether two inputs of a unit are the same, wherever their files lie."""
    return _without_places(before) == _without_places(now)


def _without_places(inputs: Any) -> Any:
    if not isinstance(inputs, Mapping) or "digest" not in inputs:
        return inputs
    return {role: value for role, value in inputs.items() if role not in PLACES}


def renew_all(connection: Connection, owner: str, lease_s: float = LEASE_S) -> int:
    """Extend the leases of every unit an owner works on; returns how many."""
    held = sa.and_(unit_table.c.owner == owner, unit_table.c.state == State.RUNNING.value)
    values = {"lease_until": time.time() + lease_s}
    return connection.execute(unit_table.update().where(held).values(values)).rowcount


def owners(connection: Connection) -> list[str]:
    """Who holds units now."""
    held = sa.and_(unit_table.c.owner.is_not(None), unit_table.c.state == State.RUNNING.value)
    return sorted(connection.scalars(sa.select(unit_table.c.owner).where(held).distinct()))


def finish(connection: Connection, unit: Unit, outcome: Outcome) -> None:
    """Record how an attempt ended, in the transaction that makes its products known.

    Raises
    ------
    LeaseLostError
        If another process has taken it over; nothing of this attempt may then be kept.
    """
    values = {**asdict(outcome), "state": outcome.state.value, "lease_until": None, "owner": None}
    values["metrics"] = storable(outcome.metrics)
    _still_mine(connection, unit, values)


def _still_mine(connection: Connection, unit: Unit, values: Mapping[str, Any]) -> None:
    mine = sa.and_(
        _is(unit.kind, unit.key),
        unit_table.c.attempt == unit.attempt,
        unit_table.c.state == State.RUNNING.value,
    )
    if connection.execute(unit_table.update().where(mine).values(values)).rowcount != 1:
        raise LeaseLostError(
            f"{unit.kind} {unit.key}: attempt {unit.attempt} was taken over by another process"
        )


def release(connection: Connection, owner: str) -> int:
    """Give back what an owner that stopped still holds; returns how many units."""
    held = sa.and_(unit_table.c.owner == owner, unit_table.c.state == State.RUNNING.value)
    values = {"state": State.PENDING.value, "owner": None, "lease_until": None}
    return connection.execute(unit_table.update().where(held).values(values)).rowcount


def unit_of(connection: Connection, kind: str, key: str, lock: bool = False) -> Unit:
    """One unit, in its newest version.

    Raises
    ------
    KeyError
        If there is no such unit.
    """
    query = _select_units().where(_is(kind, key))
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise KeyError(f"no {kind} unit {key}")
    return _unit(row)


def units_of(
    connection: Connection, night: str | None = None, kind: str | None = None, state: State | None = None
) -> list[Unit]:
    """Units in order of kind and key, in their newest versions unless the superseded ones are asked for."""
    query = _select_units().order_by(unit_table.c.kind, unit_table.c.key, unit_table.c.version)
    if state is not State.SUPERSEDED:
        query = query.where(_IS_NEWEST)
    for name, value in (("night", night), ("kind", kind), ("state", state)):
        if value is not None:
            query = query.where(unit_table.c[name] == value)
    return [_unit(row) for row in connection.execute(query).mappings()]


def states_of(connection: Connection, night: str, kind: str) -> dict[str, State]:
    """States of a night's units of a kind, by key; much less to read than the units."""
    c = unit_table.c
    query = sa.select(c.key, c.state).where(c.night == night, c.kind == kind, _IS_NEWEST)
    return {key: State(state) for key, state in connection.execute(query)}


def unpacked(connection: Connection, night: str) -> set[str]:
    """Quadrants of a night with a difference that is done, and no packets of it made with its settings."""
    found, made = sa.alias(unit_table), sa.alias(unit_table)
    its_packets = sa.and_(
        made.c.kind == "packets",
        made.c.key == found.c.key,
        made.c.state.in_([state.value for state in FINISHED]),
        made.c.settings_hash == found.c.settings_hash,
        made.c.inputs["difference_attempt"].as_integer() == found.c.attempt,
    )
    done = sa.and_(found.c.night == night, found.c.kind == "difference", found.c.state == State.DONE.value)
    joined = sa.outerjoin(found, made, its_packets)
    return set(
        connection.scalars(sa.select(found.c.key).select_from(joined).where(done, made.c.id.is_(None)))
    )


def _is(kind: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(unit_table.c.kind == kind, unit_table.c.key == key, _IS_NEWEST)


def _select_units() -> sa.Select[Any]:
    return sa.select(*(unit_table.c[f.name] for f in fields(Unit)))


def _unit(row: Mapping[str, Any]) -> Unit:
    return Unit(**{**row, "state": State(row["state"])})
