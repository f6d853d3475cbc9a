"""Programs of this Python's environment that tests run beside themselves."""

import json
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path


def started(*words, **more):
    """A program of this Python's environment."""
    folder = Path(sys.executable).parent
    return subprocess.Popen([str(folder / words[0]), *map(str, words[1:])], **more)


@contextmanager
def dask_scheduler(folder, n_workers=2):
    """Address of a scheduler with workers, each a program of its own; all are stopped at the end."""
    file = folder / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
    words = ("--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--scheduler-file", file)
    with ExitStack() as stack:
        programs = [started("dask", "scheduler", *words, **quiet)]
        stack.callback(stop, programs)
        while not file.exists():
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        about = (
            address,
            "--nthreads",
            1,
            "--host",
            "127.0.0.1",
            "--no-dashboard",
            "--local-directory",
            folder,
        )
        programs += [started("dask", "worker", *about, **quiet) for _ in range(n_workers)]
        yield address, programs


def stop(programs):
    for program in programs:
        program.terminate()
    for program in programs:
        program.wait(30)
