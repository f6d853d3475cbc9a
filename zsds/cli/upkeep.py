"""Commands that do part of the work again, and make room."""

import time
from typing import Annotated

import typer

from zsds.cli.app import (
    Archive,
    AsJson,
    Cluster,
    Overrides,
    SettingsFile,
    Workers,
    app,
    load_settings,
    progress,
    show,
    workflow,
)
from zsds.cli.night import close
from zsds.core.errors import WrongCall
from zsds.core.ids import parse_night
from zsds.core.scope import STEPS, Scope

DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what it would do, and do nothing.")]


def _step(text: str) -> str:
    if text not in STEPS:
        raise WrongCall(text, "is no step", f"one of: {', '.join(STEPS)}")
    return text


@app.command()
def reprocess(
    archive: Archive,
    first: Annotated[
        str,
        typer.Option("--from", metavar="STEP", parser=_step, help=f"The first to do: {', '.join(STEPS)}."),
    ],
    nights: Annotated[
        list[str] | None,
        typer.Option("--night", metavar="NIGHT", parser=parse_night, help="UT date; repeat for more."),
    ] = None,
    field: Annotated[int | None, typer.Option(help="Only this field.")] = None,
    ccd: Annotated[int | None, typer.Option(help="Only this CCD.")] = None,
    quadrant: Annotated[int | None, typer.Option(help="Only this quadrant, of each CCD or of --ccd.")] = None,
    dry_run: DryRun = False,
    settings: SettingsFile = None,
    override: Overrides = None,
    cluster: Cluster = "local",
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Do part of what was done again, from a step on; versions that are replaced are kept as superseded.

    Alerts keep their numbers: one that went out is not sent again.

    Example: zsds reprocess --archive demo/archive --night 20260115 --ccd 1 --from difference --dry-run
    """
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.reprocess import nights_in, preview  # noqa: PLC0415

    if not nights and (field, ccd, quadrant) == (None, None, None):
        raise WrongCall("--night", "is not given", "name a night, field, CCD or quadrant")
    start = time.monotonic()
    scope = Scope(field, ccd, quadrant, first, again=True)
    chosen = load_settings(settings, override)
    opened = open_archive(archive)
    found = nights_in(opened, nights or (), scope)
    if dry_run:
        show(preview(opened, found, scope), as_json)
        return
    workflow("reprocess")(archive, found, chosen, progress, cluster, workers, scope)
    close(archive, found, [step for step in STEPS if scope.makes(step)], as_json, time.monotonic() - start)


@app.command()
def prune(
    archive: Archive,
    dry_run: DryRun = False,
    settings: SettingsFile = None,
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Remove what is older than the settings under `retention` keep it: superseded versions, logs, products.

    Example: zsds prune --archive /data/survey --set retention.superseded_days=7 --dry-run
    """
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.prune import prune as remove  # noqa: PLC0415

    chosen = load_settings(settings, override)
    show(remove(open_archive(archive), chosen.retention, dry_run), as_json)
