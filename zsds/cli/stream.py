"""Commands that send alerts to Kafka and read them there."""

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from zsds.cli.alerts import Schema, group
from zsds.cli.app import Archive, AsJson, MaybeArchive, Night, Until, progress_told, show
from zsds.core.errors import BadInput, WrongCall
from zsds.core.programs import PUBLIC_PROGRAM
from zsds.core.stream import ZTF_SCHEMA, Stream, public_topics

Broker = Annotated[
    str | None, typer.Option("--broker", help="HOST:PORT of a Kafka broker; passwords never go here.")
]
Options = Annotated[
    Path | None,
    typer.Option("--kafka", envvar="ZSDS_KAFKA", help="YAML file of Kafka's options (or ZSDS_KAFKA)."),
]
Programs = Annotated[
    list[int] | None,
    typer.Option(
        "--program", min=0, max=99, help="Program to send; repeat for more. Default: 1, the public one."
    ),
]


@group.command("publish")
def publish(
    archive: Archive,
    night: Night,
    programs: Programs = None,
    schema: Schema = ZTF_SCHEMA,
    broker: Broker = None,
    kafka: Options = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with packets as they appear.")] = False,
    until: Until = None,
    reread: Annotated[
        bool, typer.Option("--reread", help="Believe the topic alone: read all of it, send what it lacks.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send a night's packets to Kafka, each once; what was sent already stays as it is.

    Packets of our own schema go to topics of their own, with --schema zsds.

    Example: zsds alerts publish 20260115 --broker localhost:9092 --archive demo/archive
    """
    from zsds.io.kafka_options import load_options  # noqa: PLC0415
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.publish import (  # noqa: PLC0415
        Orders,
        count_unpublished,
        publish_night,
        records,
        require_made,
    )
    from zsds.runner.status import require_night  # noqa: PLC0415

    if until is not None and not follow:
        raise WrongCall("--until", "has no meaning without --follow", "give both")
    options = load_options(kafka, broker)
    opened = open_archive(archive)
    if not follow:
        require_night(opened, night)
        require_made(opened, night, schema)
    streams = _streams(opened, night, programs, schema)
    total = sum(count_unpublished(opened, stream) for stream in streams)
    with _stopped_by_signals() as stop, progress_told("publish") as tell:
        done = 0

        def advance(n_sent: int) -> None:
            nonlocal done
            done += n_sent
            if tell is not None and not follow:
                tell(done, total)

        orders = Orders(follow, until, reread, stop, advance)
        results = _each(lambda stream: publish_night(opened, stream, options, orders), streams)
    show(records(results), as_json)
    refused = {candid: reason for one in results for candid, reason in one.refused.items()}
    for candid, reason in sorted(refused.items()):
        typer.echo(f"zsds: packet {candid} was not sent: {reason}", err=True)
    if refused:
        sys.exit(1)


def _streams(opened: Any, night: str, programs: list[int] | None, schema: str) -> list[Stream]:
    prefix = opened.camera.prefix
    return [Stream(prefix, night, program, schema) for program in sorted(set(programs or [PUBLIC_PROGRAM]))]


def _each(send: Any, streams: list[Stream]) -> list[Any]:
    """What came of each program; together, since the topics of a running night are followed at once."""
    if len(streams) == 1:
        return [send(streams[0])]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    with ThreadPoolExecutor(len(streams)) as threads:
        return list(threads.map(send, streams))


@contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and kill set; a second one ends the process at once."""
    stop = threading.Event()
    before = {}

    def tell(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop.set()

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@group.command("consume")
def consume(
    broker: Broker = None,
    kafka: Options = None,
    topics: Annotated[
        str | None,
        typer.Option(
            help="Name of a topic, or a pattern that begins with ^. Default: all public ones of the schema."
        ),
    ] = None,
    schema: Schema = ZTF_SCHEMA,
    reader_group: Annotated[
        str | None,
        typer.Option("--group", help="Group that shares the work and remembers where it was. Default: none."),
    ] = None,
    start: Annotated[
        str, typer.Option("--from", help="beginning or end, where the group was never before.")
    ] = ("beginning"),
    out: Annotated[Path | None, typer.Option(help="Folder to write <candid>.avro files into.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many alerts.")] = None,
    idle: Annotated[
        float | None, typer.Option(min=0, help="End when nothing came for so many seconds.")
    ] = None,
    registry: Annotated[
        Path | None,
        typer.Option(help="Folder of the publisher's schemas, for messages in Confluent's framing."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each alert as a line of JSON, without stamps.")
    ] = False,
) -> None:
    """Read alerts from Kafka, as they come: one line each, or files.

    Example: zsds alerts consume --broker localhost:9092 --group mine --out alerts
    """
    from zsds.io.files import write_bytes  # noqa: PLC0415
    from zsds.io.kafka_options import load_options  # noqa: PLC0415
    from zsds.io.kafka_reader import Wanted, read_alerts  # noqa: PLC0415
    from zsds.io.messages import container_of  # noqa: PLC0415
    from zsds.io.registry import Registry  # noqa: PLC0415

    if start not in ("beginning", "end"):
        raise WrongCall("--from", f"is {start!r}", "write beginning or end")
    known = Registry(registry) if registry else None
    damaged = 0
    with _stopped_by_signals() as stop:
        wanted = Wanted(topics or public_topics(schema), reader_group, start == "end", count, idle, stop)
        for alert in read_alerts(load_options(kafka, broker), wanted, known):
            if isinstance(alert.packet, BadInput):
                damaged += 1
                typer.echo(f"zsds: {alert.packet}", err=True)
                continue
            if out is not None:
                content = container_of(alert.packet, alert.key, alert.value, known)
                write_bytes(out / f"{alert.packet.candid}.avro", content)
            typer.echo(_line(alert, as_json))
    if damaged:
        sys.exit(1)


def _line(alert: Any, as_json: bool) -> str:
    record, about = alert.packet.record, alert.packet.candidate
    if as_json:
        values = {name: value for name, value in record.items() if not name.startswith("cutout")}
        return json.dumps({"topic": alert.topic, **values}, default=str)
    sign = "+" if about["isdiffpos"] in ("t", "1") else "-"
    position = f"{about['ra']:.5f} {about['dec']:+.5f}"
    return (
        f"{alert.topic} {record['candid']} {record['objectId']} {position} "
        f"{sign} {about['magpsf']:.3f} {about['sigmapsf']:.3f} fid {about['fid']} jd {about['jd']:.6f}"
    )


@group.command("verify")
def verify(
    archive: Archive,
    night: Night,
    programs: Programs = None,
    schema: Schema = ZTF_SCHEMA,
    broker: Broker = None,
    kafka: Options = None,
    as_json: AsJson = False,
) -> None:
    """Compare a night's topic, and its tar, with the archive: nothing missing, twice, or of another program.

    Example: zsds alerts verify 20260115 --broker localhost:9092 --archive demo/archive
    """
    from zsds.io.kafka_options import load_options  # noqa: PLC0415
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.publish import require_made  # noqa: PLC0415
    from zsds.runner.status import require_night  # noqa: PLC0415
    from zsds.runner.verify import verify_night  # noqa: PLC0415

    options = load_options(kafka, broker)
    opened = open_archive(archive)
    require_night(opened, night)
    require_made(opened, night, schema)
    rows = [
        row
        for stream in _streams(opened, night, programs, schema)
        for row in verify_night(opened, stream, options)
    ]
    show(rows, as_json)
    if any(row["missing"] or row["twice"] or row["foreign"] for row in rows):
        sys.exit(1)


@group.command("schemas")
def schemas(
    archive: MaybeArchive = None,
    registry: Annotated[
        Path | None, typer.Option(help="Folder of schemas; default: the archive's own.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="A next version, .avsc: can readers of those registered read it?")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the schemas that have numbers, or see whether a next version may join them.

    Example: zsds alerts schemas --archive demo/archive --check next.avsc
    """
    from zsds.cli.app import require_archive  # noqa: PLC0415
    from zsds.io.registry import Registry  # noqa: PLC0415
    from zsds.runner.archive import open_archive  # noqa: PLC0415
    from zsds.runner.publish import registry_of  # noqa: PLC0415

    found = Registry(registry) if registry else registry_of(open_archive(require_archive(archive)))
    if check is None:
        show(
            [
                {"number": s.number, "record": s.name, "version": s.schema.get("version")}
                for s in found.schemas()
            ],
            as_json,
        )
        return
    try:
        text = check.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(str(check), f"cannot be read ({error.strerror})", "check the path") from error
    compared = found.require_readable(text, str(check))
    typer.echo(f"{check}: readers of {len(compared)} registered versions can read it")
