"""The model of the whole camera counts right."""

import numpy as np
import pytest

from benchmarks.timing import database
from benchmarks.timing.camera import INTERVAL_S, Times, fewest_cores
from benchmarks.timing.demands import command_s, demand_lines, demands, ledger_s, writer_s
from benchmarks.timing.disk import night_gb
from benchmarks.timing.tables import goal_rows
from zsds.core.tables import new_table
from zsds.io.store import Store

STAGES = {
    "plan": 2.0, "record science and difference": 1.0, "plan packets": 0.5, "record packets": 0.5,
    "zsds status": 0.3, "zsds serve, a page": 0.1,
}  # fmt: skip
COSTS = {
    "naming, detections, coverage, outbox": [9.0, 0.8, 0.0], "names and histories": [9.0, 1.1, 0.0],
    "forced fluxes read": [9.0, 0.2, 0.0], "forced fluxes kept": [9.0, 0.4, 0.0],
    "publishing": [9.0, 0.1, 0.0],
}  # fmt: skip
RESULT = {
    "quadrant": {"core_seconds": 6.0, "peak_gb": 1.6, "subtract_over_transforms": 1.9},
    "packets_per_second": 850.0,
    "night": {
        "units": 10 * 3 * 64,  # of ten exposures
        "memory_mb": 90.0,
        "stages": {name: {"wall_s": 9.0, "core_s": core_s} for name, core_s in STAGES.items()},
    },
    "database": {"sizes": {"10000": COSTS, "1000000": {**COSTS, "publishing": [9, 0.3, 0]}}, "bytes": 1e7},
    "scheduling": {"by frame": {"core_ms": 0.5, "wall_ms": 1.0, "memory_mb": 100.0, "n": 50_000}},
    "disk": {
        "raw": 6e6, "calibrations": 20e6, "reference": 44e6,
        "products": {"science": 10e6, "difference": 20e6}, "per_alert": {"stamps": 40e3, "packet": 60e3},
    },
}  # fmt: skip


def test_seconds_of_an_exposure_are_added_up():
    assert ledger_s(RESULT) == pytest.approx(0.4)
    assert command_s(RESULT) == pytest.approx(0.4 + 0.8 + 64 * 0.0005)
    assert writer_s(RESULT) == pytest.approx(0.4 + 0.8 + 0.4 + 0.3)  # of the larger database
    assert command_s({}) == writer_s({}) == 0
    goals = {row.name: row for row in goal_rows(RESULT)}
    assert goals["SQLite's one writer, s an exposure"].passed
    ratio = goals["database, core-s with 1e+06 detections over those with 1e+04"]
    assert (ratio.value, ratio.passed) == (pytest.approx(2.8 / 2.6), True)


def test_a_night_on_the_disk_is_the_sum_of_its_products():
    parts = night_gb(RESULT["disk"], 1e7)
    assert parts["raw frames"] == pytest.approx(700 * 64 * 6e6 / 1e9)
    assert parts["difference images and candidates"] == pytest.approx(
        2 * parts["calibrated images and catalogs"]
    )
    assert (parts["packets"], parts["stamps kept for packets"]) == (pytest.approx(60), pytest.approx(40))
    assert parts["database"] == pytest.approx(7)


def test_what_breaks_first_comes_first():
    found = demands(RESULT)
    shares = {one.part: one.share for one in found}
    assert [one.share for one in found] == sorted(shares.values(), reverse=True)
    assert shares["16 cores for pixels"] == pytest.approx(64 * 6 / 16 / INTERVAL_S)
    assert shares["SQLite's one writer"] == pytest.approx(1.9 / INTERVAL_S)
    written = 700 * 64 * 36e6 / 700 + 1e6 * 100e3 / 700
    wire = (written + 64 * 70e6) / 1e6 / INTERVAL_S / 115
    assert shares["between workers and files, 1 Gbit/s"] == pytest.approx(wire)
    assert found[0].part == "between workers and files, 1 Gbit/s"
    assert "core-hours" in "\n".join(demand_lines([vars(one) for one in found]))
    assert demands({}) == []


def test_fewest_cores_that_keep_up():
    """Of quadrants that take 8 s each, 13.2 cores are busy; with 14 the last ends after five rounds."""
    assert fewest_cores(Times((8.0,), (), 0.0), 0.0) == 14
    assert fewest_cores(Times((8.0,), (), 0.0), 0.0, most_s=17.0) == 31  # 62 of 64 in two rounds, 95 % of all


def test_the_database_is_asked_what_a_night_asks(monkeypatch):
    monkeypatch.setattr(database, "ALERTS", 2 * 700 * 64)
    monkeypatch.setattr(database, "FIELDS", (600,))
    candidates = new_table("candidates", 5)
    candidates["tblid"], candidates["snr"] = np.arange(5), 9.0
    facts = {"fid": 2, "programid": 1, "diffmaglim": 20.5}
    result = database.database_costs(database.Sample(candidates, facts, {}), sizes=(100,), n_exposures=1)
    assert set(result["sizes"][100]) == set(COSTS)
    assert all(wall > 0 and core > 0 and server == 0 for wall, core, server in result["sizes"][100].values())
    assert result["bytes"] > 64 * 3 * 500


def test_sources_are_found_again(tmp_path):
    store = Store.create(tmp_path / "archive", "ztf")
    database.create_database(store.database_url).close()
    candidates = new_table("candidates", 5)
    sample = database.Sample(candidates, {"diffmaglim": 20.5}, {})
    night = database.Exposures(database.open_archive(store.root), sample)
    first, _, third = (night._found() for _ in range(3))
    places = [
        {tuple(row) for row in found[key].candidates["ra", "dec"]}
        for found in (first, third)
        for key in found
    ]
    shared = [len(a & b) / len(a) for a, b in zip(places[:64], places[64:], strict=True)]
    assert np.mean(shared) == pytest.approx(1 / database.POPULATION, abs=0.05)
    assert {len(places_of) for places_of in places} == {night.n_found}
    night.move_on()
    assert {key.field for _ in range(2) for key in night._found()} == {602, 603}
