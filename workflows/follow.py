"""A night as it happens: quadrants start when their frame has landed, packets when their exposure is done."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from zsds.workflows.bookkeeping import Busy, Chain, Claims, first_of, with_unreached
from zsds.workflows.cluster import open_cluster
from zsds.workflows.night import beside_database, name_and_claim, plan_night, plan_parts, quadrants_of
from zsds.workflows.stream import Stream, open_stream

from zsds.core.errors import BadInput
from zsds.core.ids import QuadrantId
from zsds.core.scope import QUADRANT_STEPS
from zsds.db import ledger, versions
from zsds.db.database import Unreachable
from zsds.db.ledger import FINISHED, WAITING, Frame, State
from zsds.pipeline.settings import Settings
from zsds.runner import Finished, run_chain
from zsds.runner.archive import Archive, open_archive
from zsds.runner.frames import register
from zsds.runner.incoming import Incoming
from zsds.runner.ingest import whole_path
from zsds.runner.log import about, recorded

log = logging.getLogger(__name__)
LOOK_S = 1.0  # between looks at the folder
STRAGGLER_S = 60.0  # an exposure waits so long for its last frames before its packets are made without them
OUTAGE_S = 600.0  # a database may be away, or another run at work, for so long
RETRY_S = 5.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Followed:
    """The nights of the frames that were taken, and the number of files that were refused."""

    nights: list[str]
    n_refused: int


def follow_nights(
    folder: Path,
    incoming: Path,
    settings: Settings,
    tell: Tell,
    stopped: Callable[[], bool],
    nights: Sequence[str] = (),
    cluster: str = "local",
    n_workers: int | None = None,
) -> Followed:
    """Take raw frames as they land in a folder, from pixels to packets, until told to stop.

    What runs when it is told is finished first.

    Parameters
    ----------
    folder : pathlib.Path
        The archive.
    incoming : pathlib.Path
        Where frames land.
    settings : Settings
    tell : callable
        Takes a line for the operator: an exposure that is done, a file that is no frame.
    stopped : callable
        Whether to end.
    nights : sequence of str
        ``YYYYMMDD``; whatever is left to do of them is done too, and of the frames that are in the folder.
    cluster, n_workers
        See `zsds.workflows.cluster.open_cluster`.

    Returns
    -------
    Followed

    Raises
    ------
    BadInput
        If the folder is missing, another run works on a night, or the database stays away.
    """
    archive = open_archive(folder)
    for kind in ("gaia", "ps1"):
        archive.catalogs.folder(kind)
    archive.store.clean_staging()
    with archive.database.read() as connection:
        registered = ledger.frames_of(connection, below=str(whole_path(incoming)))
    watch = Incoming(incoming, archive.camera, {(frame.path, frame.size) for frame in registered})
    there = [frame for frame in registered if frame.frame_type == "science"]
    watch.look()  # a first look only notes sizes, and finds out now that there is no such folder
    with (
        Claims(archive, settings) as claims,
        open_cluster(cluster, n_workers, settings.cluster, archive.store.root) as workers,
    ):
        known = {"archive": archive.store.root, "settings": settings}
        pixels = open_stream(workers, run_chain, **known)
        packets = open_stream(beside_database(archive, workers), run_chain, **known)
        live = _Live(archive, claims, pixels, packets, _also_logged(tell))
        live.begin({*nights, *(frame.night for frame in there[-1:])}, there)
        while not (live.no_more and live.is_idle):
            live.no_more = live.no_more or stopped()
            with recorded(archive.store.root, max(live.nights, default="")):
                live.step(watch)
    return Followed(sorted(live.nights), len(live.refused))


def _also_logged(tell: Tell) -> Tell:
    """What the operator is told is in the log too."""

    def told(line: str) -> None:
        log.info("%s", line)
        tell(line)

    return told


def _riding_out(step: Callable[[], None], tell: Tell) -> None:
    """Do a step again and again while the database is away, or somebody runs the same night beside.

    Raises
    ------
    BadInput
        If it does not come back, or they do not end.
    """
    end = time.monotonic() + OUTAGE_S
    told = False
    while True:
        try:
            step()
        except (Unreachable, Busy) as error:
            if time.monotonic() > end:
                raise
            if not told:
                tell(f"waiting: {error}")
                told = True
            time.sleep(RETRY_S)
        else:
            return


@dataclass
class _Exposure:
    """What is known of one exposure."""

    ccds: set[int] = field(default_factory=set)  # whose frames have landed
    landed: dict[str, float] = field(default_factory=dict)  # when, by quadrant; seconds of the clock
    last: float = field(default_factory=time.monotonic)  # when the last frame came
    settled: bool = False  # no more frames are waited for
    found: set[str] = field(default_factory=set)  # quadrants with a difference that has no packets yet
    packing: set[str] = field(default_factory=set)  # quadrants whose packets are being made
    alerts: dict[str, int] = field(default_factory=dict)  # by quadrant
    latency_s: dict[str, float] = field(default_factory=dict)


@dataclass
class _Live:
    """The state of a night that goes on. Every step can be done again if it was cut off in the middle."""

    archive: Archive
    claims: Claims
    pixels: Stream
    packets: Stream
    tell: Tell
    nights: set[str] = field(default_factory=set)
    exposures: dict[tuple[str, int], _Exposure] = field(default_factory=dict)
    chains: dict[tuple[str, str], Chain] = field(default_factory=dict)  # that run, by their first task
    fresh: list[Frame] = field(default_factory=list)  # landed, not registered yet
    registered: list[Frame] = field(default_factory=list)  # not planned yet
    results: list[Finished] = field(default_factory=list)  # not recorded yet
    versions: tuple[int, int] = (0, 0)  # of calibrations and references when last planned
    silent: set[int] = field(default_factory=set)  # CCDs that were waited for in vain and gave no frame since
    no_more: bool = False  # frames will come
    refused: set[str] = field(default_factory=set)  # files that are no frames

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do."""
        left = self.chains or self.results or self.fresh or self.registered
        return not left and not any(exposure.found for exposure in self.exposures.values())

    def begin(self, nights: Collection[str], there: Sequence[Frame]) -> None:
        """Take up some nights, and of other nights the frames in the folder that are not finished.

        What another run works on is left to that, unless its night is named.
        """
        left: dict[str, list[Frame]] = {night: [] for night in nights}
        for frame in self._unfinished([frame for frame in there if frame.night not in nights]):
            left.setdefault(frame.night, []).append(frame)
        for night, frames in sorted(left.items()):
            try:
                self._enter(night)
            except Busy as error:
                if night in nights:
                    raise
                self.tell(f"left out: {error}")
            else:
                self._submit([] if frames else plan_night(self.archive, night, self.claims))
                self._plan(frames)
        with self.archive.database.read() as connection:
            self.versions = versions.newest(connection)

    def _unfinished(self, frames: Sequence[Frame]) -> list[Frame]:
        """Those of some frames that have a quadrant whose packets, or refusal, are still to come."""
        finished: set[str] = set()
        with self.archive.database.read() as connection:
            for night in sorted({frame.night for frame in frames}):
                states = ledger.states_of(connection, night, "difference")
                finished |= {key for key, state in states.items() if state in FINISHED}
                finished -= ledger.unpacked(connection, night)
        return [f for f in frames if not finished.issuperset(map(str, quadrants_of(self.archive, f)))]

    def step(self, watch: Incoming) -> None:
        """Look at the folder, if frames are still wanted, and do what is to do."""
        if not self.no_more:
            landed = watch.look()
            self.fresh += landed.frames
            self.refused -= {frame.path for frame in landed.frames}
            for error in landed.refused:
                self._refuse(error)
        _riding_out(self.advance, self.tell)
        self.collect(LOOK_S)

    def _refuse(self, error: BadInput) -> None:
        self.refused.add(error.source)
        self.tell(f"refused: {error}")

    def collect(self, timeout_s: float) -> None:
        """Take what the workers have finished, waiting no longer than a time."""
        for stream, wait_s in ((self.packets, 0.0), (self.pixels, timeout_s)):
            for result in stream.finished(wait_s):
                chain = self.chains.pop(first_of(result))
                done = with_unreached(result, chain)
                full = [n for n, one in enumerate(done) if "disk_full" in one.outcome.metrics]
                if full and not self.no_more:
                    self._wait_for_space(str(done[full[0]].outcome.reason))
                    self._submit([chain[full[0] :]])
                    done = done[: full[0]]
                self.results += done

    def _wait_for_space(self, reason: str) -> None:
        """Units that the disk had no space for are done again, lest later exposures are named before them."""
        self.tell(f"waiting: {reason}")
        time.sleep(RETRY_S)

    def advance(self) -> None:
        """Record results, plan what has landed or need no longer wait, make packets of finished exposures."""
        working = {(task.kind, task.key) for chain in self.chains.values() for task in chain}
        self.claims.give_back_but(working | {(done.task.kind, done.task.key) for done in self.results})
        self._record()
        self._register()
        self._plan_released()
        self._make_packets()
        self.claims.renew()

    def _record(self) -> None:
        while self.results:
            done = self._with_latency(self.results[0])
            self.claims.finish(done)
            self.results.pop(0)
            exposure = self._exposure(done.task.key)
            if done.task.kind == "packets":
                self._told_when_packed(done, exposure)
            made = done.task.kind == "difference" and done.outcome.state is State.DONE
            if made or (done.task.kind == "packets" and "database_lost" in done.outcome.metrics):
                exposure.found.add(done.task.key)

    def _with_latency(self, done: Finished) -> Finished:
        """With the seconds from the landing of the raw frame to now, if it is the end of a quadrant's way."""
        landed = self._exposure(done.task.key).landed.get(done.task.key)
        if done.task.kind != "packets" or done.outcome.state is not State.DONE or landed is None:
            return done
        metrics = {**done.outcome.metrics, "latency_s": max(0.0, time.time() - landed)}
        return replace(done, outcome=replace(done.outcome, metrics=metrics))

    def _told_when_packed(self, done: Finished, exposure: _Exposure) -> None:
        key, metrics = done.task.key, done.outcome.metrics
        exposure.packing.discard(key)
        exposure.alerts[key] = metrics.get("n_packets", 0)
        exposure.latency_s[key] = metrics.get("latency_s", 0.0)
        if not exposure.packing:
            identifier, slowest = QuadrantId.parse(key), max(exposure.latency_s.values())
            n_alerts = sum(exposure.alerts.values())
            what = f"{identifier.time} field {identifier.field} {identifier.band}: {n_alerts} alerts"
            self.tell(f"{what}, {slowest:.0f} s" if slowest else what)

    def _register(self) -> None:
        """Register what has landed, and plan it."""
        if self.fresh:
            registered = register(self.archive, self.fresh)
            science = {f for f in (*registered.new, *registered.known) if f.frame_type == "science"}
            self.registered += sorted(science, key=lambda f: (f.time, f.field, f.band, f.ccd))
            self.fresh.clear()
            for conflict in registered.conflicts:
                self._refuse(conflict)
        for night in sorted({frame.night for frame in self.registered} - self.nights):
            self._enter(night)
        self._plan(self.registered)
        for frame in self.registered:
            landed = _landed(frame.path)
            for identifier in quadrants_of(self.archive, frame):
                exposure = self._exposure(str(identifier))
                with about("science", str(identifier), identifier.night):
                    log.info("its frame %s has landed", frame.path)
                self.silent.discard(frame.ccd)
                exposure.ccds.add(frame.ccd)
                exposure.landed[str(identifier)] = landed
                exposure.last = time.monotonic()
        self.registered.clear()

    def _plan_released(self) -> None:
        """Plan again what waited, when a calibration or a reference has appeared."""
        running = list(self.chains.values())
        with self.archive.database.read() as connection:
            now = versions.newest(connection)
            if now == self.versions:
                return
            waiting = {
                unit.key
                for night in self.nights
                for state in WAITING
                for unit in ledger.units_of(connection, night, state=state)
            }
            frames = [f for night in self.nights for f in ledger.frames_of(connection, night, "science")]
        self._plan([f for f in frames if waiting & {str(q) for q in quadrants_of(self.archive, f)}])
        if not waiting & {task.key for chain in running for task in chain}:  # else their turn comes
            self.versions = now

    def _plan(self, frames: Sequence[Frame]) -> None:
        self._submit(plan_parts(self.archive, frames, self.claims))

    def _submit(self, chains: Iterable[Chain]) -> None:
        for chain in chains:
            self.chains[chain[0].kind, chain[0].key] = chain
            if chain[0].kind == "packets":
                self.packets.add(chain, first=True)
            else:
                self.pixels.add(chain)

    def _make_packets(self) -> None:
        """Name what exposures have found, in order of time as far as no earlier one still runs."""
        busy = {_when(key) for kind, key in self.chains if kind != "packets"}
        for when, exposure in sorted(self.exposures.items()):
            if when in busy or not self._settle(when, exposure):
                return
            if exposure.found:
                with self.archive.database.read() as connection:
                    units = [ledger.unit_of(connection, "difference", key) for key in sorted(exposure.found)]
                done = [unit for unit in units if unit.state is State.DONE]
                chains = name_and_claim(self.archive, done, self.claims)
                exposure.found.clear()
                exposure.packing |= {chain[0].key for chain in chains}
                self._submit(chains)

    def _settle(self, when: tuple[str, int], exposure: _Exposure) -> bool:
        """Whether an exposure waits for no more frames; a CCD that stays silent is waited for only once."""
        lacking = set(self.archive.camera.detectors) - exposure.ccds - self.silent
        if exposure.settled or self.no_more or not exposure.ccds:
            return True
        if lacking and time.monotonic() - exposure.last < STRAGGLER_S:
            return False
        if lacking:
            self.silent |= lacking
            named = ", ".join(map(str, sorted(lacking)))
            self.tell(
                f"{when[0]} field {when[1]}: no frame of CCD {named} in {STRAGGLER_S:.0f} s; "
                "going on without, and not waiting again until one lands"
            )
        exposure.settled = True
        return True

    def _exposure(self, key: str) -> _Exposure:
        return self.exposures.setdefault(_when(key), _Exposure())

    def _enter(self, night: str) -> None:
        """Make sure that nobody else works on a night, and note what was found there and has no packets."""
        with self.archive.database.read() as connection:
            for kind in QUADRANT_STEPS:
                self.claims.require_free(ledger.units_of(connection, night, kind, State.RUNNING))
            unpacked = ledger.unpacked(connection, night)
        for key in unpacked:
            self._exposure(key).found.add(key)
        self.nights.add(night)


def _landed(path: str) -> float:
    """When a file came to lie where it is; one that was copied or moved may keep an older time of change."""
    try:
        return Path(path).stat().st_ctime
    except FileNotFoundError:  # its unit will tell
        return time.time()


def _when(key: str) -> tuple[str, int]:
    """Time and field of the exposure of a quadrant."""
    identifier = QuadrantId.parse(key)
    return identifier.time, identifier.field
