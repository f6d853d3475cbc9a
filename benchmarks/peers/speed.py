"""What public tools take for the steps of a quadrant, on the pixels that were measured.

Each peer is one function from `Pixels` to core-seconds. One whose program or environment is absent, or that
fails, has no seconds, and the note says why.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from numpy.typing import NDArray

from benchmarks.peers.comparison import PSFEX_AT_BEST
from benchmarks.peers.programs import is_present, run_psfex, run_scamp, time_source_extractor, timed
from benchmarks.peers.subtractions import PYTHON, run_method, write_planes
from benchmarks.peers.swarp import move_exposure
from benchmarks.timing.quadrant import Prepared
from zsds.astrometry.epoch import moved_to_epoch
from zsds.core.exposure import Exposure
from zsds.core.ids import QuadrantId
from zsds.io.references import load_reference
from zsds.products import ReferenceId
from zsds.reference import sample_reference
from zsds.runner.archive import open_archive
from zsds.runner.science import reference_sky

CROP_PX = 768  # side of what is given to programs that take gigabytes and minutes for a quadrant
LIMIT_S = 900  # wall-clock seconds after which a peer counts as failed
CHAINS = {
    "public chain": ("source-extractor", "PSFEx", "SCAMP", "SWarp", "stdpipe, ZOGY"),
    "public chain, PSFs given": ("source-extractor", "PSFEx", "SCAMP", "SWarp", "stdpipe, ZOGY alone"),
}


@dataclass(frozen=True)
class Pixels:
    """The prepared quadrant as the peers take it.

    Parameters
    ----------
    science, earlier : Exposure
        Calibrated, sky subtracted; the earlier one shows the same field.
    template, template_err : ndarray of float32 [ny, nx]
        The reference on the science pixels, in science electrons, and its error.
    sky, fwhm : float
        Electrons a pixel; pixels.
    misplaced : tuple of float
        Registration that remains, pixels.
    stars, gaia : Table
        x, y and flux of the stars; the catalog at the image's epoch.
    guess : fits.Header
        Nominal coordinates.
    folder : Path
        With the planes as files; everything there may be overwritten.
    """

    science: Exposure
    earlier: Exposure
    template: NDArray[np.float32]
    template_err: NDArray[np.float32]
    sky: float
    fwhm: float
    misplaced: tuple[float, float]
    stars: Table
    gaia: Table
    guess: fits.Header
    folder: Path


@dataclass(frozen=True)
class Peer:
    """A public tool beside some of our steps.

    Parameters
    ----------
    name : str
    steps : tuple of str
        Ours that do the same.
    seconds : callable
        Core-seconds from the `Pixels`.
    programs : tuple of str
        It needs; none: the peers' environment.
    note : str
        What to know of the comparison.
    """

    name: str
    steps: tuple[str, ...]
    seconds: Callable[[Pixels], float]
    programs: tuple[str, ...] = ()
    note: str = ""

    @property
    def is_present(self) -> bool:
        """Whether all it needs is on this machine."""
        return is_present(*self.programs) if self.programs else PYTHON.exists()


def _package(method: str) -> Callable[[Pixels], float]:
    def seconds(pixels: Pixels) -> float:
        script = Path(__file__).with_name("public_steps.py")
        command = [PYTHON, script, method, pixels.folder]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=_one_thread(), timeout=LIMIT_S
        )
        return float(done.stdout.split()[-1])  # some packages print as they go

    return seconds


def _subtraction(method: str, is_cropped: bool) -> Callable[[Pixels], float]:
    def seconds(pixels: Pixels) -> float:
        with tempfile.TemporaryDirectory() as name:
            size = CROP_PX if is_cropped else max(pixels.science.shape)
            corner = np.s_[:size, :size]
            part = _cropped(pixels.science, size)
            write_planes(part, pixels.template[corner], pixels.template_err[corner], Path(name))
            found = run_method(method, Path(name), pixels.fwhm, pixels.misplaced)
        if found is None:
            raise ChildProcessError(f"{method} failed")
        return found[1] * pixels.science.data.size / part.data.size

    return seconds


def _psfex(*options: str) -> Callable[[Pixels], float]:
    return lambda pixels: run_psfex(pixels.science, options).seconds


def _swarp(pixels: Pixels) -> float:
    with tempfile.TemporaryDirectory() as name:
        return move_exposure(pixels.earlier, pixels.science, Path(name))


def _fpack(pixels: Pixels) -> float:
    """Data and error quantised in steps of 1/16 sigma, mask lossless, and the score."""
    names = ("science.fits", "science_err.fits", "bad.fits")
    for name in names:
        (pixels.folder / f"{name}.fz").unlink(missing_ok=True)
    return 2 * timed(["fpack", "-q", "16", *names], pixels.folder)


def _funpack(pixels: Pixels) -> float:
    names = ("science.fits", "science_err.fits", "bad.fits")
    return timed(["funpack", "-S", *(f"{name}.fz" for name in names)], pixels.folder)


PEERS = (
    Peer("astroscrappy", ("cosmic rays",), _package("astroscrappy"), note="4 iterations, its default"),
    Peer("photutils, background", ("background", "subtract background"), _package("photutils-background")),
    Peer(
        "source-extractor", ("background", "subtract background", "seeing", "detection", "apertures"),
        lambda pixels: time_source_extractor(pixels.science, pixels.sky), ("source-extractor",),
        "background, detection, one aperture, shapes",
    ),
    Peer("PSFEx", ("PSF model",), _psfex(), ("source-extractor", "psfex"), "its defaults"),
    Peer("PSFEx, for narrow stars", ("PSF model",), _psfex(*PSFEX_AT_BEST), ("source-extractor", "psfex")),
    Peer("photutils, PSF fits", ("star fits",), _package("photutils-psf"), note="from 500 of the stars"),
    Peer("photutils, apertures", ("apertures",), _package("photutils-apertures"), note="six apertures"),
    Peer(
        "SCAMP", ("astrometry",), lambda pixels: run_scamp(pixels.science, pixels.guess, pixels.gaia).seconds,
        ("source-extractor", "scamp"),
    ),
    Peer("SWarp", ("sample reference",), _swarp, ("SWarp",), "one exposure and its weights, Lanczos 3"),
    Peer("reproject", ("sample reference",), _package("reproject"), note="one plane, cubic"),
    Peer("stdpipe, ZOGY", ("subtract",), _subtraction("stdpipe", False), note="the whole quadrant"),
    Peer("stdpipe, ZOGY alone", ("subtract",), _package("zogy"), note="PSFs given, nothing fitted"),
    Peer("sfft", ("subtract",), _subtraction("sfft", True), note="768 x 768 pixels, scaled by area"),
    Peer("properimage", ("subtract",), _subtraction("properimage", True), note="as sfft"),
    Peer("fpack", ("write images",), _fpack, ("fpack",), "six planes from files"),
    Peer("funpack", ("read images back",), _funpack, ("funpack",), "three planes to files"),
)  # fmt: skip


def peer_rows(pixels: Pixels, ours: Mapping[str, float]) -> list[dict[str, Any]]:
    """Each peer beside our core-seconds of the same steps; ``seconds`` None where it is absent or failed."""
    return [peer_row(peer, pixels, sum(ours[step] for step in peer.steps)) for peer in PEERS]


def peer_row(peer: Peer, pixels: Pixels, ours: float) -> dict[str, Any]:
    """A peer beside core-seconds of ours."""
    seconds, note = None, peer.note
    if not peer.is_present:
        note = "not installed: make peers"
    else:
        try:
            seconds = peer.seconds(pixels)
        except (subprocess.SubprocessError, OSError, KeyError, ValueError) as error:
            told = getattr(error, "stderr", None) or error
            text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
            note = f"failed: {text.strip().rpartition(chr(10))[2]}"[:160]
    ratio = None if seconds is None else seconds / ours
    return {"peer": peer.name, "steps": list(peer.steps), "seconds": seconds, "ours_s": ours, "ratio": ratio,
            "note": note}  # fmt: skip


def chain_row(rows: list[dict[str, Any]], whole_s: float, names: tuple[str, ...]) -> dict[str, Any]:
    """The whole quadrant of ours against a chain of peers, which do only some of its steps."""
    seconds = {row["peer"]: row["seconds"] for row in rows if row["peer"] in names}
    total = None if None in seconds.values() else sum(seconds.values())
    return {
        "chain": seconds,
        "seconds": total,
        "ours_s": whole_s,
        "ratio": total and total / whole_s,
        "goal": 5.0,
    }


def load_pixels(prepared: Prepared, identifier: QuadrantId, earlier: QuadrantId, folder: Path) -> Pixels:
    """The quadrant's products as the peers take them, its planes in files of the folder."""
    archive = open_archive(prepared.archive)
    store = archive.store
    science, other = store.load_exposure("science", identifier), store.load_exposure("science", earlier)
    metrics, found = (store.load_json(f"{kind}_metrics", identifier) for kind in ("science", "difference"))
    template = sample_reference(
        load_reference(store, ReferenceId(**prepared.reference)), science.wcs, science.shape
    )
    scale = np.float32(found["flux_scale"])
    with np.errstate(invalid="ignore"):
        data, error = template.data * scale, np.sqrt(template.variance) * scale
    stars = store.load_table("psf_catalog", identifier, "stars")["x", "y", "flux"]
    gaia = reference_sky(archive, science.info).gaia
    ra, dec = moved_to_epoch(gaia, science.info.mid_mjd)
    here = Table({"ra": ra, "dec": dec, "phot_g_mean_mag": gaia["phot_g_mean_mag"]})
    guess = archive.camera.nominal_wcs(
        *science.info.id.channel, science.info.ra, science.info.dec
    ).to_header()
    misplaced = (found["registration_px"] / np.sqrt(2),) * 2
    pixels = Pixels(
        science,
        other,
        data,
        error,
        metrics["sky_e"],
        metrics["seeing_px"],
        misplaced,
        stars,
        here,
        guess,
        folder,
    )
    _write(pixels)
    return pixels


def _write(pixels: Pixels) -> None:
    folder = pixels.folder
    write_planes(pixels.science, pixels.template, pixels.template_err, folder)
    plain = {name: np.asarray(pixels.stars[name]) for name in pixels.stars.colnames}
    Table(plain).write(folder / "stars.fits")
    earlier = np.nan_to_num(pixels.earlier.data)
    fits.writeto(folder / "earlier.fits", earlier, pixels.earlier.wcs.to_header(relax=True))
    fits.PrimaryHDU(header=pixels.science.wcs.to_header(relax=True)).writeto(folder / "grid.fits")
    facts = {"sky": pixels.sky, "fwhm": pixels.fwhm, "saturation": pixels.science.info.saturation}
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")


def _one_thread() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _cropped(exposure: Exposure, size: int) -> Exposure:
    corner = np.s_[:size, :size]
    planes = {name: getattr(exposure, name)[corner] for name in ("data", "variance", "mask")}
    return replace(exposure, **planes)
