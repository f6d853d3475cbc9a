"""Named candidates to alert packets."""

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from astropy.table import Table
from sqlalchemy.engine import Connection

from zsds.alerts import OwnFacts, Past, build_own_packet, build_packet, candidate_records
from zsds.associate.history import Epoch, History
from zsds.core.errors import BadInput
from zsds.core.ids import QuadrantId
from zsds.core.programs import programs_shown
from zsds.db import ledger
from zsds.db.history import forget_search, histories_of
from zsds.db.ledger import Outcome, State
from zsds.db.objects import as_shown, names_of, objects_named, packets_from, withdraw_packets
from zsds.io.files import write_bytes
from zsds.io.packets import encode_packet
from zsds.io.stamps import read_cutouts, read_stamps
from zsds.io.store import Store
from zsds.pipeline.settings import Settings
from zsds.runner.archive import Archive
from zsds.runner.forced import forced_histories
from zsds.runner.versions import files_of, keep_version

log = logging.getLogger(__name__)


def run_packets(
    key: str,
    inputs: Mapping[str, Any],  # noqa: ARG001
    archive: Archive,
    settings: Settings,
) -> Mapping[str, Any]:
    """Make the packets of one quadrant, whose candidates are named and in the database."""
    identifier = QuadrantId.parse(key)
    store = archive.store
    found = store.load_table("candidates", identifier, "candidates")
    found = found[found["is_alert"]]
    metrics = store.load_json("difference_metrics", identifier)
    facts = metrics["facts"]
    stamps = read_stamps(store.path("stamps", identifier))
    epoch = Epoch(facts["jd"], facts["field"], facts["rcid"])
    with archive.database.read() as connection:
        names = names_of(connection, found["candid"].tolist())
        shown = programs_shown(facts["programid"])
        histories = histories_of(connection, found["ra"], found["dec"], epoch, program_ids=shown)
        objects = _objects(connection, [names[candid] for candid in found["candid"].tolist()])
        told = as_shown(connection, objects, shown) if settings.difference.own_packets else objects
        in_outbox = {row.path for row in packets_from(connection, [facts["pid"]])}
    forced = forced_histories(archive, objects, [history.images for history in histories])
    n_points = sum(len(points or ()) for points in forced)
    log.info("%d alerts, %d forced fluxes of their past", len(found), n_points)
    records = candidate_records(found, facts)
    with store.unit(f"{key}-packets") as staging:
        for record, history, points in zip(records, histories, forced, strict=True):
            candid = int(record["candid"])
            packet = build_packet(
                record, names[candid], _rows(history), _past(history), stamps[candid], forced=points
            )
            write_bytes(staging.path("packet", candid), encode_packet(packet))
        if settings.difference.own_packets:
            own = _own_facts(archive, identifier, metrics)
            cutouts = read_cutouts(store.path("cutouts", identifier))
            for row, about, history, points in zip(found, told, histories, forced, strict=True):
                candid = int(row["candid"])
                made = build_own_packet(
                    row, own, about, _past(history), _rows(history), points, cutouts[candid]
                )
                write_bytes(staging.path("own_packet", candid), encode_packet(made))
    _remove_withdrawn(store, identifier, in_outbox)
    return {"n_packets": len(found)}


def withdraw_rejected(connection: Connection, archive: Archive, key: str, owner: str) -> None:
    """Take back the packets of a quadrant whose difference was done and is now rejected, and what it found.

    Those that went out stay; the files of the others are kept as a superseded version.

    Parameters
    ----------
    connection : sqlalchemy.engine.Connection
        The transaction that records the rejection.
    archive : Archive
    key : str
        Of the quadrant.
    owner : str
        Who works on it.
    """
    try:
        pid = archive.store.load_json("difference_metrics", QuadrantId.parse(key))["facts"]["pid"]
        unit = ledger.claim(connection, "packets", key, owner, again=True)
    except (BadInput, KeyError):  # none were ever made
        return
    if unit is None:
        return
    if unit.version > 1:  # else none were ever finished
        keep_version(archive.store, "packets", key, unit.version - 1)
    withdraw_packets(connection, [pid], {})
    forget_search(connection, pid)
    left = {row.path for row in packets_from(connection, [pid])}
    _remove_withdrawn(archive.store, QuadrantId.parse(key), left)
    ledger.finish(connection, unit, Outcome(State.REJECTED, "its difference unit was rejected"))


def _remove_withdrawn(store: Store, identifier: QuadrantId, in_outbox: Collection[str]) -> None:
    """Remove the files of packets that an earlier version made, but for those that went out."""
    for file in files_of(store, "packets", identifier):
        if str(file.relative_to(store.root)) not in in_outbox:
            file.unlink(missing_ok=True)


def _own_facts(archive: Archive, identifier: QuadrantId, metrics: Mapping[str, Any]) -> OwnFacts:
    return OwnFacts(
        str(identifier),
        archive.camera.bands[identifier.band].name,
        metrics["facts"],
        metrics["image"],
        metrics["n_own_epochs"],
        archive.camera.pixel_scale_arcsec,
        **metrics["made_with"],
    )


def _objects(connection: Connection, names: Sequence[str]) -> Table:
    """Table ``objects`` in the order of the names, of which some may come twice."""
    objects = objects_named(connection, names)
    row = {name: n for n, name in enumerate(objects["id"].tolist())}
    return objects[[row[name] for name in names]]


def _rows(history: History) -> list[Mapping[str, Any]]:
    """What the packet shows of each earlier epoch: the record kept with the detection or the coverage."""
    return [{**(row.get("record") or {}), "candid": row.get("candid")} for row in history.previous]


def _past(history: History) -> Past:
    return Past(history.n_detections, history.n_covered, history.first_jd, history.last_jd)
