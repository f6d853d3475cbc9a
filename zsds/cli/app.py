"""The application that the command modules register with, and what their options share."""

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer

from zsds import __version__
from zsds.core.errors import WrongCall
from zsds.core.ids import parse_night

app = typer.Typer(
    name="zsds",
    help="An open science data system for sky surveys: raw camera images in, alerts out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _moment(text: str) -> float:
    """Unix time of a moment as somebody wrote it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongCall(text, "is not a time", "write it as 2026-01-16T13:30, in UT") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


Archive = Annotated[
    Path, typer.Option("--archive", envvar="ZSDS_ARCHIVE", help="The archive's folder (or ZSDS_ARCHIVE).")
]
MaybeArchive = Annotated[
    Path | None, typer.Option("--archive", envvar="ZSDS_ARCHIVE", help="The archive's folder.")
]
Night = Annotated[str, typer.Argument(metavar="NIGHT", parser=parse_night, help="UT date, YYYYMMDD.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="A setting, as step.name=value; repeat for more.")
]
Cluster = Annotated[
    str,
    typer.Option(
        help="local (one worker per core), serial, slurm, kubernetes, or tcp://HOST:PORT of a Dask scheduler."
    ),
]
SettingsFile = Annotated[Path | None, typer.Option("--settings", help="YAML file of settings by step.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Workers of a local cluster, by default one per core; else at most so many."),
]
Until = Annotated[
    float | None,
    typer.Option(
        parser=_moment,
        metavar="TIME",
        help="With --follow: end then, in UT or the zone it names: 2026-01-16T13:30. Default: when told to.",
    ),
]
FINE = ("ra", "dec", "mjd")  # columns that need five decimals: 0.04 arcsec, a second


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zsds {__version__}")
        raise typer.Exit


@app.callback()
def common(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log each step to the terminal.")] = False,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Set up logging for every command."""
    level = logging.INFO if verbose else logging.WARNING
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(level)  # loggers below may let more through, for the archive's own log
    terminal.addFilter(lambda record: verbose or record.name != "zsds.units")  # a command's summary has them
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level, format=form, handlers=[terminal])


def workflow(name: str) -> Any:
    """A workflow by its entry point, so that the command line imports none of them."""
    return next(iter(entry_points(group="zsds.workflows", name=name))).load()


def load_settings(file: Path | None, overrides: Sequence[str] | None) -> Any:
    """Settings of a run from ``--settings`` and ``--set``."""
    from zsds.pipeline import settings  # noqa: PLC0415

    return settings.load_settings(file, overrides or ())


def require_archive(folder: Path | None) -> Path:
    """The archive's folder, of commands that can do without one.

    Raises
    ------
    WrongCall
        If it is not named.
    """
    if folder is None:
        raise WrongCall("--archive", "is not given", "name the archive, or set ZSDS_ARCHIVE")
    return folder


def show(rows: Sequence[Mapping[str, Any]], as_json: bool, columns: Sequence[str] | None = None) -> None:
    """Print rows as a table, or as a JSON list."""
    if as_json:
        typer.echo(json.dumps([dict(row) for row in rows], indent=1, default=str))
        return
    names = list(columns or (rows[0] if rows else ()))
    cells = [[_cell(name, row.get(name)) for name in names] for row in rows]
    widths = [
        max(len(name), *(len(row[i]) for row in cells)) if cells else len(name)
        for i, name in enumerate(names)
    ]
    for line in [names, *cells] if names else []:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN
        return "-"
    if isinstance(value, float):
        return f"{value:.5f}" if name in FINE else f"{value:.6g}"
    return str(value)


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Function that advances a bar with the time to go; on anything but a terminal it does nothing."""
    with progress_told(what) as tell:
        done = 0

        def advance() -> None:
            nonlocal done
            done += 1
            if tell is not None:
                tell(done, total)

        if tell is not None:
            tell(0, total)
        yield advance


@contextmanager
def progress_told(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Function that takes (done, total) and shows them as a bar; nothing on anything but a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("to go"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
