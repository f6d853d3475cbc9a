"""Public subtractions are searched and judged by the rules that judge ours."""

import ast
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS

from benchmarks.peers import public
from benchmarks.peers.subtractions import METHODS, close_to, searched
from benchmarks.peers.swarp import tpv_header
from benchmarks.peers.versus import MEASURES, pooled_versus, versus_markdown
from benchmarks.rows import Row
from zsds.sim import EpochSettings, epochs


def measure(name):
    (found,) = [one for one in MEASURES if one.name.startswith(name)]
    return found


def peaks(snr):
    return Table({"snr": np.array(snr, float)})


@pytest.fixture
def judged():
    """Ten peaks of a search: every other one is a transient; ours found four of five, with one false."""
    theirs = peaks([12, 11, 9, 8, 7, 6.5, 5.5, 5.2, 4.6, 4.2])
    ours = peaks([9, 8, 7, 6, 5.5])
    ours.meta["ours"] = True
    is_false = {id(theirs): np.arange(10) % 2 == 0, id(ours): np.arange(5) == 4}

    def rows(found):  # of the five transients, faintest last
        seen = np.sort(np.asarray(theirs["snr"])[1::2])[::-1]
        strongest = np.min(found["snr"]) if len(found) else np.inf
        if found.meta:
            return np.array([0, 1, 2, 3, -1])
        return np.where(seen >= strongest, 1 + 2 * np.arange(5), -1)

    truth = SimpleNamespace(
        is_false=lambda found: is_false[id(found)],
        rows=rows,
        mpx=2.0,
        noise_peaks=1.7,
        ideal=np.array([11, 8, 7, 6, 5.5]),
    )
    return truth, *(SimpleNamespace(peaks=table) for table in (theirs, ours))


def test_thresholds_make_false_counts_or_completeness_equal(judged):
    truth, theirs, ours = judged
    assert measure("completeness").of(truth, ours, ours)[0] == pytest.approx(0.8)
    share, error, bound = measure("completeness").of(truth, theirs, ours)
    assert share == pytest.approx(0.2)  # above 9, their second false one, stands one transient
    assert error > 0 and bound == 1
    rate = measure("false per Mpx").of(truth, theirs, ours)[0]
    assert rate == pytest.approx(4 / 2)  # down to 5.2, their fourth transient
    assert measure("false per Mpx").of(truth, ours, ours)[0] == 0  # its false one is the weakest
    assert measure("false candidates").of(truth, theirs, ours)[0] == pytest.approx(4 / 2)


def test_search_finds_both_signs_away_from_defects():
    rng = np.random.default_rng(3)
    difference = rng.normal(0, 2, (200, 230)).astype(np.float32)
    difference[60, 80] += 90
    difference[120, 150] -= 90
    difference[150, 40] += 900
    bad = np.zeros(difference.shape, bool)
    bad[151, 41] = True
    found = searched({"difference": difference}, 1.5, 2.0, bad, close_to(bad))
    strong = found.peaks[found.peaks["snr"] > 8]
    assert [(r["x"], r["y"], r["is_positive"]) for r in strong] == [(80, 60, True), (150, 120, False)]
    assert not found.own_noise and found.seconds >= 1.5
    score = searched({"difference": difference, "score": difference / 2}, 0.0, 2.0, bad, close_to(bad))
    risen = score.peaks[score.peaks["is_positive"]]
    assert score.own_noise and np.max(risen["snr"]) == pytest.approx(difference[60, 80] / 2)


def test_distortion_is_the_same_as_polynomials_of_tpv():
    exposure = (
        epochs(1, (120, 140), 5, EpochSettings(n_stars=3, n_galaxies=0, n_transients=0)).quadrants[0].exposure
    )
    x, y = np.random.default_rng(1).uniform(0, 110, (2, 40))
    there = WCS(tpv_header(exposure)).all_pix2world(x, y, 0)
    assert np.abs(np.array(there) - exposure.wcs.all_pix2world(x, y, 0)).max() * 3.6e6 < 0.01  # mas


def test_skies_are_averaged_and_the_best_peer_stands_beside():
    name = f"difference: {MEASURES[0].name}"
    row = Row(name, "a", 2.0, 0.3, 1.7, n=5, peers={"one": 20.0, "two": 30.0})
    other = replace(row, sky="b", value=4.0, peers={"two": 10.0})
    (pooled,) = pooled_versus([row, other, Row("another", "a", 1.0)])
    assert (pooled.sky, pooled.value, pooled.n) == ("all", 3.0, 10)
    assert pooled.peers == {"one": 20.0, "two": 20.0}
    assert f"| {MEASURES[0].name} | 3 | 20 | 20 | 1.7 |" in versus_markdown([row, pooled])
    assert pooled_versus([Row("another", "a", 1.0)]) == []


def test_peers_script_runs_without_zsds():
    tree = ast.parse(Path(public.__file__).read_text())
    names = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert not [name for name in names if name and name.startswith(("zsds", "benchmarks"))]
    assert set(METHODS) == set(public.METHODS)
