"""The command that serves an archive's state to browsers and monitoring."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from zsds.cli.app import Archive, app
from zsds.core.errors import BadInput


@app.command()
def serve(
    archive: Archive,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all of the machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")] = 8000,
) -> None:
    """Show how the nights stand: a page for people, /status.json, and /metrics for Prometheus.

    It only reads. It knows no users: whoever reaches the address sees counts, states and reasons, no data.

    Example: zsds serve --archive /data/survey --port 8000
    """
    try:
        import uvicorn  # noqa: PLC0415

        from zsds.service import create_app  # noqa: PLC0415
    except ImportError as error:
        raise BadInput(
            "zsds serve", f"needs {error.name}, which is not installed", "pip install 'zsds[service]'"
        ) from error
    server = uvicorn.Server(uvicorn.Config(create_app(Path(archive)), log_level="warning"))
    with _listening(host, port) as listener, suppress(KeyboardInterrupt):
        typer.echo(f"http://{f'[{host}]' if ':' in host else host}:{port}/", err=True)
        server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        problem = f"cannot be listened on ({reason})"
        remedy = "choose a free --port, and an address of this machine as --host"
        raise BadInput(f"{host}:{port}", problem, remedy) from error
