"""The command that reads the log."""

import json
from contextlib import suppress
from typing import Annotated

import typer

from zsds.cli.app import Archive, AsJson, app
from zsds.core.ids import parse_night


def _known_level(name: str) -> str:
    from zsds.runner.log_lines import LEVELS  # noqa: PLC0415

    if name.lower() not in LEVELS:
        raise typer.BadParameter(f"known are {', '.join(LEVELS)}")
    return name.lower()


@app.command()
def logs(
    archive: Archive,
    units: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="QUADRANT",
            help="Quadrants as `zsds status` has them, or first parts of their names: an exposure, a CCD.",
        ),
    ] = None,
    night: Annotated[
        str | None,
        typer.Option(metavar="NIGHT", parser=parse_night, help="Only lines of this night, YYYYMMDD."),
    ] = None,
    level: Annotated[
        str, typer.Option(parser=_known_level, metavar="LEVEL", help="The least: info, warning or error.")
    ] = "info",
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with lines as they come, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What every process wrote about quadrants, in order of time: claims, steps, outcomes, tracebacks.

    With --json each line is an object of its own.

    Example: zsds logs --archive demo/archive ztf_20260115300000_000001_zr_c01_o_q1

    Example: zsds logs --archive /data/survey --night 20260115 --level warning --follow
    """
    from zsds.io.store import Store  # noqa: PLC0415
    from zsds.runner.log_lines import Wanted, as_text, follow_lines, read_lines  # noqa: PLC0415

    root = Store.open(archive).root
    wanted = Wanted(units or (), night, level)
    with suppress(KeyboardInterrupt):  # the way to end --follow
        for line in (follow_lines if follow else read_lines)(root, wanted):
            typer.echo(json.dumps(line) if as_json else as_text(line))
