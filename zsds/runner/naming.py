"""One exposure's candidates get their names, all at once, in one transaction."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from astropy.table import Table, vstack

from zsds.alerts import candidate_records
from zsds.core.ids import QuadrantId
from zsds.core.tables import new_table
from zsds.db.history import Coverage, save_coverage
from zsds.db.objects import add_packets, withdraw_packets
from zsds.pipeline.naming import NamingSettings, name_exposure
from zsds.runner.archive import Archive

MIN_SNR = 3.0  # fainter candidates are kept in files, not in the database


def name_quadrants(archive: Archive, quadrants: Sequence[QuadrantId]) -> dict[QuadrantId, int]:
    """Name the candidates of quadrants of one exposure; detections, coverage and outbox follow together.

    Returns
    -------
    dict
        Packets to make for each quadrant.
    """
    tables, records, designations, coverages = [], [], [], []
    alert: dict[int, bool] = {}
    for identifier in sorted(quadrants):
        found, facts, coverage = _load(archive, identifier)
        rows = candidate_records(found, facts)
        tables.append(_detections(found, rows))
        records += rows
        designations += [name or "" for name in (row.get("ssnamenr") for row in rows)]
        coverages.append(coverage)
        alert |= {
            int(row["candid"]): bool(wanted) for row, wanted in zip(rows, found["is_alert"], strict=True)
        }
    settings = NamingSettings(prefix=archive.camera.object_prefix)
    counts = dict.fromkeys(quadrants, 0)
    with archive.database.write() as connection:
        pids = [coverage.pid for coverage in coverages]
        withdrawn = withdraw_packets(connection, pids, {candid for candid, wanted in alert.items() if wanted})
        named = name_exposure(connection, vstack(tables), designations, settings, records)
        for coverage in coverages:
            save_coverage(connection, coverage)
        packets = [row for row in named if alert[int(row["candid"])]]
        add_packets(connection, [_packet(archive, row, quadrants[0].night) for row in packets])
    for path in withdrawn:
        (archive.store.root / path).unlink(missing_ok=True)
    by_pid = {coverage.pid: QuadrantId.parse(coverage.unit) for coverage in coverages}
    for row in packets:
        counts[by_pid[int(row["pid"])]] += 1
    return counts


def _load(archive: Archive, identifier: QuadrantId) -> tuple[Table, dict[str, Any], Coverage]:
    store = archive.store
    found = store.load_table("candidates", identifier, "candidates")
    found = found[found["is_alert"] | (np.abs(found["snr"]) >= MIN_SNR)]
    facts = store.load_json("difference_metrics", identifier)["facts"]
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
        record=facts,
    )
    return found, facts, coverage


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


def _packet(archive: Archive, row: Any, night: str) -> dict[str, Any]:
    candid = int(row["candid"])
    path = archive.store.path("packet", candid).relative_to(archive.store.root)
    return {
        "candid": candid,
        "object_id": str(row["object_id"]),
        "night": night,
        "program_id": int(row["program_id"]),
        "path": str(path),
    }
