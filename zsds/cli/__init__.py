"""The ``zsds`` command: one line per mistake, exit status 0 done, 1 failed, 2 wrongly called."""

import os
import sys

import typer

from zsds.core.errors import ZsdsError


def main() -> None:
    """Run the command line; a failure the user can mend is one line on standard error."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from zsds.cli import alerts, archive, catalogs, demo, images, night  # noqa: F401, PLC0415
    from zsds.cli.app import app  # noqa: PLC0415

    try:
        app()
    except ZsdsError as error:
        typer.echo(f"zsds: {error}", err=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        typer.echo(f"zsds: {error.filename or 'the system'}: {error.strerror or error}", err=True)
        sys.exit(1)
