"""Whole nights whose programs, database and disk fail at random moments: is the archive the same in the end?

``python tests/night_faults.py --runs 10`` prints a table; ``--postgresql`` uses a server of its own.
"""

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from night_events import FAULTS
from night_trials import FAKED_TIME, Holdings, Place, Trial, holdings, small_disk
from postgres import running_server
from survey import Survey, expect, make_ready, run_night

NEEDS = "only root makes small disks, and clocks jump with Debian's package faketime"
ON_SMALL_DISKS = ("disk full", "disk full beside a publisher")


@dataclass
class Tally:
    """What was done to nights, and what became of their archives."""

    runs: int = 0
    faults: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    trouble: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Tally") -> "Tally":
        self.runs += other.runs
        self.faults += other.faults
        self.wrong += other.wrong
        self.trouble += other.trouble
        return self

    def row(self, fault: str) -> str:
        """A line of the table."""
        wrong = ", ".join(f"{n} {what}" for what, n in sorted(self.wrong.items()) if n)
        told = [*([wrong] if wrong else []), *(f"{n} x {what}" for what, n in Counter(self.trouble).items())]
        return f"| {fault} | {self.runs} | {self.faults} | {'; '.join(told) or 'equal'} |"


@dataclass
class Ground:
    """A place for trials, and what archives hold after a night without faults."""

    place: Place
    span: float = 8.0  # seconds that a night takes
    expected: dict[bool, Holdings] = field(default_factory=dict)  # by whether the night is followed

    def learn(self) -> None:
        """Run a night in one process, which then has all kernels at hand for those that follow."""
        survey = Place(self.place.folder, self.place.ready).fresh()
        expect(run_night(survey))
        self.expected[False] = holdings(survey.archive)

    def measure(self) -> None:
        """Run a night on two workers, and note its time."""
        begun = time.monotonic()
        tally = self.endure("none", 0)
        self.span = time.monotonic() - begun
        _require_equal(tally)

    def endure(self, fault: str, seed: int) -> Tally:
        """One night through faults."""
        dice = random.Random(seed)
        unseen = fault.startswith("followed")
        if unseen and unseen not in self.expected and fault != "followed: none":
            _require_equal(self.endure("followed: none", 0))
            if self.expected[True].files != self.expected[False].files:
                raise RuntimeError("a night that is followed makes other files")
        for log in self.place.folder.glob("*.log"):
            log.unlink()
        with ExitStack() as stack:
            folder = None
            if fault in ON_SMALL_DISKS:
                folder = stack.enter_context(small_disk(self.place.folder / "disk", 64))
            trial = Trial(self.place, self.place.fresh(unseen, folder), dice, self.span)
            stack.callback(trial.stop)
            trial.incoming.mkdir(exist_ok=True)
            FAULTS[fault](trial)
            trial.finish()
            found = holdings(trial.survey.archive)
        wrong = self.expected.setdefault(unseen, found).problems(found)
        return Tally(1, trial.hits, wrong, trial.trouble)


def _require_equal(undisturbed: Tally) -> None:
    if undisturbed.trouble or +undisturbed.wrong:
        raise RuntimeError(f"a night without faults: {undisturbed.row('none')}")


@contextmanager
def trial_ground(folder: Path, ready: Survey, postgresql: bool) -> Iterator[Ground]:
    """Where trials happen."""
    with ExitStack() as stack:
        server = stack.enter_context(running_server()) if postgresql else None
        place = Place(folder, ready, server)
        place.prepare()
        ground = Ground(place)
        ground.learn()
        yield ground


def able(fault: str) -> bool:
    """Whether this machine can do a fault to us."""
    if fault == "clock jumps":
        return FAKED_TIME.is_file()
    return fault not in ON_SMALL_DISKS or os.geteuid() == 0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--postgresql", action="store_true")
    parser.add_argument("--fault", action="append", choices=FAULTS)
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no more nights after so long")
    parser.add_argument("--ready", type=Path, help="folder of a survey that was made before")
    given = parser.parse_args()
    chosen: Sequence[str] = given.fault or [fault for fault in FAULTS if not fault.endswith("none")]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end = time.monotonic() + 60 * given.minutes
    tallies: dict[str, Tally] = {fault: Tally() for fault in chosen if able(fault)}
    with tempfile.TemporaryDirectory() as name, suppress(KeyboardInterrupt):
        folder = Path(name)
        ready = Survey(given.ready / "ready", given.ready / "sky", "") if given.ready else make_ready(folder)
        with trial_ground(folder, ready, given.postgresql) as ground:
            ground.measure()
            seeds = itertools.count(given.seed)
            for fault in list(tallies) * given.runs:
                begun, seed = time.monotonic(), next(seeds)
                if begun < end:
                    tallies[fault] += (one := ground.endure(fault, seed))
                    took = f"{time.monotonic() - begun:.0f} s, seed {seed}"
                    print(one.row(fault), took, file=sys.stderr, flush=True)  # noqa: T201
    print(f"a night takes {ground.span:.0f} s")  # noqa: T201
    print(f"database {'PostgreSQL' if given.postgresql else 'SQLite'}, seed {given.seed}")  # noqa: T201
    print("| fault | nights | times injected | archive in the end |\n|---|---|---|---|")  # noqa: T201
    for fault, tally in tallies.items():
        if tally.runs:
            print(tally.row(fault))  # noqa: T201
    for fault in set(chosen) - tallies.keys():
        print(f"{fault}: left out; {NEEDS}")  # noqa: T201


if __name__ == "__main__":
    main()
