"""How an archive stands, as Prometheus reads it; looked up when it asks."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from prometheus_client.core import GaugeMetricFamily, Metric

from zsds.core.errors import ZsdsError
from zsds.core.scope import KINDS
from zsds.db.ledger import State
from zsds.runner.archive import Archive
from zsds.runner.situation import NightSituation, look


@dataclass(frozen=True, eq=False)  # a registry keeps collectors by identity
class ArchiveCollector:
    """Metrics of the newest nights of an archive."""

    archive: Archive
    n_nights: int

    def describe(self) -> list[Metric]:
        """Nothing beforehand: that would ask the database when the service starts."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Look, and give what was seen; of a database that does not answer only that."""
        up = GaugeMetricFamily("zsds_database_up", "Whether the operations database answers.")
        try:
            seen = look(self.archive, self.n_nights)
        except ZsdsError:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield GaugeMetricFamily(
            "zsds_disk_free_bytes", "Free space on the archive's disk.", value=seen.free_bytes
        )
        yield GaugeMetricFamily(
            "zsds_disk_wanted_bytes", "Space that an hour of exposures may take.", value=seen.wanted_bytes
        )
        units = GaugeMetricFamily("zsds_units", "Units of work.", labels=("night", "kind", "state"))
        oldest = GaugeMetricFamily(
            "zsds_oldest_unfinished_seconds",
            "Time since the exposure of the oldest quadrant that is pending or running.",
            labels=("night",),
        )
        alerts = GaugeMetricFamily("zsds_alerts", "Alerts that exist or went out.", labels=("night",))
        published = GaugeMetricFamily("zsds_alerts_published", "Alerts that went out.", labels=("night",))
        latency = GaugeMetricFamily(
            "zsds_frame_to_packets_seconds",
            "Time from the landing of a raw frame to its packets.",
            labels=("night", "percentile"),
        )
        for night in seen.nights:
            for kind, state in product(KINDS, State):  # those that are 0 too, so that a sum is never missing
                count = night.counts.get(kind, {}).get(state, 0)
                units.add_metric((night.night, kind, str(state)), count)
            oldest.add_metric((night.night,), night.oldest_s)
            alerts.add_metric((night.night,), night.alerts)
            published.add_metric((night.night,), night.published)
            _add_latency(latency, night)
        yield from (units, oldest, alerts, published, latency)


def _add_latency(latency: GaugeMetricFamily, night: NightSituation) -> None:
    for percentile, seconds in zip(("50", "95", "100"), night.latency_s or (), strict=False):
        latency.add_metric((night.night, percentile), seconds)
