"""The ``zsds`` command: one line per mistake, exit status 0 done, 1 failed, 2 wrongly called."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from zsds.core.errors import SettingsError, WrongCall, ZsdsError

INTERRUPTED = 130  # the exit status of a command that Ctrl-C or SIGTERM ended


def main() -> None:
    """Run the command line; a failure the user can mend is one line on standard error."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    app = all_commands()
    try:
        with _ended_in_order():
            app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            typer.echo(
                "zsds: interrupted; what is done stays, the same command goes on with the rest", err=True
            )
        raise
    except (SettingsError, WrongCall) as error:
        _end(str(error), 2)
    except ZsdsError as error:
        _end(str(error), 1)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        _end(f"{error.filename or 'the system'}: {error.strerror or error}", 1)
    except Exception as error:  # a bug, which the user cannot mend but can report
        if logging.getLogger().isEnabledFor(logging.INFO):
            raise
        told = " ".join(f"{type(error).__name__}: {error}".split())
        _end(f"a mistake in zsds itself ({told}); please report it with what `zsds --verbose ...` prints", 1)


def all_commands() -> typer.Typer:
    """The command line with every command."""
    from zsds.cli import (  # noqa: F401, PLC0415
        alerts,
        archive,
        catalogs,
        demo,
        images,
        logs,
        night,
        serve,
        stream,
        upkeep,
    )
    from zsds.cli.app import app  # noqa: PLC0415

    return app


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does: what is held is given back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(text: str, status: int) -> None:
    typer.echo(f"zsds: {text}", err=True)
    sys.exit(status)
