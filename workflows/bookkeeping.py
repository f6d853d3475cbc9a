"""Units taken from the ledger before they run, and their outcomes written back."""

import logging
import time
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self

from sqlalchemy.engine import Connection
from zsds.workflows.cluster import Distributed, Lost, Serial

from zsds import __version__
from zsds.core.errors import BadInput, ZsdsError
from zsds.core.scope import EVERYTHING, Scope
from zsds.core.settings import settings_hash
from zsds.db import ledger
from zsds.db.ledger import LEASE_S, LeaseLostError, Outcome, State
from zsds.io.store import is_dead, this_process
from zsds.runner import Finished, Task, run_chain
from zsds.runner.archive import Archive
from zsds.runner.log import UNITS, about, recorded
from zsds.runner.packets import withdraw_rejected

log = logging.getLogger(__name__)
units_log = logging.getLogger(UNITS)
LEVELS = {State.REJECTED: logging.WARNING, State.FAILED: logging.ERROR}  # others are news, not worries
Chain = tuple[Task, ...]
Recorder = Callable[[Connection, Finished], None]
_hash = lru_cache(settings_hash)  # a night asks for each of 100,000 units


class Busy(BadInput):
    """Another run works on some units."""


@dataclass
class Claims:
    """Units this process holds, by task; a context that gives back what is not finished at its end."""

    archive: Archive
    settings: Any
    scope: Scope = EVERYTHING
    held: dict[tuple[str, str], ledger.Unit] = field(default_factory=dict)
    renewed: float = field(default_factory=time.monotonic)
    _recording: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Take back at once what killed processes of this machine held, without waiting for their leases."""
        with ExitStack() as opening:
            opening.enter_context(recorded(self.archive.store.root))
            self._take_back()
            self._recording = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._recording:
            self.give_back()

    def _take_back(self) -> None:
        """Also from one that had this process's number: in a container every run may be number 1."""
        with self.archive.database.write() as connection:
            for owner in ledger.owners(connection):
                if owner == self.owner or is_dead(owner):
                    running = ledger.units_of(connection, state=State.RUNNING)
                    _tell([u for u in running if u.owner == owner], f"taken back from {owner}, which is dead")
                    ledger.release(connection, owner)

    @property
    def owner(self) -> str:
        """Who works on the units, for people to read."""
        return this_process()

    def take(self, connection: Connection, task: Task, settings: Any) -> Task | None:
        """Claim the unit of a task, which then says its version; None when it is finished with the same
        settings and inputs.

        Raises
        ------
        Busy
            If another run holds it.
        """
        unit = ledger.claim(
            connection,
            task.kind,
            task.key,
            self.owner,
            settings_hash=_hash(settings),
            software=__version__,
            inputs=dict(task.inputs),
            again=self.scope.again,
        )
        if unit is None:
            self.require_free([ledger.unit_of(connection, task.kind, task.key)])
            return None
        self.held[task.kind, task.key] = unit
        with about(unit.kind, unit.key, unit.night, unit.attempt):
            units_log.info(
                "claimed for zsds %s, settings %s, version %d",
                unit.software,
                unit.settings_hash,
                unit.version,
            )
        return replace(task, version=unit.version, night=unit.night, attempt=unit.attempt)

    def require_idle(self, nights: Iterable[str]) -> None:
        """Make sure that no other run works on some nights.

        Raises
        ------
        Busy
            If one does.
        """
        with self.archive.database.read() as connection:
            for night in nights:
                self.require_free(ledger.units_of(connection, night, state=State.RUNNING))

    def require_free(self, units: Iterable[ledger.Unit]) -> None:
        """Make sure that no other run works on some units; two at once would take turns in giving names.

        Raises
        ------
        Busy
            If one does.
        """
        now = time.time()
        held = [
            unit
            for unit in units
            if unit.state is State.RUNNING and unit.owner != self.owner and (unit.lease_until or now) > now
        ]
        if held:
            raise Busy(
                held[0].night,
                f"another run ({held[0].owner}) works on {len(held)} of its units",
                "wait for it, or stop it, and run again",
            )

    def give_back(self) -> None:
        """Return what was claimed and not finished, so that the next run does it."""
        _tell(self.held.values(), "given back")
        self.held.clear()
        with self.archive.database.write() as connection:
            ledger.release(connection, self.owner)

    def renew(self) -> None:
        """Extend the leases when a good part of them has passed: a night may take longer than a lease."""
        if time.monotonic() - self.renewed > LEASE_S / 6:
            self.renewed = time.monotonic()
            with self.archive.database.write() as connection:
                ledger.renew_all(connection, self.owner)

    def finish(self, done: Finished, record: Recorder | None = None) -> None:
        """Write an outcome, and with it whatever its products mean to others, in one transaction."""
        unit = self.held[done.task.kind, done.task.key]
        state = done.outcome.state
        with about(unit.kind, unit.key, unit.night, unit.attempt):
            try:
                with self.archive.database.write() as connection:
                    ledger.finish(connection, unit, done.outcome)
                    if record is not None and done.outcome.state is State.DONE:
                        record(connection, done)
                    if state is State.REJECTED and unit.kind == "difference" and unit.version > 1:
                        withdraw_rejected(connection, self.archive, unit.key, self.owner)
                units_log.log(LEVELS.get(state, logging.INFO), "recorded as %s", _told(done.outcome))
            except LeaseLostError as error:  # the other process records it
                log.warning("%s", error)
        del self.held[done.task.kind, done.task.key]

    def give_back_but(self, kept: Container[tuple[str, str]]) -> None:
        """Return what is held and not among the units to keep: a lost database may leave them so."""
        for kind, key in [unit for unit in self.held if unit not in kept]:
            self.finish(Finished(Task(kind, key), Outcome(State.PENDING)))


def _told(outcome: Outcome) -> str:
    """An outcome in words."""
    latency = outcome.metrics.get("latency_s")
    late = "" if latency is None else f", {latency:.1f} s after its frame landed"
    return f"{outcome.state}: {outcome.reason}" if outcome.reason else f"{outcome.state}{late}"


def _tell(units: Iterable[ledger.Unit], what: str) -> None:
    """Log the same about some units."""
    for unit in units:
        with about(unit.kind, unit.key, unit.night, unit.attempt):
            units_log.info("%s", what)


def run_chains(
    cluster: Serial | Distributed,
    chains: Sequence[Chain],
    claims: Claims,
    advance: Callable[[], None],
    record: Recorder | None = None,
    together: Callable[[Chain], str] | None = None,
) -> list[Finished]:
    """Run chains of claimed tasks, ``together`` as in `Distributed.run`; record each outcome as it arrives.

    A task that was not reached is rejected when the one before it was rejected, else left for the next run.

    Raises
    ------
    ZsdsError
        If the disk is full: going on would give names to later exposures before those that it hit.
    """
    finished: list[Finished] = []
    by_first = {(chain[0].kind, chain[0].key): chain for chain in chains}
    known = {"archive": claims.archive.store.root, "settings": claims.settings}
    with recorded(claims.archive.store.root, max((chain[0].night for chain in chains), default="")):
        for result in cluster.run(run_chain, chains, together, **known):
            for done in with_unreached(result, by_first[first_of(result)]):
                claims.finish(done, record)
                finished.append(done)
                if "disk_full" in done.outcome.metrics:
                    raise ZsdsError(str(done.outcome.reason))
            claims.renew()
            advance()
    return finished


def first_of(result: list[Finished] | Lost) -> tuple[str, str]:
    """Kind and key of the first task of the chain that a result is of."""
    task = result.unit[0] if isinstance(result, Lost) else result[0].task
    return task.kind, task.key


def with_unreached(result: list[Finished] | Lost, chain: Chain) -> list[Finished]:
    """What became of every task of a chain, those included that were not reached."""
    if isinstance(result, Lost):
        result = [Finished(chain[0], Outcome(State.FAILED, f"{chain[0].key}: {result.reason}"))]
    state = result[-1].outcome.state
    because = f"its {result[-1].task.kind} unit {'was rejected' if state is State.REJECTED else 'failed'}"
    after = State.REJECTED if state is State.REJECTED else State.PENDING
    return result + [Finished(task, Outcome(after, because)) for task in chain[len(result) :]]
