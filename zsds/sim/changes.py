"""What differs between an exposure and the reference epochs: transients, variables, asteroids, movers."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table, vstack
from astropy.wcs import WCS
from numpy.typing import NDArray

from zsds.core.ids import file_time
from zsds.core.tables import new_table
from zsds.kernels import render
from zsds.sim.asteroids import V_MINUS
from zsds.sim.plan import Plan
from zsds.sim.psf import TabulatedPsf
from zsds.sim.sky import DAYS_PER_YEAR, EPOCH_MJD, Sky, star_mags, star_positions, transient_light

MOVER_MAS_PER_YEAR = 100.0
ASTEROID_COLOUR = 0.5


@dataclass(frozen=True)
class ReferenceLight:
    """Mean brightness over the reference epochs.

    Parameters
    ----------
    stars : ndarray [n_stars]
        Mean flux relative to the star's mean magnitude.
    transients : ndarray [n_transients]
        Mean flux relative to the brightest.
    """

    stars: NDArray[np.float64]
    transients: NDArray[np.float64]


def reference_light(sky: Sky, plans: list[Plan]) -> ReferenceLight:
    """Mean over exposures; 1 and 0 where there are none."""
    if not plans:
        return ReferenceLight(np.ones(len(sky.stars)), np.zeros(len(sky.transients)))
    stars, transients = np.zeros(len(sky.stars)), np.zeros(len(sky.transients))
    for plan in plans:
        c = plan.conditions
        stars += 10 ** (-0.4 * (star_mags(sky.stars, c.mag, c.mid_mjd) - np.asarray(sky.stars[c.mag])))
        transients += transient_light(sky.transients, c.mid_mjd)
    return ReferenceLight(stars / len(plans), transients / len(plans))


def changed_sources(sky: Sky, plan: Plan, before: ReferenceLight) -> Table:
    """``truth_changes`` of the whole sky at one exposure; the quadrant's columns still empty.

    Fluxes follow from ``plan.conditions``.
    """
    parts = [_transients(sky, plan, before), _stars(sky, plan, before), _moving(plan)]
    return vstack(parts, metadata_conflicts="silent")


def _rows(n: int, kind: str, **values: object) -> Table:
    table = new_table("truth_changes", n)
    table["kind"] = kind
    for name, value in values.items():
        table[name][:] = value
    return table


def _transients(sky: Sky, plan: Plan, before: ReferenceLight) -> Table:
    conditions, table = plan.conditions, sky.transients
    blue, red = conditions.colour
    brightest = conditions.flux(np.asarray(table[conditions.mag]), np.asarray(table[blue] - table[red]))
    now = transient_light(table, conditions.mid_mjd)
    return _rows(
        len(table),
        "transient",
        id=table["id"],
        ra=table["ra"],
        dec=table["dec"],
        flux=brightest * now,
        change=brightest * (now - before.transients),
        host=table["host"],
    )


def _stars(sky: Sky, plan: Plan, before: ReferenceLight) -> Table:
    """Variable stars and stars of large proper motion."""
    conditions = plan.conditions
    speed = np.hypot(sky.stars["pmra"], sky.stars["pmdec"])
    variable = np.asarray(sky.stars["variable"]) != ""
    chosen = variable | (speed > MOVER_MAS_PER_YEAR)
    stars = sky.stars[chosen]
    blue, red = conditions.colour
    colour = np.asarray(stars[blue] - stars[red])
    mean = conditions.flux(np.asarray(stars[conditions.mag]), colour)
    flux = conditions.flux(star_mags(stars, conditions.mag, conditions.mid_mjd), colour)
    ra, dec = star_positions(stars, conditions.mid_mjd)
    years = (conditions.mid_mjd - EPOCH_MJD) / DAYS_PER_YEAR
    table = _rows(
        len(stars),
        "mover",
        id=stars["id"],
        ra=ra,
        dec=dec,
        flux=flux,
        change=flux - mean * before.stars[chosen],
        motion_arcsec=speed[chosen] * years / 1000,
    )
    table["kind"] = np.where(variable[chosen], "variable", "mover")
    return table


def _moving(plan: Plan) -> Table:
    table = plan.asteroids
    if table is None or len(table) == 0:
        return new_table("truth_changes")
    flux = asteroid_flux(plan)
    east = (table["ra1"] - table["ra0"]) * np.cos(np.radians(table["dec"]))
    return _rows(
        len(table),
        "asteroid",
        id=table["id"],
        name=table["name"],
        ra=table["ra"],
        dec=table["dec"],
        flux=flux,
        change=flux,
        motion_arcsec=np.hypot(east, table["dec1"] - table["dec0"]) * 3600,
    )


def asteroid_flux(plan: Plan) -> NDArray[np.float64]:
    """Expected electrons of the asteroids of a plan."""
    conditions = plan.conditions
    if plan.asteroids is None:
        return np.zeros(0)
    mag = np.asarray(plan.asteroids["mag"]) - V_MINUS[conditions.mag]
    return conditions.flux(mag, ASTEROID_COLOUR)


def seen_changes(
    changes: Table,
    plan: Plan,
    ccd: int,
    quadrant: int,
    wcs: WCS,
    variance: NDArray[np.float32],
    psf: TabulatedPsf,
) -> Table:
    """Rows of ``changes`` that fall on a quadrant, with their places and ideal signal-to-noise ratios."""
    conditions = plan.conditions
    ny, nx = variance.shape
    x, y = wcs.wcs_world2pix(changes["ra"], changes["dec"], 0)
    near = (x > -60) & (x < nx + 60) & (y > -60) & (y < ny + 60)
    seen = changes[near]
    if len(seen) == 0:
        return seen
    x, y = wcs.all_world2pix(seen["ra"], seen["dec"], 0, tolerance=1e-6, quiet=True)
    seen["x"], seen["y"] = x, y
    seen = seen[(x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)]
    stars = np.stack([seen["x"], seen["y"], np.abs(seen["change"])], axis=1).astype(np.float64)
    snr, peak = np.zeros(len(seen)), np.zeros(len(seen))
    render.matched_snr(variance, psf.tables, psf.powers, psf.frame, stars, snr, peak)
    seen["snr"] = snr
    for name, flux in (("mag", seen["flux"]), ("change_mag", np.abs(seen["change"]))):
        some = np.maximum(np.asarray(flux, dtype=np.float64), 1e-3)
        seen[name] = np.where(np.asarray(flux) > 1e-3, conditions.zero_point - 2.5 * np.log10(some), np.nan)
    seen["time"] = file_time(conditions.start_mjd)
    seen["mid_mjd"] = conditions.mid_mjd
    seen["field"], seen["band"] = conditions.field, conditions.band
    seen["ccd"], seen["quadrant"] = ccd, quadrant
    return seen
