"""Commands that run: calibrations, nights, references, reports."""

import sys
import time
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from zsds.cli.app import Archive, AsJson, Cluster, Overrides, Workers, app, progress, show

SettingsFile = Annotated[Path | None, typer.Option("--settings", help="YAML file of settings by step.")]
Again = Annotated[bool, typer.Option("--again", help="Redo what is done although nothing changed.")]


def workflow(name: str) -> Any:
    """A workflow by its entry point, so that the command line imports none of them."""
    return next(iter(entry_points(group="zsds.workflows", name=name))).load()


def _settings(file: Path | None, overrides: list[str] | None) -> Any:
    from zsds.pipeline.settings import load_settings  # noqa: PLC0415

    return load_settings(file, overrides or ())


def _close(archive: Path, nights: Sequence[str], as_json: bool, seconds: float) -> None:
    """The closing summary; exit status 1 when a unit failed."""
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.status import failures, unit_counts  # noqa: PLC0415

    opened = open_archive(archive)
    rows = unit_counts(opened, nights)
    show(rows, as_json)
    trouble = failures(opened, nights)
    if not as_json:
        if trouble:
            typer.echo("\nrejected and failed, by reason:")
            show(trouble, as_json=False)
        typer.echo(f"took {seconds:.1f} s")
    if any(row["state"] == "failed" for row in trouble):
        sys.exit(1)


@app.command()
def calibrate(
    archive: Archive,
    night: Annotated[str, typer.Option(help="Night, YYYYMMDD.")],
    settings: SettingsFile = None,
    override: Overrides = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    again: Again = False,
    as_json: AsJson = False,
) -> None:
    """Make a night's master bias, flats and bad-pixel masks from its calibration frames.

    Example: zsds calibrate --archive demo/archive --night 20260115
    """
    start = time.monotonic()
    run = workflow("calibrate")
    run(archive, night, _settings(settings, override), progress, cluster, workers, again)
    _close(archive, [night], as_json, time.monotonic() - start)


@app.command()
def night(
    archive: Archive,
    nights: Annotated[list[str], typer.Argument(metavar="NIGHT...", help="Nights, YYYYMMDD.")],
    settings: SettingsFile = None,
    override: Overrides = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    again: Again = False,
    as_json: AsJson = False,
) -> None:
    """Run nights from raw frames to alert packets; what is done already stays as it is.

    Example: zsds night --archive demo/archive 20260115 --set science.quality.max_rms_arcsec=0.3
    """
    start = time.monotonic()
    run = workflow("night")
    run(archive, nights, _settings(settings, override), progress, cluster, workers, again)
    _close(archive, nights, as_json, time.monotonic() - start)


@app.command()
def references(
    archive: Archive,
    nights: Annotated[
        list[str] | None, typer.Option("--night", help="Take epochs of this night; repeat for more.")
    ] = None,
    settings: SettingsFile = None,
    override: Overrides = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    again: Again = False,
    as_json: AsJson = False,
) -> None:
    """Build references from calibrated epochs, where there is none yet; --again makes a new version.

    Example: zsds references --archive demo/archive
    """
    start = time.monotonic()
    run = workflow("references")
    run(archive, _settings(settings, override), progress, nights or (), cluster, workers, again)
    _close(archive, (), as_json, time.monotonic() - start)


@app.command()
def report(
    archive: Archive,
    when: Annotated[str, typer.Argument(metavar="NIGHT", help="Night, YYYYMMDD.")],
    out: Annotated[Path | None, typer.Option(help="HTML file; default: reports/ in the archive.")] = None,
) -> None:
    """Write a night's report: one HTML file with tables and plots, readable offline.

    Example: zsds report --archive demo/archive 20260115
    """
    from zsds.io.files import write_bytes  # noqa: PLC0415
    from zsds.report import build_report  # noqa: PLC0415
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.report import read_night  # noqa: PLC0415

    opened = open_archive(archive)
    target = out or opened.store.path("report", when, opened.camera.prefix)
    write_bytes(target, build_report(read_night(opened, when)).encode())
    typer.echo(target)
