"""How exact the measurements are on skies whose truth is known.

Run it with ``make bench-fidelity``; ``python -m benchmarks.fidelity --sky typical`` takes one sky.
"""

import json
import logging
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.changes import Injected, change_rows, completeness_rows, find_injected
from benchmarks.comparison import beside_peers
from benchmarks.machine import describe, machine_facts
from benchmarks.rows import Row, format_table, markdown, pull_rows
from benchmarks.skies import FULL_FRAME, FULL_SKIES, SKIES, Frame, Processed, SkyCase, process
from benchmarks.stars import all_flux_pulls, flux_rows, star_rows, zero_point_pulls
from zsds.core.errors import UnusableData


@dataclass(frozen=True)
class SkyRows:
    """The rows of one sky, and what all skies are pooled from."""

    rows: list[Row]
    pulls: list[tuple[float, float, float]]
    stars: NDArray[np.float64]
    part: tuple[Processed, Injected] | None


def measure_sky(case: SkyCase, frame: Frame) -> SkyRows:
    """Simulate, process and judge one sky; a sky that is rejected has one row that says so."""
    try:
        done = process(case, frame)
    except UnusableData as error:
        logging.getLogger(__name__).warning("%s: %s", case.name, error)
        return SkyRows([_processed(case, 0.0)], [], np.empty((0, 2)), None)
    rows = [_processed(case, 1.0), *beside_peers(star_rows(done.science), done.science)]
    pooled = zero_point_pulls(done), all_flux_pulls(done)
    if done.difference is None:
        return SkyRows(rows, *pooled, None)
    return SkyRows(rows + change_rows(done), *pooled, (done, find_injected(done)))


def _processed(case: SkyCase, value: float) -> Row:
    return Row("sky processed to the end", case.name, value, low=1.0, n=1)


def pooled_rows(results: list[SkyRows]) -> list[Row]:
    """Rows that need all skies: pulls of zero points and of star fluxes of all epochs, depth."""
    pulls = np.array(list(chain.from_iterable(one.pulls for one in results))).reshape(-1, 3)
    parts = [one.part for one in results if one.part is not None]
    rows = [
        *flux_rows("all", np.concatenate([one.stars for one in results])),
        *pull_rows("zero point", "all", pulls[:, 0], (0.1, 0.1)),
        *pull_rows("zero point of PSF fluxes", "all", pulls[np.isfinite(pulls[:, 1]), 1], (0.1, 0.1)),
        *pull_rows("colour term", "all", pulls[:, 2], (0.1, 0.1)),
    ]
    return rows + (completeness_rows("all", parts) if parts else [])


def measure_fidelity(work: list[tuple[SkyCase, Frame]], processes: int) -> list[Row]:
    """Rows of all skies."""
    if processes <= 1:
        results = [measure_sky(case, frame) for case, frame in work]
    else:
        with ProcessPoolExecutor(processes) as workers:
            results = list(workers.map(measure_sky, *zip(*work, strict=True)))
    return [row for one in results for row in one.rows] + pooled_rows(results)


def main(
    sky: Annotated[list[str] | None, typer.Option(help="Only this sky; repeat for more.")] = None,
    processes: Annotated[int, typer.Option(help="Skies at the same time.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = Path("bench"),
) -> None:
    """Measure the fidelity on every sky."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    work = [(case, Frame()) for case in SKIES] + [(case, FULL_FRAME) for case in FULL_SKIES]
    work = [(case, frame) for case, frame in work if not sky or case.name in sky]
    rows = measure_fidelity(work, processes)
    machine = machine_facts()
    out.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine, "rows": [row.plain() for row in rows]}
    (out / "fidelity.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / "fidelity.md").write_text(markdown(rows), encoding="utf-8")
    typer.echo(f"{format_table(rows)}\nmachine: {describe(machine)}")


if __name__ == "__main__":
    typer.run(main)
