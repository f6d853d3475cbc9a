"""What trials of whole nights need: fresh archives, programs that can be killed, what an archive holds."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import distributed  # noqa: F401 - so that programs need not import it
import psutil
import sqlalchemy as sa
from postgres import Server
from sqlalchemy.engine import make_url
from survey import NIGHT, SERIAL, Survey, database_rows, forget_frames, product_hashes

from zsds.cli import main as zsds_main
from zsds.db import create_database, ledger
from zsds.db.schema import metadata
from zsds.runner.archive import open_archive

PROCESSES = multiprocessing.get_context("fork")  # starts at once: this process has imported everything
LONG_S = 180.0
FAKED_TIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")  # of Debian's package faketime
NUMBERED = ("frames", "units", "calibrations", "reference_images", "coverage")  # their ids by themselves
UNIMPORTANT = {  # numbers of rows and tries; topics are read themselves
    **{table: {"id"} for table in NUMBERED},
    "units": {"id", "attempt", "version"},
    "packets": {"published"},
}


@dataclass(frozen=True)
class Holdings:
    """All files by name with their digests, and all rows of the database as text, by table."""

    files: Mapping[str, str]
    rows: Mapping[str, Counter[str]]

    def problems(self, found: "Holdings") -> Counter[str]:
        """How another archive differs from this one, in numbers; what, on standard error."""
        rows = [table for table in self.rows if self.rows[table] != found.rows[table]]
        leftovers = {name for name in found.files if name.startswith(".partial") or name.endswith(".tmp")}
        names = {
            "missing": self.files.keys() - found.files.keys(),
            "foreign": found.files.keys() - self.files.keys() - leftovers,
            "different": {n for n in self.files.keys() & found.files if self.files[n] != found.files[n]},
            "leftovers": leftovers,
            "tables": set(rows),
        }
        for what, which in names.items():
            if which:
                print(f"{what}: {sorted(which)[:6]}", file=sys.stderr)  # noqa: T201
        for table in rows:
            lacking, added = self.rows[table] - found.rows[table], found.rows[table] - self.rows[table]
            for sign, some in (("-", lacking), ("+", added)):
                for row in list(some)[:2]:
                    print(f"{table} {sign} {row[:600]}", file=sys.stderr)  # noqa: T201
        return Counter({what: len(which) for what, which in names.items()})


def holdings(archive: Path) -> Holdings:
    """What an archive holds, but for logs and what depends on the clock or on the number of tries."""
    files = {
        name: digest
        for name, digest in product_hashes(archive).items()
        if not name.startswith("logs") and name != "zsds.yaml"
    }
    staged = (archive / ".partial").glob("*")  # an empty folder is a leftover too
    rows = database_rows(archive)
    del rows["publications"]
    pids = {row["id"]: row["pid"] for row in rows["coverage"]}
    for row in rows["coverage_cells"]:
        row["coverage_id"] = pids[row["coverage_id"]]
    for row in rows["units"]:
        row["inputs"] = {k: v for k, v in (row["inputs"] or {}).items() if not k.endswith("_attempt")}
        row["metrics"] = {k: v for k, v in (row["metrics"] or {}).items() if k != "latency_s"}
    texts = {table: Counter(_text(row, table) for row in found) for table, found in rows.items()}
    return Holdings({**files, **{f".partial/{path.name}": "" for path in staged}}, texts)


def _text(row: Mapping[str, object], table: str) -> str:
    kept = {k: v for k, v in row.items() if k not in UNIMPORTANT.get(table, ())}
    return json.dumps(kept, sort_keys=True, default=str)


@dataclass
class Program:
    """A running program, its own session and process group, whose words go to a file."""

    process: "multiprocessing.Process | Executed"
    log: Path

    @property
    def is_running(self) -> bool:
        return self.process.is_alive()

    def tell(self, number: int, everyone: bool = False) -> bool:
        """Send a signal to it, or to everyone in its group; whether it ran."""
        ran = self.is_running
        try:
            (os.killpg if everyone else os.kill)(self.process.pid, number)
        except ProcessLookupError:
            return False
        return ran

    def lasts(self, seconds: float) -> bool:
        """Whether it still runs after a time."""
        self.process.join(seconds)
        return self.is_running

    def children(self) -> list[psutil.Process]:
        """Processes it has started that do work."""
        try:
            below = psutil.Process(self.process.pid).children(recursive=True)
            return [one for one in below if "spawn_main" in " ".join(one.cmdline())]
        except psutil.Error:
            return []

    def end(self) -> int | None:
        """Its exit status; None if it does not end."""
        if self.lasts(LONG_S):
            self.tell(signal.SIGKILL, everyone=True)
            return None
        return self.process.exitcode


def start(main: Callable[[], object], words: tuple[object, ...], log: Path) -> Program:
    """Run a program in a process of its own."""
    process = PROCESSES.Process(target=_become, args=(main, [str(word) for word in words], log))
    process.start()
    return Program(process, log)


class Executed(subprocess.Popen[bytes]):
    """A program that is executed, by the words of a process that was forked."""

    def is_alive(self) -> bool:
        return self.poll() is None

    def join(self, timeout: float | None = None) -> None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(timeout)

    @property
    def exitcode(self) -> int:
        return self.returncode


def _become(main: Callable[[], object], words: list[str], log: Path) -> None:
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have made us deaf to it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.modules["__main__"] = ModuleType("__main__")  # nothing that its own children would have to import
    with log.open("ab") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    sys.argv = words
    main()


@dataclass
class Place:
    """Where trials of one database happen: the archive they begin with, and its twin on a server."""

    folder: Path
    ready: Survey
    server: Server | None = None
    template: str = ""

    def prepare(self) -> None:
        """Copy the archive's database to the server."""
        if self.server is not None:
            url = self.server.new_database()
            copy_rows(self.ready.open().database.url, url)
            self.template = make_url(url).database or ""

    def fresh(self, unseen: bool = False, folder: Path | None = None) -> Survey:
        """A copy of the archive; ``unseen`` has no frames of the night. Always in the same place."""
        target = (folder or self.folder) / "archive"
        shutil.rmtree(target, ignore_errors=True)
        survey = self.ready.copied(target)
        if self.server is not None:
            url = self.server.new_database(self.template)
            settings = target / "zsds.yaml"
            settings.write_text(settings.read_text().replace("sqlite:///zsds.sqlite", url))
            (target / "zsds.sqlite").unlink()
        if unseen:
            forget_frames(target)
        return survey

    @contextmanager
    def database_away(self, survey: Survey) -> Iterator[None]:
        """The server crashed, or the database file locked by somebody else."""
        if self.server is not None:
            self.server.stop()
            try:
                yield
            finally:
                self.server.start()
            return
        connection = sqlite3.connect(survey.archive / "zsds.sqlite", isolation_level=None, timeout=LONG_S)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            yield
        finally:
            connection.close()


def copy_rows(source: str, target: str) -> None:
    """Make a database with all rows of another."""
    create_database(target).close()
    old, new = sa.create_engine(source), sa.create_engine(target, poolclass=sa.NullPool)
    with old.connect() as reader, new.begin() as writer:
        for table in metadata.sorted_tables:
            rows = [dict(row) for row in reader.execute(sa.select(table)).mappings()]
            if rows:
                writer.execute(table.insert(), rows)
            if rows and table.name in NUMBERED:
                counter = sa.func.pg_get_serial_sequence(table.name, "id")
                writer.execute(sa.select(sa.func.setval(counter, max(row["id"] for row in rows))))
    old.dispose()


@dataclass
class Trial:
    """One night through faults; `finish` runs it undisturbed and compares."""

    place: Place
    survey: Survey
    dice: random.Random
    span: float  # seconds that an undisturbed night takes
    programs: list[Program] = field(default_factory=list)
    started: set[psutil.Process] = field(default_factory=set)
    hits: int = 0
    trouble: list[str] = field(default_factory=list)

    @property
    def incoming(self) -> Path:
        """Where frames land."""
        return self.place.folder / "incoming"

    def run(self, main: Callable[[], object], *words: object) -> Program:
        """Start a program; its words are kept beside the archive."""
        name = str(words[1] if str(words[0]) == "zsds" else words[0]).replace("/", "_")
        program = start(main, words, self.place.folder / f"{len(self.programs):02d}-{name}.log")
        self.programs.append(program)
        return program

    def zsds(self, *words: object) -> Program:
        """Start the command on the archive."""
        return self.run(zsds_main, "zsds", *words, "--archive", self.survey.archive)

    def night(self, *cluster: object) -> Program:
        """Start the night."""
        return self.zsds("night", NIGHT, *cluster)

    def night_of_clock(self, clock: Path) -> Program:
        """Start the night with a clock of its own, as many seconds ahead of ours as a file says."""
        # (in one process without workers: the faked clock breaks time.sleep of Python)
        words = [Path(sys.executable).with_name("zsds"), "night", NIGHT, "--archive", self.survey.archive]
        told = {
            "LD_PRELOAD": str(FAKED_TIME),
            "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        log = self.place.folder / f"{len(self.programs):02d}-clock.log"
        with log.open("wb") as file:
            about = {"stdout": file, "stderr": file, "start_new_session": True, "env": {**os.environ, **told}}
            process = Executed([*map(str, words), *SERIAL], **about)
        self.programs.append(Program(process, log))
        return self.programs[-1]

    def nap(self, part: float) -> float:
        """A random time within a part of the night."""
        return self.dice.uniform(0.0, part * self.span)

    def kill(self, program: Program, everyone: bool = False) -> None:
        """End a program without a word."""
        self.started.update(program.children())
        self.hits += program.tell(signal.SIGKILL, everyone)
        program.end()

    def expect(self, program: Program, *statuses: int) -> None:
        """Note it if a program does not end with one of some statuses, or tells of a mistake of its own."""
        status = program.end()
        if status not in statuses:
            self.trouble.append(f"exit status {status}, not {statuses}")
            print(program.log.read_text()[-3000:], file=sys.stderr)  # noqa: T201

    def count_done(self, *kinds: str) -> int:
        """Units of the night, or of some kinds alone, that are done."""
        kinds = kinds or ("science", "difference", "packets")
        database = open_archive(self.survey.archive).database
        try:
            with database.read() as connection:
                done = ledger.units_of(connection, NIGHT, state=ledger.State.DONE)
                return sum(unit.kind in kinds for unit in done)
        finally:
            database.close()

    def await_moment(self, program: Program) -> bool:
        """Wait for a random moment while a program starts, or after a random unit; whether it still runs."""
        done, all_units = self.count_done(), 6 * len(self.survey.frames)
        wanted = self.dice.randint(done - all_units // 4, all_units - 1)
        if wanted < done:
            return program.lasts(self.nap(0.3))
        end = time.monotonic() + LONG_S / 2
        while program.is_running and self.count_done() < wanted and time.monotonic() < end:
            time.sleep(0.2)
        return program.lasts(self.dice.uniform(0.0, 1.0))

    def stop(self) -> None:
        """End all programs."""
        for program in self.programs:
            program.tell(signal.SIGKILL, everyone=True)
            program.end()

    def finish(self) -> None:
        """Run the night again, undisturbed, when nothing of before is left."""
        self.stop()
        _, alive = psutil.wait_procs(self.started, 15)
        self.trouble += [f"an orphan goes on: {one.pid}" for one in alive]
        self.expect(self.night(*SERIAL), 0)
        for program in self.programs:
            told = program.log.read_text(errors="replace") if "dask" not in program.log.name else ""
            for sign in ("Traceback", "a mistake in zsds itself"):
                if sign in told:
                    self.trouble.append(f"{sign} in {program.log.name}")
                    print(told[told.index(sign) :][:3000], file=sys.stderr)  # noqa: T201


def copy_slowly(frames: list[Path], incoming: Path, seconds: float) -> None:
    """Let frames land, one after the other, each piece by piece."""
    for frame in frames:
        content = frame.read_bytes()
        with (incoming / frame.name).open("wb") as file:
            for n in range(8):
                file.write(content[n * len(content) // 8 : (n + 1) * len(content) // 8])
                file.flush()
                time.sleep(seconds / 8)


@contextmanager
def small_disk(folder: Path, free_mb: int) -> Iterator[Path]:
    """A disk of its own at a folder, in memory; only root may do that."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={free_mb}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """The disk full to the last byte."""
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue
        yield
    finally:
        filler.unlink()
