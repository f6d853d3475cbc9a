"""The command that serves an archive's state to browsers and monitoring."""

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
    typer.echo(f"http://{host}:{port}/", err=True)
    uvicorn.run(create_app(Path(archive)), host=host, port=port, log_level="warning")
