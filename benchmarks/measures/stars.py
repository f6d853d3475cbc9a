"""Rows about stars of the science exposure: PSF, positions, fluxes, zero point."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import norm

from benchmarks.measures.psf import psf_rows
from benchmarks.measures.psf_stamps import APERTURE_PX, fitted_star, middle, overlap, psf_slopes
from benchmarks.measures.skies import Calibrated, Processed, matched
from benchmarks.rows import Row, pull_rows
from zsds.core.flags import is_defect
from zsds.core.robust import central_width

SCALE_ARCSEC = 1.01
SKY_SHARE = 0.01  # sky variance over the flux of the stars that tell the scale of PSF fluxes, per pixel
BRIGHT_SNR = 250  # noise of 4 mmag


@dataclass(frozen=True)
class TrueStars:
    """Measured stars beside their truth, row by row: isolated, unsaturated, off edges and defects."""

    stars: Table
    apertures: Table
    truth: Table


def star_rows(one: Calibrated) -> list[Row]:
    """All rows about stars of one sky."""
    pairs = true_stars(one)
    ra, dec = one.result.exposure.wcs.all_pix2world(pairs.stars["x"], pairs.stars["y"], 0)
    return [
        *psf_rows(one, one.result.exposure.psf, pairs.truth),
        *astrometry_rows(one, pairs.truth, ra, dec),
        *photometry_rows(one, pairs),
        *zero_point_rows(one),
    ]


def true_stars(one: Calibrated) -> TrueStars:
    """Stars that are measured alone: no source of 3 % of their flux lies within 3 FWHM."""
    truth = one.simulated.truth
    stars = one.result.measured.stars
    row = matched(stars["x"], stars["y"], (np.asarray(truth["x"]), np.asarray(truth["y"])), 1.0)
    alone = _alone(truth, 3 * one.case.fwhm)
    clean = ~is_defect(np.asarray(stars["flags"]).astype(np.uint32)) & ~np.asarray(stars["is_edge"])
    good = (row >= 0) & clean & alone[row] & ~truth["saturated"][row] & (truth["kind"][row] == "star")
    return TrueStars(stars[good], one.result.measured.apertures[good], truth[row[good]])


def _alone(truth: Table, reach: float) -> NDArray[np.bool_]:
    places = np.transpose([truth["x"], truth["y"]])
    flux = np.asarray(truth["flux"])
    alone = np.ones(len(truth), dtype=bool)
    for first, second in cKDTree(places).query_pairs(reach, output_type="ndarray"):
        alone[first] &= flux[second] < 0.03 * flux[first]
        alone[second] &= flux[first] < 0.03 * flux[second]
    return alone


def astrometry_rows(
    one: Calibrated, truth: Table, ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> list[Row]:
    """Positions against truth, per axis: bright ones in mas, faint ones over two limits.

    The first limit is FWHM / (2.355 S/N) and 8 mas in quadrature, the second has the Cramer-Rao bound of the
    true PSF and noise instead; sky noise puts the bound sqrt(2) above the first for a Gaussian PSF.
    """
    off = 1000 * 3600 * np.stack(_offsets(truth, ra, dec))
    snr = np.asarray(truth["snr"])
    bound = 1000 * SCALE_ARCSEC * np.stack(position_bounds(one, truth))
    rows = []
    bright, faint = snr > 100, (snr > 10) & (snr < 30)
    if bright.sum() > 5:
        name, there = "stars S/N > 100, position", bound[:, bright]
        rows.append(_spread(f"{name}, mas per axis", one, off[:, bright], _two_thirds(there), 10.0))
        rows.append(_spread(f"{name} over Cramer-Rao", one, off[:, bright] / there, 1.0, 1.15))
    if faint.sum() > 5:
        simple = np.hypot(1000 * SCALE_ARCSEC * one.case.fwhm / (2.355 * snr[faint]), 8.0)
        least = float(np.median(np.hypot(bound[:, faint], 8.0) / simple))
        name = "stars S/N 10-30, position over"
        rows.append(_spread(f"{name} simple limit", one, off[:, faint] / simple, least, 1.15))
        ratio = off[:, faint] / np.hypot(bound[:, faint], 8.0)
        rows.append(_spread(f"{name} Cramer-Rao", one, ratio, 1.0, 1.15))
    return rows


def _two_thirds(sigmas: NDArray[np.float64]) -> float:
    """68.27th percentile of absolute values of normal deviates of these widths, one of each."""
    deviates = norm.ppf(0.5 + (np.arange(200) + 0.5) / 400)
    return float(np.percentile(np.outer(sigmas, deviates), 68.27))


def position_bounds(one: Calibrated, truth: Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cramer-Rao bounds of x and y in pixels: 1 / sqrt(sum of (flux dPSF/dx)^2 / variance)."""
    exposure = one.simulated.exposure
    bounds = []
    for row in truth:
        x, y = float(row["x"]), float(row["y"])
        dx, dy = x - round(x), y - round(y)
        parts = [overlap(exposure.variance, slope, x, y) for slope in psf_slopes(exposure.psf, x, y, dx, dy)]
        information = [float((part.astype(np.float64) ** 2 / v).sum()) for v, part in parts]
        bounds.append(1 / (float(row["flux"]) * np.sqrt(information)))
    x_bound, y_bound = np.array(bounds).reshape(-1, 2).T
    return x_bound, y_bound


def _offsets(
    truth: Table, ra: NDArray[np.float64], dec: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """East and north of the truth, degrees."""
    true_dec = np.asarray(truth["dec"])
    return (ra - np.asarray(truth["ra"])) * np.cos(np.radians(true_dec)), dec - true_dec


def _spread(name: str, one: Calibrated, off: NDArray[np.float64], bound: float, goal: float) -> Row:
    """68.27th percentile of absolute values, which is 1 sigma about zero."""
    value, n = float(np.percentile(np.abs(off), 68.27)), off.size
    return Row(name, one.case.name, value, 0.9 * value / np.sqrt(n), bound, high=goal, n=n)


def photometry_rows(one: Calibrated, pairs: TrueStars) -> list[Row]:
    """PSF fluxes and apertures against truth; pulls by the ideal signal-to-noise ratio."""
    rows = flux_rows(one.case.name, flux_pulls(one, pairs))
    bright = np.asarray(pairs.truth["snr"]) > BRIGHT_SNR
    if bright.sum() > 5:
        rows += _bright_rows(one, pairs, bright)
    return rows


def flux_pulls(one: Calibrated, pairs: TrueStars, epoch: int = 0) -> NDArray[np.float64]:
    """Of each star [n, 4]: pull, ideal S/N, part of its error that is the PSF's, number of the image."""
    flux, true = np.asarray(pairs.stars["flux"]), light_in_stamp(one) * np.asarray(pairs.truth["flux"])
    noise = flux / pairs.stars["snr"] / pairs.stars["flux_err"]
    image = np.full(flux.size, 100 * one.case.seed + epoch)
    pull = (flux - true) / pairs.stars["flux_err"]
    return np.column_stack([pull, pairs.truth["snr"], np.sqrt(np.maximum(1 - noise**2, 0)), image])


def flux_rows(sky: str, pulls: NDArray[np.float64]) -> list[Row]:
    """Pulls of star fluxes by S/N; all stars of an image share the error of its PSF."""
    rows = []
    for low, high in ((10, 30), (30, 100), (100, np.inf)):
        chosen = (pulls[:, 1] >= low) & (pulls[:, 1] < high)
        label = f"star flux, S/N {low}-{high}" if np.isfinite(high) else f"star flux, S/N > {low}"
        _, image = np.unique(pulls[chosen, 3], return_inverse=True)
        together = np.bincount(image, weights=pulls[chosen, 2])
        shared = float(np.sqrt(np.sum(together**2)) / max(chosen.sum(), 1))
        rows += pull_rows(label, sky, pulls[chosen, 0], (0.02, 0.05), shared)
    return rows


def all_flux_pulls(done: Processed) -> NDArray[np.float64]:
    """The same of all epochs of a sky, one below the other."""
    images = enumerate((*done.references, done.science))
    return np.concatenate([flux_pulls(one, true_stars(one), k) for k, one in images])


def _bright_rows(one: Calibrated, pairs: TrueStars, bright: NDArray[np.bool_]) -> list[Row]:
    truth, n, sky = pairs.truth[bright], int(bright.sum()), one.case.name
    true = light_in_stamp(one) * np.asarray(truth["flux"])
    off = -2500 * np.log10(np.asarray(pairs.stars["flux"])[bright] / true)
    expected = np.asarray(truth["flux"]) * _enclosed(one, truth)
    aperture = -2500 * np.log10(np.maximum(np.asarray(pairs.apertures["flux_14"])[bright] / expected, 1e-3))
    bound = float(np.median(1085.7 / np.asarray(truth["snr"])))
    scatter, error = central_width(off), 1.25 * central_width(off) / np.sqrt(n)
    other = 1.25 * central_width(aperture) / np.sqrt(n)
    return [
        Row(
            f"stars S/N > {BRIGHT_SNR}, PSF flux scatter, mmag",
            sky,
            scatter,
            error / 1.5,
            bound,
            high=5.0,
            n=n,
        ),
        Row(
            f"stars S/N > {BRIGHT_SNR}, PSF flux offset, mmag", sky, float(np.median(off)), error, 0, -3, 3, n
        ),
        Row(
            f"stars S/N > {BRIGHT_SNR}, aperture offset, mmag",
            sky,
            float(np.median(aperture)),
            other,
            0,
            -3,
            3,
            n,
        ),
    ]


def light_in_stamp(one: Calibrated) -> float:
    """Share of a star's light that the model's stamp holds, which is what its fluxes mean by all light."""
    true, size = one.simulated.exposure.psf, one.result.exposure.psf.size
    ny, nx = one.result.exposure.shape
    stamp = true.at(nx / 2, ny / 2).astype(np.float64)
    offset = np.arange(true.size) - true.size // 2
    radius = np.hypot(offset[:, None], offset[None, :]) / (size / 2)
    taper = np.cos(np.pi / 2 * np.clip((radius - 0.85) / 0.15, 0, 1)) ** 2  # as the model ends
    return float((stamp * taper).sum())


def psf_scale(one: Calibrated, n: int = 60) -> float:
    """Mean flux, relative to the truth, that the PSF model's fit gives stars of the light in its stamp.

    Without noise, for bright stars (weights of the model's own light) at random places.
    """
    ny, nx = one.result.exposure.shape
    rng = np.random.default_rng(6)
    model, true = one.result.exposure.psf, one.simulated.exposure.psf
    half = min(true.size, model.size) // 2
    scales = []
    for x, y in rng.uniform(10, (nx - 10, ny - 10), (n, 2)):
        shift = rng.uniform(-0.5, 0.5, 2)
        star = middle(true.at(x, y, *shift), half)
        weight = 1 / (SKY_SHARE + np.maximum(middle(model.at(x, y, *shift), half), 0))
        scales.append(fitted_star(star, model, (x, y), shift, weight).sum())
    return float(np.mean(scales)) / light_in_stamp(one)


def true_zero_point(one: Calibrated) -> float:
    """Zero point, mag, of fluxes that are the light in the model's stamp."""
    return one.simulated.exposure.zero_point.value + 2.5 * float(np.log10(light_in_stamp(one)))


def _enclosed(one: Calibrated, truth: Table) -> NDArray[np.float64]:
    """Part of a star's flux that truly falls into the largest aperture."""
    psf = one.simulated.exposure.psf
    half = psf.size // 2
    rows, cols = np.mgrid[-half : half + 1, -half : half + 1]
    parts = []
    for row in truth:
        x, y = float(row["x"]), float(row["y"])
        dx, dy = x - round(x), y - round(y)
        share = np.clip(APERTURE_PX + 0.5 - np.hypot(cols - dx, rows - dy), 0, 1)
        parts.append(float((psf.at(x, y, dx, dy) * share).sum()))
    return np.array(parts)


def zero_point_rows(one: Calibrated) -> list[Row]:
    """Zero point and colour term of the science exposure."""
    found, true = one.result.exposure.zero_point, one.simulated.exposure.zero_point
    sky, n = one.case.name, found.n_stars
    off, colour = 1000 * (found.value - true_zero_point(one)), 1000 * (found.colour_coeff - true.colour_coeff)
    return [
        Row("zero point, mmag", sky, off, 1000 * found.err, 0, -2, 2, n),
        Row("colour term, mmag/mag", sky, colour, 1000 * found.colour_err, 0, -5, 5, n),
    ]


def zero_point_pulls(done: Processed) -> list[tuple[float, float, float]]:
    """Pulls of the zero points of all epochs, of those of its own PSF fluxes, and of the colour terms.

    The second takes the scale of the PSF fluxes off the zero point: what is left is the fit to the catalog.
    """
    pulls = []
    for one in (*done.references, done.science):
        found, true = one.result.exposure.zero_point, one.simulated.exposure.zero_point
        off = found.value - true_zero_point(one)
        own = off - 2.5 * np.log10(psf_scale(one))
        colour = (found.colour_coeff - true.colour_coeff) / found.colour_err
        pulls.append((off / found.err, own / found.err, colour))
    return pulls
