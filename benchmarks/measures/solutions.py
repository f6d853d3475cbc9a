"""How often the astrometric solution fails, and how often it is wrong without saying so.

Run it with ``python -m benchmarks.measures.solutions``: star lists, some 0.5 s each.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import typer
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.rows import Row, format_table
from zsds.astrometry import fit_astrometry
from zsds.core.errors import UnusableData
from zsds.core.psf import FWHM_PER_SIGMA
from zsds.pipeline.science import ScienceSettings, check_astrometry
from zsds.sim import SkySettings, frame_region, frame_wcs, make_sky, star_positions
from zsds.sim.catalogs import gaia_catalog

WRONG_ARCSEC = 1.0  # off by more anywhere on the image
MJD = 58800.25
SCALE_ARCSEC = 1.01
LIMIT_FLUX, LIMIT_SNR = 400.0, 5.0  # electrons of the faintest star found, and its signal-to-noise ratio
FULL_WELL = 350_000.0  # electrons in a pixel
LARGEST_CATALOG = 150_000  # entries over a quadrant


@dataclass(frozen=True)
class Draw:
    """What is particular to one sky; sizes in pixels, angles in degrees.

    Parameters
    ----------
    n_stars : int
        Detected on the image.
    depth : float
        Catalog entries per detected star, before half of them are struck out.
    """

    shape: tuple[int, int]
    n_stars: int
    depth: float
    fwhm: float
    ra: float
    dec: float
    shift_arcsec: float
    rotation_deg: float
    scale_ratio: float
    distortion_px: float
    mirrored: bool


@dataclass(frozen=True)
class StarList:
    """Detections and a catalog, the nominal coordinates, and the true ones."""

    draw: Draw
    stars: Table
    gaia: Table
    guess: WCS
    true: WCS


@dataclass(frozen=True)
class Outcome:
    """Largest distance from the truth over the image, arcsec; infinite where there is no solution."""

    seed: int
    draw: Draw
    worst_arcsec: float
    reason: str = ""


def drawn(rng: np.random.Generator) -> Draw:
    """A sky within what is promised; one in ten in an orientation that the camera file does not know."""
    full = rng.random() < 0.6
    shape = (3080, 3072) if full else (int(rng.integers(400, 1200)), int(rng.integers(400, 1200)))
    n_stars = int(10 ** rng.uniform(2, np.log10(40_000 if full else 3000)))
    turned = rng.random() < 0.1
    return Draw(
        shape,
        n_stars,
        depth=min(10 ** rng.uniform(-0.2, 1), max(1.0, LARGEST_CATALOG / n_stars)),
        fwhm=rng.uniform(1.2, 4.0),
        ra=rng.uniform(0, 360),
        dec=float(np.degrees(np.arcsin(rng.uniform(-0.999, 0.999)))),
        shift_arcsec=180 * np.sqrt(rng.random()),
        rotation_deg=rng.uniform(-180, 180) if turned else rng.uniform(-1, 1),
        scale_ratio=1 + rng.uniform(-0.005, 0.005),
        distortion_px=rng.uniform(-6, 6),
        mirrored=bool(turned and rng.random() < 0.5),
    )


def star_list(draw: Draw, rng: np.random.Generator) -> StarList:
    """Detections of a sky: noisy, blended, a third of them false; a catalog that lacks half of the stars."""
    scale = SCALE_ARCSEC * draw.scale_ratio
    distortion = draw.distortion_px * max(draw.shape) / 3080
    true = frame_wcs(
        draw.shape, draw.ra, draw.dec, scale, draw.rotation_deg, distortion, mirrored=draw.mirrored
    )
    half = max(draw.shape) * SCALE_ARCSEC / 7200
    region = frame_region(true, draw.shape, 1 + (0.1 + 0.02 * half) / half)
    crowd = max(1.0, draw.depth) * region.area_sq_deg / (draw.shape[0] * draw.shape[1] * (scale / 3600) ** 2)
    settings = SkySettings(faintest_mag=20.5, fast_movers=0.002)
    sky = make_sky(region, rng, settings, int(draw.n_stars * crowd), 0)
    stars = _detections(sky.stars, true, draw, rng)
    listed = np.argsort(sky.stars["r"])[: int(np.ceil(min(1.0, draw.depth) * len(sky.stars)))]
    gaia = gaia_catalog(replace(sky, stars=sky.stars[listed]), rng)
    gaia = gaia[rng.random(len(gaia)) < 0.5]
    angle = rng.uniform(0, 2 * np.pi)
    north, east = draw.shift_arcsec / 3600 * np.array([np.cos(angle), np.sin(angle)])
    ra, dec = draw.ra + east / np.cos(np.radians(draw.dec)), np.clip(draw.dec + north, -90, 90)
    guess = frame_wcs(draw.shape, ra, dec, SCALE_ARCSEC)
    return StarList(draw, stars, gaia, guess, true)


def _detections(stars: Table, true: WCS, draw: Draw, rng: np.random.Generator) -> Table:
    """Positions and fluxes with errors, in random order."""
    ny, nx = draw.shape
    ra, dec = star_positions(stars, MJD)
    x, y = true.all_world2pix(ra, dec, 0, tolerance=1e-5, quiet=True)
    inside = np.flatnonzero((x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5))
    mag = stars["r"][inside] + rng.normal(0, 0.1, inside.size)
    chosen = np.argsort(mag)[: draw.n_stars]
    places = np.stack([x, y], axis=1)[inside[chosen]]
    flux = LIMIT_FLUX * 10 ** (0.4 * (mag[chosen].max() - np.asarray(mag[chosen])))
    places, flux = _blended(places, flux, 1.3 * draw.fwhm)
    saturated = flux > FULL_WELL * 1.13 * draw.fwhm**2
    seen = ~saturated | (rng.random(flux.size) < 0.7)
    places, flux, saturated = places[seen], flux[seen], saturated[seen]
    noise = draw.fwhm / FWHM_PER_SIGMA * _flux_errors(flux) / flux
    floor = np.where(saturated, 0.3, 0.02)  # pixels
    places = places + np.hypot(noise, floor)[:, None] * rng.normal(size=places.shape)
    wrong, wrong_flux = _false_detections(places, flux, draw.shape, rng)
    flux = np.concatenate([flux, wrong_flux])
    table = Table(np.concatenate([places, wrong]), names=("x", "y"))
    table["flux"], table["flux_err"] = flux, _flux_errors(flux)
    table["x_err"] = table["y_err"] = draw.fwhm / FWHM_PER_SIGMA * _flux_errors(flux) / flux
    return table[rng.permutation(len(table))]


def _flux_errors(flux: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(flux - LIMIT_FLUX + (LIMIT_FLUX / LIMIT_SNR) ** 2)


def _blended(
    places: NDArray[np.float64], flux: NDArray[np.float64], reach: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Stars nearer to each other than ``reach`` are one, at their common centre of light; brightest first."""
    places, flux, lost = places.copy(), flux.copy(), np.zeros(flux.size, bool)
    for bright, faint in np.sort(cKDTree(places).query_pairs(reach, output_type="ndarray"), axis=1):
        if not lost[bright] and not lost[faint]:
            share = flux[faint] / (flux[bright] + flux[faint])
            places[bright] += share * (places[faint] - places[bright])
            flux[bright] += flux[faint]
            lost[faint] = True
    return places[~lost], flux[~lost]


def _false_detections(
    places: NDArray[np.float64], flux: NDArray[np.float64], shape: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half as many as there are stars: half anywhere, a quarter along lines, a quarter round bright stars."""
    size = np.array(shape[::-1])
    n = len(places) // 2
    spread = rng.uniform(-0.5, size - 0.5, (n - 2 * (n // 4), 2))
    ends = rng.uniform(-0.5, size - 0.5, (int(rng.integers(1, 4)), 2, 2))
    line, along = rng.integers(0, len(ends), n // 4), rng.random((n // 4, 1))
    trails = ends[line, 0] + along * (ends[line, 1] - ends[line, 0]) + rng.normal(0, 1, (n // 4, 2))
    hosts = places[rng.integers(0, min(20, len(places)), n // 4)]
    halos = np.clip(hosts + rng.normal(0, 15, (n // 4, 2)), -0.5, size - 0.5)
    return np.concatenate([spread, trails, halos]), rng.choice(flux, n)


def solve(seed: int) -> Outcome:
    """Draw a sky and solve it as the pipeline does."""
    rng = np.random.default_rng([500, seed])
    draw = drawn(rng)
    made = star_list(draw, rng)
    settings = ScienceSettings()
    try:
        found = fit_astrometry(made.stars, made.gaia, made.guess, MJD, settings.astrometry)
        check_astrometry(found, made.stars, made.gaia, settings.quality)
    except UnusableData as error:
        return Outcome(seed, draw, float("inf"), str(error))
    return Outcome(seed, draw, worst_offset(found.wcs, made.true, draw.shape))


def worst_offset(found: WCS, true: WCS, shape: tuple[int, int]) -> float:
    """Largest distance on the sky between two coordinates of an image, its corners included, arcsec."""
    ny, nx = shape
    x, y = np.meshgrid(np.linspace(-0.5, nx - 0.5, 9), np.linspace(-0.5, ny - 0.5, 9))
    (ra, dec), (true_ra, true_dec) = (wcs.all_pix2world(x, y, 0) for wcs in (found, true))
    east = ((ra - true_ra + 180) % 360 - 180) * np.cos(np.radians(true_dec))
    return float(3600 * np.hypot(east, dec - true_dec).max())


def solution_rows(outcomes: Iterable[Outcome]) -> list[Row]:
    """Wrong solutions, failures that are owned up to, and how far the others are off."""
    outcomes = list(outcomes)
    n = len(outcomes)
    worst = np.array([one.worst_arcsec for one in outcomes])
    solved, failed = np.isfinite(worst), int(np.isinf(worst).sum())
    wrong = int((worst[solved] > WRONG_ARCSEC).sum())
    error = 100 * np.sqrt(max(failed, 1)) / n
    return [
        Row(f"wrong solutions of {n}", "lists", wrong, high=0.0, n=n),
        Row("astrometric failures owned up to, %", "lists", 100 * failed / n, error, high=0.5, n=n),
        Row("solutions, 99 % within, arcsec", "lists", float(np.percentile(worst[solved], 99)), n=n),
    ]


def main(
    skies: Annotated[int, typer.Option(help="Number of random skies.")] = 500,
    first: Annotated[int, typer.Option(help="Seed of the first.")] = 0,
) -> None:
    """Count wrong and failed solutions of random skies; each trouble has a line of its own."""
    logging.disable(logging.INFO)
    outcomes = []
    for seed in range(first, first + skies):
        outcomes.append(solve(seed))
        if outcomes[-1].worst_arcsec > WRONG_ARCSEC:
            typer.echo(str(outcomes[-1]))
    typer.echo(format_table(solution_rows(outcomes)))


if __name__ == "__main__":
    typer.run(main)
