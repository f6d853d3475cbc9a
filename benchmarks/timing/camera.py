"""The whole camera on one machine, from measured times of quadrants: a small queue simulation."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

QUADRANTS = 64
INTERVAL_S = 38.7
N_CORES = 16
NIGHT = 900  # exposures of the simulation: a long one
EXPOSURES, ALERTS = 700, 1_000_000  # of a usual night
CROWDED_SHARE = 0.1  # of the exposures, those of the galactic plane
LATENCY_S = 60.0  # from readout to packets, for 95 % of the quadrants
BLOCK = 20  # exposures in a row that are as crowded


@dataclass(frozen=True)
class Times:
    """Core-seconds of quadrants as they were measured.

    Parameters
    ----------
    usual, crowded : tuple of float
        One value a run; the simulation draws among them.
    naming_s : float
        Of them, what one process does for all quadrants in turn: naming the objects of an exposure, and
        whatever else the command does for it.
    beside_s : float
        Time of a quadrant on a busy machine over that on an idle one.
    """

    usual: tuple[float, ...]
    crowded: tuple[float, ...]
    naming_s: float
    beside_s: float = 1.0


@dataclass(frozen=True)
class Projection:
    """The camera on a machine.

    Parameters
    ----------
    per_hour : float
        Quadrants that the cores can do in an hour.
    utilisation : float
        Of the cores, while the camera runs.
    median_s, p95_s, worst_s : float
        From readout to packets.
    """

    per_hour: float
    utilisation: float
    median_s: float
    p95_s: float
    worst_s: float


def finished(
    arrivals: NDArray[np.float64], services: NDArray[np.float64], n_servers: int
) -> NDArray[np.float64]:
    """When each job ends that is served in order of arrival by the first server that is free.

    Parameters
    ----------
    arrivals : ndarray of float64 [n]
        Sorted.
    services : ndarray of float64 [n]
        Time that each takes.
    n_servers : int
    """
    free = [0.0] * n_servers
    ends = np.empty(len(arrivals))
    for k, (arrival, service) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
        ends[k] = max(arrival, free[0]) + service
        heapq.heapreplace(free, ends[k])
    return ends


def project(
    times: Times, crowded_share: float, rng: np.random.Generator, n_cores: int = N_CORES
) -> Projection:
    """A night of exposures, each of 64 quadrants that are read out at once.

    Parameters
    ----------
    times : Times
    crowded_share : float
        Of the exposures, in blocks; the rest are usual.
    rng : numpy.random.Generator
    n_cores : int
    """
    crowded = np.repeat(rng.random(NIGHT // BLOCK) < crowded_share, BLOCK * QUADRANTS)
    services = np.where(
        crowded, rng.choice(times.crowded or times.usual, crowded.size), rng.choice(times.usual, crowded.size)
    )
    services = times.beside_s * (services - times.naming_s)
    readout = np.repeat(INTERVAL_S * np.arange(crowded.size // QUADRANTS), QUADRANTS)
    measured = finished(readout, services, n_cores)
    order = np.argsort(measured, kind="stable")
    named = finished(measured[order], np.full(order.size, times.naming_s), 1)
    latency = named - readout[order]
    low, high, worst = np.percentile(latency, [50, 95, 100])
    mean = float(services.mean())
    return Projection(
        3600 * n_cores / mean,
        QUADRANTS * mean / (n_cores * INTERVAL_S),
        float(low),
        float(high),
        float(worst),
    )


def projections(times: Times, seed: int = 1) -> dict[str, dict[str, float]]:
    """The camera with usual quadrants only, and with blocks of crowded ones where those were measured.

    Beside what `project` says of `N_CORES`: the fewest cores that would do, see `fewest_cores`.
    """
    cases = {"usual fields": 0.0}
    if times.crowded:
        cases[f"{CROWDED_SHARE:.0%} of the exposures crowded"] = CROWDED_SHARE
    return {
        name: {
            **asdict(project(times, share, np.random.default_rng(seed))),
            "fewest_cores": fewest_cores(times, share, seed=seed),
        }
        for name, share in cases.items()
    }


def fewest_cores(times: Times, crowded_share: float, most_s: float = LATENCY_S, seed: int = 1) -> int:
    """Fewest cores with which 95 % of a night's quadrants have packets within a time after readout."""
    n = max(
        1, int(QUADRANTS * times.beside_s * (min(times.usual) - times.naming_s) / INTERVAL_S)
    )  # fewer fall behind
    while project(times, crowded_share, np.random.default_rng(seed), n).p95_s > most_s:
        n += 1
    return n


def camera_lines(cases: Mapping[str, Mapping[str, float]]) -> Sequence[str]:
    """The projections as lines of text; where the cores are too few, latency grows all night."""
    return [
        f"{N_CORES} cores, {QUADRANTS} quadrants every {INTERVAL_S} s, {name}: {case['per_hour']:.0f} "
        f"quadrants an hour, cores {case['utilisation']:.0%} busy, "
        f"readout to packets {case['median_s']:.0f} s median, {case['p95_s']:.0f} s 95th percentile; "
        f"{case['fewest_cores']} cores keep 95 % within {LATENCY_S:.0f} s"
        for name, case in cases.items()
    ]
