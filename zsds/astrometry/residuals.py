"""Residuals of an astrometric solution, by star, magnitude and place in the image."""

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from zsds.astrometry.fit import Fit
from zsds.core.robust import mad_width
from zsds.core.sphere import project
from zsds.core.tables import new_table


def match_table(
    wcs: WCS,
    rows: NDArray[np.int64],
    pixels: NDArray[np.float64],
    reference: Table,
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
    fit: Fit,
) -> Table:
    """Table "astrometry_matches" of n stars and their reference stars, with residuals from the WCS itself."""
    table = new_table("astrometry_matches", len(rows))
    world = wcs.all_pix2world(pixels, 0)
    ra0, dec0 = wcs.wcs.crval
    residuals = project(world[:, 0], world[:, 1], ra0, dec0) - project(ra, dec, ra0, dec0)
    table["star"][:], table["x"][:], table["y"][:] = rows, *pixels.T
    table["ra"][:], table["dec"][:] = ra, dec
    table["source_id"][:] = _column(reference, "source_id", -1)
    table["mag"][:] = _column(reference, "phot_g_mean_mag", np.nan)
    table["residual_ra"][:], table["residual_dec"][:] = residuals.T
    table["sigma"][:], table["used"][:] = fit.sigma, fit.used
    return table


def _column(table: Table, name: str, missing: float) -> NDArray[np.generic]:
    if name not in table.colnames:
        return np.full(len(table), missing)
    return np.ma.filled(np.ma.asarray(table[name]), missing)


def residual_metrics(matches: Table, shape: tuple[int, int]) -> dict[str, float]:
    """Medians and robust scatter of residuals by magnitude and by cell of 3 x 3.

    Parameters
    ----------
    matches : Table
        "astrometry_matches"; rows not used in the fit are left out.
    shape : tuple of int
        (ny, nx).

    Returns
    -------
    dict of str to float
        ``mag14_n``, ``mag14_rms``, … for magnitudes 14 to 15, and ``cell_r_c_n``, ``_ra``, ``_dec`` (medians)
        and ``_rms`` (both axes), arcsec, with row r and column c of the cell from 0.
    """
    used = matches[matches["used"]]
    metrics: dict[str, float] = {}
    mags = np.floor(np.nan_to_num(np.asarray(used["mag"], float), nan=-99))
    for mag in np.unique(mags[mags > -99]):
        group = used[mags == mag]
        metrics |= {f"mag{mag:.0f}_n": len(group), f"mag{mag:.0f}_rms": _scatter(group)}
    ny, nx = shape
    column = np.clip((np.asarray(used["x"]) + 0.5) * 3 // nx, 0, 2)
    row = np.clip((np.asarray(used["y"]) + 0.5) * 3 // ny, 0, 2)
    for r in range(3):
        for c in range(3):
            group = used[(row == r) & (column == c)]
            metrics[f"cell_{r}_{c}_n"] = len(group)
            if len(group):
                metrics[f"cell_{r}_{c}_ra"] = float(np.median(group["residual_ra"]))
                metrics[f"cell_{r}_{c}_dec"] = float(np.median(group["residual_dec"]))
                metrics[f"cell_{r}_{c}_rms"] = _scatter(group)
    return metrics


def uncovered_cells(
    catalog: NDArray[np.float64],
    stars: NDArray[np.float64],
    matched_fraction: float,
    shape: tuple[int, int],
    chance: float = 1e-4,
) -> int:
    """How many cells of 3 x 3 show stars where the catalog has none: it does not cover them.

    Parameters
    ----------
    catalog, stars : ndarray [n, 2]
        Pixel positions (x, y) of catalog entries, in the image or not, and of the stars found.
    matched_fraction : float
        Of the stars found anywhere; were it the same here, ``chance`` is the largest probability that all
        stars of an uncovered cell have no counterpart.
    shape : tuple of int
        (ny, nx).
    """
    known, found = (_cell_counts(points, shape) for points in (catalog, stars))
    return int(np.sum((known == 0) & ((1 - matched_fraction) ** found < chance)))


def catalog_gaps(wcs: WCS, catalog: Table, stars: Table, n_matches: int) -> int:
    """`uncovered_cells` of an image of known ``pixel_shape`` from the tables of catalog and stars."""
    known = wcs.wcs_world2pix(np.stack([catalog["ra"], catalog["dec"]], axis=1), 0)
    found = np.stack([stars["x"], stars["y"]], axis=1)
    nx, ny = wcs.pixel_shape
    return uncovered_cells(known, found, n_matches / max(len(stars), 1), (ny, nx))


def _cell_counts(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    ny, nx = shape
    edges = [-0.5, ny - 0.5], [-0.5, nx - 0.5]
    counts: NDArray[np.float64] = np.histogram2d(points[:, 1], points[:, 0], bins=3, range=edges)[0]
    return counts


def _scatter(group: Table) -> float:
    """Robust scatter per axis about zero, arcsec."""
    both = np.concatenate([group["residual_ra"], group["residual_dec"]])
    return mad_width(both, 0.0)
