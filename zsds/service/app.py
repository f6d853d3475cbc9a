"""The service's routes."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from zsds import __version__
from zsds.core.errors import ZsdsError
from zsds.resources import resource
from zsds.runner.archive import open_archive
from zsds.runner.situation import look
from zsds.runner.status import NIGHTS_SHOWN
from zsds.service.metrics import ArchiveCollector
from zsds.service.page import status_page

NIGHTS_MEASURED = 2  # the newest, and the one before while it is being finished


def create_app(folder: Path) -> FastAPI:
    """The service of an archive; it reads, and changes nothing.

    Raises
    ------
    BadInput
        If there is no such archive.
    """
    archive = open_archive(folder)
    app = FastAPI(title="zsds", version=__version__, docs_url=None, redoc_url=None)
    registry = CollectorRegistry()
    registry.register(ArchiveCollector(archive, NIGHTS_MEASURED))

    @app.exception_handler(ZsdsError)
    def away(_: Request, error: ZsdsError) -> Response:
        return PlainTextResponse(f"{error}\n", status_code=503)

    @app.get("/", response_class=HTMLResponse)
    def status() -> str:
        """How the newest nights stand, for people."""
        return status_page(look(archive, NIGHTS_SHOWN))

    @app.get("/status.json")
    def status_json() -> dict[str, Any]:
        """The same for programs."""
        return asdict(look(archive, NIGHTS_SHOWN))

    @app.get("/metrics")
    def metrics() -> Response:
        """The same for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/monitoring/{name}")
    def monitoring(name: Literal["alerts.yaml", "dashboard.json"]) -> Response:
        """Rules for Prometheus, and a dashboard for Grafana."""
        text = resource("workflows", "monitoring", name).read_text(encoding="utf-8")
        return PlainTextResponse(text)

    return app
