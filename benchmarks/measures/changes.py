"""Rows about the difference: its score on empty sky and at stars, injected transients, false alerts."""

from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree
from scipy.stats import norm

from benchmarks.measures.difference_noise import noise_rows
from benchmarks.measures.false_candidates import false_rows
from benchmarks.measures.psf_stamps import overlap
from benchmarks.measures.skies import Processed, matched
from benchmarks.measures.stars import light_in_stamp
from benchmarks.rows import Row, pull_rows
from zsds.core.flags import Mask, is_defect
from zsds.core.robust import central_width
from zsds.pipeline.settings import Settings
from zsds.sim import SimulatedQuadrant
from zsds.subtract import subtract

RADIUS_PX = 1.5  # a candidate this near to a transient is that transient
EDGE_PX = 12
RAY_PX = 4  # the light of a ray spreads in the difference
CELL = 64  # pixels in which the bare sky is looked for
TILES = 4
SWAP_PX = 32  # reach of the kernels, and so of defects, which are filled with the other image


@dataclass(frozen=True)
class Injected:
    """Transients of a sky on its science exposure, and what was found of them.

    Parameters
    ----------
    x, y, flux : ndarray of float64
        Pixels; electrons of the science exposure in the stamp of the PSF model, negative for faded ones.
    snr : ndarray of float64
        Ideal signal-to-noise ratio: true PSFs and true noise of the science exposure and of all epochs of
        the reference, positions and flux scales known.
    host : ndarray of str
    row : ndarray of int
        Candidate of the right sign nearby, else -1.
    is_alert : ndarray of bool
        That candidate is an alert.
    alone : ndarray of bool
        No other transient is near: two on one galaxy would be taken for each other.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    snr: NDArray[np.float64]
    host: NDArray[np.str_]
    row: NDArray[np.int64]
    is_alert: NDArray[np.bool_]
    alone: NDArray[np.bool_]


def change_rows(done: Processed, injected: Injected) -> list[Row]:
    """All rows about the difference of one sky."""
    return [
        *score_rows(done, injected),
        *star_score_rows(done, injected),
        *flux_rows(done, injected),
        *completeness_rows(done.case.name, [injected]),
        *false_rows(done, injected.x, injected.y),
        *noise_rows(done, empty_sky(done, injected)),
        *swap_rows(done),
    ]


def find_injected(done: Processed) -> Injected:
    """The transients well on the science exposure."""
    table, simulated = done.truth.sky.transients, done.science.simulated
    x, y = simulated.exposure.wcs.all_world2pix(table["ra"], table["dec"], 0)
    ny, nx = simulated.exposure.shape
    inside = (x > EDGE_PX) & (x < nx - EDGE_PX) & (y > EDGE_PX) & (y < ny - EDGE_PX)
    table, x, y = table[inside], x[inside], y[inside]
    sign = np.where(table["form"] == "faded", -1.0, 1.0)
    light = true_flux(simulated, table)
    flux, snr = sign * light_in_stamp(done.science) * light, light / ideal_errors(done, table)
    found = done.difference.candidates
    row = found_rows(found, x, y, sign > 0)
    is_alert = (row >= 0) & np.append(found["is_alert"], False).astype(bool)[row]
    alone = cKDTree(np.transpose([x, y])).query(np.transpose([x, y]), k=2)[0][:, 1] > EDGE_PX
    return Injected(x, y, flux, snr, np.asarray(table["host"]), row, is_alert, alone)


def true_flux(simulated: SimulatedQuadrant, table: Table) -> NDArray[np.float64]:
    """Electrons of the transients in an exposure in which they shine; their colours are 0."""
    return 10 ** (-0.4 * (np.asarray(table["r"]) - simulated.exposure.zero_point.value))


def ideal_errors(done: Processed, table: Table) -> NDArray[np.float64]:
    """Smallest possible error of the change in flux at each position, electrons of the science exposure.

    Without the noise of the transient's own light: what a search has where nothing has changed.
    """
    faded = np.asarray(table["form"] == "faded")
    science = done.science.simulated
    information = np.zeros(len(table))
    for one in done.truth.references:
        ratio = 10 ** (0.4 * (science.exposure.zero_point.value - one.exposure.zero_point.value))
        information += 1 / (_flux_variance(one, table, faded) * ratio**2)
    return np.sqrt(_flux_variance(science, table, ~faded) + 1 / information)


def _flux_variance(
    simulated: SimulatedQuadrant, table: Table, shining: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Variance of a point source's flux in one exposure; infinite off the image."""
    exposure = simulated.exposure
    xs, ys = exposure.wcs.all_world2pix(table["ra"], table["dec"], 0)
    light = true_flux(simulated, table) * shining
    variances = []
    for x, y, flux in zip(xs, ys, light, strict=True):
        stamp = exposure.psf.at(x, y, x - round(x), y - round(y))
        variance, stamp = overlap(exposure.variance, stamp, x, y)
        information = float((stamp.astype(np.float64) ** 2 / (variance - flux * stamp)).sum())
        variances.append(1 / information if information > 0 else np.inf)
    return np.array(variances)


def found_rows(
    found: Table, x: NDArray[np.float64], y: NDArray[np.float64], rose: NDArray[np.bool_]
) -> np.ndarray:
    """Row of the candidate of the right sign at each position, else -1."""
    row = np.full(len(x), -1)
    for sign in (True, False):
        rows = np.flatnonzero(np.asarray(found["is_positive"]) == sign)
        places = (np.asarray(found["x"])[rows], np.asarray(found["y"])[rows])
        nearest = matched(x[rose == sign], y[rose == sign], places, RADIUS_PX)
        row[rose == sign] = np.where(nearest >= 0, rows[nearest] if rows.size else -1, -1)
    return row


def empty_sky(done: Processed, injected: Injected) -> NDArray[np.bool_]:
    """Pixels where the truth holds no light, no transient or cosmic ray is near, and the score is known."""
    true, score = done.truth.science.exposure, done.difference.difference.score
    mask = done.science.result.exposure.mask | true.mask
    dark = (true.variance < 1.003 * bare_sky(true.variance)) & ~is_defect(mask) & np.isfinite(score)
    dark &= ~maximum_filter(true.mask & np.uint32(Mask.COSMIC_RAY) > 0, 2 * RAY_PX + 1)
    for x, y in zip(injected.x.astype(int), injected.y.astype(int), strict=True):
        dark[max(0, y - EDGE_PX) : y + EDGE_PX + 1, max(0, x - EDGE_PX) : x + EDGE_PX + 1] = False
    return dark


def score_rows(done: Processed, injected: Injected) -> list[Row]:
    """Mean and width of the score where the truth holds no light, whole and in the worst of the tiles."""
    score, dark = done.difference.difference.score, empty_sky(done, injected)
    ny, nx = score.shape
    tiles = [
        score[rows, cols][dark[rows, cols]]
        for rows in (slice(k * ny // TILES, (k + 1) * ny // TILES) for k in range(TILES))
        for cols in (slice(k * nx // TILES, (k + 1) * nx // TILES) for k in range(TILES))
    ]
    area = 4 * np.pi * (done.case.fwhm / 2.355) ** 2  # pixels that share their noise
    values = score[dark].astype(np.float64)
    values = values[np.abs(values) < 5]
    name, error = done.case.name, np.sqrt(area / max(values.size, 1))
    widths = np.array([central_width(tile) for tile in tiles if tile.size > 3000])
    means = np.array([tile[np.abs(tile) < 5].mean() for tile in tiles if tile.size > 3000])
    tile_error = error * np.sqrt(max(len(widths), 1))
    return [
        Row("score on empty sky, mean", name, float(values.mean()), error, 0, -0.02, 0.02, values.size),
        Row(
            "score on empty sky, width", name, central_width(values), 0.83 * error, 1, 0.98, 1.02, values.size
        ),
        _worst("score on empty sky, mean of worst tile", name, means, 0.0, tile_error),
        _worst("score on empty sky, width of worst tile", name, widths, 1.0, 0.83 * tile_error),
    ]


def bare_sky(variance: NDArray[np.float32]) -> NDArray[np.float32]:
    """Expected variance of the sky alone: a plane through the least of it in cells."""
    ny, nx = (n // CELL for n in variance.shape)
    cells = variance[: ny * CELL, : nx * CELL].reshape(ny, CELL, nx, CELL)
    least = np.percentile(cells.transpose(0, 2, 1, 3).reshape(ny, nx, -1), 1, axis=2)
    rows, cols = np.indices(least.shape) * CELL + CELL / 2
    design = np.stack([np.ones(least.size), cols.ravel(), rows.ravel()], axis=1)
    kept = np.ones(least.size, bool)
    for _ in range(5):  # cells in the wings of bright stars lie above
        plane = np.linalg.lstsq(design[kept], least.ravel()[kept], rcond=None)[0]
        above = least.ravel() - design @ plane
        kept = above < 2 * max(np.sqrt(np.mean(above[kept] ** 2)), 1e-6)
    y, x = np.arange(variance.shape[0])[:, None], np.arange(variance.shape[1])[None, :]
    return (plane[0] + plane[1] * x + plane[2] * y).astype(np.float32)


def _worst(label: str, sky: str, values: NDArray[np.float64], target: float, error: float) -> Row:
    worst = float(values[np.argmax(np.abs(values - target))]) if values.size else float("nan")
    return Row(label, sky, worst, error, target, target - 0.02, target + 0.02, values.size)


def star_score_rows(done: Processed, injected: Injected) -> list[Row]:
    """Constant bright stars whose score stays within 5 sigma."""
    truth, score = done.science.simulated.truth, done.difference.difference.score
    x, y = np.asarray(truth["x"]), np.asarray(truth["y"])
    bright = (truth["kind"] == "star") & (truth["snr"] > 100) & ~truth["saturated"]
    changed = matched(x, y, (injected.x, injected.y), 5.0) >= 0
    ny, nx = score.shape
    inside = (x > EDGE_PX) & (x < nx - EDGE_PX) & (y > EDGE_PX) & (y < ny - EDGE_PX)
    chosen = np.asarray(bright) & inside & ~changed
    peak = maximum_filter(np.nan_to_num(np.abs(score)), 3)
    values = peak[np.rint(y[chosen]).astype(int), np.rint(x[chosen]).astype(int)]
    n = int(chosen.sum())
    share = float((values < 5).mean()) if n else float("nan")
    error = np.sqrt(max(share * (1 - share), 0.01) / n) if n else 0.0
    return [Row("stars S/N > 100 with score < 5, fraction", done.case.name, share, error, 1, low=0.99, n=n)]


def swap_rows(done: Processed) -> list[Row]:
    """Largest departure of difference and score from the opposite sign when the images are swapped.

    Away from defects; the score where nothing has changed, since the noise
    of registration follows the image that is moved, and without that of interpolation.
    """
    settings = replace(Settings().difference.subtract, curvature=0.0)
    images = done.science.result.exposure, done.template
    found = [subtract(a, b, settings, done.science.result.measured.stars) for a, b in (images, images[::-1])]
    defect = is_defect(found[0].exposure.mask) | is_defect(found[1].exposure.mask)
    clean = maximum_filter(defect, 2 * SWAP_PX + 1) == 0
    pulls = [one.exposure.data[clean] / np.sqrt(one.exposure.variance[clean]) for one in found]
    still = clean & (np.abs(found[0].score) < 5)
    scores = [one.score[still] for one in found]
    return [
        Row(f"images swapped, {what} off the opposite, largest, in noises", done.case.name,
            float(np.abs(one + two).max()), bound=0.0, high=0.5, n=one.size)
        for what, (one, two) in (("difference", pulls), ("score", scores))
    ]  # fmt: skip


def flux_rows(done: Processed, injected: Injected) -> list[Row]:
    """Flux of candidates that are transients against truth, faint and bright ones apart."""
    found = done.difference.candidates
    name = done.case.name
    rows = []
    for low, high in ((8, 20), (20, 1e9)):
        chosen = (injected.row >= 0) & injected.alone & (injected.snr > low) & (injected.snr <= high)
        flux = np.asarray(found["flux"], dtype=np.float64)[injected.row[chosen]]
        err = np.asarray(found["flux_err"], dtype=np.float64)[injected.row[chosen]]
        pulls = (flux - injected.flux[chosen]) / err
        label = f"transients S/N {low}-{high}, flux" if high < 1e9 else f"transients S/N > {low}, flux"
        good = np.isfinite(pulls) & (np.abs(pulls) < 6)
        if good.sum() >= 8:
            rows.append(
                bias_row(f"{label} bias, %", name, flux[good], injected.flux[chosen][good], err[good])
            )
            rows += pull_rows(label, name, pulls[np.isfinite(pulls)], (0.05, 0.03))
    return rows


def bias_row(label: str, sky: str, flux: np.ndarray, true: np.ndarray, err: np.ndarray) -> Row:
    """Slope of measured against true flux, less 1."""
    weight = float((true**2 / err**2).sum())
    bias = 100 * (float((flux * true / err**2).sum()) / weight - 1)
    return Row(label, sky, bias, 100 / np.sqrt(weight), 0, -0.5, 0.5, len(flux))


def completeness_rows(sky: str, parts: list[Injected]) -> list[Row]:
    """Depth of candidates against the ideal one, on empty sky and on galaxies; alerts at S/N 8 and more."""
    snr = np.concatenate([part.snr[part.alone] for part in parts])
    host = np.concatenate([part.host[part.alone] for part in parts])
    seen = np.concatenate([(part.row >= 0)[part.alone] for part in parts])
    alert = np.concatenate([part.is_alert[part.alone] for part in parts])
    rows = []
    for label, chosen, goal in (("sky", host == "empty", 0.05), ("galaxies", host != "empty", 0.15)):
        if chosen.sum() > 50:
            loss, error = depth_loss(snr[chosen], seen[chosen])
            row = Row(f"depth lost on {label}, mag", sky, loss, error, 0, high=goal, n=int(chosen.sum()))
            rows.append(row)
    good = snr >= 8
    share, n = float(alert[good].mean()), int(good.sum())
    error = np.sqrt(max(share * (1 - share), 0.005) / n)
    return [*rows, Row("transients S/N >= 8 that are alerts, fraction", sky, share, error, 1, low=0.95, n=n)]


def depth_loss(snr: NDArray[np.float64], seen: NDArray[np.bool_]) -> tuple[float, float]:
    """Magnitudes by which 50 % completeness falls short of ideal S/N 5, with its error.

    Mean posterior threshold of a normal distribution of width 1: an ideal search has it at 5. 2 % of the
    transients may be missed, and 1 % found, for reasons that have nothing to do with their S/N.
    """
    grid = np.linspace(3.5, 9.0, 1101)
    chance = 0.01 + 0.97 * norm.cdf(snr[:, None] - grid)
    likelihood = np.where(seen[:, None], np.log(chance), np.log1p(-chance)).sum(axis=0)
    weight = np.exp(likelihood - likelihood.max())
    weight /= weight.sum()
    mean = float((weight * grid).sum())
    sigma = float(np.sqrt((weight * (grid - mean) ** 2).sum()))
    return 2.5 * np.log10(mean / 5), 1.086 * sigma / mean
