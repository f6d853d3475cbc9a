"""The reference catalogs that astronomers would have of a simulated sky, with their errors."""

import numpy as np
import pyarrow as pa
from astropy.table import Table

from zsds.sim.sky import DAYS_PER_YEAR, EPOCH_MJD, MAGS, Sky, star_positions

GAIA_LIMIT = 20.7
PS1_LIMITS = {"g": 22.5, "r": 22.3, "i": 22.0, "z": 21.5}
PS1_EPOCH_MJD = EPOCH_MJD - 3 * DAYS_PER_YEAR


def gaia_catalog(sky: Sky, rng: np.random.Generator) -> Table:
    """Stars down to G = 20.7 at epoch 2016.0; the faintest ones lack motions now and then."""
    stars = sky.stars[sky.stars["gaia_g"] < GAIA_LIMIT]
    n = len(stars)
    g = np.asarray(stars["gaia_g"])
    error = 0.02 + 0.5 * 10 ** (0.28 * (g - 20))  # mas
    cos_dec = np.cos(np.radians(stars["dec"]))
    lost = (g > 19.5) & (rng.random(n) < 0.1)
    table = Table()
    table["source_id"] = _ids(n, rng)
    table["ra"] = stars["ra"] + rng.normal(0, 1, n) * error / 3.6e6 / cos_dec
    table["dec"] = stars["dec"] + rng.normal(0, 1, n) * error / 3.6e6
    table["ra_error"] = error.astype(np.float32)
    table["dec_error"] = error.astype(np.float32)
    for name in ("pmra", "pmdec", "parallax"):
        table[name] = np.where(lost, np.nan, stars[name] + rng.normal(0, 1, n) * error)
    table["ref_epoch"] = np.full(n, 2016.0)
    table["phot_g_mean_mag"] = (g + rng.normal(0, 0.003, n)).astype(np.float32)
    colour = stars["bp_rp"] + rng.normal(0, 1, n) * 0.01 * 10 ** (0.2 * np.maximum(g - 15, 0))
    table["bp_rp"] = colour.astype(np.float32)
    return table


def ps1_catalog(sky: Sky, rng: np.random.Generator) -> Table:
    """Stars and galaxies with PSF magnitudes and a star/galaxy score that gets unsure when faint."""
    ra, dec = star_positions(sky.stars, PS1_EPOCH_MJD)
    n_stars, n = len(ra), len(ra) + len(sky.galaxies)
    is_star = np.arange(n) < n_stars
    table = Table()
    table["objid"] = _ids(n, rng)
    scatter = 0.012 / 3600
    table["dec"] = np.concatenate([dec, sky.galaxies["dec"]]) + rng.normal(0, scatter, n)
    right = np.concatenate([ra, sky.galaxies["ra"]])
    table["ra"] = right + rng.normal(0, scatter, n) / np.cos(np.radians(table["dec"]))
    extended = np.where(is_star, 0, 0.35)
    for band in MAGS:
        true = np.concatenate([sky.stars[band], sky.galaxies[band]]) + extended
        error = np.hypot(0.008, 0.15 * 10 ** (0.4 * (true - PS1_LIMITS[band])))
        seen = (true < PS1_LIMITS[band]) & (rng.random(n) > 0.01)
        table[band] = np.where(seen, true + rng.normal(0, 1, n) * error, np.nan).astype(np.float32)
        table[f"{band}_err"] = np.where(seen, error, np.nan).astype(np.float32)
    faint = np.clip((np.nan_to_num(np.asarray(table["r"]), nan=22.0) - 20) / 2, 0, 1)
    sure = np.where(is_star, rng.beta(30, 1, n), rng.beta(1, 20, n))
    table["sgscore"] = ((1 - 0.7 * faint) * sure + 0.7 * faint * rng.beta(2, 2, n)).astype(np.float32)
    order = ["objid", "ra", "dec", *MAGS, *(f"{band}_err" for band in MAGS), "sgscore"]
    found = np.any([np.isfinite(table[band]) for band in MAGS], axis=0)
    return table[order][found]


def orbits_catalog(asteroids: Table, rng: np.random.Generator) -> Table:
    """The known asteroids, with mean anomalies off by some tenths of an arcsecond."""
    known = asteroids[np.asarray(asteroids["known"], dtype=bool)]
    names = ("name", "epoch_mjd", "a", "e", "incl", "node", "peri", "mean_anomaly", "H", "G")
    table = known[list(names)].copy()
    table["mean_anomaly"] = np.mod(table["mean_anomaly"] + rng.normal(0, 5e-5, len(table)), 360.0)
    return table


def arrow_table(table: Table) -> pa.Table:
    """The same columns for a Parquet file."""
    return pa.table({name: np.asarray(table[name]).tolist() if table[name].dtype.kind == "U"
                     else np.asarray(table[name]) for name in table.colnames})  # fmt: skip


def _ids(n: int, rng: np.random.Generator) -> np.ndarray:
    return (
        np.sort(rng.choice(2**53, n, replace=False)).astype(np.int64) + 10**16 if n else np.zeros(0, np.int64)
    )
