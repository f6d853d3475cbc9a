"""The speed benchmark counts right, its simulation follows theory, and no step has become slower."""

import io
import json
import time
from dataclasses import replace

import fastavro
import numpy as np
import pytest
from scipy import fft

from benchmarks import speed
from benchmarks.machine import machine_facts
from benchmarks.peers import programs
from benchmarks.peers import speed as peers
from benchmarks.timing import camera, quadrant, ratios
from benchmarks.timing.bounds import LEAST
from benchmarks.timing.camera import Times, finished, project
from benchmarks.timing.database import sample_of
from benchmarks.timing.disk import disk_use
from benchmarks.timing.measured import measure_prepared
from benchmarks.timing.packets import confluent, deflated, packet_work
from benchmarks.timing.scaling import memory_growth, tiny_plan
from benchmarks.timing.steps import BUDGET_S, PARTS
from benchmarks.timing.stopwatch import Cost, Stopwatch, watched
from benchmarks.timing.tables import markdown, table
from zsds.core.alert_schema import alert_schema
from zsds.core.ids import QuadrantId
from zsds.runner.archive import open_archive

STEPS = {step for part in PARTS for step, _ in part.steps}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A tiny quadrant ready to be measured."""
    folder = tmp_path_factory.mktemp("tiny")
    return quadrant.prepare(folder / "quadrant", tiny_plan(folder))


@pytest.fixture(scope="module")
def measured(prepared):
    """What the benchmark says of it."""
    return measure_prepared(prepared, 1, n_packets=10)


def test_an_archive_is_found_again_though_its_folder_was_moved(prepared):
    folder = prepared.archive.parent
    assert quadrant.prepared_before(folder, prepared.plan) == prepared
    assert quadrant.prepared_before(folder, replace(prepared.plan, n_stars=1)) is None
    moved = folder.rename(folder.with_name("moved"))
    found = quadrant.prepared_before(moved, prepared.plan)
    assert found.archive == moved / "archive"
    assert all(path.is_file() for path in found.frames)
    moved.rename(folder)


def test_every_part_of_a_quadrant_is_counted(measured):
    parts, quadrant_of = measured["steps"], measured["quadrant"]
    assert [part["name"] for part in parts] == [*(part.name for part in PARTS), "everything else"]
    assert sum(part["core_s"] for part in parts) == pytest.approx(quadrant_of["core_seconds"])
    counted = {step["name"] for part in parts for step in part.get("steps", ())}
    assert STEPS - counted <= {"ghosts"}  # none has become unreachable; bright stars are rare
    assert set(LEAST) <= STEPS
    assert measured["found"]["n_packets"] > 0
    assert measured["packets_per_second"] > 10
    assert quadrant_of["subtract_over_transforms"] > 1
    assert 0.05 < quadrant_of["peak_gb"] < 4 or np.isnan(quadrant_of["peak_gb"])
    assert quadrant_of["touched_gb"] > 0.01 or np.isnan(quadrant_of["touched_gb"])
    for step in (step for part in parts for step in part.get("steps", ())):
        assert 0 <= step["transforms_s"] <= step["core_s"] + 1e-3


def test_bytes_of_a_quadrant_are_those_on_the_disk(prepared, measured):
    night = sorted((prepared.archive / "sci").rglob("*candidates.fits"))[-1]
    identifier = QuadrantId.parse(night.name.rpartition("_")[0])
    use = disk_use(prepared, identifier)
    files = [file for file in night.parent.iterdir() if file.name.startswith(f"{identifier}_")]
    n_alerts = measured["found"]["n_packets"]
    told = sum(use["products"].values()) + n_alerts * use["per_alert"]["stamps"]
    assert told == pytest.approx(sum(file.stat().st_size for file in files))
    assert use["per_alert"]["packet"] > 5000
    assert sample_of(prepared, identifier).facts["pid"] > 0


def test_the_result_is_shown_as_text_and_markdown(measured):
    rows = [{"peer": "P", "steps": ["subtract"], "seconds": 9.0, "ours_s": 1.0, "ratio": 9.0, "note": ""}]
    chains = [{"name": "P", **peers.chain_row(rows, 2.0, ("P",))}]
    assert chains[0]["ratio"] == 4.5
    beside = {"wall_ratio": 1.0, "core_ratio": 1.2}
    result = speed._with_conclusions({**measured, "peers": rows, "chains": chains, "two_workers": beside})
    assert json.loads(json.dumps(result["rows"]))[0]["name"] == "quadrant, core-s"
    assert "whole quadrant, warm" in table(result)
    text = markdown(result)
    assert "| P | 9.00 | 1.00 | 9.0 | subtract |  |" in text
    assert "| two workers, core-s over that of one | usual | **1.2** | <= 1.1 |" in text
    assert "usual fields" in text


def test_a_peer_that_is_absent_or_fails_is_told_and_leaves_the_chain_without_a_sum():
    absent = peers.Peer("p", ("subtract",), lambda _: 1.0, ("no-such-program",))
    row = peers.peer_row(absent, None, 2.0)
    assert (row["seconds"], row["ratio"], row["note"]) == (None, None, "not installed: make peers")
    fails = replace(absent, programs=("sh",), seconds=lambda _: programs.timed(["sh", "-c", "exit 3"], "."))
    assert peers.peer_row(fails, None, 2.0)["note"].startswith("failed: ")
    assert peers.chain_row([row], 1.0, ("p",))["ratio"] is None
    works = replace(fails, seconds=lambda _: 5.0)
    assert peers.peer_row(works, None, 2.0)["ratio"] == 2.5


def test_other_framings_hold_the_same_packet(prepared, measured):
    work = packet_work(prepared, _identifier(prepared))
    (record,) = fastavro.reader(io.BytesIO(deflated(work)))
    bare = fastavro.schemaless_reader(io.BytesIO(confluent(work)[5:]), alert_schema(), None)
    assert record["candid"] == bare["candid"] == work.record["candid"]
    assert len(record["prv_candidates"]) == 30


def test_memory_does_not_grow(prepared):
    grown = memory_growth(prepared, 5)
    assert len(grown["resident_mb"]) == 5
    assert grown["growth"] < 0.05 or np.isnan(grown["growth"])  # of about 400 MB


def _identifier(prepared):
    folder = open_archive(prepared.archive)
    return QuadrantId.parse(quadrant._key(folder, prepared.plan, prepared.frames[1]))


def test_budget_is_that_of_the_design():
    assert pytest.approx(8.0) == BUDGET_S


def test_stopwatch_charges_transforms_to_the_step_that_asks_for_them():
    watch = Stopwatch(counts_bytes=True)
    image = np.ones((700, 720), np.float32)
    with watched(watch, []), watch.step("one"):
        spectrum = fft.rfft2(image)
        with watch.step("none"):
            _burn(0.01)
    assert np.array_equal(spectrum, fft.rfft2(image))
    assert 0 < watch.costs["one"].transforms_s <= watch.costs["one"].core_s
    assert watch.costs["none"].transforms_s == 0
    assert watch.costs["one"].touched_gb > image.nbytes / 1024**3 or np.isnan(watch.costs["one"].touched_gb)


def test_stopwatch_charges_the_innermost_step():
    watch = Stopwatch()
    with watch.step("outer"):
        _burn(0.02)
        with watch.step("inner"):
            _burn(0.05)
    assert watch.costs["outer"].core_s == pytest.approx(0.02, abs=0.015)
    assert watch.costs["inner"].core_s == pytest.approx(0.05, abs=0.015)
    assert watch.costs["inner"].calls == 1


def test_a_cost_that_others_share_is_divided():
    assert Cost(4.0, 8.0, 2.0, 1.5, 0.4, 1).part(4) == Cost(1.0, 2.0, 0.5, 1.5, 0.1, 1)


def test_stopwatch_leaves_functions_as_they_were():
    before = json.dumps
    watch = Stopwatch()
    with watched(watch, [("write", "json:dumps")]):
        assert json.dumps([1]) == "[1]"
    assert json.dumps is before
    assert watch.costs["write"].calls == 1
    with pytest.raises(AttributeError), watched(watch, [("x", "json:no_such_function")]):
        pass


def _burn(seconds):
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass


def test_no_step_has_become_slower():
    base, processor = ratios.read_base(), machine_facts()["processor"]
    found = ratios.ratios()
    slower = base.slower(found, processor)
    if slower:  # a burst of other work may have lasted through all rounds
        again = ratios.ratios()
        slower = base.slower({step: min(found[step], again[step]) for step in found}, processor)
    assert not slower, f"times as slow as noted: {slower}; see docs/performance.md"


def test_a_step_that_takes_half_again_as_long_is_noticed():
    base = ratios.read_base()
    half_again = {step: 1.5 * ratio for step, ratio in base.ratios.items()}
    assert base.slower(base.ratios, base.processor) == {}
    assert set(base.slower(half_again, base.processor)) == set(base.ratios)
    assert base.slower(half_again, "another") == {}


def test_jobs_wait_as_queue_theory_says():
    """Mean wait of an M/M/c queue by Erlang's formula."""
    rng = np.random.default_rng(5)
    n, c, load = 60_000, 4, 0.8
    arrivals = np.cumsum(rng.exponential(1 / (c * load), n))
    services = rng.exponential(1.0, n)
    waits = finished(arrivals, services, c) - arrivals - services
    offered = c * load
    terms = np.cumprod(np.r_[1.0, offered / np.arange(1, c + 1)])  # offered^k / k!
    must_wait = terms[c] / (1 - load) / (terms[:c].sum() + terms[c] / (1 - load))
    assert np.mean(waits) == pytest.approx(must_wait / (c * (1 - load)), rel=0.08)


def test_a_camera_whose_quadrants_take_the_same_time_is_exact():
    done = project(Times((8.0,), (), 0.0), 0.0, np.random.default_rng(1))
    assert done.utilisation == pytest.approx(64 * 8 / (16 * camera.INTERVAL_S))
    assert done.per_hour == pytest.approx(16 * 3600 / 8)
    assert (done.median_s, done.worst_s) == pytest.approx((20.0, 32.0))  # 16 each after 8, 16, 24, 32 s
    assert done.p95_s == pytest.approx(32.0)
    named = project(Times((8.0,), (), 0.5), 0.0, np.random.default_rng(1))
    assert named.worst_s == pytest.approx(32.0, abs=8)


def test_a_camera_that_is_too_slow_falls_behind():
    slow = project(Times((12.0,), (), 0.0), 0.0, np.random.default_rng(1))
    assert slow.utilisation > 1
    assert slow.p95_s > 1000
    plane = project(Times((8.0,), (16.0,), 0.0), 0.1, np.random.default_rng(2))
    assert plane.p95_s > project(Times((8.0,), (16.0,), 0.0), 0.0, np.random.default_rng(2)).p95_s
