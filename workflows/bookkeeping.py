"""Units taken from the ledger before they run, and their outcomes written back."""

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.engine import Connection
from zsds.workflows.cluster import Distributed, Lost, Serial

from zsds import __version__
from zsds.core.settings import settings_hash
from zsds.db import ledger
from zsds.db.ledger import Outcome, State
from zsds.runner import Finished, Task, run_chain
from zsds.runner.archive import Archive

Chain = tuple[Task, ...]
Recorder = Callable[[Connection, Finished], None]


@dataclass
class Claims:
    """Units this process holds, by task."""

    archive: Archive
    settings: Any
    again: bool = False
    held: dict[tuple[str, str], ledger.Unit] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """Who works on the units, for people to read."""
        return f"{socket.gethostname()}:{os.getpid()}"

    def take(self, connection: Connection, task: Task, settings: Any) -> ledger.Unit | None:
        """Claim the unit of a task; None when it is finished with the same settings and inputs, or held."""
        unit = ledger.claim(
            connection,
            task.kind,
            task.key,
            self.owner,
            settings_hash=settings_hash(settings),
            software=__version__,
            inputs=dict(task.inputs),
            again=self.again,
        )
        if unit is not None:
            self.held[task.kind, task.key] = unit
        return unit

    def give_back(self) -> None:
        """Return what was claimed and not finished, so that the next run does it."""
        with self.archive.database.write() as connection:
            ledger.release(connection, self.owner)

    def _keep_traceback(self, done: Finished, night: str) -> None:
        path = self.archive.store.path("night_log", night)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{done.task.kind} {done.task.key}\n{done.detail}\n")

    def finish(self, done: Finished, record: Recorder | None = None) -> None:
        """Write an outcome, and with it whatever its products mean to others, in one transaction."""
        unit = self.held.pop((done.task.kind, done.task.key))
        if done.detail:
            self._keep_traceback(done, unit.night)
        with self.archive.database.write() as connection:
            ledger.finish(connection, unit, done.outcome)
            if record is not None and done.outcome.state is State.DONE:
                record(connection, done)


def run_chains(
    cluster: Serial | Distributed,
    chains: Sequence[Chain],
    claims: Claims,
    advance: Callable[[], None],
    record: Recorder | None = None,
) -> list[Finished]:
    """Run chains of claimed tasks, and record each outcome as it arrives.

    A task that was not reached, because the one before it was not done, is rejected for that reason.
    """
    finished: list[Finished] = []
    try:
        for result in cluster.run(
            run_chain, chains, archive=claims.archive.store.root, settings=claims.settings
        ):
            for done in _with_unreached(result, chains):
                claims.finish(done, record)
                finished.append(done)
            advance()
    finally:
        claims.give_back()
    return finished


def _with_unreached(result: list[Finished] | Lost, chains: Iterable[Chain]) -> list[Finished]:
    if isinstance(result, Lost):
        first, *rest = result.unit
        result = [Finished(first, Outcome(State.FAILED, f"its worker died ({result.reason})"))]
    else:
        chain = next(c for c in chains if c[0] == result[0].task)
        rest = list(chain[len(result) :])
    state = result[-1].outcome.state
    because = f"its {result[-1].task.kind} unit was {state}"
    after = State.REJECTED if state is State.REJECTED else State.PENDING
    return result + [Finished(task, Outcome(after, because)) for task in rest]


def states(units: Iterable[ledger.Unit]) -> Mapping[tuple[str, str], ledger.Unit]:
    """Units by kind and key."""
    return {(unit.kind, unit.key): unit for unit in units}
