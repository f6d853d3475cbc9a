"""Alerts against truth: what was found, what was missed, what is false, and how exact the numbers are."""

from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table, hstack
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds.core.robust import mad_width
from zsds.core.sphere import ARCSEC_PER_RADIAN, unit_vectors
from zsds.sim.sky import tangent_offset

REQUIRED = ("time", "ccd", "quadrant", "ra", "dec", "is_positive")


@dataclass(frozen=True)
class ComparisonSettings:
    """How alerts are matched with truth.

    Parameters
    ----------
    radius_arcsec : float
        Largest distance of an alert from its transient, variable or asteroid.
    mover_radius_arcsec : float
        The same for stars of large proper motion, to which their motion since 2016 is added.
    trail_width_arcsec : float
        Alerts closer than this to a trail belong to it.
    least_snr : float
        Changes whose ideal signal-to-noise ratio is lower explain no alert.
    edge_px : float
        Changes closer than this to an edge of the quadrant do not count for completeness.
    snr_edges : tuple of float
        Bins of the ideal signal-to-noise ratio.
    good_snr : float
        Above it everything should be found.
    """

    radius_arcsec: float = 1.5
    mover_radius_arcsec: float = 2.0
    trail_width_arcsec: float = 12.0
    least_snr: float = 2.0
    edge_px: float = 15.0
    snr_edges: tuple[float, ...] = (4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 25.0, 50.0, 1000.0)
    good_snr: float = 8.0


@dataclass(frozen=True)
class TruthComparison:
    """How the alerts of some exposures compare with what was simulated.

    Parameters
    ----------
    completeness : Table
        Per bin of ideal S/N: snr_low, snr_high, n_injected, n_found, fraction (transients only).
    matches : Table
        Alerts with the transient, variable or asteroid they are: ``kind``, ``id``, ``true_snr``,
        ``east_arcsec``, ``north_arcsec`` (alert minus truth) and, where the alerts have ``magpsf`` and
        ``sigmapsf``, ``mag_difference`` and ``mag_pull``.
    false : Table
        Alerts that nothing in the truth explains.
    missed : Table
        Rows of ``truth_changes``: transients above ``good_snr`` without an alert.
    explained : dict
        Number of alerts by what explains them.
    n_quadrants : int
    """

    completeness: Table
    matches: Table
    false: Table
    missed: Table
    explained: dict[str, int]
    n_alerts: int
    n_quadrants: int
    n_good: int
    n_good_found: int
    kinds: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def false_per_quadrant(self) -> float:
        """Alerts per quadrant that nothing explains."""
        return len(self.false) / max(1, self.n_quadrants)

    @property
    def good_fraction(self) -> float:
        """Completeness of transients above ``good_snr``; NaN if there are none."""
        return self.n_good_found / self.n_good if self.n_good else float("nan")

    def numbers(self) -> dict[str, float]:
        """The figures of merit by name."""
        transients = self.matches[self.matches["kind"] == "transient"]
        result = {
            "n_quadrants": float(self.n_quadrants),
            "n_alerts": float(self.n_alerts),
            "n_false": float(len(self.false)),
            "false_per_quadrant": self.false_per_quadrant,
            "n_good": float(self.n_good),
            "completeness_good": self.good_fraction,
        }
        for name in ("east_arcsec", "north_arcsec", "mag_difference", "mag_pull"):
            if name in transients.colnames:
                values = np.asarray(transients[name], dtype=np.float64)
                values = values[np.isfinite(values)]
                result[f"{name}_median"] = float(np.median(values)) if values.size else float("nan")
                result[f"{name}_width"] = mad_width(values)
        for kind, (injected, found) in self.kinds.items():
            result[f"n_{kind}_injected"] = float(injected)
            result[f"n_{kind}_found"] = float(found)
        return result


def compare_with_truth(
    alerts: Table,
    changes: Table,
    trails: Table,
    exposures: Table,
    settings: ComparisonSettings | None = None,
    shape: tuple[int, int] | None = None,
) -> TruthComparison:
    """Match alerts with the truth of the exposures they come from.

    Parameters
    ----------
    alerts : Table
        Columns ``time`` (as in file names), ``ccd``, ``quadrant``, ``ra``, ``dec`` (degrees) and
        ``is_positive``; optional ``magpsf``, ``sigmapsf``.
    changes, trails, exposures : Table
        ``truth_changes``, ``truth_trails``, ``truth_exposures``. Give only the exposures that were
        processed (for instance those whose role is science): they set what can be found.
    settings : ComparisonSettings, optional
    shape : tuple of int, optional
        (ny, nx) of the quadrants, to leave out changes near their edges.

    Raises
    ------
    ValueError
        If the alerts lack a column.
    """
    missing = [name for name in REQUIRED if name not in alerts.colnames]
    if missing:
        raise ValueError(f"alerts lack the columns {', '.join(missing)}")
    settings = settings or ComparisonSettings()
    channels = {_channel(row) for row in exposures}
    changes = changes[np.array([_channel(row) in channels for row in changes], dtype=bool)]
    alerts = alerts[np.array([_channel(row) in channels for row in alerts], dtype=bool)]
    strong = changes[np.asarray(changes["snr"]) >= settings.least_snr]
    match = _nearest(alerts, strong, settings.radius_arcsec)
    reason = np.full(len(alerts), "", dtype="U9")
    reason[match >= 0] = np.asarray(strong["kind"])[match[match >= 0]]
    for name, near in (
        ("trail", _on_trails(alerts, trails, settings.trail_width_arcsec)),
        ("mover", _on_movers(alerts, changes, settings.mover_radius_arcsec)),
    ):
        reason[(reason == "") & near] = name
    names = ("transient", "variable", "asteroid", "mover", "trail")
    found = np.zeros(len(strong), dtype=bool)
    found[match[match >= 0]] = True
    counted = strong[_inside(strong, settings.edge_px, shape)]
    was_found = found[_inside(strong, settings.edge_px, shape)]
    transient = np.asarray(counted["kind"]) == "transient"
    good = transient & (np.asarray(counted["snr"]) >= settings.good_snr)
    return TruthComparison(
        completeness=_completeness(counted[transient], was_found[transient], settings.snr_edges),
        matches=_matches(alerts, strong, match),
        false=alerts[reason == ""],
        missed=counted[good & ~was_found],
        explained={name: int(np.sum(reason == name)) for name in names},
        n_alerts=len(alerts),
        n_quadrants=len(channels),
        n_good=int(good.sum()),
        n_good_found=int((good & was_found).sum()),
        kinds=_by_kind(counted, was_found, settings.good_snr),
    )


def _channel(row: Table.Row) -> tuple[str, int, int]:
    return str(row["time"]), int(row["ccd"]), int(row["quadrant"])


def _plane(table: Table, signed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Unit vectors in arcseconds with the sign as a fourth axis that keeps opposite signs apart."""
    unit = unit_vectors(table["ra"], table["dec"])
    return np.column_stack([unit * ARCSEC_PER_RADIAN, np.where(signed, 1e6, -1e6)])


def _nearest(alerts: Table, changes: Table, radius_arcsec: float) -> NDArray[np.int64]:
    """Row of the nearest change of the same exposure and sign within the radius, else -1."""
    match = np.full(len(alerts), -1, dtype=np.int64)
    times, when = np.asarray(alerts["time"]).astype(str), np.asarray(changes["time"]).astype(str)
    for time in np.unique(times):
        here, there = np.flatnonzero(times == time), np.flatnonzero(when == time)
        if there.size == 0:
            continue
        tree = cKDTree(_plane(changes[there], np.asarray(changes["change"])[there] > 0))
        sign = np.asarray(alerts["is_positive"]).astype(bool)[here]
        distance, row = tree.query(_plane(alerts[here], sign), distance_upper_bound=radius_arcsec)
        close = np.isfinite(distance)
        match[here[close]] = there[row[close]]
    return match


def _on_movers(alerts: Table, changes: Table, radius_arcsec: float) -> NDArray[np.bool_]:
    """Whether an alert of either sign lies on a star of large proper motion."""
    movers = changes[(np.asarray(changes["kind"]) == "mover") | (np.asarray(changes["motion_arcsec"]) > 0.3)]
    near = np.zeros(len(alerts), dtype=bool)
    for mover in movers:
        east, north = tangent_offset(mover["ra"], mover["dec"], alerts["ra"], alerts["dec"])
        reach = radius_arcsec + abs(mover["motion_arcsec"])
        same = np.asarray(alerts["time"]).astype(str) == str(mover["time"])
        near |= same & (np.hypot(east, north) * 3600 < reach)
    return near


def _on_trails(alerts: Table, trails: Table, width_arcsec: float) -> NDArray[np.bool_]:
    """Whether an alert lies within a distance of a trail of its exposure."""
    near = np.zeros(len(alerts), dtype=bool)
    for trail in trails:
        east, north = tangent_offset(trail["ra0"], trail["dec0"], alerts["ra"], alerts["dec"])
        end = np.array(tangent_offset(trail["ra0"], trail["dec0"], trail["ra1"], trail["dec1"]))
        along = np.clip((east * end[0] + north * end[1]) / max(end @ end, 1e-30), 0, 1)
        distance = np.hypot(east - along * end[0], north - along * end[1]) * 3600
        same = np.asarray(alerts["time"]).astype(str) == str(trail["time"])
        near |= same & (distance < width_arcsec)
    return near


def _inside(changes: Table, edge_px: float, shape: tuple[int, int] | None) -> NDArray[np.bool_]:
    x, y = np.asarray(changes["x"]), np.asarray(changes["y"])
    inside: NDArray[np.bool_] = (x >= edge_px) & (y >= edge_px)
    if shape is not None:
        inside &= (x <= shape[1] - 1 - edge_px) & (y <= shape[0] - 1 - edge_px)
    return inside


def _completeness(transients: Table, found: NDArray[np.bool_], edges: tuple[float, ...]) -> Table:
    low, high = np.array(edges[:-1]), np.array(edges[1:])
    snr = np.asarray(transients["snr"])[:, None]
    inside = (snr >= low) & (snr < high)
    injected, seen = inside.sum(axis=0), (inside & found[:, None]).sum(axis=0)
    fraction = np.where(injected > 0, seen / np.maximum(injected, 1), np.nan)
    names = ("snr_low", "snr_high", "n_injected", "n_found", "fraction")
    return Table([low, high, injected, seen, fraction], names=names)


def _by_kind(changes: Table, found: NDArray[np.bool_], good_snr: float) -> dict[str, tuple[int, int]]:
    """(injected, found) of each kind above the good S/N."""
    kinds = {}
    for kind in ("transient", "variable", "asteroid"):
        good = (np.asarray(changes["kind"]) == kind) & (np.asarray(changes["snr"]) >= good_snr)
        kinds[kind] = (int(good.sum()), int((good & found).sum()))
    return kinds


def _matches(alerts: Table, changes: Table, match: NDArray[np.int64]) -> Table:
    own = alerts[match >= 0]
    true = changes[match[match >= 0]]
    turn = np.mod(np.asarray(own["ra"]) - np.asarray(true["ra"]) + 180, 360) - 180
    added = Table(
        {
            "kind": np.asarray(true["kind"]),
            "id": np.asarray(true["id"]),
            "true_snr": np.asarray(true["snr"]),
            "true_mag": np.asarray(true["change_mag"]),
            "east_arcsec": turn * np.cos(np.radians(np.asarray(true["dec"]))) * 3600,
            "north_arcsec": (np.asarray(own["dec"]) - np.asarray(true["dec"])) * 3600,
        }
    )
    if {"magpsf", "sigmapsf"} <= set(own.colnames):
        added["mag_difference"] = np.asarray(own["magpsf"]) - np.asarray(true["change_mag"])
        error = np.asarray(own["sigmapsf"], dtype=np.float64)
        added["mag_pull"] = added["mag_difference"] / np.where(error > 0, error, np.nan)
    kept = [name for name in own.colnames if name not in added.colnames]
    return hstack([own[kept], added]) if kept else added
