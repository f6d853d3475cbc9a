"""A Slurm of the tests' own on this machine: one node, loopback, all in one folder, gone at the end."""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"
START_S = 60
CONFIGURATION = """
ClusterName=zsds
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,sched_min_interval=0,bf_interval=1
KillWait=5
MinJobAge=300
ReturnToService=2
SlurmdParameters=config_overrides
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=night Nodes={host} Default=YES MaxTime=60 State=UP
PartitionName=closed Nodes={host} State=DOWN
"""


class Slurm:
    """A running Slurm; its commands find it by SLURM_CONF."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def jobs(self, state: str = "RUNNING") -> list[str]:
        """Ids of the jobs in a state, oldest first."""
        return ask("squeue", "-h", "-o", "%i", "-t", state, "-S", "i").split()


def ask(*command: object) -> str:
    """What a command of Slurm prints."""
    words = [str(word) for word in command]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


@contextmanager
def running_slurm(cpus: int = 4, memory_mb: int = 16000) -> Iterator[Slurm]:
    """Munge, the controller and one node, stopped at the end with their jobs; works as root or not."""
    path = f"{os.environ['PATH']}:{SYSTEM}"
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        pytest.fail(f"no {missing[0]} on this machine; make test-services installs it")
    folder = Path(tempfile.mkdtemp(prefix="zsds-slurm-"))
    folder.chmod(0o755)  # munged wants it; its key stays closed
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    facts = {
        "folder": folder, "host": host, "user": getpass.getuser(), "cpus": cpus, "memory_mb": memory_mb,
        "ctld_port": _free_port(), "slurmd_port": _free_port(),
    }  # fmt: skip
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**facts))
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
    try:
        with mock.patch.dict(os.environ, environment), ExitStack() as stack:
            files = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in MUNGE_FILES]
            stack.enter_context(_daemon(folder, "munged", "--foreground", "--force", *files))
            stack.enter_context(_daemon(folder, "slurmctld", "-D", "-i"))
            stack.enter_context(_daemon(folder, "slurmd", "-D", "-N", host))
            _wait_until(lambda: "idle" in _nodes(), folder)
            yield Slurm(folder)
            subprocess.run(["scancel", "-u", facts["user"]], check=False, timeout=60)
            _wait_until(lambda: not ask("squeue", "-h"), folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


MUNGE_FILES = ("key-file", "socket", "pid-file", "log-file", "seed-file")


def _nodes() -> str:
    done = subprocess.run(
        ["sinfo", "-h", "-o", "%t"], check=False, capture_output=True, text=True, timeout=60
    )
    return done.stdout


@contextmanager
def _daemon(folder: Path, program: str, *arguments: str) -> Iterator[None]:
    with (folder / f"{program}.out").open("w") as out:
        process = subprocess.Popen([program, *arguments], stdout=out, stderr=out, cwd=folder)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until(condition, folder: Path) -> None:
    end = time.monotonic() + START_S
    while not condition():
        if time.monotonic() > end:
            told = "\n".join(p.read_text()[-2000:] for p in sorted(folder.glob("*.out")))
            pytest.fail(f"Slurm does not come up or go down:\n{told}")
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
