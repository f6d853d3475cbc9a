"""A night's bias, dark and flat frames to master calibrations, one unit per quadrant and band."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zsds.workflows.bookkeeping import Chain, Claims, run_chains
from zsds.workflows.cluster import cluster_for, open_cluster
from zsds.workflows.night import Progress, check_frame

from zsds.core.errors import BadInput
from zsds.core.scope import EVERYTHING, Scope
from zsds.core.settings import settings_hash
from zsds.db import ledger, versions
from zsds.db.ledger import State
from zsds.pipeline.settings import Settings
from zsds.products import CalibrationId
from zsds.runner import Finished, Task
from zsds.runner.archive import Archive, open_archive

Frames = dict[str, list[ledger.Frame]]
KINDS = ("bias", "flat", "bad_pixels")


def run_calibrations(
    folder: Path,
    night: str,
    settings: Settings,
    progress: Progress,
    cluster: str = "local",
    n_workers: int | None = None,
    scope: Scope = EVERYTHING,
) -> None:
    """Make the master calibrations of a night that are not made yet; arguments as for `run_nights`.

    Raises
    ------
    BadInput
        If the night has no flat frames, or neither it nor a night before has bias or dark frames.
    """
    archive = open_archive(folder)
    archive.store.clean_staging()
    with Claims(archive, settings, scope) as claims:
        chains = plan_calibrations(archive, night, claims)
        where = cluster_for(cluster, bool(chains))
        with (
            open_cluster(where, n_workers, settings.cluster, archive.store.root, claims.renew) as workers,
            progress("calibrations", len(chains)) as advance,
        ):
            run_chains(workers, chains, claims, advance, record_calibration)


def plan_calibrations(archive: Archive, night: str, claims: Claims) -> list[Chain]:
    """Claimed tasks for every quadrant and band with frames."""
    camera, settings = archive.camera, claims.settings.calibration
    with archive.database.write() as connection:
        frames = {
            "bias": _newest_zero(connection, night),
            "dark": _newest(connection, night, "dark"),
            "flat": ledger.frames_of(connection, night, "flat"),
        }
        for kind, found in frames.items():
            if not found and kind != "dark":
                raise BadInput(
                    night, f"has no {kind} frames in this archive", "register them with: zsds ingest"
                )
        chains = []
        for frame in frames["flat"]:
            check_frame(archive, frame)
        for band, ccd in sorted({(frame.band, frame.ccd) for frame in frames["flat"]}):
            used = _used(frames, band, ccd)
            made_from = {**_files(used), "digest": _digest(used), "camera": camera.digest(ccd)}
            for quadrant in sorted(camera.detectors[ccd].amplifiers):
                if not claims.scope.has_channel(ccd, quadrant):
                    continue
                place = night, band, ccd, quadrant, camera.prefix
                ledger.add_units(connection, "calibration", night, [_key(*place)])
                task = _task(connection, place, made_from, claims)
                if taken := claims.take(connection, task, settings):
                    chains.append((taken,))
    return chains


def _key(night: str, band: str, ccd: int, quadrant: int, prefix: str) -> str:
    return str(CalibrationId(night, band, ccd, quadrant, prefix=prefix))


def _used(frames: Frames, band: str, ccd: int) -> Frames:
    """The frames of one CCD, and flats of one band."""
    return {
        kind: [f for f in found if f.ccd == ccd and (kind != "flat" or f.band == band)]
        for kind, found in frames.items()
    }


def _files(used: Frames) -> dict[str, dict[str, str]]:
    """Digests by path."""
    return {kind: {frame.path: frame.digest[:16] for frame in found} for kind, found in used.items()}


def _digest(used: Frames) -> str:
    """Changes when a frame was replaced in its place."""
    digests = sorted(frame.digest for found in used.values() for frame in found)
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def _newest_zero(connection: Any, night: str) -> list[ledger.Frame]:
    """Bias frames of the night or a night before; darks where there is no bias."""
    return _newest(connection, night, "bias") or _newest(connection, night, "dark")


def _newest(connection: Any, night: str, kind: str) -> list[ledger.Frame]:
    """Frames of each CCD of the night, or of the newest night before that has any."""
    found = [f for f in ledger.frames_of(connection, frame_type=kind) if f.night <= night]
    newest = {ccd: max(f.night for f in found if f.ccd == ccd) for ccd in {f.ccd for f in found}}
    return [f for f in found if f.night == newest[f.ccd]]


def _task(
    connection: Any, place: tuple[str, str, int, int, str], made_from: dict[str, Any], claims: Claims
) -> Task:
    """The version tried last when its frames, camera and settings were the same, else the next one.

    One that is done and to be done again is the next one too: nights may have used it.
    """
    key = _key(*place)
    before = ledger.unit_of(connection, "calibration", key)
    inputs = before.inputs or {}
    same = before.settings_hash == settings_hash(claims.settings.calibration)
    same = same and not (claims.scope.again and before.state is State.DONE)
    again = {"calibration": inputs.get("calibration"), **made_from}
    if same and again["calibration"] and ledger.same_content(inputs, again):
        return Task("calibration", key, again)
    fresh = versions.next_calibration(connection, "flat", *place)
    return Task("calibration", key, {"calibration": asdict(fresh), **made_from})


def record_calibration(connection: Any, done: Finished) -> None:
    """Make a finished calibration known to the nights that follow."""
    inputs = done.task.inputs
    identifier = CalibrationId(**inputs["calibration"])
    for kind in KINDS:
        roles = ("bias", "dark") if kind == "bias" else ("bias", "dark", "flat")
        n_frames = len(inputs["bias"]) if kind == "bias" else len(inputs["flat"])
        made_from = {role: inputs[role] for role in roles}
        versions.add_calibration(connection, kind, identifier, n_frames, made_from)
