"""The command that makes the figures and pictures of the real pairs."""

import pytest

from benchmarks.real import (
    COMET,
    channel_difference,
    comet_offsets,
    draw_comet,
    draw_scores,
    pair_numbers,
)
from zsds.io.calibrated import read_calibrated
from zsds.pipeline.pair import PairSettings, subtract_pair


@pytest.fixture(scope="module")
def pair(shared_data):
    paths = [shared_data / "ztf_images" / f"{name}_sciimg.fits.gz" for name in COMET]
    return subtract_pair(*map(read_calibrated, paths), PairSettings())


def test_score_and_stars_of_the_comet_pair(pair):
    numbers = pair_numbers(pair)
    assert numbers["alerts"] == 2
    assert abs(numbers["score mean"]) < 0.1 and numbers["score width"] == pytest.approx(1, abs=0.05)
    assert numbers["of them beyond 5"] <= 1  # the comet is among the sources of the science image
    assert numbers["false flux there, % of theirs"] < 100 / 30  # the noise of the faintest


def test_comet_and_channels(pair, shared_data):
    offsets = comet_offsets(pair, shared_data, COMET)
    assert {name for name in offsets if "arcsec" in name} == {
        f"{sign}, arcsec from the ephemeris" for sign in ("positive", "negative")
    }
    assert all(value < 2.5 for name, value in offsets.items() if "arcsec" in name)
    channels = channel_difference(pair)
    assert channels["stars"] >= 6 and abs(channels["median, mag"]) < 0.04


def test_pictures_are_small(pair, tmp_path):
    draw_scores({"pair": pair}, tmp_path / "scores.png")
    draw_comet(pair, tmp_path / "comet.png")
    for name in ("scores.png", "comet.png"):
        content = (tmp_path / name).read_bytes()
        assert content[:4] == b"\x89PNG" and len(content) < 100_000
