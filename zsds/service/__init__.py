"""The web service: how an archive stands, as a page, as JSON and as metrics."""

from zsds.service.app import create_app

__all__ = ["create_app"]
