"""Calibrated epochs of every field, band and quadrant to references."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zsds.workflows.bookkeeping import Chain, Claims, run_chains
from zsds.workflows.cluster import cluster_for, open_cluster
from zsds.workflows.night import Progress, rfid_of

from zsds.core.errors import BadInput
from zsds.core.ids import QuadrantId
from zsds.core.scope import Scope
from zsds.db import figures, ledger, versions
from zsds.db.ledger import State
from zsds.db.schema import units as unit_table
from zsds.db.versions import ReferenceRow
from zsds.pipeline.settings import Settings
from zsds.products import ReferenceId
from zsds.runner import Finished, Task
from zsds.runner.archive import Archive, open_archive

Place = tuple[int, str, int, int]


def run_references(
    folder: Path,
    settings: Settings,
    progress: Progress,
    nights: Sequence[str] = (),
    cluster: str = "local",
    n_workers: int | None = None,
    again: bool = False,
) -> None:
    """Build references where there is none yet, from the calibrated epochs of the given nights.

    When none is given, a quadrant's newest night stays out, so that it can be subtracted. A reference that
    exists is never changed; ``again`` makes a new version beside it.

    Raises
    ------
    BadInput
        If there are no calibrated epochs, or another run works on one of the references.
    """
    archive = open_archive(folder)
    archive.store.clean_staging()
    with Claims(archive, settings, Scope(again=again)) as claims:
        chains = plan_references(archive, nights, claims)
        where = cluster_for(cluster, bool(chains))
        with (
            open_cluster(where, n_workers, settings.cluster, archive.store.root, claims.renew) as workers,
            progress("references", len(chains)) as advance,
        ):
            run_chains(workers, chains, claims, advance, record_reference)


def plan_references(archive: Archive, nights: Sequence[str], claims: Claims) -> list[Chain]:
    """Claimed tasks for each field, band and quadrant that has enough epochs and no reference."""
    camera, chains = archive.camera, []
    with archive.database.write() as connection:
        epochs = _epochs(connection, nights)
        if not epochs:
            raise BadInput(str(archive.store.root), "has no calibrated epochs", "run zsds night first")
        for place, keys in sorted(epochs.items()):
            is_there = versions.latest_reference(connection, *place, camera.prefix) is not None
            if is_there and not claims.scope.again:
                continue
            fresh = versions.next_reference(connection, *place, camera.prefix)
            key = str(fresh)
            ledger.add_units(connection, "reference", max(keys).split("_")[1][:8], [key])
            task = Task(
                "reference",
                key,
                {"reference": asdict(fresh), "rfid": rfid_of(archive, *place), "epochs": sorted(keys)},
            )
            if taken := claims.take(connection, task, claims.settings.reference):
                chains.append((taken,))
    return chains


def _epochs(connection: Any, nights: Sequence[str]) -> dict[Place, list[str]]:
    """Calibrated epochs to offer, by field, band and channel."""
    found: dict[Place, list[QuadrantId]] = {}
    for night in set(nights) or figures.last_nights(connection, None, unit_table):
        for key, state in ledger.states_of(connection, night, "science").items():
            if state is State.DONE:
                identifier = QuadrantId.parse(key)
                place = identifier.field, identifier.band, *identifier.channel
                found.setdefault(place, []).append(identifier)
    known = {epoch.night for epochs in found.values() for epoch in epochs}
    for night in nights:
        if night not in known:
            raise BadInput(night, "has no calibrated epochs", f"make them with: zsds night {night}")
    offered = {place: _offered(epochs, nights) for place, epochs in found.items()}
    return {place: [str(epoch) for epoch in epochs] for place, epochs in offered.items() if epochs}


def _offered(epochs: list[QuadrantId], nights: Sequence[str]) -> list[QuadrantId]:
    """Those of the nights named; when none is named, of all nights but the newest, if there is an older one.

    A reference that holds the night it is subtracted from takes part of every new source away.
    """
    if nights:
        return [epoch for epoch in epochs if epoch.night in nights]
    newest = max(epoch.night for epoch in epochs)
    return [epoch for epoch in epochs if epoch.night < newest] or epochs


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
