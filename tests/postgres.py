"""A PostgreSQL server of the tests' own: in its own folder, on a free port of loopback, with a password."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import psycopg
import pytest
from psycopg import sql

USER = "zsds"


class Server:
    """A server with its files in a folder; `new_database` gives an empty database."""

    def __init__(self, folder: Path, port: int, password: str) -> None:
        self.folder, self.port, self.password = folder, port, password
        self.count = 0

    def start(self) -> None:
        """Start it; it answers when this returns."""
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c fsync=off"
        _run("pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-w", "-o", options, "start")

    def stop(self) -> None:
        """End it at once, as a crash would: whoever is connected loses the connection."""
        _run("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "stop")

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{name}"

    def new_database(self, template: str = "template1") -> str:
        """URL of a database that did not exist before, a copy of another that nobody uses."""
        self.count += 1
        name = f"test_{os.getpid()}_{self.count}"
        about = {"host": "127.0.0.1", "port": self.port, "user": USER}
        with psycopg.connect(dbname="postgres", autocommit=True, **about) as connection:
            names = sql.Identifier(name), sql.Identifier(template)
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(*names))
        return self.url(name)


def programs() -> Path:
    """Folder of initdb and pg_ctl."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    if found is None and not folders:
        pytest.fail("no PostgreSQL server on this machine; make test-services installs it")
    return Path(found).parent if found else folders[-1]


@contextmanager
def running_server() -> Iterator[Server]:
    """A server stopped, and its files removed, at the end."""
    port, password = _free_port(), secrets.token_urlsafe(16)
    folder = Path(
        tempfile.mkdtemp(prefix="zsds-postgresql-")
    )  # pytest's own folders are closed to other users
    data, secret = folder / "data", folder / "password"
    secret.write_text(password)
    secret.chmod(0o600)
    if os.geteuid() == 0:  # the server refuses to run as root
        for path in (folder, secret):
            shutil.chown(path, "postgres", "postgres")
    _run("initdb", "-D", data, "-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync")
    server = Server(folder, port, password)
    server.start()
    try:
        with mock.patch.dict(os.environ, {"PGPASSWORD": password}):
            yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _run(program: str, *arguments: object) -> None:
    command = [programs() / program, *arguments]
    if os.geteuid() == 0:
        command = ["runuser", "-u", "postgres", "--", *command]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL, cwd="/")


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
