"""Commands about the local reference catalogs."""

from pathlib import Path
from typing import Annotated

import typer

from zsds.cli.app import Archive, AsJson, app, progress_told, show

group = typer.Typer(help="Local reference catalogs: Gaia, PS1, orbits.", no_args_is_help=True)
app.add_typer(group, name="catalogs")
Kind = Annotated[str, typer.Argument(help="gaia, ps1 or orbits.")]


@group.command("import")
def import_(
    archive: Archive,
    kind: Kind,
    files: Annotated[
        list[Path], typer.Argument(help="FITS, Parquet, CSV, VOTable, LDAC; MPCORB.DAT for orbits.")
    ],
) -> None:
    """Add files, with the archives' own column names, to a local catalog; the same rows again change nothing.

    Example: zsds catalogs import gaia gaia_field_1.csv gaia_field_2.csv
    """
    from zsds.runner.archive import open_archive  # noqa: PLC0415

    catalogs = open_archive(archive).catalogs
    for file in files:
        typer.echo(f"{file}: {catalogs.import_table(kind, file)} rows into {kind}")


@group.command("fetch")
def fetch_(
    archive: Archive,
    kind: Annotated[str, typer.Argument(help="gaia or ps1.")],
    ra: Annotated[float, typer.Option(help="Right ascension of the middle, degrees.", min=0, max=360)],
    dec: Annotated[float, typer.Option(help="Declination of the middle, degrees.", min=-90, max=90)],
    radius: Annotated[float, typer.Option(help="Degrees.", min=0, max=180)],
    url: Annotated[str | None, typer.Option(help="Another service that has the same table.")] = None,
) -> None:
    """Fetch a region from the public archives; what is here already is not asked for again.

    Example: zsds catalogs fetch gaia --ra 150.1 --dec 2.2 --radius 1.5
    """
    from zsds.catalogs import fetch  # noqa: PLC0415
    from zsds.runner.archive import open_archive  # noqa: PLC0415

    catalogs = open_archive(archive).catalogs
    with progress_told(f"fetch {kind}") as told:
        rows = fetch(kind, ra, dec, radius, catalogs, url, progress=told)
    typer.echo(f"{rows} new rows into {kind}")


@group.command("list")
def list_(archive: Archive, as_json: AsJson = False) -> None:
    """Show which catalogs are at hand.

    Example: zsds catalogs list
    """
    from zsds.runner.archive import open_archive  # noqa: PLC0415

    catalogs = open_archive(archive).catalogs
    show(
        [{"kind": kind, "rows": catalogs.count(kind)} for kind in catalogs.kinds()], as_json, ["kind", "rows"]
    )
