"""Candidates that are nothing real, by cause, against what Gaussian noise gives."""

from functools import cache

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.spatial import cKDTree

from benchmarks.measures.skies import QUADRANT_PX, Processed, matched
from benchmarks.rows import Row
from zsds.candidates.peaks import find_peaks
from zsds.core.flags import Mask
from zsds.psf.mean import centred

RADIUS_PX = 3.0  # what is this near to a transient is that transient
RAY_PX = 2.0  # reach of a cosmic ray or of a bad pixel
TRAIL_PX = 12.0
EDGE_PX = 12.0
SATURATED_PX = 40.0  # reach of a saturated star and its bleed
BRIGHT_SNR = 60.0  # constant stars above this have a residual of their own
CAUSES = (
    "trail",
    "cosmic ray",
    "cosmic ray in the reference",
    "saturated star",
    "bad pixel",
    "edge",
    "star",
    "galaxy",
    "noise",
)
WHOLE = 0.9  # of a quadrant
PLANES, SIDE = 40, 1024  # noise drawn for the expectation
LOW = 4.0  # threshold at which the expectation is drawn; higher ones follow from it


def false_rows(done: Processed, x: NDArray, y: NDArray) -> list[Row]:
    """Candidates and alerts that are none of the transients at (x, y), per full quadrant.

    On a full quadrant each cause has a row of its own; on small skies, which have too much of it, the edge
    is left out.
    """
    found, name = done.difference.candidates, done.case.name
    cause = causes(done)
    area = np.isfinite(done.difference.difference.score).sum() / QUADRANT_PX
    whole = area > WHOLE
    false = (matched(found["x"], found["y"], (x, y), RADIUS_PX) < 0) & (whole | (cause != "edge"))
    bound = expected_peaks(done, 5.0)
    rows = []
    for label, chosen in (
        ("before any flag", false),
        ("after flags, before a classifier", false & np.asarray(found["is_alert"])),
    ):
        n = int(chosen.sum())
        error = float(np.sqrt(max(n, 1)) / area)
        rows.append(Row(f"false candidates {label}", name, n / area, error, bound, high=30.0, n=n))
        for one in CAUSES if whole else ():
            count = int((cause[chosen] == one).sum())
            rows.append(Row(f"false candidates {label}: {one}", name, count, float(np.sqrt(count)), n=count))
    return rows


def causes(done: Processed) -> NDArray[np.str_]:
    """What each candidate is nearest to being the fault of; the first that fits of `CAUSES`."""
    found, truth = done.difference.candidates, done.science.simulated
    x, y = np.asarray(found["x"], float), np.asarray(found["y"], float)
    mask, (ny, nx) = truth.exposure.mask, truth.exposure.shape
    sources = truth.truth
    stars = sources[sources["kind"] != "galaxy"]
    galaxies = sources[sources["kind"] == "galaxy"]
    bright = stars[~(stars["snr"] < BRIGHT_SNR)]
    rays = _has(done.difference.difference.exposure.mask, Mask.COSMIC_RAY, x, y, RAY_PX)
    rays |= _has(mask, Mask.COSMIC_RAY, x, y, RAY_PX)
    tests = {
        "trail": _has(mask, Mask.TRAIL, x, y, TRAIL_PX),
        "cosmic ray": rays & np.asarray(found["is_positive"]),
        "cosmic ray in the reference": _reference_rays(done, x, y) & ~np.asarray(found["is_positive"]),
        "saturated star": _has(mask, Mask.SATURATED | Mask.BLEED, x, y, SATURATED_PX),
        "bad pixel": _has(mask, Mask.LOW_RESPONSE, x, y, RAY_PX),
        "edge": np.minimum(np.minimum(x, y), np.minimum(nx - 1 - x, ny - 1 - y)) < EDGE_PX,
        "star": _near(bright, x, y, 3 * done.case.fwhm),
        "galaxy": _near(galaxies[galaxies["mag"] < 20], x, y, 3 * done.case.fwhm),
    }
    return np.select([tests[name] for name in CAUSES[:-1]], CAUSES[:-1], CAUSES[-1])


def _near(sources: Table, x: NDArray, y: NDArray, radius: float) -> NDArray[np.bool_]:
    return matched(x, y, (np.asarray(sources["x"]), np.asarray(sources["y"])), radius) >= 0


def _has(mask: NDArray, bits: Mask, x: NDArray, y: NDArray, radius: float) -> NDArray[np.bool_]:
    """Whether a pixel with one of the bits lies within a radius."""
    places = np.argwhere((mask & np.uint32(bits)) != 0)[:, ::-1]
    if len(places) == 0 or len(x) == 0:
        return np.zeros(len(x), bool)
    return cKDTree(places).query(np.transpose([x, y]))[0] <= radius


def _reference_rays(done: Processed, x: NDArray, y: NDArray) -> NDArray[np.bool_]:
    """Whether a ray of an epoch of the reference lies there."""
    near = np.zeros(len(x), bool)
    ra, dec = done.science.simulated.exposure.wcs.all_pix2world(x, y, 0)
    for one in done.references:
        there = one.simulated.exposure.wcs.all_world2pix(ra, dec, 0)
        near |= _has(one.simulated.exposure.mask, Mask.COSMIC_RAY, *there, RAY_PX)
    return near


def expected_peaks(done: Processed, threshold: float) -> float:
    """Peaks of both signs beyond a threshold on a full quadrant of Gaussian noise.

    White noise correlated with the difference's PSF, searched as scores are.
    """
    exposure = done.difference.difference.exposure
    ny, nx = exposure.shape
    stamp = exposure.psf.at(nx / 2, ny / 2)
    return _expected(stamp.tobytes(), stamp.shape[0], threshold) * QUADRANT_PX


@cache
def _expected(stamp: bytes, size: int, threshold: float) -> float:
    """Peaks a pixel: drawn at `LOW`, and scaled as those of a smooth field, u exp(-u^2 / 2)."""
    rng = np.random.default_rng(4)
    psf = centred(np.frombuffer(stamp, np.float32).reshape(size, size), SIDE)
    spectrum = np.conj(rfft2(psf)) / np.sqrt(np.sum(psf.astype(float) ** 2))
    n = 0
    for _ in range(PLANES):
        noise = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
        score = irfft2(rfft2(noise) * spectrum, (SIDE, SIDE)).astype(np.float32)
        n += len(find_peaks(score, LOW, 3.0))
    scale = threshold / LOW * np.exp((LOW**2 - threshold**2) / 2)
    return n / (PLANES * SIDE**2) * float(scale)
