"""Commands that run: calibrations, nights, references, reports."""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from zsds.cli.app import (
    Archive,
    AsJson,
    Cluster,
    Night,
    Overrides,
    SettingsFile,
    Until,
    Workers,
    app,
    load_settings,
    progress,
    show,
    workflow,
)
from zsds.core.errors import WrongCall
from zsds.core.ids import parse_night
from zsds.core.scope import QUADRANT_STEPS, Scope

Again = Annotated[bool, typer.Option("--again", help="Redo what is done although nothing changed.")]


def close(
    archive: Path,
    nights: Sequence[str] | None,
    kinds: Sequence[str],
    as_json: bool,
    seconds: float,
    n_refused: int = 0,
) -> None:
    """The closing summary of what a command does to some nights, or to all; exit status 1 when such a unit
    failed, or files were refused.
    """
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.status import (  # noqa: PLC0415
        failures,
        full_counts,
        latency_line,
        newest_nights,
        notes,
        unit_counts,
    )

    opened = open_archive(archive)
    nights = newest_nights(opened) if nights is None else nights
    if not nights and not as_json:
        typer.echo("nothing was there to do")
    show((full_counts if as_json else unit_counts)(opened, nights, kinds), as_json)
    trouble = failures(opened, nights, kinds)
    if not as_json:
        if trouble:
            typer.echo("\nrejected and failed, by reason:")
            show(trouble, as_json=False)
        typer.echo(f"took {seconds:.1f} s")
    if not as_json and (line := latency_line(opened, nights)) and "packets" in kinds:
        typer.echo(line)
    for line in notes(opened, nights) if "difference" in kinds else ():
        typer.echo(f"note: {line}", err=True)
    if n_refused or any(row["state"] == "failed" for row in trouble):
        sys.exit(1)


@app.command()
def calibrate(
    archive: Archive,
    night: Annotated[str, typer.Option(metavar="NIGHT", parser=parse_night, help="UT date, YYYYMMDD.")],
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
    run(archive, night, load_settings(settings, override), progress, cluster, workers, Scope(again=again))
    close(archive, [night], ["calibration"], as_json, time.monotonic() - start)


@app.command()
def night(
    archive: Archive,
    nights: Annotated[
        list[str] | None,
        typer.Argument(metavar="NIGHT", parser=parse_night, help="UT dates, YYYYMMDD."),
    ] = None,
    follow: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Take raw frames as they land in this folder, until told to stop."),
    ] = None,
    until: Until = None,
    settings: SettingsFile = None,
    override: Overrides = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    again: Again = False,
    as_json: AsJson = False,
) -> None:
    """Run nights from raw frames to alert packets; what is done already stays as it is.

    With --follow frames are registered and worked on as they land. SIGTERM, or the time --until, ends that
    after what runs is finished; Ctrl-C ends it at once.

    Example: zsds night --archive demo/archive 20260115 --set science.quality.max_rms_arcsec=0.3

    Example: zsds night --archive /data/survey --follow /incoming --until 2026-01-16T13:30
    """
    start = time.monotonic()
    chosen, n_refused = load_settings(settings, override), 0
    if follow is not None:
        if again:
            raise WrongCall("--again", "redoes nights that are over", "leave it out, or --follow")
        stopped = _told_to_stop(until)
        tell = partial(typer.echo, err=True)
        followed = workflow("follow")(archive, follow, chosen, tell, stopped, nights or (), cluster, workers)
        done, n_refused = followed.nights, followed.n_refused
    elif until is not None:
        raise WrongCall("--until", "is for --follow", "name the folder to follow")
    elif not nights:
        raise WrongCall("NIGHT", "is not given", "name one or more, YYYYMMDD, or --follow DIR")
    else:
        workflow("night")(archive, nights, chosen, progress, cluster, workers, Scope(again=again))
        done = nights
    close(archive, done, QUADRANT_STEPS, as_json, time.monotonic() - start, n_refused)


def _told_to_stop(until: float | None) -> Callable[[], bool]:
    """Function that says whether SIGTERM came, or the time."""
    told = threading.Event()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: told.set())
    end = math.inf if until is None else until
    return lambda: told.is_set() or time.time() >= end


@app.command()
def references(
    archive: Archive,
    nights: Annotated[
        list[str] | None,
        typer.Option(
            "--night",
            metavar="NIGHT",
            parser=parse_night,
            help="Take epochs of this night; repeat for more. Default: all but a quadrant's newest night.",
        ),
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
    run(archive, load_settings(settings, override), progress, nights or (), cluster, workers, again)
    close(archive, None, ["reference"], as_json, time.monotonic() - start)


@app.command()
def report(
    archive: Archive,
    when: Night,
    out: Annotated[Path | None, typer.Option(help="HTML file; default: reports/ in the archive.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="Folder truth/ of a simulation, to tell completeness and purity.")
    ] = None,
) -> None:
    """Write a night's report: one HTML file with tables and plots, readable offline.

    Example: zsds report --archive demo/archive 20260115
    """
    from zsds.io.files import write_bytes  # noqa: PLC0415
    from zsds.report import build_report  # noqa: PLC0415
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.report import read_night  # noqa: PLC0415
    from zsds.runner.truth import compare_night, truth_figures  # noqa: PLC0415

    opened = open_archive(archive)
    target = out or opened.store.path("report", when, opened.camera.prefix)
    record = read_night(opened, when)
    if truth is not None:
        record = replace(record, truth=truth_figures(compare_night(opened, when, truth)[0]))
    write_bytes(target, build_report(record).encode())
    typer.echo(target)
