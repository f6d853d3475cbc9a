"""How the newest nights of an archive stand, for those who watch."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zsds.core.scope import KINDS
from zsds.db import figures
from zsds.db.ledger import State
from zsds.runner.archive import Archive
from zsds.runner.space import wanted_bytes
from zsds.runner.status import failures, latencies, oldest


@dataclass(frozen=True)
class NightSituation:
    """How one night stands.

    Parameters
    ----------
    night : str
    counts : mapping
        Units by kind and state.
    oldest : str or None
        The quadrant exposed first of those that are pending or running.
    oldest_s : float
        Seconds since its exposure began.
    alerts, published : int
        See `zsds.db.figures.alert_counts`.
    latency_s : tuple of float, or None
        Median, 95th percentile and largest time from raw frame to packets, where frames were followed.
    troubles : list
        Rejected and failed units grouped by reason, see `zsds.runner.status.failures`.
    """

    night: str
    counts: Mapping[str, Mapping[State, int]]
    oldest: str | None
    oldest_s: float
    alerts: int
    published: int
    latency_s: tuple[float, float, float] | None
    troubles: list[dict[str, Any]]


@dataclass(frozen=True)
class Situation:
    """How an archive stands: the camera, space on its disk (`wanted_bytes`), and its newest nights."""

    camera: str
    free_bytes: int
    wanted_bytes: float
    nights: list[NightSituation]


def look(archive: Archive, n_nights: int) -> Situation:
    """How the newest nights stand now.

    Raises
    ------
    BadInput
        If the database does not answer.
    """
    with archive.database.read() as connection:
        nights = figures.last_nights(connection, n_nights)
    free = shutil.disk_usage(archive.store.root).free
    wanted, found = wanted_bytes(archive.camera), [_night(archive, night) for night in nights]
    return Situation(archive.camera.name, free, wanted, found)


def _night(archive: Archive, night: str) -> NightSituation:
    with archive.database.read() as connection:
        counts = figures.state_counts(connection, night)
        alerts, published = figures.alert_counts(connection, night)
    first, waited_s = oldest(archive, [night]) or (None, 0.0)
    in_order = {kind: counts[kind] for kind in KINDS if kind in counts}
    return NightSituation(
        night,
        in_order,
        first,
        waited_s,
        alerts,
        published,
        latencies(archive, [night]),
        failures(archive, [night]),
    )
