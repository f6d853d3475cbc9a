"""Commands about the archive itself: make it, feed it, look at it."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from zsds.cli.app import (
    Archive,
    AsJson,
    MaybeArchive,
    Overrides,
    SettingsFile,
    app,
    load_settings,
    progress,
    require_archive,
    show,
    workflow,
)
from zsds.core.errors import ZsdsError
from zsds.core.ids import parse_night


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new archive; must not exist or be empty.")],
    camera: Annotated[str, typer.Option(help="Name of a shipped camera, or a YAML file.")] = "ztf",
    database: Annotated[
        str | None, typer.Option(help="SQLAlchemy URL; SQLite inside the archive by default.")
    ] = None,
    upgrade: Annotated[
        bool, typer.Option("--upgrade", help="Bring the database of an existing archive up to date.")
    ] = False,
) -> None:
    """Make a new archive: product store and operations database.

    Example: zsds init /data/survey --camera ztf
    """
    from zsds.core.camera_file import load_camera  # noqa: PLC0415
    from zsds.db import create_database  # noqa: PLC0415
    from zsds.io.store import Store  # noqa: PLC0415

    if upgrade:
        store = Store.open(folder)
        create_database(store.database_url).close()
        typer.echo(f"the database of {store.root} is up to date")
        return
    load_camera(camera)
    store = Store.create(folder, camera, database)
    try:
        create_database(store.database_url).close()
    except ZsdsError:
        store.discard()  # so that the mended command can be tried again
        raise
    typer.echo(f"archive {store.root} for camera {camera} is ready; next: zsds catalogs import, zsds ingest")


@app.command()
def ingest(
    archive: Archive,
    paths: Annotated[list[Path], typer.Argument(help="Raw frames, or folders of them.")],
    as_json: AsJson = False,
) -> None:
    """Validate raw frames and register them; a frame known already changes nothing.

    Example: zsds ingest --archive /data/survey /incoming/20260101
    """
    from zsds.core.errors import BadInput  # noqa: PLC0415
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.ingest import find_frames, ingest_frames  # noqa: PLC0415

    files, closed = find_frames(paths)
    if not files and not closed:
        raise BadInput(str(paths[0]), "holds no FITS file", "name raw frames or a folder of them")
    opened = open_archive(archive)
    with progress("ingest", len(files)) as advance:
        result = ingest_frames(opened, files, advance)
    refused = closed + result.refused
    for error in refused:
        typer.echo(f"zsds: {error}", err=True)
    counts = {"new": result.n_new, "known": result.n_known, "refused": len(refused)}
    if as_json:
        show([counts], as_json)
    else:
        typer.echo(
            f"{counts['new']} new frames, {counts['known']} known already, {counts['refused']} refused"
        )
    if refused:
        sys.exit(1)


@app.command()
def status(
    archive: Archive,
    nights: Annotated[
        list[str] | None,
        typer.Option(
            "--night",
            metavar="NIGHT",
            parser=parse_night,
            help="This night; repeat for more. Default: the newest ones.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What ran and how it went: units by kind and state, failures by reason.

    Example: zsds status --archive demo/archive --night 20260115
    """
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.status import (  # noqa: PLC0415
        NIGHTS_SHOWN,
        failures,
        full_counts,
        latency_line,
        newest_nights,
        notes,
        oldest_line,
        require_night,
        unit_counts,
    )

    opened = open_archive(archive)
    for night in nights or ():
        require_night(opened, night)
    chosen = nights or newest_nights(opened, NIGHTS_SHOWN)
    rows = (full_counts if as_json else unit_counts)(opened, chosen)
    show(rows, as_json)
    if not as_json:
        if not rows:
            typer.echo("nothing was run in this archive yet; next: zsds ingest, zsds calibrate, zsds night")
        trouble = failures(opened, chosen)
        if trouble:
            typer.echo("\nrejected and failed, by reason:")
            show(trouble, as_json=False)
        everything = nights or newest_nights(opened)
        for line in (oldest_line(opened, everything), latency_line(opened, chosen)):
            if line:
                typer.echo(line)
    for line in notes(opened, chosen):
        typer.echo(f"note: {line}", err=True)


@app.command()
def where(
    product: Annotated[str, typer.Argument(help="Name of a product; `zsds where list` lists them.")],
    identifier: Annotated[
        str, typer.Argument(help="Quadrant, calibration or reference as `zsds status` has it; candid; night.")
    ] = "",
    archive: MaybeArchive = None,
) -> None:
    """Print where a product lies: its newest version, or that whose number follows the name as _v1.

    Example: zsds where difference ztf_20260115300000_000001_zr_c01_o_q1
    """
    from zsds import products  # noqa: PLC0415
    from zsds.runner.whereabouts import find_product  # noqa: PLC0415

    if product == "list":
        typer.echo("\n".join(products.names()))
        return
    path = find_product(require_archive(archive), product, identifier)
    typer.echo(path)
    if not path.exists():
        typer.echo(f"zsds: {path} does not exist (yet)", err=True)
        sys.exit(1)


@app.command()
def doctor(
    archive: Annotated[
        Path | None, typer.Option(envvar="ZSDS_ARCHIVE", help="Also look at this archive.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="Also ask this cluster for a worker, as `zsds night --cluster` names it."),
    ] = None,
    settings: SettingsFile = None,
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Check versions, cores, disk, database, catalogs and a cluster, and say how to mend what is wrong.

    Example: zsds doctor --archive /data/survey --cluster slurm
    """
    from zsds.runner.doctor import examine  # noqa: PLC0415

    asked = load_settings(settings, override)
    findings = examine(archive)
    if cluster is not None:
        root = None if archive is None else archive.absolute()
        findings += workflow("examine")(cluster, asked.cluster, root)
    show([vars(finding) for finding in findings], as_json, ["ok", "what", "found", "remedy"])
    if not all(finding.ok for finding in findings):
        sys.exit(1)
