"""Core-seconds of one quadrant from raw frame to packets, step by step, beside the budget.

Run it with ``make bench-speed``; ``python -m benchmarks.speed --small`` is a quick look.
"""

import cProfile
import json
import logging
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from zsds.workflows.cluster import WORKER_ENVIRONMENT

from benchmarks.machine import describe, machine_facts
from benchmarks.timing import quadrant as units
from benchmarks.timing.quadrant import Prepared, QuadrantPlan
from benchmarks.timing.steps import BUDGET_S, PARTS, PLACES
from benchmarks.timing.stopwatch import REST, Cost, Stopwatch, watched

SMALL = QuadrantPlan("demo", 1, 1, n_stars=870, n_galaxies=110, n_transients=12, n_history=5000)


def measure_speed(
    folder: Path, plan: QuadrantPlan, runs: int, reuse: bool = False, profile: bool = False
) -> dict[str, Any]:
    """Prepare an archive below ``folder``, then measure a quadrant in a fresh process.

    Parameters
    ----------
    folder : pathlib.Path
        Emptied first, unless ``reuse`` finds the archive of the same plan there.
    plan : QuadrantPlan
    runs : int
    reuse, profile : bool
        Take an archive that is there; add the functions that took longest.

    Returns
    -------
    dict
        What ``bench/speed.json`` holds.
    """
    prepared = (units.prepared_before(folder, plan) if reuse else None) or units.prepare(folder, plan)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_quiet) as worker:
        measured = worker.submit(measure_prepared, prepared, runs, profile).result()
        machine = worker.submit(machine_facts, with_floors=True).result()
    return {"plan": asdict(plan), "machine": machine, **measured}


def _quiet() -> None:
    logging.disable(logging.WARNING)


def measure_prepared(
    prepared: Prepared, runs: int, profile: bool = False, n_packets: int = 300
) -> dict[str, Any]:
    """Warm up on the first frame, then take the second ``runs`` times; the median run counts."""
    warmed, cold = _run(prepared, prepared.frames[0])
    units.fill_history(prepared, warmed)
    results = [_run(prepared, prepared.frames[1]) for _ in range(runs)]
    results.sort(key=lambda result: sum(cost.core_s for cost in result[1].values()))
    identifier, costs = results[len(results) // 2]
    totals = [sum(cost.core_s for cost in each.values()) for _, each in results]
    return {
        "quadrant": _total(costs) | {"runs_core_s": totals, "cold_core_s": _total(cold)["core_seconds"]},
        "found": _found(prepared, identifier),
        "steps": [_part_row(part, costs) for part in PARTS] + [_row(REST, costs, None)],
        "packets_per_second": packets_per_second(prepared, identifier, n_packets),
        "profile": _profile(prepared) if profile else [],
    }


def _run(prepared: Prepared, frame: Path) -> tuple[Any, dict[str, Cost]]:
    watch = Stopwatch()
    with watched(watch, PLACES), watch.step(REST):
        identifier = units.run_quadrant(prepared, frame)
    return identifier, watch.costs


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


def packets_per_second(prepared: Prepared, identifier: Any, n_packets: int) -> float:
    """Packets of a core-second: cutouts cut and compressed, 30 records of history, 4.02 in Avro; no disk."""
    work = units.packet_work(prepared, identifier)
    work.packet()
    rates = []
    for _ in range(3):
        start = time.process_time()
        for _ in range(n_packets):
            work.packet()
        rates.append(n_packets / (time.process_time() - start))
    return median(rates)


def _total(costs: dict[str, Cost]) -> dict[str, float]:
    return {
        "core_seconds": sum(cost.core_s for cost in costs.values()),
        "wall_s": sum(cost.wall_s for cost in costs.values()),
        "peak_gb": max(cost.peak_gb for cost in costs.values()),
        "budget_s": BUDGET_S,
        "budget_gb": 2.0,
    }


def _part_row(part: Any, costs: dict[str, Cost]) -> dict[str, Any]:
    rows = [_row(step, costs, None) for step in dict(part.steps) if step in costs]
    return {
        "name": part.name,
        "core_s": sum(row["core_s"] for row in rows),
        "wall_s": sum(row["wall_s"] for row in rows),
        "peak_gb": max((row["peak_gb"] for row in rows), default=0.0),
        "budget_s": part.budget_s,
        "steps": rows,
    }


def _row(step: str, costs: dict[str, Cost], budget_s: float | None) -> dict[str, Any]:
    return {"name": step, **asdict(costs[step]), "budget_s": budget_s}


def _found(prepared: Prepared, identifier: Any) -> dict[str, Any]:
    store = units.open_archive(prepared.archive).store
    science = store.load_json("science_metrics", identifier)
    difference = store.load_json("difference_metrics", identifier)
    return {
        "n_sources": science["n_sources"],
        "n_candidates": difference["n_candidates"],
        "n_packets": difference["n_alerts"],
    }


def table(result: dict[str, Any]) -> str:
    """The result as text."""
    lines = [f"{'step':<46}{'core s':>8}{'budget':>8}{'wall s':>8}{'peak GB':>9}{'calls':>7}"]
    for part in result["steps"]:
        lines.append(_line(part["name"], part))
        lines += [_line(f"    {step['name']}", step) for step in part.get("steps", ())]
    quadrant = result["quadrant"]
    total = {"core_s": quadrant["core_seconds"], **quadrant}
    lines += [_line("whole quadrant, warm", total), ""]
    found = ", ".join(f"{name.removeprefix('n_')} {count}" for name, count in result["found"].items())
    floors = result["machine"]
    lines += [
        f"found: {found}; first quadrant of a process: {quadrant['cold_core_s']:.2f} core-s",
        f"packets a core-second (cutouts, 30 records of history): {result['packets_per_second']:.0f}",
        f"floors: rfft2 {floors['rfft2_s']:.3f} s, irfft2 {floors['irfft2_s']:.3f} s, "
        f"memory pass {floors['memory_pass_s']:.4f} s (3080 x 3072, float32)",
        f"machine: {describe(floors)}",
    ]
    lines += [f"{row['own_s']:>8.3f}{row['all_s']:>8.3f}{row['calls']:>9}  {row['function']}"
              for row in result["profile"]]  # fmt: skip
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    budget = row.get("budget_s")
    return (
        f"{name:<46}{row['core_s']:>8.3f}{'' if budget is None else format(budget, '.1f'):>8}"
        f"{row['wall_s']:>8.3f}{row['peak_gb']:>9.2f}{row.get('calls', ''):>7}"
    )


def main(
    small: Annotated[bool, typer.Option(help="A quadrant of the demo camera, about 1000 pixels.")] = False,
    runs: Annotated[int, typer.Option(help="Measured runs; the median counts.")] = 3,
    reuse: Annotated[bool, typer.Option(help="Take the archive an earlier run left, if it did.")] = False,
    profile: Annotated[bool, typer.Option(help="Also list the functions that took longest.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the result and the simulated archive.")] = Path(
        "bench"
    ),
) -> None:
    """Measure the speed of one quadrant."""
    os.environ.update(WORKER_ENVIRONMENT)
    name = "speed-small" if small else "speed"
    result = measure_speed(out / name, SMALL if small else QuadrantPlan(), runs, reuse, profile)
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    typer.echo(table(result))


if __name__ == "__main__":
    typer.run(main)
