"""Transients placed on a sky: on empty sky, on galaxies, on their nuclei and on stars; of both signs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table, vstack
from numpy.typing import ArrayLike, NDArray

from zsds.core.tables import new_table
from zsds.sim.sky import MAGS, Region, Sky, offset_position

HOSTS = ("empty", "galaxy", "nucleus", "star")


@dataclass(frozen=True)
class TransientSettings:
    """Where transients sit and how they behave.

    Parameters
    ----------
    host_shares : tuple of float
        Shares of `HOSTS`.
    faded_fraction : float
        Bright before ``start_mjd`` and gone after it.
    steps : bool
        True: constant from the start (or gone at the start). False: supernova-like rise and fall.
    host_mag_range : tuple of float
        Galaxies and stars of these r magnitudes may be hosts.
    """

    host_shares: tuple[float, float, float, float] = (0.4, 0.3, 0.15, 0.15)
    faded_fraction: float = 0.25
    steps: bool = False
    host_mag_range: tuple[float, float] = (15.0, 20.5)


def with_transients(
    sky: Sky,
    region: Region,
    mags: ArrayLike,
    start_mjd: float,
    rng: np.random.Generator,
    settings: TransientSettings | None = None,
) -> Sky:
    """Copy of a sky with one transient for each of ``mags`` (AB at its brightest, same in all bands)."""
    settings = settings or TransientSettings()
    mags = np.atleast_1d(np.asarray(mags, dtype=np.float64))
    n = mags.size
    table = new_table("truth_transients", n)
    table["id"] = len(sky.transients) + np.arange(n)
    for band in MAGS:
        table[band] = mags
    host = rng.choice(HOSTS, n, p=np.array(settings.host_shares) / np.sum(settings.host_shares))
    ra, dec = region.scatter(n, rng)
    table["ra"], table["dec"], table["host_id"] = ra, dec, -1
    table["host"] = "empty"
    for kind in HOSTS[1:]:
        hosts = _hosts(sky, region, kind, settings.host_mag_range)
        _put_on(table, np.flatnonzero(host == kind), kind, hosts, rng)
    faded = rng.random(n) < settings.faded_fraction
    table["form"] = np.where(faded, "faded", "step" if settings.steps else "supernova")
    table["start_mjd"] = start_mjd
    table["rise_days"] = np.where(faded | settings.steps, 0, rng.uniform(2, 15, n))
    table["fall_days"] = np.where(faded, 0.02, 30.0)
    return replace(sky, transients=vstack([sky.transients, table]))


def _hosts(sky: Sky, region: Region, kind: str, mag_range: Sequence[float]) -> Table:
    """Stars or galaxies of the region that may carry a transient of this kind and do not yet."""
    hosts = sky.stars if kind == "star" else sky.galaxies
    mags = np.asarray(hosts["r"])
    usable = (mags > mag_range[0]) & (mags < mag_range[1]) & region.contains(hosts["ra"], hosts["dec"])
    taken = sky.transients["host_id"][sky.transients["host"] == kind]
    return hosts[usable & ~np.isin(hosts["id"], taken)]


def _put_on(table: Table, rows: NDArray[np.int64], kind: str, hosts: Table, rng: np.random.Generator) -> None:
    """Move some transients onto hosts of one kind, each host used once; the rest stay on empty sky."""
    rows = rows[: len(hosts)]
    chosen = hosts[rng.choice(len(hosts), rows.size, replace=False)] if rows.size else hosts[:0]
    ra, dec = np.asarray(chosen["ra"], dtype=float), np.asarray(chosen["dec"], dtype=float)
    if kind == "galaxy":
        size = chosen["half_light_arcsec"] * rng.uniform(0.4, 1.6, rows.size) / 3600
        angle = rng.uniform(0, 2 * np.pi, rows.size)
        ra, dec = offset_position(ra, dec, size * np.sin(angle), size * np.cos(angle))
    table["ra"][rows], table["dec"][rows] = ra, dec
    table["host"][rows] = kind
    table["host_id"][rows] = chosen["id"]
