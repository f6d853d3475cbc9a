"""What may happen to a night while it runs: programs killed, a database, broker or disk that goes away."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import yaml
from kafka_broker import Broker, running_broker
from night_trials import PROCESSES, Program, Trial, copy_slowly, filled
from publish_faults import Tally as Topic
from publish_faults import finish as compare_topic
from survey import NIGHT, SERIAL

from zsds.core.stream import Stream
from zsds.io.kafka_options import load_options

LOCAL = ("--cluster", "local", "--workers", 2)
STREAM = Stream("ztf", NIGHT, 1)
PUBLISH = {"batch": 10, "settle_s": 0.3, "poll_s": 0.3, "partitions": 4}


def no_fault(trial: Trial) -> None:
    """Nothing goes wrong."""
    trial.expect(trial.night(*LOCAL), 0)


def worker_killed(trial: Trial) -> None:
    """Workers of the command's own."""
    night = trial.night(*LOCAL)
    _kill_some(trial, night, night.children)


def driver_killed(trial: Trial) -> None:
    """The command, again and again."""
    for _ in range(3):
        night = trial.night(*LOCAL)
        trial.await_moment(night)
        trial.kill(night)


def all_killed(trial: Trial) -> None:
    """The command with all its workers at once."""
    for _ in range(3):
        night = trial.night(*LOCAL)
        trial.await_moment(night)
        trial.kill(night, everyone=True)


def interrupted(trial: Trial) -> None:
    """Ctrl-C, which a terminal sends to all, or SIGTERM."""
    for _ in range(2):
        night = trial.night(*LOCAL)
        trial.await_moment(night)
        trial.started.update(night.children())
        if trial.dice.random() < 0.5:
            trial.hits += night.tell(signal.SIGINT, everyone=True)
            trial.expect(night, 0, 130, -signal.SIGINT)
        else:
            trial.hits += night.tell(signal.SIGTERM)
            trial.expect(night, 0, 130, -signal.SIGTERM)  # the last before it can listen


def two_at_once(trial: Trial) -> None:
    """The same command twice: one of them ends, or both take turns."""
    nights = [trial.night(*LOCAL)]
    trial.await_moment(nights[0])
    trial.hits += nights[0].is_running
    nights.append(trial.night(*SERIAL))
    for night in nights:
        trial.expect(night, 0, 1)


@contextmanager
def scheduler(trial: Trial, n_workers: int = 2) -> Iterator[tuple[str, Program, list[Program]]]:
    """A Dask scheduler and its workers, programs of their own."""
    file = trial.place.folder / "scheduler.json"
    file.unlink(missing_ok=True)
    here = ("--host", "127.0.0.1", "--no-dashboard")
    programs = [trial.run(_dask("scheduler"), "dask-scheduler", *here, "--port", 0, "--scheduler-file", file)]
    while not file.exists() or not file.read_text().endswith("}"):
        time.sleep(0.05)
    address = yaml.safe_load(file.read_text())["address"]
    folder = ("--local-directory", trial.place.folder)
    about = ("dask-worker", address, "--nthreads", 1, *here, *folder)
    programs += [trial.run(_dask("worker"), *about) for _ in range(n_workers)]
    try:
        yield address, programs[0], programs[1:]
    finally:
        for program in programs:
            trial.started.update(program.children())
            program.tell(signal.SIGTERM)
        for program in programs:
            program.lasts(30)
            program.tell(signal.SIGKILL, everyone=True)


def _dask(which: str) -> Callable[[], object]:
    def main() -> None:
        import dask
        from distributed.cli import dask_scheduler, dask_worker
        from zsds.workflows.cluster.environment import dask_settings

        from zsds.core.cluster import ClusterSettings

        dask.config.set(dask_settings(ClusterSettings()))
        {"scheduler": dask_scheduler, "worker": dask_worker}[which].main.main(sys.argv[1:])

    return main


def remote_worker_killed(trial: Trial) -> None:
    """Workers of a scheduler that runs by itself."""
    with scheduler(trial) as (address, _, workers):
        night = trial.night("--cluster", address)
        _kill_some(trial, night, lambda: [one for worker in workers for one in worker.children()])


def remote_driver_killed(trial: Trial) -> None:
    """The command, while its scheduler and workers go on."""
    with scheduler(trial) as (address, _, _):
        for _ in range(5):
            night = trial.night("--cluster", address)
            trial.await_moment(night)
            trial.kill(night)
        trial.expect(trial.night("--cluster", address), 0)


def scheduler_killed(trial: Trial) -> None:
    """The scheduler; whoever runs it starts it again."""
    for _ in range(2):
        with scheduler(trial) as (address, program, _):
            night = trial.night("--cluster", address)
            trial.await_moment(night)
            trial.kill(program)
            trial.expect(night, 0, 1)


def _kill_some(trial: Trial, night: Program, workers: Callable[[], list[psutil.Process]]) -> None:
    for _ in range(3):
        trial.await_moment(night)
        found = workers()
        if night.is_running and found:
            trial.started.update(found)
            try:
                os.kill(trial.dice.choice(found).pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            trial.hits += 1
    trial.expect(night, 0, 1)


def clock_jumps(trial: Trial) -> None:
    """The clock goes forward and back by up to a day; the command is killed, begun again at another time."""
    clock = trial.place.folder / "clock"
    clock.write_text("+0s")
    night = trial.night_of_clock(clock)
    for n in range(4):
        trial.await_moment(night)
        trial.hits += night.is_running
        seconds = trial.dice.choice((-86400, -7200, -30, 30, 7200, 86400))
        clock.with_suffix(".new").write_text(f"{seconds:+d}s")
        clock.with_suffix(".new").replace(clock)
        if n == 2:
            trial.kill(night)
            night = trial.night_of_clock(clock)
    trial.expect(night, 0)


def database_away(trial: Trial) -> None:
    """The server crashes and comes back, or another program holds the database's file."""
    night = trial.night(*LOCAL)
    for _ in range(2):
        trial.await_moment(night)
        _lose_database(trial, night)
    trial.expect(night, 0, 1)


def _lose_database(trial: Trial, night: Program) -> None:
    trial.hits += night.is_running
    with trial.place.database_away(trial.survey):
        time.sleep(trial.dice.uniform(0.2, 2.5))


def disk_full(trial: Trial) -> None:
    """The archive's disk full for a while."""
    for _ in range(2):
        night = trial.night(*LOCAL)
        trial.await_moment(night)
        _fill_disk(trial, night)
        trial.expect(night, 0, 1)


def _fill_disk(trial: Trial, night: Program) -> None:
    trial.hits += night.is_running
    with filled(trial.survey.archive.parent):
        night.lasts(trial.dice.uniform(0.3, 4.0))


@contextmanager
def landing(trial: Trial) -> Iterator[Callable[[], Program]]:
    """Frames land meanwhile; gives what follows them; in the end one does so until all packets are made."""
    for file in trial.incoming.iterdir():
        file.unlink()
    arguments = (trial.survey.frames, trial.incoming, trial.span / 6)
    copier = PROCESSES.Process(target=copy_slowly, args=arguments)
    copier.start()
    follow = ("night", "--follow", trial.incoming, *LOCAL)
    try:
        yield lambda: trial.zsds(*follow)
        last = trial.zsds(*follow)
        end, n_quadrants = time.monotonic() + 120, 2 * len(trial.survey.frames)
        while last.lasts(0.3) and (copier.is_alive() or trial.count_done("packets") < n_quadrants):
            if time.monotonic() > end:
                trial.trouble.append(f"packets are missing; frames landed: {not copier.is_alive()}")
                break
        last.tell(signal.SIGTERM)
        trial.expect(last, 0)
    finally:
        copier.join()


def nothing_while_followed(trial: Trial) -> None:
    """Nothing goes wrong."""
    with landing(trial):
        pass


def follower_killed(trial: Trial) -> None:
    """The command that follows a folder, again and again."""
    with landing(trial) as follow:
        for _ in range(3):
            night = follow()
            trial.await_moment(night)
            trial.kill(night, everyone=trial.dice.random() < 0.3)


def worker_of_follower_killed(trial: Trial) -> None:
    """Workers of the command that follows."""
    with landing(trial) as follow:
        night = follow()
        for _ in range(3):
            trial.await_moment(night)
            found = night.children()
            if found:
                trial.started.update(found)
                os.kill(trial.dice.choice(found).pid, signal.SIGKILL)
                trial.hits += 1
        trial.await_moment(night)
        night.tell(signal.SIGTERM)
        trial.expect(night, 0, 1)


def database_away_while_followed(trial: Trial) -> None:
    """The database goes and comes back; the command waits for it, once it is under way."""
    with landing(trial) as follow:
        night, end = follow(), time.monotonic() + 120
        while night.lasts(0.2) and not trial.count_done() and time.monotonic() < end:
            pass
        for _ in range(2):
            _lose_database(trial, night)
            trial.await_moment(night)
        night.tell(signal.SIGTERM)
        trial.expect(night, 0)


def night_beside_follower(trial: Trial) -> None:
    """Somebody runs the night while another follows it."""
    with landing(trial) as follow:
        night = follow()
        for _ in range(3):
            trial.await_moment(night)
            trial.hits += night.is_running
            trial.expect(trial.night(*SERIAL), 0, 1)
        night.tell(signal.SIGTERM)
        trial.expect(night, 0)


@contextmanager
def publishing(trial: Trial) -> Iterator[tuple[Callable[[], Program], Broker]]:
    """A broker; gives what publishes to it; in the end all alerts are there once."""
    file = trial.place.folder / "kafka.yaml"
    with running_broker() as broker:
        broker.tell("topic", STREAM.topic, PUBLISH["partitions"])
        client = {"bootstrap.servers": broker.address}
        file.write_text(yaml.safe_dump({"kafka": client, "publish": PUBLISH}))
        yield lambda: trial.zsds("alerts", "publish", NIGHT, "--follow", "--kafka", file), broker
        trial.stop()
        trial.expect(trial.night(*SERIAL), 0)
        trial.expect(trial.zsds("alerts", "publish", NIGHT, "--kafka", file), 0)
        with PROCESSES.Pool(1, signal.signal, (signal.SIGTERM, signal.SIG_DFL)) as pool:
            topic = pool.apply(
                compare_topic, (trial.survey.archive, STREAM, load_options(file, None), Topic())
            )
        wrong = {
            "alerts missing": topic.missing,
            "alerts twice": topic.twice,
            "alerts foreign": topic.foreign,
        }
        trial.trouble += [f"{n} {what}" for what, n in wrong.items() if n]


def publisher_killed(trial: Trial) -> None:
    """The publisher beside a night that is followed; the latter once."""
    with publishing(trial) as (publish, _), landing(trial) as follow:
        night = follow()
        for n in range(5):
            publisher = publish()
            publisher.lasts(trial.nap(0.3))
            trial.kill(publisher)
            if n == 2:
                trial.kill(night)
                night = follow()
        publish()
        night.tell(signal.SIGTERM)
        trial.expect(night, 0)


def broker_away(trial: Trial) -> None:
    """The broker goes and comes back while a night is followed and published."""
    with publishing(trial) as (publish, broker), landing(trial):
        publisher = publish()
        for _ in range(3):
            publisher.lasts(trial.nap(0.4))
            trial.hits += publisher.is_running
            broker.tell("down")
            publisher.lasts(trial.dice.uniform(0.1, 2.0))
            broker.tell("up")


def disk_full_while_publishing(trial: Trial) -> None:
    """The disk of archive and outbox full, beside a publisher."""
    with publishing(trial) as (publish, _):
        publisher, night = publish(), trial.night(*LOCAL)
        for _ in range(2):
            trial.await_moment(night)
            _fill_disk(trial, publisher)
        trial.expect(night, 0, 1)
        publisher.lasts(2.0)
        publisher.tell(signal.SIGTERM)
        trial.expect(publisher, 0, 1)  # the latter if it still waits for space


FAULTS: dict[str, Callable[[Trial], None]] = {
    "none": no_fault,
    "worker killed": worker_killed,
    "command killed": driver_killed,
    "command and workers killed at once": all_killed,
    "Ctrl-C or SIGTERM": interrupted,
    "two commands at once": two_at_once,
    "worker of a scheduler killed": remote_worker_killed,
    "command killed, scheduler and workers go on": remote_driver_killed,
    "scheduler killed": scheduler_killed,
    "database away": database_away,
    "clock jumps": clock_jumps,
    "disk full": disk_full,
    "disk full beside a publisher": disk_full_while_publishing,
    "followed: none": nothing_while_followed,
    "followed: command killed": follower_killed,
    "followed: worker killed": worker_of_follower_killed,
    "followed: database away": database_away_while_followed,
    "followed: another command at the night": night_beside_follower,
    "followed and published: publisher and command killed": publisher_killed,
    "followed and published: broker away": broker_away,
}
