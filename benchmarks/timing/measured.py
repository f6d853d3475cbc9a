"""A prepared quadrant measured in this process: what each step took, beside its budget and its bound."""

import cProfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import SHAPE, machine_facts
from benchmarks.timing import quadrant as units
from benchmarks.timing.bounds import LEAST
from benchmarks.timing.packets import packet_rates, packet_work
from benchmarks.timing.quadrant import Prepared
from benchmarks.timing.steps import BUDGET_S, PARTS, PLACES, Part
from benchmarks.timing.stopwatch import REST, Cost, Stopwatch, watched

BUDGET_GB = 2.0
SHARED = "read raw"  # the step that serves all quadrants of a CCD
Costs = Mapping[str, Cost]


def measure_prepared(
    prepared: Prepared, runs: int, profile: bool = False, n_packets: int = 300
) -> dict[str, Any]:
    """Warm up on the first frame, then take the second ``runs`` times; the median run counts.

    One run more counts the bytes, which would slow the others; one more is profiled if that is wanted.
    """
    floors = machine_facts(with_floors=True)
    warmed, cold = run_watched(prepared, prepared.frames[0])
    units.fill_history(prepared, warmed)
    results = [run_watched(prepared, prepared.frames[1]) for _ in range(runs)]
    results.sort(key=lambda result: core_seconds(result[1]))
    identifier, costs = results[len(results) // 2]
    _, counted = run_watched(prepared, prepared.frames[1], counts_bytes=True)
    for step, cost in costs.items():
        cost.touched_gb = counted[step].touched_gb
    share = _pixels(prepared) / np.prod(SHAPE)
    bounds = {step: least.seconds(floors, share) for step, least in LEAST.items()}
    rates = packet_rates(packet_work(prepared, identifier), n_packets)
    return {
        "machine": floors,
        "quadrant": {
            **_total(costs),
            "runs_core_s": [core_seconds(each) for _, each in results],
            "cold_core_s": core_seconds(cold),
            "subtract_over_transforms": costs["subtract"].core_s / costs["subtract"].transforms_s,
        },
        "found": _found(prepared, identifier),
        "steps": [_part_row(part, costs, bounds) for part in PARTS] + [_row(REST, costs, bounds)],
        "packets_per_second": rates["embedded schema"],
        "packets": rates,
        "profile": _profile(prepared) if profile else [],
    }


def run_watched(prepared: Prepared, frame: Path, counts_bytes: bool = False) -> tuple[Any, dict[str, Cost]]:
    """One quadrant from raw to packets, and what each step of it took.

    A raw frame holds all quadrants of its CCD, which a worker does in turn (`zsds.workflows.night`): each is
    charged its part of the reading.
    """
    watch = Stopwatch(counts_bytes)
    with watched(watch, PLACES), watch.step(REST):
        identifier = units.run_quadrant(prepared, frame)
    sharing = len(units.open_archive(prepared.archive).camera.detectors[prepared.plan.ccd].amplifiers)
    watch.costs[SHARED] = watch.costs[SHARED].part(sharing)
    return identifier, watch.costs


def core_seconds(costs: Costs) -> float:
    """Of all steps together."""
    return sum(cost.core_s for cost in costs.values())


def _pixels(prepared: Prepared) -> int:
    camera, plan = units.open_archive(prepared.archive).camera, prepared.plan
    nx, ny = camera.nominal_wcs(plan.ccd, plan.quadrant, 0.0, 0.0).pixel_shape
    return int(nx * ny)


def _total(costs: Costs) -> dict[str, float]:
    return {
        "core_seconds": core_seconds(costs),
        "wall_s": sum(cost.wall_s for cost in costs.values()),
        "transforms_s": sum(cost.transforms_s for cost in costs.values()),
        "touched_gb": sum(cost.touched_gb for cost in costs.values()),
        "peak_gb": max(cost.peak_gb for cost in costs.values()),
        "budget_s": BUDGET_S,
        "budget_gb": BUDGET_GB,
    }


def _part_row(part: Part, costs: Costs, bounds: Mapping[str, float]) -> dict[str, Any]:
    rows = [_row(step, costs, bounds) for step, _ in part.steps if step in costs]
    sums = {
        name: sum(row[name] for row in rows) for name in ("core_s", "wall_s", "transforms_s", "touched_gb")
    }
    known = [row["bound_s"] for row in rows if row["bound_s"] is not None]
    peak = max((row["peak_gb"] for row in rows), default=0.0)
    return {
        "name": part.name, **sums, "peak_gb": peak, "bound_s": sum(known) if known else None,
        "budget_s": part.budget_s, "steps": rows,
    }  # fmt: skip


def _row(step: str, costs: Costs, bounds: Mapping[str, float]) -> dict[str, Any]:
    return {"name": step, **asdict(costs[step]), "bound_s": bounds.get(step), "budget_s": None}


def _found(prepared: Prepared, identifier: Any) -> dict[str, Any]:
    store = units.open_archive(prepared.archive).store
    science = store.load_json("science_metrics", identifier)
    difference = store.load_json("difference_metrics", identifier)
    return {
        "n_sources": science["n_sources"],
        "n_candidates": difference["n_candidates"],
        "n_packets": difference["n_alerts"],
    }


def _profile(prepared: Prepared, n: int = 60) -> list[dict[str, Any]]:
    """Functions by their own seconds, one more quadrant under the profiler (which slows small functions)."""
    profiler = cProfile.Profile(time.process_time)
    profiler.runcall(units.run_quadrant, prepared, prepared.frames[1])
    profiler.create_stats()
    rows = [
        {"function": f"{file.rpartition('site-packages/')[2]}:{line}({name})", "own_s": own, "calls": calls,
         "all_s": cumulative}
        for (file, line, name), (_, calls, own, cumulative, _) in profiler.stats.items()
    ]  # fmt: skip
    return sorted(rows, key=lambda row: -row["own_s"])[:n]
