"""Commands that look at alert packets."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from zsds.cli.app import Archive, AsJson, MaybeArchive, Night, app, require_archive, show
from zsds.core.ids import CANDID_DIGITS, parse_night
from zsds.core.stream import OWN_SCHEMA, ZTF_SCHEMA, Stream

group = typer.Typer(help="Look at alert packets, ours or ZTF's own.", no_args_is_help=True)
app.add_typer(group, name="alerts")
WORDS = {ZTF_SCHEMA: ZTF_SCHEMA, "ztf/4_02": ZTF_SCHEMA, OWN_SCHEMA: OWN_SCHEMA, "zsds/1_0": OWN_SCHEMA}


def _known_schema(word: str) -> str:
    if word not in WORDS:
        raise typer.BadParameter(f"known are {', '.join(WORDS)}")
    return WORDS[word]


Schema = Annotated[
    str,
    typer.Option(
        parser=_known_schema, metavar="SCHEMA", help="Packets of ZTF's schema (ztf) or of our own (zsds)."
    ),
]
COLUMNS = (
    "candid",
    "objectId",
    "band",
    "sign",
    "mjd",
    "ra",
    "dec",
    "magpsf",
    "sigmapsf",
    "scorr",
    "n_history",
)


@group.command("list")
def list_(
    packets: Annotated[
        list[Path] | None, typer.Argument(help="Packets, folders or tars; default: the archive.")
    ] = None,
    archive: MaybeArchive = None,
    night: Annotated[
        str | None,
        typer.Option(metavar="NIGHT", parser=parse_night, help="Only this night of the archive, YYYYMMDD."),
    ] = None,
    schema: Schema = ZTF_SCHEMA,
    as_json: AsJson = False,
) -> None:
    """One line for each packet.

    Example: zsds alerts list --archive demo/archive
    """
    from zsds.alerts.look import describe_packet  # noqa: PLC0415
    from zsds.io.packets import read_packets  # noqa: PLC0415
    from zsds.runner.status import require_night  # noqa: PLC0415

    paths = packets or _paths(archive, night, schema)
    if night and not paths:
        require_night(_opened(archive), night)
    rows = [describe_packet(p) for path in paths for p in read_packets(path)]
    show(rows, as_json, COLUMNS if not as_json else None)
    if not as_json:
        typer.echo(f"{len(rows)} packets")


@group.command("show")
def show_(
    packet: Annotated[str, typer.Argument(help="A packet's file, or a candid of the archive.")],
    archive: MaybeArchive = None,
    schema: Schema = ZTF_SCHEMA,
    out: Annotated[
        Path | None, typer.Option(help="PNG of stamps and light curve; default: CANDID.png here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Every field of a packet, and its stamps and light curve as a PNG.

    Example: zsds alerts show 739260766315010006 --archive demo/archive
    """
    from zsds.alerts.look import draw_packet  # noqa: PLC0415
    from zsds.io.files import written_whole  # noqa: PLC0415
    from zsds.io.packets import read_packet  # noqa: PLC0415

    path = Path(packet)
    if packet.isdigit() and not path.exists():
        path = _packet(archive, packet, schema)
    found = read_packet(path)
    record = {key: value for key, value in found.record.items() if not key.startswith("cutout")}
    if as_json:
        typer.echo(json.dumps(record, indent=1))
    else:
        for name, value in {"objectId": record["objectId"], **record["candidate"]}.items():
            typer.echo(f"{name:<16} {value}")
        typer.echo(f"{'history':<16} {len(found.history)} earlier epochs")
        typer.echo(f"{'forced':<16} {len(record.get('fp_hists') or record.get('forced') or [])} fluxes")
    target = out or Path(f"{found.candid}.png")
    with written_whole(target) as temporary:
        draw_packet(found).savefig(temporary, format="png", metadata={"Software": None})
    if not as_json:
        typer.echo(f"stamps and light curve: {target}")


@group.command("tar")
def tar(
    archive: Archive,
    night: Night,
    schema: Schema = ZTF_SCHEMA,
    out: Annotated[
        Path | None, typer.Option(help="Folder; default: alerts/ in the archive, alerts_zsds/ for our own.")
    ] = None,
) -> None:
    """The public packets of a night as one tar, as ZTF's public archive has them; proprietary ones stay out.

    It holds what was published, or would be if it were now.

    Example: zsds alerts tar 20190110 --archive demo/archive
    """
    from zsds.core.programs import PUBLIC_PROGRAM  # noqa: PLC0415
    from zsds.io.packets import tar_night  # noqa: PLC0415
    from zsds.products import TAR_OF  # noqa: PLC0415
    from zsds.runner.embargo import Embargo  # noqa: PLC0415
    from zsds.runner.publish import packets_made, require_made  # noqa: PLC0415
    from zsds.runner.status import require_night  # noqa: PLC0415

    opened = _opened(archive)
    require_night(opened, night)
    require_made(opened, night, schema)
    stream = Stream(opened.camera.prefix, night, PUBLIC_PROGRAM, schema)
    paths, n_other = packets_made(opened, stream)
    target = opened.store.path(TAR_OF[schema], night, stream.prefix)
    may_show = Embargo(opened, PUBLIC_PROGRAM).allows
    made = tar_night(paths, out / target.name if out else target, may_show)
    left_out = made.n_withheld + n_other
    typer.echo(
        f"{made.path}: {made.n_packets} public packets, {left_out} proprietary or unfinished ones left out"
    )


def _packet(archive: Path | None, candid: str, schema: str) -> Path:
    """The packet of a candid of the archive."""
    from zsds.core.errors import BadInput  # noqa: PLC0415
    from zsds.products import PACKET_OF  # noqa: PLC0415

    store = _opened(archive).store
    path = store.path(PACKET_OF[schema], int(candid)) if len(candid) <= CANDID_DIGITS else store.root
    if not path.is_file():
        raise BadInput(
            candid, f"no packet of schema {schema} and this candid in the archive", "see: zsds alerts list"
        )
    return path


def _opened(archive: Path | None) -> Any:
    from zsds.runner.archive import open_archive  # noqa: PLC0415

    return open_archive(require_archive(archive))


def _paths(archive: Path | None, night: str | None, schema: str = ZTF_SCHEMA) -> list[Path]:
    """Packet files of the archive, in order of candid."""
    from zsds.products import PACKET, PACKET_OF  # noqa: PLC0415
    from zsds.runner.status import require_night  # noqa: PLC0415

    opened = _opened(archive)
    if night:
        require_night(opened, night)
    folder = opened.store.root / PACKET[PACKET_OF[schema]].partition("/")[0] / (night or "")
    return sorted(folder.rglob("*.avro"), key=lambda path: (len(path.name), path.name))
