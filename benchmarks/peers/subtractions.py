"""Public subtractions of the pixels that ours subtracts, and the search of what they leave.

They get the same calibrated epochs with our WCS, zero points, masks and noise maps; SWarp co-adds the
reference and brings it to the science pixels. Each runs in an environment of its own (``make peers``).
"""

import json
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sep
from astropy.convolution import Gaussian2DKernel
from astropy.io import fits
from astropy.table import Table, vstack
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation
from scipy.signal import fftconvolve

from benchmarks.measures.changes import EDGE_PX
from benchmarks.measures.skies import Processed
from benchmarks.peers.programs import core_seconds, is_present
from benchmarks.peers.swarp import warp_reference
from zsds.core.exposure import Exposure
from zsds.core.flags import is_defect
from zsds.pipeline.difference import make_difference
from zsds.pipeline.settings import Settings

PYTHON = Path(".venv-peers/bin/python").absolute()
METHODS = ("stdpipe", "sfft", "properimage")
MOST_MPX = 4.0  # beyond, they take 4 to 12 GB and minutes each
LIMIT_S = 3600  # wall-clock seconds after which a method counts as failed
LOWEST = 3.5  # sigmas from which peaks are listed
NEAR_DEFECT_PX = 3  # nothing so near to a defect counts, found or missed


@dataclass(frozen=True)
class Found:
    """What one subtraction of a sky made and found.

    Parameters
    ----------
    difference, score : ndarray of float [ny, nx]
        In any units, rising where the science image is brighter; the score is what is searched for peaks.
    peaks : Table
        x, y, is_positive and snr of the peaks of both signs, away from defects and edges.
    seconds : float
        Core-seconds of subtraction and search, both images on the same pixels already.
    own_noise : bool
        The score says itself that its noise is 1; otherwise its rms was measured and divided out.
    """

    difference: NDArray[np.floating]
    score: NDArray[np.floating]
    peaks: Table
    seconds: float
    own_noise: bool


@dataclass(frozen=True)
class Subtractions:
    """All subtractions of one sky.

    Parameters
    ----------
    near : ndarray of bool [ny, nx]
        Close to a defect or an edge.
    ours : Found
    theirs : dict of str to Found
        Those that ran to the end.
    """

    near: NDArray[np.bool_]
    ours: Found
    theirs: dict[str, Found]


def is_small(done: Processed) -> bool:
    """Whether the public programs take images of this size in reasonable time and memory."""
    ny, nx = done.science.result.exposure.shape
    return nx * ny / 1e6 < MOST_MPX


def are_present() -> bool:
    """Whether the peers' environment and the programs it needs are on this machine."""
    return PYTHON.exists() and is_present("SWarp", "source-extractor", "psfex")


def subtract_all(done: Processed) -> Subtractions:
    """Subtract a sky by every method; one that fails is told in the log and left out.

    Raises
    ------
    subprocess.CalledProcessError
        If SWarp fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        science = done.science.result.exposure
        bad = write_pair(science, [one.result.exposure for one in done.references], folder)
        near = close_to(bad)
        registration = done.difference.difference.registration
        misplaced = registration.dx_rms, registration.dy_rms
        fwhm = done.science.result.measured.psf_fit.fwhm
        runs = {method: run_method(method, folder, fwhm, misplaced) for method in METHODS}
    theirs = {m: searched(*run, fwhm, bad, near) for m, run in runs.items() if run is not None}
    return Subtractions(near, _ours(done, near), theirs)


def close_to(bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels near a defect or an edge."""
    near = binary_dilation(bad, iterations=NEAR_DEFECT_PX)
    near[:EDGE_PX], near[-EDGE_PX:] = True, True
    near[:, :EDGE_PX], near[:, -EDGE_PX:] = True, True
    return near


def at(plane: NDArray, x: NDArray, y: NDArray) -> NDArray:
    """Values of the pixels nearest to positions; of the border for those beyond it."""
    ny, nx = plane.shape
    return plane[np.clip(np.rint(y).astype(int), 0, ny - 1), np.clip(np.rint(x).astype(int), 0, nx - 1)]


def write_pair(science: Exposure, references: Sequence[Exposure], folder: Path) -> NDArray[np.bool_]:
    """Files for `benchmarks.peers.public`, the reference brought by SWarp; where either image has a defect.

    Raises
    ------
    subprocess.CalledProcessError
        If SWarp fails.
    """
    reference = warp_reference(references, science, folder)
    return write_planes(science, reference.data, reference.error, folder)


def write_planes(
    science: Exposure, reference: NDArray[np.float32], error: NDArray[np.float32], folder: Path
) -> NDArray[np.bool_]:
    """Files for `benchmarks.peers.public` of a reference on the science pixels; where either has a defect."""
    bad = is_defect(science.mask) | ~np.isfinite(science.data) | ~np.isfinite(error)
    planes = {
        "science": science.data,
        "science_err": np.sqrt(science.variance),
        "reference": reference,
        "reference_err": np.where(np.isfinite(error), error, np.nan),
    }
    for name, plane in planes.items():
        middle = np.float32(np.median(plane[~bad])) if name.endswith("err") else np.float32(0)
        fits.writeto(folder / f"{name}.fits", np.where(np.isfinite(plane), plane, middle).astype(np.float32))
    fits.writeto(folder / "bad.fits", bad.astype(np.uint8))
    return bad


def run_method(
    method: str, folder: Path, fwhm: float, misplaced: tuple[float, float]
) -> tuple[dict[str, NDArray], float] | None:
    """Planes that a method made of the files in a folder, and its core-seconds; None if it failed."""
    programs, out = folder / "programs", folder / method
    programs.mkdir(exist_ok=True)
    out.mkdir()
    if not (programs / "sex").exists():  # the name by which all of them call source-extractor
        (programs / "sex").symlink_to(shutil.which("source-extractor") or "source-extractor")
    facts = {"fwhm": fwhm, "misplaced": misplaced}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    command = [PYTHON, "-W", "ignore", Path(__file__).with_name("public.py"), method, folder, out]
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    try:
        subprocess.run(
            command, check=True, capture_output=True, text=True, cwd=out, env=environment, timeout=LIMIT_S
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        last = str(error.stderr or error).strip().rpartition("\n")[2]
        logging.getLogger(__name__).warning("%s: %s", method, last)
        return None
    paths = [path for path in (out / "difference.fits", out / "score.fits") if path.exists()]
    planes = {path.stem: fits.getdata(path).astype(np.float32) for path in paths}
    return planes, float(json.loads((out / "seconds.json").read_text()))


def searched(planes: dict[str, NDArray], seconds: float, fwhm: float, bad: NDArray, near: NDArray) -> Found:
    """Peaks of a method's own score, or else of its difference filtered and divided by its rms."""
    own_noise = "score" in planes

    def search() -> None:
        score = planes["score"] if own_noise else _filtered(planes["difference"], bad, fwhm)
        found.append((score, _peaks(score, near)))

    found: list[tuple[NDArray, Table]] = []
    seconds += core_seconds(search)
    return Found(planes["difference"], *found[0], seconds, own_noise)


def _filtered(difference: NDArray, bad: NDArray, fwhm: float) -> NDArray[np.float32]:
    """Significance by a filter as wide as the seeing, noise measured in cells, as source-extractor has it."""
    clean = np.where(bad | ~np.isfinite(difference), 0, difference)
    smooth = fftconvolve(clean, Gaussian2DKernel(fwhm / 2.355).array, mode="same").astype(np.float32)
    sky = sep.Background(smooth, mask=bad)
    return (smooth - sky.back()) / sky.rms()


def _peaks(score: NDArray, near: NDArray) -> Table:
    """Peaks beyond `LOWEST` of both signs, by sep."""
    tables = []
    sep.set_extract_pixstack(score.size)
    for sign in (1, -1):
        plane = np.ascontiguousarray(sign * np.nan_to_num(score), dtype=np.float32)
        found = sep.extract(plane, LOWEST, minarea=1, filter_kernel=None)
        found = found[~near[found["ypeak"], found["xpeak"]]]
        columns = {
            "x": found["xpeak"].astype(float),
            "y": found["ypeak"].astype(float),
            "is_positive": np.full(len(found), sign > 0),
            "snr": found["peak"].astype(float),
        }
        tables.append(Table(columns))
    return vstack(tables)


def _ours(done: Processed, near: NDArray) -> Found:
    """Our difference and its candidates before any flag; timed anew."""
    science, result = done.science.result, done.difference
    seconds = core_seconds(
        lambda: make_difference(
            science.exposure, result.template, Settings().difference, science.measured.stars
        )
    )
    found = result.candidates
    found = found[~at(near, found["x"], found["y"])]
    peaks = Table([found[name] for name in ("x", "y", "is_positive", "scorr")])
    peaks.rename_column("scorr", "snr")
    return Found(result.difference.exposure.data, result.difference.score, peaks, seconds, True)
