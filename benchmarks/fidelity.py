"""How exact the measurements are on skies whose truth is known: a table, as text and data, and a picture.

Run it with ``make bench-fidelity``; ``python -m benchmarks.fidelity --sky typical`` takes one sky.
"""

import json
import logging
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.machine import describe, machine_facts
from benchmarks.measures.changes import Injected, change_rows, completeness_rows, empty_sky, find_injected
from benchmarks.measures.clouds import cloud_rows
from benchmarks.measures.forced import ForcedFluxes, force, forced_rows
from benchmarks.measures.registration import registration_rows
from benchmarks.measures.skies import (
    FULL_FRAME,
    FULL_SKIES,
    SKIES,
    WHOLE,
    WHOLE_FRAME,
    Frame,
    SkyCase,
    process,
)
from benchmarks.measures.solutions import solution_rows, solve
from benchmarks.measures.stars import all_flux_pulls, flux_rows, star_rows, zero_point_pulls
from benchmarks.measures.zero_points import tie_rows, tied
from benchmarks.peers.comparison import beside_peers
from benchmarks.peers.versus import beside_subtractions, pooled_versus, versus_markdown
from benchmarks.plots import Samples, plot_samples
from benchmarks.rows import Row, format_table, markdown, pull_rows
from zsds.core.difference import SCORE_EDGES
from zsds.core.errors import UnusableData

RANDOM = "random"  # what is measured on many small skies, instead of the name of one


@dataclass(frozen=True)
class ChangeSample:
    """What one difference adds to the rows and plots of all skies."""

    injected: Injected
    forced: dict[str, ForcedFluxes]
    score: NDArray[np.int64]  # empty sky in the bins of SCORE_EDGES


@dataclass(frozen=True)
class SkyResult:
    """The rows of one sky, and what all skies are pooled from."""

    rows: list[Row]
    zero_points: list[tuple[float, float, float]] = field(default_factory=list)
    stars: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 4)))
    change: ChangeSample | None = None


def measure_sky(case: SkyCase, frame: Frame) -> SkyResult:
    """Simulate, process and judge one sky; a sky that is rejected has one row that says so."""
    try:
        done = process(case, frame)
    except UnusableData as error:
        logging.getLogger(__name__).warning("%s: %s", case.name, error)
        return SkyResult([_processed(case, 0.0)])
    rows = [_processed(case, 1.0), *beside_peers(star_rows(done.science), done.science)]
    pooled = zero_point_pulls(done), all_flux_pulls(done)
    if done.difference is None:
        return SkyResult(rows, *pooled)
    injected = find_injected(done)
    forced = force(done, injected)
    score = np.histogram(done.difference.difference.score[empty_sky(done, injected)], SCORE_EDGES)[0]
    rows += [*change_rows(done, injected), *registration_rows(done), *forced_rows(case.name, [forced])]
    rows += beside_subtractions(done, injected)
    return SkyResult(rows, *pooled, ChangeSample(injected, forced, score))


def _processed(case: SkyCase, value: float) -> Row:
    return Row("sky processed to the end", case.name, value, low=1.0, n=1)


def pooled_rows(results: list[SkyResult]) -> list[Row]:
    """Rows that need all skies: pulls of zero points, of star fluxes of all epochs and forced ones, depth."""
    pulls = np.array(list(chain.from_iterable(one.zero_points for one in results))).reshape(-1, 3)
    changes = [one.change for one in results if one.change is not None]
    rows = [
        *flux_rows("all", np.concatenate([one.stars for one in results])),
        *pull_rows("zero point", "all", pulls[:, 0], (0.1, 0.1)),
        *pull_rows("zero point of PSF fluxes", "all", pulls[np.isfinite(pulls[:, 1]), 1], (0.1, 0.1)),
        *pull_rows("colour term", "all", pulls[:, 2], (0.1, 0.1)),
        *pooled_versus(row for one in results for row in one.rows),
    ]
    if changes:
        rows += completeness_rows("all", [one.injected for one in changes])
        rows += forced_rows("all", [one.forced for one in changes])
    return rows


def samples(results: list[SkyResult]) -> Samples | None:
    """What the plots show; None without a difference."""
    changes = [one.change for one in results if one.change is not None]
    if not changes:
        return None
    parts = [one.injected for one in changes]
    transients = [
        np.column_stack([part.snr, part.row >= 0, part.host != "empty"])[part.alone] for part in parts
    ]
    kinds = changes[0].forced
    return Samples(
        np.concatenate([one.stars for one in results]),
        np.concatenate(transients),
        {kind: np.concatenate([one.forced[kind].pulls for one in changes]) for kind in kinds},
        np.sum([one.score for one in changes], axis=0),
    )


def random_rows(processes: int, n_lists: int = 500, n_ties: int = 200) -> list[Row]:
    """Rows of what only many random skies can tell, and of clouds."""
    with ProcessPoolExecutor(processes) as workers:
        outcomes = list(workers.map(solve, range(n_lists), chunksize=10))
        ties = list(workers.map(tied, range(n_ties), chunksize=5))
    return solution_rows(outcomes) + tie_rows([one for one in ties if one is not None]) + cloud_rows()


def measure_fidelity(work: list[tuple[SkyCase, Frame]], processes: int) -> list[SkyResult]:
    """All skies, each by itself; tells which is done."""
    if processes <= 1 or not work:
        return [_told(case, measure_sky(case, frame)) for case, frame in work]
    with ProcessPoolExecutor(processes) as workers:
        made = workers.map(measure_sky, *zip(*work, strict=True))
        return [_told(case, result) for (case, _), result in zip(work, made, strict=True)]


def _told(case: SkyCase, result: SkyResult) -> SkyResult:
    typer.echo(f"{case.name}: {len(result.rows)} rows", err=True)
    return result


def main(
    sky: Annotated[list[str] | None, typer.Option(help="Only this sky, or random; repeat.")] = None,
    processes: Annotated[int, typer.Option(help="Skies at the same time.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = Path("bench"),
) -> None:
    """Measure the fidelity on every sky."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    work = [(case, Frame()) for case in SKIES] + [(case, FULL_FRAME) for case in FULL_SKIES]
    work.append((WHOLE, WHOLE_FRAME))
    work = [(case, frame) for case, frame in work if not sky or case.name in sky]
    results = measure_fidelity(work, processes)
    rows = [row for one in results for row in one.rows] + (pooled_rows(results) if results else [])
    if not sky or RANDOM in sky:
        rows += random_rows(processes)
    machine = machine_facts()
    out.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine, "rows": [row.plain() for row in rows]}
    (out / "fidelity.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / "fidelity.md").write_text(markdown(rows), encoding="utf-8")
    shown = samples(results)
    if shown is not None:
        plot_samples(shown, out / "fidelity.png")
    (out / "subtractions.md").write_text(versus_markdown(rows), encoding="utf-8")
    typer.echo(f"{format_table(rows)}\nmachine: {describe(machine)}")


if __name__ == "__main__":
    typer.run(main)
