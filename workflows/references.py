"""Calibrated epochs of every field, band and quadrant to references."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zsds.workflows.bookkeeping import Chain, Claims, run_chains
from zsds.workflows.cluster import open_cluster
from zsds.workflows.night import Progress, rfid_of

from zsds.core.errors import BadInput
from zsds.core.ids import QuadrantId
from zsds.db import ledger, versions
from zsds.db.ledger import State
from zsds.db.versions import ReferenceRow
from zsds.pipeline.settings import Settings
from zsds.products import ReferenceId
from zsds.runner import Finished, Task
from zsds.runner.archive import Archive, open_archive


def run_references(
    folder: Path,
    settings: Settings,
    progress: Progress,
    nights: Sequence[str] = (),
    cluster: str = "local",
    n_workers: int | None = None,
    again: bool = False,
) -> None:
    """Build references where there is none yet, from the calibrated epochs of the given nights (or of all).

    A reference that exists is never changed; ``again`` makes a new version beside it.

    Raises
    ------
    BadInput
        If there are no calibrated epochs.
    """
    archive = open_archive(folder)
    archive.store.clean_staging()
    with Claims(archive, settings, again) as claims:
        chains = plan_references(archive, nights, claims)
        with open_cluster(cluster, n_workers) as workers, progress("references", len(chains)) as advance:
            run_chains(workers, chains, claims, advance, record_reference)


def plan_references(archive: Archive, nights: Sequence[str], claims: Claims) -> list[Chain]:
    """Claimed tasks for each field, band and quadrant that has enough epochs and no reference."""
    camera, chains = archive.camera, []
    with archive.database.write() as connection:
        epochs: dict[tuple[int, str, int, int], list[str]] = {}
        for unit in ledger.units_of(connection, kind="science", state=State.DONE):
            if not nights or unit.night in nights:
                identifier = QuadrantId.parse(unit.key)
                place = identifier.field, identifier.band, *identifier.channel
                epochs.setdefault(place, []).append(unit.key)
        if not epochs:
            raise BadInput(
                ", ".join(nights) or str(archive.store.root),
                "has no calibrated epochs",
                "run zsds night first",
            )
        for place, keys in sorted(epochs.items()):
            if versions.latest_reference(connection, *place, camera.prefix) is not None and not claims.again:
                continue
            fresh = versions.next_reference(connection, *place, camera.prefix)
            key = f"{camera.prefix}_{fresh.field:06d}_{fresh.band}_c{fresh.ccd:02d}_q{fresh.quadrant}"
            ledger.add_units(connection, "reference", max(keys).split("_")[1][:8], [key])
            task = Task(
                "reference",
                key,
                {"reference": asdict(fresh), "rfid": rfid_of(archive, *place), "epochs": sorted(keys)},
            )
            if claims.take(connection, task, claims.settings.reference):
                chains.append((task,))
    return chains


def record_reference(connection: Any, done: Finished) -> None:
    """Make a finished reference known to the nights that follow."""
    inputs, metrics = done.task.inputs, done.outcome.metrics
    versions.add_reference(
        connection,
        ReferenceRow(
            ReferenceId(**inputs["reference"]),
            int(inputs["rfid"]),
            int(metrics["n_frames"]),
            float(metrics["start_mjd"]),
            float(metrics["end_mjd"]),
            list(inputs["epochs"]),
        ),
    )
