"""A night: every raw quadrant to calibrated image, difference and candidates; then names; then packets."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Connection
from zsds.workflows.bookkeeping import Chain, Claims, run_chains
from zsds.workflows.cluster import Distributed, Serial, cluster_for, open_cluster

from zsds.core.errors import BadInput
from zsds.core.ids import QuadrantId, reference_id
from zsds.core.scope import EVERYTHING, Scope
from zsds.db import ledger, versions
from zsds.db.ledger import Outcome, State
from zsds.pipeline.settings import Settings
from zsds.runner import Task
from zsds.runner.archive import Archive, open_archive
from zsds.runner.naming import run_naming

PART = 64  # frames that are planned in one transaction, so that others need not wait long to write
Progress = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


def run_nights(
    folder: Path,
    nights: Sequence[str],
    settings: Settings,
    progress: Progress,
    cluster: str = "local",
    n_workers: int | None = None,
    scope: Scope = EVERYTHING,
) -> None:
    """Do whatever of some nights is not done yet; what is done with the same settings and inputs stays.

    Parameters
    ----------
    folder : pathlib.Path
        The archive.
    nights : sequence of str
        ``YYYYMMDD`` each; they are done in order of time.
    settings : Settings
    progress : callable
        ``progress(what, total)`` is a context that gives a function to call after each unit.
    cluster : str
        See `zsds.workflows.cluster.open_cluster`.
    n_workers : int, optional
    scope : Scope
        Which quadrants, from which unit on, and whether to redo what is done although nothing changed.

    Raises
    ------
    BadInput
        If a night has no science frames, another run works on it, or a reference catalog was never imported.
    """
    archive = open_archive(folder)
    for kind in ("gaia", "ps1"):
        archive.catalogs.folder(kind)
    archive.store.clean_staging()
    in_order = sorted(set(nights))
    with Claims(archive, settings, scope) as claims:
        claims.require_idle(in_order)
        chains = [chain for night in in_order for chain in plan_night(archive, night, claims)]
        where = cluster_for(cluster, bool(chains) or _are_packets_left(archive, in_order, scope))
        with open_cluster(where, n_workers, settings.cluster, archive.store.root, claims.renew) as workers:
            with progress("quadrants", len(chains)) as advance:
                run_chains(workers, chains, claims, advance, together=_frame)
            packets = [chain for night in in_order for chain in plan_packets(archive, night, claims)]
            with progress("packets", len(packets)) as advance:
                run_chains(beside_database(archive, workers), packets, claims, advance)


def _are_packets_left(archive: Archive, nights: Sequence[str], scope: Scope) -> bool:
    """Whether a difference of these nights is done whose packets are not, or are to be made again."""
    found, made = set(), set()
    with archive.database.read() as connection:
        for night in nights:
            differences = ledger.states_of(connection, night, "difference")
            packets = ledger.states_of(connection, night, "packets")
            found |= {key for key, state in differences.items() if state is State.DONE}
            made |= {key for key, state in packets.items() if state in ledger.FINISHED}
    return bool(found if scope.again else found - made)


def beside_database(archive: Archive, workers: Serial | Distributed) -> Serial | Distributed:
    """Where units run that read the database: a file is safe to read on the machine that writes it only."""
    return workers if workers.is_here or archive.database.is_server else Serial()


def _frame(chain: Chain) -> str:
    """What quadrants of one CCD share: its raw frame."""
    return str(chain[0].inputs.get("raw", chain[0].key))


def plan_night(archive: Archive, night: str, claims: Claims) -> list[Chain]:
    """Chains of claimed tasks for the quadrants of a night, in order of time."""
    with archive.database.read() as connection:
        frames = ledger.frames_of(connection, night, "science")
    if not frames:
        raise BadInput(night, "has no science frames in this archive", "register them with: zsds ingest")
    return plan_parts(archive, frames, claims)


def plan_parts(archive: Archive, frames: Sequence[ledger.Frame], claims: Claims) -> list[Chain]:
    """As `plan_frames`, in transactions of a few frames each."""
    chains = []
    for start in range(0, len(frames), PART):
        with archive.database.write() as connection:
            chains += plan_frames(archive, connection, frames[start : start + PART], claims)
        claims.renew()
    return chains


def plan_frames(
    archive: Archive, connection: Connection, frames: Sequence[ledger.Frame], claims: Claims
) -> list[Chain]:
    """Chains of claimed tasks for the quadrants of science frames, in their order."""
    digests = {ccd: archive.camera.digest(ccd) for ccd in archive.camera.detectors}
    chains = []
    for frame in frames:
        check_frame(archive, frame)
        raw = {"raw": frame.path, "digest": frame.digest[:16], "camera": digests[frame.ccd]}
        quadrants = list(filter(claims.scope.has, quadrants_of(archive, frame)))
        for kind in ("science", "difference"):
            ledger.add_units(connection, kind, frame.night, [str(identifier) for identifier in quadrants])
        for identifier in quadrants:
            chain = _plan_quadrant(connection, claims, identifier, raw)
            if chain:
                chains.append(chain)
    return chains


def quadrants_of(archive: Archive, frame: ledger.Frame) -> list[QuadrantId]:
    """The quadrants of a science frame."""
    place = frame.time, frame.field, frame.band, frame.ccd
    quadrants = sorted(archive.camera.detectors[frame.ccd].amplifiers)
    return [QuadrantId(*place, quadrant, archive.camera.prefix) for quadrant in quadrants]


def check_frame(archive: Archive, frame: ledger.Frame) -> None:
    """Make sure that the camera still has the frame's CCD and band.

    Raises
    ------
    BadInput
        If the camera file was changed since.
    """
    camera = archive.camera
    if frame.ccd not in camera.detectors or frame.band not in camera.bands:
        raise BadInput(
            frame.path,
            f"was taken with CCD {frame.ccd} in {frame.band}, which the camera {camera.name} no longer has",
            "restore the archive's camera file",
        )


def _plan_quadrant(connection: Any, claims: Claims, identifier: QuadrantId, raw: dict[str, str]) -> Chain:
    key = str(identifier)
    science = _plan_science(connection, claims, identifier, raw) if claims.scope.makes("science") else None
    unit = ledger.unit_of(connection, "science", key)
    if science is None and unit.state is not State.DONE:
        return ()
    chain = (science,) if science else ()
    if not claims.scope.makes("difference"):
        return chain
    difference = _plan_difference(connection, claims, identifier, unit.attempt)
    return (*chain, difference) if difference else chain


def _plan_science(
    connection: Any, claims: Claims, identifier: QuadrantId, raw: dict[str, str]
) -> Task | None:
    calibration = versions.latest_calibration(
        connection, "flat", identifier.night, identifier.band, *identifier.channel, identifier.prefix
    )
    if calibration is None and not claims.settings.science.isr.allow_uncalibrated:
        _wait(connection, claims, "science", str(identifier), State.NO_CALIBRATION)
        return None
    inputs = {**raw, "calibration": None if calibration is None else asdict(calibration)}
    return claims.take(connection, Task("science", str(identifier), inputs), claims.settings.science)


def _plan_difference(
    connection: Any, claims: Claims, identifier: QuadrantId, science_attempt: int
) -> Task | None:
    reference = versions.latest_reference(
        connection, identifier.field, identifier.band, *identifier.channel, identifier.prefix
    )
    if reference is None:
        _wait(connection, claims, "difference", str(identifier), State.NO_REFERENCE)
        return None
    inputs = {
        "reference": asdict(reference.id),
        "rfid": reference.rfid,
        "science_attempt": science_attempt,
    }
    return claims.take(connection, Task("difference", str(identifier), inputs), claims.settings.difference)


def _wait(connection: Any, claims: Claims, kind: str, key: str, state: State) -> None:
    if ledger.unit_of(connection, kind, key).state is state:
        return
    unit = ledger.claim(connection, kind, key, claims.owner, again=True)
    if unit is not None:
        ledger.finish(connection, unit, Outcome(state, str(state)))


def plan_packets(archive: Archive, night: str, claims: Claims) -> list[Chain]:
    """Name what was found, exposure by exposure in order of time, and claim the packets to make."""
    with archive.database.read() as connection:
        done = ledger.units_of(connection, night, "difference", State.DONE)
    chosen = [unit for unit in done if claims.scope.has(QuadrantId.parse(unit.key))]
    return name_and_claim(archive, chosen, claims)


def name_and_claim(archive: Archive, done: Sequence[ledger.Unit], claims: Claims) -> list[Chain]:
    """Name what some finished difference units found, in order of time, and claim the packets to make."""
    exposures: dict[tuple[str, int], list[ledger.Unit]] = {}
    for unit in done:
        identifier = QuadrantId.parse(unit.key)
        exposures.setdefault((identifier.time, identifier.field), []).append(unit)
    return [
        chain for _, units in sorted(exposures.items()) for chain in _name_exposure(archive, units, claims)
    ]


def _name_exposure(archive: Archive, done: Sequence[ledger.Unit], claims: Claims) -> list[Chain]:
    with archive.database.write() as connection:
        ledger.add_units(connection, "packets", done[0].night, [unit.key for unit in done])
        tasks = [Task("packets", unit.key, {"difference_attempt": unit.attempt}) for unit in done]
        taken = [claims.take(connection, task, claims.settings.difference) for task in tasks]
    tasks = [task for task in taken if task is not None]
    quadrants = [QuadrantId.parse(task.key) for task in tasks]
    failed = run_naming(archive, quadrants, claims.settings.difference.own_packets) if tasks else []
    for finished in failed:
        claims.finish(finished)
    unnamed = {finished.task.key for finished in failed}
    return [(task,) for task in tasks if task.key not in unnamed]


def rfid_of(archive: Archive, field: int, band: str, ccd: int, quadrant: int) -> int:
    """ZTF's id of a reference."""
    return reference_id(field, archive.camera.bands[band].id, archive.camera.channel(ccd, quadrant))
