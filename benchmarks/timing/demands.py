"""What a night of the camera asks of each part of the system, beside what one of that part gives.

A share of 1 is all that one core, one writer of the database, one disk or one wire can do while the camera
runs; what has the largest share breaks first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.timing.camera import EXPOSURES, INTERVAL_S, N_CORES, QUADRANTS
from benchmarks.timing.disk import night_gb

GB = 1e9
READ_PER_QUADRANT = ("raw", "calibrations", "reference")
WIRE_MB_S = {"1 Gbit/s": 115.0, "10 Gbit/s": 1150.0}  # of files, after the protocols' own
LEDGER = ("plan", "record science and difference", "plan packets", "record packets")
WRITES = ("naming, detections, coverage, outbox", "forced fluxes kept", "publishing")
READS = ("names and histories", "forced fluxes read")
COMMAND = WRITES[:1]  # done by the command, besides the ledger


@dataclass(frozen=True)
class Demand:
    """One part of the system.

    Parameters
    ----------
    part : str
    share : float
        Of what one of it can do.
    told : str
        In the part's own units.
    """

    part: str
    share: float
    told: str


def demands(result: Mapping[str, Any]) -> list[Demand]:
    """Those that were measured, the one that breaks first at first."""
    makers = (_cores, _command, _writer, _files)
    found = [demand for make in makers for demand in make(result)]
    return sorted(found, key=lambda demand: -demand.share)


def _cores(result: Mapping[str, Any]) -> Iterator[Demand]:
    if "quadrant" in result:
        core_s = result["quadrant"]["core_seconds"]
        busy = QUADRANTS * core_s / INTERVAL_S
        told = f"{EXPOSURES * QUADRANTS * core_s / 3600:.0f} core-hours"
        yield Demand(f"{N_CORES} cores for pixels", busy / N_CORES, told)


def command_s(result: Mapping[str, Any]) -> float:
    """Core-seconds an exposure of the process that plans, hands out, records and names; 0 if not measured."""
    core_s = ledger_s(result) + _most(result, COMMAND)
    if core_s and "scheduling" in result:
        core_s += QUADRANTS * result["scheduling"]["by frame"]["core_ms"] / 1000
    return core_s


def writer_s(result: Mapping[str, Any]) -> float:
    """Seconds an exposure for which SQLite's only writer is busy, on an idle machine; 0 if not measured."""
    return ledger_s(result) + _most(result, WRITES)


def _command(result: Mapping[str, Any]) -> Iterator[Demand]:
    if core_s := command_s(result):
        told = f"{core_s:.2f} core-s an exposure"
        yield Demand("the command: plans, records, names", core_s / INTERVAL_S, told)


def _writer(result: Mapping[str, Any]) -> Iterator[Demand]:
    if seconds := writer_s(result):
        yield Demand("SQLite's one writer", seconds / INTERVAL_S, f"{seconds:.2f} s an exposure")
    if reads := _most(result, READS):
        told = f"{reads:.2f} core-s an exposure, on the cores for pixels"
        yield Demand("look-ups for packets, one core", reads / INTERVAL_S, told)


def _files(result: Mapping[str, Any]) -> Iterator[Demand]:
    if "disk" not in result:
        return
    use = result["disk"]
    written = sum(night_gb(use).values()) / EXPOSURES
    read = QUADRANTS * sum(use[name] for name in READ_PER_QUADRANT) / GB
    for name, limit in WIRE_MB_S.items():
        rate = 1000 * (written + read) / INTERVAL_S
        told = f"{1000 * written / INTERVAL_S:.0f} MB/s written, {1000 * read / INTERVAL_S:.0f} MB/s read"
        yield Demand(f"between workers and files, {name}", rate / limit, told)


def ledger_s(result: Mapping[str, Any]) -> float:
    """Core-seconds an exposure that the ledger of units takes; 0 if not measured."""
    if "night" not in result:
        return 0.0
    stages = result["night"]["stages"]
    return sum(stages[name]["core_s"] for name in LEDGER) * 3 * QUADRANTS / result["night"]["units"]


def _most(result: Mapping[str, Any], operations: Sequence[str]) -> float:
    """Core-seconds an exposure of some operations, with as much stored as makes them slowest."""
    return max(
        (spent_s(one, operations) for one in result.get("database", {}).get("sizes", {}).values()),
        default=0.0,
    )


def spent_s(costs: Mapping[str, Sequence[float]], operations: Sequence[str] | None = None) -> float:
    """Core-seconds of this process for some operations, or all."""
    return sum(core for name, (_, core, _) in costs.items() if operations is None or name in operations)


def demand_lines(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """As text, what breaks first at first."""
    return [f"{100 * one['share']:6.1f} %  {one['part']}: {one['told']}" for one in found]
