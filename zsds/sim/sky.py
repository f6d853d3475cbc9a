"""A synthetic sky: stars, galaxies and transients with what is true of each."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray

from zsds.core.sphere import deproject, project
from zsds.core.tables import new_table

EPOCH_MJD = 57388.5  # 2016.0, the epoch of the stars' positions
DAYS_PER_YEAR = 365.25
MAGS = ("g", "r", "i", "z")


@dataclass(frozen=True)
class SkySettings:
    """How full the sky is.

    Parameters
    ----------
    stars_per_sq_deg : float
        Stars brighter than ``faintest_mag`` in r; 8000 per square degree are about 6000 on a ZTF quadrant.
    brightest_mag, faintest_mag : float
        Range of r magnitudes.
    slope : float
        Of log10(number per magnitude) of the stars.
    galaxies_per_sq_deg : float
    variable_fraction : float
        Of the stars.
    """

    stars_per_sq_deg: float = 8000.0
    brightest_mag: float = 9.0
    faintest_mag: float = 21.5
    slope: float = 0.26
    galaxies_per_sq_deg: float = 1500.0  # brighter than galaxy_faintest_mag
    galaxy_brightest_mag: float = 14.5  # brightest r magnitude of a galaxy
    galaxy_faintest_mag: float = 21.5  # faintest
    galaxy_slope: float = 0.45  # of log10(number per magnitude) of the galaxies
    variable_fraction: float = 0.01
    fast_movers: float = 0.002  # fraction of stars with sixtyfold motion


@dataclass(frozen=True)
class Sky:
    """Tables ``truth_stars``, ``truth_galaxies``, ``truth_transients`` and orbits of moving objects.

    Parameters
    ----------
    stars, galaxies, transients : Table
    orbits : Table, optional
        Columns of the ``orbits`` catalog; None when the sky has no asteroids.
    """

    stars: Table
    galaxies: Table
    transients: Table
    orbits: Table | None = None


@dataclass(frozen=True)
class Region:
    """A rectangle on the sky about (ra, dec), sides in degrees along ra and dec."""

    ra: float
    dec: float
    width_deg: float
    height_deg: float

    @property
    def area_sq_deg(self) -> float:
        """Area."""
        return self.width_deg * self.height_deg

    def scatter(self, n: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positions (ra, dec) in degrees spread evenly over the region."""
        x = rng.uniform(-0.5, 0.5, n) * self.width_deg
        y = rng.uniform(-0.5, 0.5, n) * self.height_deg
        return offset_position(self.ra, self.dec, x, y)

    def contains(self, ra: ArrayLike, dec: ArrayLike) -> NDArray[np.bool_]:
        """Whether positions in degrees lie in the region."""
        east, north = tangent_offset(self.ra, self.dec, ra, dec)
        return (np.abs(east) <= self.width_deg / 2) & (np.abs(north) <= self.height_deg / 2)


def offset_position(
    ra: NDArray[np.float64] | float,
    dec: NDArray[np.float64] | float,
    east_deg: NDArray[np.float64],
    north_deg: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sky position at tangent-plane (gnomonic) offsets from (ra, dec), all in degrees."""
    return deproject(3600 * np.stack(np.broadcast_arrays(east_deg, north_deg), axis=-1), ra, dec)


def tangent_offset(
    ra: float, dec: float, other_ra: ArrayLike, other_dec: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tangent-plane (gnomonic) offsets east and north of positions from (ra, dec), all in degrees.

    NaN for positions in the other hemisphere.
    """
    east, north = np.moveaxis(project(other_ra, other_dec, ra, dec) / 3600, -1, 0)
    return east, north


def make_sky(
    region: Region,
    rng: np.random.Generator,
    settings: SkySettings | None = None,
    n_stars: int | None = None,
    n_galaxies: int | None = None,
) -> Sky:
    """Draw stars and galaxies over a region; no transients, no asteroids."""
    settings = settings or SkySettings()
    if n_stars is None:
        n_stars = int(rng.poisson(settings.stars_per_sq_deg * region.area_sq_deg))
    if n_galaxies is None:
        n_galaxies = int(rng.poisson(settings.galaxies_per_sq_deg * region.area_sq_deg))
    stars = make_stars(region, n_stars, rng, settings)
    galaxies = make_galaxies(region, n_galaxies, rng, settings)
    return Sky(stars, galaxies, new_table("truth_transients"))


def _rising_counts(
    n: int, bright: float, faint: float, slope: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Magnitudes between bright and faint with log10(number per mag) of the given slope."""
    low, high = 10 ** (slope * bright), 10 ** (slope * faint)
    return np.log10(low + rng.random(n) * (high - low)) / slope


def make_stars(region: Region, n: int, rng: np.random.Generator, settings: SkySettings) -> Table:
    """Table ``truth_stars``: rising counts, a stellar locus, motions, some variables."""
    stars = new_table("truth_stars", n)
    stars["id"] = np.arange(n)
    stars["ra"], stars["dec"] = region.scatter(n, rng)
    stars["r"] = _rising_counts(n, settings.brightest_mag, settings.faintest_mag, settings.slope, rng)
    _paint_stars(stars, rng)
    _move_stars(stars, rng, settings.fast_movers)
    _vary_stars(stars, rng, settings.variable_fraction)
    return stars


def _paint_stars(stars: Table, rng: np.random.Generator) -> None:
    """Colours along the main-sequence locus (bends like Covey et al. 2007), redder when fainter."""
    n = len(stars)
    share = np.clip((stars["r"] - 14) / 9, 0.05, 0.7)
    dwarf = rng.random(n) < share
    g_r = np.where(dwarf, rng.normal(1.42, 0.08, n), 0.3 + rng.gamma(2.2, 0.16, n))
    g_r = np.clip(g_r, -0.3, 1.6)
    late = np.where(dwarf, 0.45 + rng.gamma(2.5, 0.22, n), 0)
    r_i = np.where(dwarf, late, 0.38 * g_r - 0.04) + rng.normal(0, 0.02, n)
    i_z = np.where(dwarf, 0.55 * late, 0.18 * g_r - 0.03) + rng.normal(0, 0.02, n)
    stars["g"] = stars["r"] + g_r
    stars["i"] = stars["r"] - r_i
    stars["z"] = stars["i"] - i_z
    stars["gaia_g"] = stars["r"] - 0.05 * g_r - 0.35 * r_i + 0.05
    stars["bp_rp"] = 0.33 + 0.75 * g_r + 0.75 * r_i + rng.normal(0, 0.02, n)


def _move_stars(stars: Table, rng: np.random.Generator, fast: float) -> None:
    n = len(stars)
    parallax = np.exp(rng.normal(np.log(0.6), 0.8, n))
    speed = parallax / 4.74 * rng.normal(0, 40, (2, n)) + rng.normal(0, 1, (2, n))
    quick = rng.random(n) < fast
    speed[:, quick] *= 60
    stars["parallax"] = np.where(quick, parallax * 12, parallax)
    stars["pmra"], stars["pmdec"] = speed


def _vary_stars(stars: Table, rng: np.random.Generator, fraction: float) -> None:
    n = len(stars)
    chosen = rng.random(n) < fraction
    kind = rng.choice(["sinusoid", "eclipse", "flare"], n, p=[0.6, 0.25, 0.15])
    stars["variable"] = np.where(chosen, kind, "")
    amplitude = np.where(kind == "flare", rng.uniform(0.5, 3, n), rng.uniform(0.05, 0.6, n))
    stars["amplitude"] = np.where(chosen, amplitude, 0)
    stars["period_days"] = np.where(chosen, np.exp(rng.uniform(np.log(0.1), np.log(60), n)), 0)
    stars["phase"] = np.where(chosen, rng.random(n), 0)


def make_galaxies(region: Region, n: int, rng: np.random.Generator, settings: SkySettings) -> Table:
    """Table ``truth_galaxies``: discs and spheroids, larger when brighter, some with nuclei."""
    galaxies = new_table("truth_galaxies", n)
    galaxies["id"] = np.arange(n)
    galaxies["ra"], galaxies["dec"] = region.scatter(n, rng)
    r = _rising_counts(
        n, settings.galaxy_brightest_mag, settings.galaxy_faintest_mag, settings.galaxy_slope, rng
    )
    early = rng.random(n) < 0.3
    g_r = np.where(early, rng.normal(0.85, 0.1, n), rng.normal(0.55, 0.15, n))
    galaxies["r"] = r
    galaxies["g"] = r + g_r
    galaxies["i"] = r - 0.45 * g_r
    galaxies["z"] = r - 0.7 * g_r
    galaxies["sersic_n"] = np.where(early, 4.0, 1.0)
    galaxies["half_light_arcsec"] = 10 ** (0.55 - 0.11 * (r - 16) + rng.normal(0, 0.15, n))
    galaxies["axis_ratio"] = np.where(early, rng.uniform(0.6, 1, n), rng.uniform(0.25, 1, n))
    galaxies["angle_deg"] = rng.uniform(0, 180, n)
    galaxies["nucleus_fraction"] = np.where(rng.random(n) < 0.15, rng.uniform(0.02, 0.3, n), 0)
    return galaxies


def star_positions(stars: Table, mjd: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(ra, dec) in degrees at a time, moved by proper motion (no parallax)."""
    years = (mjd - EPOCH_MJD) / DAYS_PER_YEAR
    dec = np.asarray(stars["dec"], dtype=np.float64)
    east = np.asarray(stars["pmra"]) * years / 3.6e6 / np.cos(np.radians(dec))
    return np.mod(stars["ra"] + east, 360.0), dec + stars["pmdec"] * years / 3.6e6


def star_mags(stars: Table, mag: str, mjd: float) -> NDArray[np.float64]:
    """Magnitudes in a band at a time, variables included."""
    change = np.zeros(len(stars))
    moving = np.flatnonzero(stars["variable"] != "")
    if moving.size:
        some = stars[moving]
        phase = np.mod(mjd / some["period_days"] + some["phase"], 1.0)
        wave = np.sin(2 * np.pi * phase)
        dip = np.exp(-0.5 * ((phase - 0.5) / 0.04) ** 2)
        decay = np.exp(-phase / 0.1)
        form = np.asarray(some["variable"])
        curve = np.where(form == "sinusoid", wave, np.where(form == "eclipse", dip, -decay))
        change[moving] = some["amplitude"] * curve
    return np.asarray(stars[mag]) + change


def transient_light(transients: Table, mjd: float) -> NDArray[np.float64]:
    """Flux at a time relative to the brightest, from 0 to 1."""
    age = mjd - np.asarray(transients["start_mjd"])
    rise = np.asarray(transients["rise_days"])
    fall = np.maximum(transients["fall_days"], 1e-9)
    rising = np.clip(age / np.maximum(rise, 1e-9), 0, 1) ** 2
    fading = np.exp(-np.maximum(age - rise, 0) / fall)
    faded = np.exp(-np.maximum(age, 0) / fall)
    step = (age >= 0).astype(float)
    form = np.asarray(transients["form"])
    return np.where(form == "supernova", rising * fading, np.where(form == "faded", faded, step))
