"""The log of units: what is written, what is read back, and that writing costs no unit."""

import io
import json
import logging
import os
import socket
import sys
import threading
import time

import pytest
from survey import zsds

from zsds.cli.app import common
from zsds.io.store import Store
from zsds.runner import log_lines
from zsds.runner.log import UNITS, about, recorded
from zsds.runner.log_lines import Wanted, as_text, follow_lines, read_lines

NIGHT = "20260115"
KEY = "ztf_20260115300000_000001_zr_c01_o_q1"
OTHER = "ztf_20260115300000_000001_zr_c02_o_q1"
OURS = f"{socket.gethostname()}-{os.getpid()}.jsonl"
log = logging.getLogger("zsds.tests")


@pytest.fixture
def root(tmp_path):
    return Store.create(tmp_path / "archive", "demo").root


def write(root, key=KEY, message="sky %.1f", value=1.0, night=NIGHT, kind="science"):
    with recorded(root), about(kind, key, night, 2):
        log.info(message, value)


def line_of(key=KEY, when="10:00:00.000", level="INFO", message="", **more):
    time_ = f"2026-01-15T{when}Z"
    return json.dumps(
        {"time": time_, "level": level, "key": key, "kind": "science", "message": message, **more}
    )


def put(root, name, *lines, night=NIGHT):
    path = root / "logs" / night / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))
    return path


def messages(root, *units, **wanted):
    return [line["message"] for line in read_lines(root, Wanted(units, **wanted))]


def test_a_line_says_when_where_and_about_what(root):
    before = time.time()
    write(root)
    (text,) = (root / "logs" / NIGHT / OURS).read_text().splitlines()
    line = json.loads(text)
    assert line["time"][:16] in {
        time.strftime("%Y-%m-%dT%H:%M", time.gmtime(t)) for t in (before, time.time())
    }
    assert len(line.pop("time")) == len("2026-01-15T10:00:00.123Z")
    assert line == {
        "level": "INFO", "host": socket.gethostname(), "pid": os.getpid(), "kind": "science", "key": KEY,
        "attempt": 2, "logger": "zsds.tests", "message": "sky 1.0",
    }  # fmt: skip


def test_what_belongs_to_no_archive_is_not_kept(root):
    write(root)
    log.info("after it")
    with about("science", KEY, NIGHT):
        log.info("of nobody")
    with recorded(root, NIGHT):
        log.info("of no unit")
        log.debug("too much")
    assert messages(root) == ["sky 1.0", "of no unit"]


def test_threads_that_work_at_once_do_not_mix_their_units(root):
    both = threading.Barrier(2, timeout=10)

    def work(key):
        with recorded(root), about("science", key, NIGHT):
            for _ in range(20):
                both.wait()
                log.info("of %s", key)

    threads = [threading.Thread(target=work, args=(key,)) for key in (KEY, OTHER)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = list(read_lines(root, Wanted()))
    assert len(lines) == 40
    assert all(line["message"] == f"of {line['key']}" for line in lines)


def test_a_bug_has_its_traceback_and_no_password(root):
    with recorded(root), about("science", KEY, NIGHT):
        try:
            raise ValueError("postgresql://zsds:s3cret@db/zsds is away, see http://host:80/page")
        except ValueError as error:
            log.exception("lost %s", error)
    (line,) = read_lines(root, Wanted())
    assert line["level"] == "ERROR"
    assert "ValueError: postgresql://zsds:***@db/zsds is away, see http://host:80/page" in line["traceback"]
    assert "s3cret" not in json.dumps(line)


@pytest.mark.parametrize("trouble", ["full disk", "a file in its place"])
def test_a_log_that_cannot_be_written_costs_nothing(root, trouble, capsys):
    folder = root / "logs" / NIGHT
    if trouble == "full disk":
        folder.mkdir(parents=True)
        (folder / OURS).symlink_to("/dev/full")
    else:
        (root / "logs").write_text("")
    write(root)
    assert capsys.readouterr().err == ""


def test_a_line_that_a_full_disk_cut_spoils_no_other(root, monkeypatch):
    whole = os.write
    write(root, message="first %d")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, content: whole(file, content[:40]))
        write(root, message="cut %d")
    write(root, message="last %d")
    assert messages(root) == ["first 1", "last 1"]


def test_long_lines_and_files_are_read_in_pieces(root, monkeypatch):
    monkeypatch.setattr(log_lines, "BLOCK", 64)
    lengths = [1, 500, 3, 64, 2, 1000]
    put(root, "a-1.jsonl", *(line_of(message="x" * n) for n in lengths))
    assert [len(text) for text in messages(root)] == lengths


def test_lines_of_all_processes_come_in_order_of_time(root):
    put(
        root,
        "a-1.jsonl",
        line_of(when="10:00:01.000", message="2"),
        line_of(when="10:00:04.000", message="4"),
    )
    put(
        root,
        "b-1.jsonl",
        line_of(when="10:00:00.999", message="1"),
        line_of(when="10:00:02.000", message="3"),
    )
    put(root, "c-1.jsonl", line_of(message="0"), night="20260114")
    assert messages(root) == list("01234")
    assert messages(root, night=NIGHT) == list("1234")


def test_damaged_lines_are_left_out(root):
    bad = ("{", "[]", "7", '{"key": "x"}', "", "\0\0\0")
    path = put(root, "a-1.jsonl", line_of(message="good"), *bad, line_of(message="better"))
    with path.open("ab") as file:
        file.write(b'\xff\xfe\n{"time": "2026-01-15T10')
    assert messages(root) == ["good", "better"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ((KEY,), ["1"]),
        (("ztf_20260115300000_000001_zr_c01",), ["1", "10"]),
        (("ztf_20260115300000",), ["1", "10", "ccd 2"]),
        ((f"{KEY}_",), ["1"]),
        ((KEY, OTHER), ["1", "ccd 2"]),
        (("ztf_000001_zr_c01_q1",), ["reference"]),
        (("ztf_20260115_zr_c01_q1",), ["flat"]),
        ((), ["1", "10", "ccd 2", "reference", "flat"]),
    ],
)
def test_units_by_name_or_first_parts_of_it(root, asked, found):
    put(
        root,
        "a-1.jsonl",
        line_of(message="1", when="10:00:00.001"),
        line_of(KEY + "0", message="10", when="10:00:00.002"),
        line_of(OTHER, message="ccd 2", when="10:00:00.003"),
        line_of("ztf_000001_zr_c01_q1", message="reference", when="10:00:00.004"),
        line_of("ztf_20260115_zr_c01_q1", message="flat", when="10:00:00.005"),
    )
    assert messages(root, *asked) == found


def test_levels(root):
    levels = ("INFO", "WARNING", "ERROR", "CRITICAL")
    put(root, "a-1.jsonl", *(line_of(level=level, message=level) for level in levels))
    assert messages(root) == list(levels)
    assert messages(root, level="warning") == list(levels[1:])
    assert messages(root, level="error") == list(levels[2:])


def test_followed_lines_come_as_they_are_written(root, monkeypatch):
    monkeypatch.setattr(log_lines, "LOOK_S", 0.01)
    path = put(root, "a-1.jsonl", line_of(message="there"), line_of(OTHER, message="not asked for"))
    lines = follow_lines(root, Wanted((KEY,)))
    assert next(lines)["message"] == "there"
    with path.open("a") as file:
        file.write(line_of(message="half")[:30])
    put(root, "b-2.jsonl", line_of(message="of a new process"))
    assert next(lines)["message"] == "of a new process"
    with path.open("a") as file:
        file.write(line_of(message="half")[30:] + "\n")
    assert next(lines)["message"] == "half"


@pytest.mark.parametrize(("there", "told"), [((), 1), ((line_of(),), 0)])
def test_a_name_that_is_followed_before_it_has_lines_is_told(root, monkeypatch, caplog, there, told):
    monkeypatch.setattr(log_lines, "LOOK_S", 0.01)
    put(root, "a-1.jsonl", *there, line_of(OTHER))
    wanted = Wanted((KEY,), level="error")

    def fail():
        put(root, "b-2.jsonl", line_of(level="ERROR", message="failed"))

    threading.Timer(0.1, fail).start()
    assert next(follow_lines(root, wanted))["message"] == "failed"
    assert [f"{KEY}: is in no line of the log" in record.getMessage() for record in caplog.records] == [
        True
    ] * told


def test_text_for_people_moves_no_cursor():
    line = json.loads(
        line_of(message="a\x1b[2Jb\nc", traceback="Traceback\n  in \x07x\n", host="h", pid=1, attempt=3)
    )
    first, *rest = as_text({**line, "logger": "zsds.runner.run"}).splitlines()
    assert first == f"2026-01-15T10:00:00.000Z info    h:1 science {KEY} #3 runner.run: a [2Jb c"
    assert rest == ["    Traceback", "      in  x"]


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ((), 1, "holds no log yet; zsds calibrate, night and references write it"),
        ((KEY,), 1, f"zsds: {KEY}: is in no line of the log; see zsds status for what was run"),
        (("--night", NIGHT), 1, f"holds no log of night {NIGHT} yet"),
        (("--level", "loud"), 2, "known are info, warning, error"),
    ],
)
def test_nothing_to_show_is_one_line(root, words, status, message):
    called = zsds("logs", "--archive", root, *words)
    assert called.status == status
    assert message in called.err


def test_an_archive_without_worries_shows_none_and_is_no_mistake(root):
    put(root, "a-1.jsonl", line_of(message="well"))
    called = zsds("logs", "--archive", root, "--level", "error")
    assert (called.status, called.out, called.err) == (0, "", "")


@pytest.mark.parametrize("verbose", [False, True])
def test_the_terminal_shows_outcomes_only_when_asked(root, verbose, monkeypatch):
    """The log has them whatever the terminal shows."""
    terminal, top = io.StringIO(), logging.getLogger()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(top, "handlers", [])
    before = top.level
    try:
        common(verbose, False)
        with recorded(root), about("science", KEY, NIGHT):
            log.info("a step")
            logging.getLogger(UNITS).error("failed")
            log.warning("odd")
    finally:
        top.setLevel(before)
    told = [line.rpartition(": ")[2] for line in terminal.getvalue().splitlines()]
    assert told == (["a step", "failed", "odd"] if verbose else ["odd"])
    assert messages(root) == ["a step", "failed", "odd"]
