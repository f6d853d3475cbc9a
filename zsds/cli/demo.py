"""The whole of zsds on a simulated survey, from nothing to alerts held against the truth."""

import shlex
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from zsds.cli.app import Overrides, Workers, app, progress_told, show, workflow

DEMO_SURVEY = {  # one of the two CCDs, so that it takes minutes on two cores
    "ccds": (1,),
    "n_reference": 15,
    "reference_nights": 5,
    "n_science": 4,
    "n_bias": 5,
    "n_flat": 5,
}
MARK = ".zsds-demo"  # in a folder that `zsds demo` may clear


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Folder of the demonstration; made anew.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another sky.")] = 1,
    workers: Workers = None,
    override: Overrides = None,
) -> None:
    """Simulate a survey of the demo camera, run it from raw frames to alerts, and compare with the truth.

    Takes a few minutes on two cores. --set changes the simulation, e.g. --set n_science=6.

    Example: zsds demo demo --seed 2
    """
    start = time.monotonic()
    archive, sky = folder / "archive", folder / "sky"
    _clear(folder)
    made = _simulate(sky, seed, override or ())
    _prepare(archive, sky)
    _run(archive, made, sky / "truth", workers)
    _close(archive, sky, made.night, time.monotonic() - start)


def _step(text: str) -> None:
    typer.echo(f"\n== {text}")


def _clear(folder: Path) -> None:
    """Remove an earlier demonstration; a folder with anything else stays as it is."""
    import shutil  # noqa: PLC0415

    from zsds.core.errors import BadInput  # noqa: PLC0415

    if folder.exists() and not folder.is_dir():
        raise BadInput(str(folder), "is not a folder", "choose another one")
    mark = folder / MARK
    if folder.exists() and any(folder.iterdir()) and not mark.is_file():
        raise BadInput(str(folder), "holds something that is not a demonstration", "choose another folder")
    for made in ("archive", "sky"):
        shutil.rmtree(folder / made, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _simulate(sky: Path, seed: int, overrides: list[str] | tuple[str, ...]) -> Any:
    import os  # noqa: PLC0415

    from zsds.core.camera_file import load_camera  # noqa: PLC0415
    from zsds.core.settings import parse_overrides, with_values  # noqa: PLC0415
    from zsds.sim import NightSettings, simulate_night  # noqa: PLC0415

    settings = with_values(NightSettings(), {"processes": os.cpu_count() or 1, **DEMO_SURVEY})
    settings = with_values(settings, parse_overrides(overrides))
    _step(f"zsds simulate {sky} --seed {seed}")
    with progress_told("simulate") as told:
        made = simulate_night(sky, load_camera("demo"), seed, settings, told)
    typer.echo(f"{len(made.raw)} science frames and {len(made.calibration)} calibration frames")
    return made


def _prepare(archive: Path, sky: Path) -> None:
    from zsds.cli.archive import ingest, init  # noqa: PLC0415
    from zsds.cli.catalogs import import_  # noqa: PLC0415

    _step(f"zsds init {archive} --camera demo")
    init(archive, "demo")
    for kind in ("gaia", "ps1", "orbits"):
        import_(archive, kind, [sky / "catalogs" / f"{kind}.parquet"])
    _step(f"zsds ingest {sky / 'raw'}")
    ingest(archive, [sky / "raw"])


def _run(archive: Path, made: Any, truth: Path, workers: int | None) -> None:
    """Every step on the same workers, which so start only once."""
    from zsds.cli.night import calibrate, night, references, report  # noqa: PLC0415

    with workflow("cluster")("local", workers) as pool:
        for when in (made.reference_nights[0], made.night):
            _step(f"zsds calibrate --night {when}")
            calibrate(archive, when, cluster=pool.address)
        _step(f"zsds night {' '.join(made.reference_nights)}")
        night(archive, list(made.reference_nights), cluster=pool.address)
        _step("zsds references")
        references(archive, list(made.reference_nights), cluster=pool.address)
        _step(f"zsds night {made.night}")
        night(archive, [made.night], cluster=pool.address)
    _step(f"zsds report {made.night} --truth {truth}")
    report(archive, made.night, truth=truth)


def _close(archive: Path, sky: Path, night: str, seconds: float) -> None:
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.truth import compare_night  # noqa: PLC0415

    opened = open_archive(archive)
    comparison, figures = compare_night(opened, night, sky / "truth")
    numbers = comparison.numbers()
    _step("what was injected, and what was found")
    show([dict(zip(row.colnames, row, strict=True)) for row in comparison.completeness], as_json=False)
    explained = ", ".join(f"{kind} {count}" for kind, count in sorted(comparison.explained.items()))
    typer.echo(
        f"\ntransients of ideal S/N >= 8: {comparison.n_good_found} of {comparison.n_good} became alerts "
        f"({100 * comparison.good_fraction:.1f} %)\n"
        f"alerts: {comparison.n_alerts} in {comparison.n_quadrants} quadrants, explained by {explained}; "
        f"by nothing in the truth: {len(comparison.false)} ({comparison.false_per_quadrant:.2f} a quadrant)\n"
        f"positions of transients: median {1000 * numbers['east_arcsec_median']:+.0f} mas east, "
        f"{1000 * numbers['north_arcsec_median']:+.0f} mas north; magnitude pulls: median "
        f"{numbers['mag_pull_median']:+.2f}, width {numbers['mag_pull_width']:.2f}\n"
        f"bright stars ({figures['n_bright_stars']:.0f}): {figures['east_mas_median']:+.1f} +- "
        f"{figures['east_mas_scatter']:.1f} mas east, {figures['north_mas_median']:+.1f} +- "
        f"{figures['north_mas_scatter']:.1f} mas north, {figures['mag_mmag_median']:+.1f} +- "
        f"{figures['mag_mmag_scatter']:.1f} mmag\n"
        f"score on empty sky: mean {figures['score_mean']:+.3f}, width {figures['score_width']:.3f}"
    )
    _where_to_look(archive, opened, night, seconds)


def _where_to_look(archive: Path, opened: Any, night: str, seconds: float) -> None:
    report = opened.store.path("report", night, opened.camera.prefix).relative_to(opened.store.root)
    _step(f"took {seconds:.0f} s; where to look")
    typer.echo(
        f"{archive / report}   the night as a page with plots\n"
        f"{archive / 'alerts' / night}   alert packets\n"
        f"{archive / 'sci'}   calibrated and difference images, catalogs\n"
        f"export ZSDS_ARCHIVE={shlex.quote(str(archive))}; "
        "zsds status; zsds alerts list; zsds alerts show CANDID"
    )
