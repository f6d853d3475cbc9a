"""One exposure's candidates get their names, all at once, in one transaction."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table, vstack

from zsds.alerts import candidate_records
from zsds.associate.solar_system import designations_of
from zsds.core.errors import ZsdsError
from zsds.core.ids import QuadrantId
from zsds.core.stream import SCHEMAS, ZTF_SCHEMA
from zsds.core.tables import new_table
from zsds.db.history import Coverage, save_coverage
from zsds.db.ledger import Outcome, State
from zsds.db.objects import add_packets, withdraw_packets
from zsds.pipeline.naming import NamingSettings, name_exposure
from zsds.products import PACKET_OF
from zsds.runner.archive import Archive
from zsds.runner.log import about
from zsds.runner.run import Finished, Task

log = logging.getLogger(__name__)
MIN_SNR = 3.0  # fainter candidates are kept in files, not in the database


@dataclass(frozen=True)
class Found:
    """What the products of one quadrant say: candidates, facts of the exposure, and its footprint."""

    candidates: Table
    facts: dict[str, Any]
    coverage: Coverage


def run_naming(
    archive: Archive, quadrants: Sequence[QuadrantId], own_packets: bool = False
) -> list[Finished]:
    """Name the candidates of quadrants of one exposure; detections, coverage and outbox follow together.

    Parameters
    ----------
    archive : Archive
    quadrants : sequence of QuadrantId
    own_packets : bool
        Whether packets of our own schema are made beside those of ZTF's.

    Returns
    -------
    list of Finished
        The packets units that failed because their products cannot be read; the others were named.
    """
    found, failed = {}, []
    for identifier in sorted(quadrants):
        try:
            found[identifier] = _load(archive, identifier)
        except ZsdsError as error:
            outcome = Outcome(State.FAILED, f"{error}; then run the night with --again")
            failed.append(Finished(Task("packets", str(identifier)), outcome))
    if found:
        name_found(archive, found, SCHEMAS if own_packets else (ZTF_SCHEMA,))
    return failed


def name_found(
    archive: Archive, quadrants: Mapping[QuadrantId, Found], schemas: Sequence[str] = (ZTF_SCHEMA,)
) -> None:
    """Name what quadrants of one exposure found, and save it, in one transaction; packets of some schemas."""
    tables, records = [], []
    alerts: set[int] = set()
    for found in quadrants.values():
        rows = candidate_records(found.candidates, found.facts)
        tables.append(_detections(found.candidates, rows))
        records += rows
        wanted = found.candidates["is_alert"]
        alerts |= {int(row["candid"]) for row, is_alert in zip(rows, wanted, strict=True) if is_alert}
    bodies = vstack([found.candidates["ssnamenr", "ssdistnr", "is_positive"] for found in quadrants.values()])
    designations = designations_of(bodies["ssnamenr"].tolist(), bodies["ssdistnr"], bodies["is_positive"])
    detections = vstack(tables)
    is_alert = np.isin(detections["candid"], list(alerts))
    settings = NamingSettings(prefix=archive.camera.object_prefix)
    night = next(iter(quadrants)).night
    with archive.database.write() as connection:
        pids = [found.coverage.pid for found in quadrants.values()]
        withdraw_packets(connection, pids, dict.fromkeys(schemas, alerts))
        named = name_exposure(connection, detections, designations, is_alert, settings, records)
        for found in quadrants.values():
            save_coverage(connection, found.coverage)
        packets = [row for row in named if int(row["candid"]) in alerts]
        add_packets(
            connection, [_packet(archive, row, night, schema) for row in packets for schema in schemas]
        )
    for identifier, found in quadrants.items():
        with about("packets", str(identifier), night):
            log.info("named, with %d detections", len(found.candidates))


def _load(archive: Archive, identifier: QuadrantId) -> Found:
    store = archive.store
    found = store.load_table("candidates", identifier, "candidates")
    found = found[found["is_alert"] | (np.abs(found["snr"]) >= MIN_SNR)]
    metrics = store.load_json("difference_metrics", identifier)
    facts = metrics["facts"]
    corners = store.load_json("science_metrics", identifier)["corners"]
    coverage = Coverage(
        pid=facts["pid"],
        unit=str(identifier),
        jd=facts["jd"],
        band_id=facts["fid"],
        field=facts["field"],
        channel=facts["rcid"],
        program_id=facts["programid"],
        diffmaglim=facts["diffmaglim"],
        corners=corners,
        record={**facts, "image": metrics.get("image")},
    )
    return Found(found, facts, coverage)


def _detections(found: Table, rows: Sequence[dict[str, Any]]) -> Table:
    """The table ``detections`` of candidates and their records."""
    table = new_table("detections", len(found))
    for ours, theirs in (
        ("candid", "candid"),
        ("pid", "pid"),
        ("jd", "jd"),
        ("band_id", "fid"),
        ("field", "field"),
        ("channel", "rcid"),
        ("program_id", "programid"),
    ):
        table[ours][:] = [row[theirs] for row in rows]
    table["positive"][:] = found["is_positive"]
    table["ra"][:], table["dec"][:] = found["ra"], found["dec"]
    table["snr"][:] = np.abs(found["snr"])
    return table


def _packet(archive: Archive, row: Any, night: str, schema: str) -> dict[str, Any]:
    candid = int(row["candid"])
    path = archive.store.path(PACKET_OF[schema], candid).relative_to(archive.store.root)
    return {
        "candid": candid,
        "schema": schema,
        "object_id": str(row["object_id"]),
        "night": night,
        "program_id": int(row["program_id"]),
        "path": str(path),
    }
