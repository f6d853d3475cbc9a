"""Core-time of steps on a small image over that of a fixed piece of work in the same process.

Such ratios hardly depend on the load of the machine, and a test of `make test` holds them to limits that lie
above their noise. ``python -m benchmarks.timing.ratios`` measures them anew and writes the limits' base.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from scipy import fft

from benchmarks.machine import machine_facts
from benchmarks.timing.packets import PacketWork, embedded
from zsds import extract, isr, photometry, psf
from zsds.alerts import ReferenceFacts, candidate_records, exposure_facts
from zsds.candidates import find_candidates
from zsds.core.exposure import Exposure
from zsds.io.images import read_exposure, write_exposure
from zsds.pipeline.measure import MeasureSettings, measure
from zsds.sim.psf import PsfShape, tabulate_psf
from zsds.sim.quadrant import Conditions, render_quadrant
from zsds.sim.scenes import frame_region, frame_wcs
from zsds.sim.sky import SkySettings, make_sky
from zsds.subtract import subtract

BASE = Path(__file__).with_name("ratios.json")
SLOWER = 1.3  # times its base at which a step counts as slower; see docs/performance.md for the noise
ELSEWHERE = 2.0  # the same on another processor than that of the base, whose ratios are its own
SHAPE = (620, 640)
N_STARS, N_GALAXIES = 400, 40
ROUNDS = 6
Work = Callable[[], object]


def fixed_work() -> None:
    """Transforms, passes through memory, and plain Python, in about equal parts."""
    image, plane = _arrays()
    for _ in range(2):
        fft.irfft2(fft.rfft2(image), s=image.shape)
    for _ in range(6):
        np.multiply(plane, np.float32(1.01), out=plane)
    words: dict[int, list[float]] = {}
    for k in range(60_000):
        words.setdefault(k % 97, []).append(k * 0.5)


def steps(folder: Path) -> dict[str, Work]:
    """The steps on a small sky that is seen twice; files go to the folder."""
    settings = MeasureSettings()
    raw, other = two_epochs()
    one, reference = measure(raw, settings), measure(other, settings).exposure
    flat = extract.subtract_background(raw, one.background)
    psf_model, found = one.psf_fit.model, subtract(one.exposure, reference, stars=one.stars)
    facts = exposure_facts(one.exposure, ReferenceFacts(1, 58000.0, 58001.0, 15), 20.5)
    candidates = find_candidates(found, one.exposure, None, reference, one.stars)
    record = candidate_records(candidates[:1], facts)[0]
    history = [{**record, "jd": record["jd"] - k} for k in range(30)]
    packet = PacketWork(record, history, (raw.data, reference.data, found.exposure.data))
    file = folder / "image.fits"

    def files() -> None:
        write_exposure(file, one.exposure)
        read_exposure(file)

    def instrument() -> None:
        isr.mark_cosmic_rays(isr.mark_halos(isr.mark_trails(raw)), 2.0, settings.cosmic_rays)

    def detection() -> None:
        background = extract.measure_background(raw, settings.background)
        extract.detect_sources(raw, background, settings.extract)

    def stars() -> None:
        fitted = photometry.fit_stars(flat, psf_model, one.sources, settings.stars, one.psf_fit.scale)
        photometry.measure_apertures(flat, fitted, psf_model)

    return {
        "trails, halos, cosmic rays": instrument,
        "background, detection": detection,
        "PSF model": lambda: psf.fit_psf(flat, one.sources, settings.psf),
        "star fits, apertures": stars,
        "subtraction": lambda: subtract(one.exposure, reference, stars=one.stars),
        "candidates": lambda: find_candidates(found, one.exposure, None, reference, one.stars),
        "images written and read": files,
        "packets": lambda: [embedded(packet) for _ in range(20)],
    }


def ratios(rounds: int = ROUNDS) -> dict[str, float]:
    """Least core-time of each step over the least of the fixed work, which is done before every step."""
    with tempfile.TemporaryDirectory() as name:
        works = steps(Path(name))
        fixed, least = np.inf, dict.fromkeys(works, np.inf)
        for _ in range(rounds):
            for step, work in works.items():
                fixed = min(fixed, core_time(fixed_work))
                least[step] = min(least[step], core_time(work))
    return {step: seconds / fixed for step, seconds in least.items()}


def core_time(work: Work) -> float:
    """Core-seconds of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


@dataclass(frozen=True)
class Base:
    """The ratios that were written last, and where they were measured."""

    processor: str
    ratios: Mapping[str, float]

    def slower(self, found: Mapping[str, float], processor: str) -> dict[str, float]:
        """Steps beyond the limit, and how many times as long as their base they take."""
        limit = SLOWER if processor == self.processor else ELSEWHERE
        times = {step: ratio / self.ratios[step] for step, ratio in found.items()}
        return {step: factor for step, factor in times.items() if factor > limit}


def read_base() -> Base:
    """What `main` wrote last."""
    return Base(**json.loads(BASE.read_text(encoding="utf-8")))


def _arrays() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return np.ones((900, 960), np.float32), np.ones(4_000_000, np.float32)


def two_epochs() -> list[Exposure]:
    """A sky seen twice, without what the simulator knows of the PSF."""
    rng = np.random.default_rng(3)
    wcs = frame_wcs(SHAPE)
    sky = make_sky(frame_region(wcs, SHAPE, 1.0), rng, SkySettings(brightest_mag=14.0), N_STARS, N_GALAXIES)
    shape = tabulate_psf(PsfShape(2.3, "moffat"), SHAPE)
    seen = [render_quadrant(sky, wcs, SHAPE, shape, Conditions(), rng).exposure for _ in range(2)]
    return [replace(exposure, psf=None) for exposure in seen]


def main(runs: int = 20, write: bool = True) -> None:
    """Measure the ratios some times, print their spread, and write their medians."""
    every = [ratios() for _ in range(runs)]
    base = {step: float(np.median([one[step] for one in every])) for step in every[0]}
    for step, middle in base.items():
        low, high = (edge([one[step] for one in every]) / middle for edge in (min, max))
        typer.echo(f"{step:<30}{middle:>8.2f}{low:>8.2f}{high:>8.2f}")
    if write:
        written = {"processor": machine_facts()["processor"], "ratios": base}
        BASE.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
