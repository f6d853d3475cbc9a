"""Rows about stars of the science exposure: PSF, positions, fluxes, zero point."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.rows import Row, pull_rows, width
from benchmarks.skies import Processed, matched
from zsds.core.flags import is_defect
from zsds.core.psf import PsfModel

APERTURE_PX = 7.0  # radius of the largest aperture
SCALE_ARCSEC = 1.01


@dataclass(frozen=True)
class TrueStars:
    """Measured stars beside their truth, row by row: isolated, unsaturated, off edges and defects."""

    stars: Table
    apertures: Table
    truth: Table


def star_rows(done: Processed) -> list[Row]:
    """All rows about stars of one sky."""
    pairs = true_stars(done)
    return [
        *psf_rows(done),
        *astrometry_rows(done, pairs),
        *photometry_rows(done, pairs),
        *zero_point_rows(done),
    ]


def true_stars(done: Processed) -> TrueStars:
    """Stars that are measured alone: no source of 3 % of their flux lies within 3 FWHM."""
    truth = done.truth.science.truth
    stars = done.science.measured.stars
    row = matched(stars["x"], stars["y"], (np.asarray(truth["x"]), np.asarray(truth["y"])), 1.0)
    alone = _alone(truth, 3 * done.case.fwhm)
    clean = ~is_defect(np.asarray(stars["flags"]).astype(np.uint32)) & ~np.asarray(stars["is_edge"])
    good = (row >= 0) & clean & alone[row] & ~truth["saturated"][row] & (truth["kind"][row] == "star")
    return TrueStars(stars[good], done.science.measured.apertures[good], truth[row[good]])


def _alone(truth: Table, reach: float) -> NDArray[np.bool_]:
    places = np.transpose([truth["x"], truth["y"]])
    flux = np.asarray(truth["flux"])
    alone = np.ones(len(truth), dtype=bool)
    for first, second in cKDTree(places).query_pairs(reach, output_type="ndarray"):
        alone[first] &= flux[second] < 0.03 * flux[first]
        alone[second] &= flux[first] < 0.03 * flux[second]
    return alone


def psf_rows(done: Processed, n: int = 100) -> list[Row]:
    """Model against truth, without noise, at random places and sub-pixel phases."""
    ny, nx = done.science.exposure.shape
    rng = np.random.default_rng(5)
    places = zip(
        rng.uniform(10, nx - 10, n), rng.uniform(10, ny - 10, n), rng.uniform(-0.5, 0.5, (n, 2)), strict=True
    )
    true, model = done.truth.science.exposure.psf, done.science.exposure.psf
    left = np.array([_left_over(true, model, (x, y), shift, done.case.fwhm) for x, y, shift in places])
    core, aperture = 100 * np.percentile(left, 95, axis=0)
    name = done.case.name
    return [
        Row("PSF residual within 1 FWHM, % of flux", name, core, high=1.0 if done.case.crowded else 0.5, n=n),
        Row("flux left in the aperture, % of flux", name, aperture, high=0.3, n=n),
    ]


def _left_over(
    true: PsfModel, model: PsfModel, place: tuple[float, float], shift: NDArray[np.float64], fwhm: float
) -> tuple[float, float]:
    """Absolute residuals summed in the core, and the sum in the aperture, after fitting flux and place."""
    half = min(true.size, model.size) // 2
    star = _middle(true.at(*place, *shift), half)
    stamp = _middle(model.at(*place, *shift), half)
    gradient_y, gradient_x = np.gradient(stamp)
    rows, cols = np.mgrid[-half : half + 1, -half : half + 1]
    radius = np.hypot(cols - shift[0], rows - shift[1])
    fitted = radius < 2 * fwhm
    columns = np.stack([stamp, gradient_x, gradient_y])
    answer = np.linalg.lstsq(columns[:, fitted].T, star[fitted], rcond=None)[0]
    residual = star - np.tensordot(answer, columns, 1)
    return float(np.abs(residual[radius < fwhm]).sum()), float(abs(residual[radius < APERTURE_PX].sum()))


def _middle(stamp: NDArray[np.float32], half: int) -> NDArray[np.float64]:
    centre = stamp.shape[0] // 2
    cut = slice(centre - half, centre + half + 1)
    return stamp[cut, cut].astype(np.float64)


def astrometry_rows(done: Processed, pairs: TrueStars) -> list[Row]:
    """Positions against truth, per axis: bright ones in mas, faint ones against the noise limit."""
    truth = pairs.truth
    wcs = done.science.exposure.wcs
    ra, dec = wcs.all_pix2world(pairs.stars["x"], pairs.stars["y"], 0)
    east, north = (1000 * 3600 * offset for offset in _offsets(truth, ra, dec))
    snr = np.asarray(truth["snr"])
    noise = 1000 * SCALE_ARCSEC * done.case.fwhm / (2.355 * snr)
    rows = []
    bright, faint = snr > 100, (snr > 10) & (snr < 30)
    if bright.sum() > 5:
        off = np.r_[east[bright], north[bright]]
        typical = float(np.percentile(np.abs(off), 68.27))
        bound = float(np.median(noise[bright]))
        rows.append(_spread("stars S/N > 100, position, mas per axis", done, typical, bound, 10.0, off.size))
    if faint.sum() > 5:
        limit = np.hypot(noise[faint], 8.0)
        ratio = np.r_[east[faint] / limit, north[faint] / limit]
        typical = float(np.percentile(np.abs(ratio), 68.27))
        rows.append(_spread("stars S/N 10-30, position over its limit", done, typical, 1.0, 1.15, ratio.size))
    return rows


def _offsets(
    truth: Table, ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """East and north of the truth, degrees."""
    true_dec = np.asarray(truth["dec"])
    return (ra - np.asarray(truth["ra"])) * np.cos(np.radians(true_dec)), dec - true_dec


def _spread(name: str, done: Processed, value: float, bound: float, goal: float, n: int) -> Row:
    return Row(name, done.case.name, value, 0.83 * value / np.sqrt(n), bound, high=goal, n=n)


def photometry_rows(done: Processed, pairs: TrueStars) -> list[Row]:
    """PSF fluxes and apertures against truth; pulls by the ideal signal-to-noise ratio."""
    flux, true = np.asarray(pairs.stars["flux"]), np.asarray(pairs.truth["flux"])
    snr, sky = np.asarray(pairs.truth["snr"]), done.case.name
    pulls = (flux - true) / np.asarray(pairs.stars["flux_err"])
    rows = []
    for low, high in ((10, 30), (30, 100), (100, 1e9)):
        chosen = (snr >= low) & (snr < high)
        label = f"star flux, S/N {low}-{high}" if high < 1e9 else f"star flux, S/N > {low}"
        rows += pull_rows(label, sky, pulls[chosen], (0.02, 0.05))
    bright = snr > 100
    if bright.sum() > 5:
        rows += _bright_rows(done, pairs, bright)
    return rows


def _bright_rows(done: Processed, pairs: TrueStars, bright: NDArray[np.bool_]) -> list[Row]:
    truth, n, sky = pairs.truth[bright], int(bright.sum()), done.case.name
    off = -2500 * np.log10(np.asarray(pairs.stars["flux"])[bright] / np.asarray(truth["flux"]))
    expected = np.asarray(truth["flux"]) * _enclosed(done, truth)
    aperture = -2500 * np.log10(np.maximum(np.asarray(pairs.apertures["flux_14"])[bright] / expected, 1e-3))
    bound = float(np.median(1085.7 / np.asarray(truth["snr"])))
    scatter, error = width(off), 1.25 * width(off) / np.sqrt(n)
    other = 1.25 * width(aperture) / np.sqrt(n)
    return [
        Row("stars S/N > 100, PSF flux scatter, mmag", sky, scatter, error / 1.5, bound, high=5.0, n=n),
        Row("stars S/N > 100, PSF flux offset, mmag", sky, float(np.median(off)), error, 0, -3, 3, n),
        Row("stars S/N > 100, aperture offset, mmag", sky, float(np.median(aperture)), other, 0, -3, 3, n),
    ]


def _enclosed(done: Processed, truth: Table) -> NDArray[np.float64]:
    """Part of a star's flux that truly falls into the largest aperture."""
    psf = done.truth.science.exposure.psf
    half = psf.size // 2
    rows, cols = np.mgrid[-half : half + 1, -half : half + 1]
    parts = []
    for row in truth:
        x, y = float(row["x"]), float(row["y"])
        dx, dy = x - round(x), y - round(y)
        share = np.clip(APERTURE_PX + 0.5 - np.hypot(cols - dx, rows - dy), 0, 1)
        parts.append(float((psf.at(x, y, dx, dy) * share).sum()))
    return np.array(parts)


def zero_point_rows(done: Processed) -> list[Row]:
    """Zero point and colour term of the science exposure."""
    found, true = done.science.exposure.zero_point, done.truth.science.exposure.zero_point
    sky, n = done.case.name, found.n_stars
    off, colour = 1000 * (found.value - true.value), 1000 * (found.colour_coeff - true.colour_coeff)
    return [
        Row("zero point, mmag", sky, off, 1000 * found.err, 0, -2, 2, n),
        Row("colour term, mmag/mag", sky, colour, 1000 * found.colour_err, 0, -5, 5, n),
    ]


def zero_point_pulls(done: Processed) -> list[tuple[float, float]]:
    """Pulls of zero point and colour term of all epochs of a sky."""
    pairs = zip((*done.references, done.science), done.truth.quadrants, strict=True)
    both = [(one.exposure.zero_point, simulated.exposure.zero_point) for one, simulated in pairs]
    return [
        ((a.value - b.value) / a.err, (a.colour_coeff - b.colour_coeff) / a.colour_err if a.colour_err else 0)
        for a, b in both
    ]
