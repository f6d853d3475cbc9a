"""Core-seconds of one quadrant from raw frame to packets, step by step, beside budget, bounds and peers.

Run it with ``make bench-speed``; ``python -m benchmarks.speed --small`` is a quick look.
"""

import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from zsds.workflows.cluster import WORKER_ENVIRONMENT

from benchmarks.history import sizes_to
from benchmarks.machine import machine_facts
from benchmarks.peers.speed import CHAINS, chain_row, load_pixels, peer_rows
from benchmarks.timing import quadrant as units
from benchmarks.timing.camera import EXPOSURES, QUADRANTS, Times, projections
from benchmarks.timing.database import database_costs, sample_of
from benchmarks.timing.demands import command_s, demands
from benchmarks.timing.disk import disk_use
from benchmarks.timing.measured import measure_prepared, run_watched
from benchmarks.timing.night import night_cost
from benchmarks.timing.quadrant import CROWDED, Prepared, QuadrantPlan
from benchmarks.timing.scaling import dask_cost, memory_growth, one_worker, tiny_plan, two_workers
from benchmarks.timing.scheduling import WAYS, scheduling_cost
from benchmarks.timing.startup import cold_worker, help_seconds
from benchmarks.timing.tables import goal_rows, markdown, table

SMALL = QuadrantPlan("demo", 1, 1, n_stars=870, n_galaxies=110, n_transients=12, n_history=5000)
PARTS = (
    "quadrant",
    "peers",
    "scaling",
    "startup",
    "memory",
    "crowded",
    "scheduling",
    "night",
    "database",
    "disk",
)  # what there is to measure
OF_QUADRANT = ("machine", "quadrant", "found", "steps", "packets_per_second", "packets", "profile")


def measure_speed(folder: Path, plan: QuadrantPlan, parts: Sequence[str], **options: Any) -> dict[str, Any]:
    """Prepare archives below a folder, and measure the parts that are wanted.

    Parameters
    ----------
    folder : pathlib.Path
        Emptied first, but for archives of the same plan that ``reuse`` finds there.
    plan : QuadrantPlan
        Of the quadrant that counts.
    parts : sequence of str
        Of `PARTS`.
    **options
        ``runs``, ``reuse``, ``profile``, ``n_quadrants``, ``database``; see `main`; ``n_exposures`` of a
        night, ``sizes`` of the database.

    Returns
    -------
    dict
        What ``bench/speed.json`` holds.
    """
    if set(parts) & {"quadrant", "peers", "scaling", "database", "disk"}:
        prepared = _prepared(folder, plan, options["reuse"])
    result: dict[str, Any] = {"plan": asdict(plan)}
    if "quadrant" in parts or "peers" in parts:
        result |= _in_fresh_process(measure_prepared, prepared, options["runs"], options["profile"])
    if "peers" in parts:
        result |= _in_fresh_process(beside_peers, prepared, result)
    if "scaling" in parts:
        result |= {"two_workers": two_workers(prepared), "dask": dask_cost(prepared)}
    if "scheduling" in parts:
        result["scheduling"] = {way: _in_fresh_process(scheduling_cost, way) for way in WAYS}
    if "night" in parts:
        result["night"] = _in_fresh_process(night_cost, options["database"], options["n_exposures"])
    if "database" in parts or "disk" in parts:
        identifier = _in_fresh_process(units.run_quadrant, prepared, prepared.frames[-1])
        if "database" in parts:
            sample = sample_of(prepared, identifier)
            result["database"] = _in_fresh_process(
                database_costs, sample, options["database"], options["sizes"]
            )
        if "disk" in parts:
            result["disk"] = disk_use(prepared, identifier)
    if "startup" in parts or "memory" in parts:
        tiny = folder.with_name(f"{folder.name}-tiny")
        small = _prepared(tiny, tiny_plan(folder.parent.absolute()), options["reuse"])
        if "startup" in parts:
            result["startup"] = cold_worker(tiny.absolute()) | help_seconds()
        if "memory" in parts:
            result["memory"] = _in_fresh_process(memory_growth, small, options["n_quadrants"])
    if "crowded" in parts:
        crowded = _prepared(folder.with_name(f"{folder.name}-crowded"), CROWDED, options["reuse"])
        found = _in_fresh_process(measure_prepared, crowded, options["runs"])
        result |= {
            "crowded": found["quadrant"],
            "crowded_steps": found["steps"],
            "crowded_found": found["found"],
        }
    result.setdefault("machine", machine_facts())
    return _with_conclusions(result)


def _prepared(folder: Path, plan: QuadrantPlan, reuse: bool) -> Prepared:
    return (units.prepared_before(folder, plan) if reuse else None) or units.prepare(folder, plan)


def _in_fresh_process(measure: Callable[..., Any], *arguments: Any) -> Any:
    with one_worker() as worker:
        return worker.submit(_quietly, measure, *arguments).result()


def _quietly(measure: Callable[..., Any], *arguments: Any) -> Any:
    logging.disable(logging.WARNING)
    return measure(*arguments)


def beside_peers(prepared: Prepared, result: Mapping[str, Any]) -> dict[str, Any]:
    """The public tools on the quadrant that was measured, and the chain of them."""
    steps = {step["name"]: step["core_s"] for part in result["steps"] for step in part.get("steps", ())}
    earlier, identifier = (run_watched(prepared, frame)[0] for frame in prepared.frames)
    with tempfile.TemporaryDirectory() as name:
        rows = peer_rows(load_pixels(prepared, identifier, earlier, Path(name)), steps)
    whole = result["quadrant"]["core_seconds"]
    chains = [{"name": name, **chain_row(rows, whole, names)} for name, names in CHAINS.items()]
    return {"peers": rows, "chains": chains}


def _with_conclusions(result: dict[str, Any]) -> dict[str, Any]:
    """The result with the whole camera and the goals."""
    if "quadrant" in result:
        steps = {step["name"]: step["core_s"] for part in result["steps"] for step in part.get("steps", ())}
        times = Times(
            tuple(result["quadrant"]["runs_core_s"]),
            tuple(result.get("crowded", {}).get("runs_core_s", ())),
            command_s(result) / QUADRANTS or steps["names"],
            max(1.0, result.get("two_workers", {}).get("core_ratio", 1.0)),
        )
        result["camera"] = projections(times)
    result["demands"] = [asdict(one) for one in demands(result)]
    result["rows"] = [row.plain() for row in goal_rows(result)]
    return result


def main(
    small: Annotated[bool, typer.Option(help="A quadrant of the demo camera, about 1000 pixels.")] = False,
    part: Annotated[
        list[str] | None, typer.Option(help=f"Only this of {', '.join(PARTS)}; repeat for more.")
    ] = None,
    runs: Annotated[int, typer.Option(help="Measured runs; the median counts.")] = 3,
    n_quadrants: Annotated[int, typer.Option(help="Tiny quadrants that show whether memory grows.")] = 500,
    reuse: Annotated[bool, typer.Option(help="Take the archives an earlier run left, if it did.")] = False,
    database: Annotated[
        str | None, typer.Option(help="Empty database for the parts night and database; default: SQLite.")
    ] = None,
    largest: Annotated[
        int, typer.Option(help="Detections stored at last, for the part database.")
    ] = 1_000_000,
    profile: Annotated[bool, typer.Option(help="Also list the functions that took longest.")] = False,
    show: Annotated[
        bool, typer.Option("--markdown", help="Print the last result as Markdown tables.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the result and the simulated archives.")] = Path(
        "bench"
    ),
) -> None:
    """Measure the speed of one quadrant, what it takes beside others, and what public tools take."""
    os.environ.update(WORKER_ENVIRONMENT)
    name = "speed-small" if small else "speed"
    memo = out / f"{name}.json"
    if show:
        typer.echo(markdown(json.loads(memo.read_text(encoding="utf-8"))))
        return
    unknown = sorted(set(part or ()) - set(PARTS))
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is none of {', '.join(PARTS)}", param_hint="--part")
    parts = part or (PARTS[:2] if small else PARTS)
    result = measure_speed(
        out / name, SMALL if small else QuadrantPlan(), parts,
        runs=runs, reuse=reuse, profile=profile, n_quadrants=n_quadrants, database=database,
        n_exposures=20 if small else EXPOSURES, sizes=sizes_to(10_000, 1000) if small else sizes_to(largest),
    )  # fmt: skip
    memo.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    typer.echo(table(result))


if __name__ == "__main__":
    typer.run(main)
