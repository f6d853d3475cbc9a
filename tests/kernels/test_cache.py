"""Compiled kernels are kept somewhere whatever can be written, and compiled by one process for all."""

import os
import subprocess
import sys
import threading
import time

import pytest
from numba import config

from zsds.kernels import cache


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "FOLDER", tmp_path)
    return tmp_path


def test_another_process_waits_for_the_first_use(folder):
    code = (
        "import sys, time; from pathlib import Path; from zsds.kernels import cache\n"
        f"cache.FOLDER = Path({str(folder)!r})\n"
        "with cache.first_use('x'):\n"
        "    print(time.time(), flush=True); time.sleep(0.5); print(time.time())\n"
    )

    def start():
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

    told = [process.communicate(timeout=60)[0].split() for process in (start(), start())]
    (_, first_end), (second, _) = sorted([float(when) for when in each] for each in told)
    assert first_end <= second
    assert list(folder.glob("*.ready"))


def test_those_that_waited_go_on_together(folder):
    entered = []

    def use():
        with cache.first_use("y"):
            entered.append(time.monotonic())
            time.sleep(0.2)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second, third = sorted(entered)
    assert second - first > 0.19
    assert third - second < 0.15


def test_a_failure_counts_as_a_use(folder):
    with pytest.raises(ValueError, match="bad"), cache.first_use("z"):
        raise ValueError("bad")
    assert len(list(folder.glob("*-z.ready"))) == 1


def test_where_nothing_can_be_written_a_temporary_folder_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setattr(cache, "_is_writable", lambda folder: False)
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    chosen = cache.choose_folder()
    assert chosen.parent == tmp_path
    assert str(chosen) == config.CACHE_DIR
    assert chosen.stat().st_mode & 0o077 == 0
    assert cache._own_temporary() == chosen
    chosen.chmod(0o777)  # anybody could have put code there
    assert cache._own_temporary() != chosen


def test_a_folder_that_is_named_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "given"))
    assert cache.choose_folder() == tmp_path / "given"


def test_kernels_are_kept_in_the_chosen_folder(tmp_path):
    code = "import numpy as np; from zsds.kernels import stack, cache; print(cache.FOLDER)"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path)
