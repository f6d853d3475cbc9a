"""Random star fields with known coordinates, for tests of the astrometric solution."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS

from zsds.core.sphere import deproject

MJD = 58800.25


@dataclass
class Sky:
    stars: Table
    gaia: Table
    guess: WCS
    x: np.ndarray
    y: np.ndarray
    ra: np.ndarray
    dec: np.ndarray

    def worst_offset(self, wcs):
        """Largest distance, arcsec, between true and fitted positions over the image's grid."""
        world = wcs.all_pix2world(np.stack([self.x, self.y], axis=1), 0)
        dra = (world[:, 0] - self.ra + 180) % 360 - 180
        return 3600 * np.hypot(dra * np.cos(np.radians(self.dec)), world[:, 1] - self.dec).max()


def make_sky(
    rng,
    n_stars=300,
    shape=(1000, 1200),
    scale=1.01,
    shift=120.0,
    rotation=0.7,
    zoom=0.004,
    distortion=3.0,
    missing=0.5,
    false=0.33,
    centroid=0.05,
    dec0=None,
    mirrored=False,
    depth=1.0,
):
    """Stars of an image, reference stars around it, and a guess that is off by what is asked.

    distortion is the largest displacement in arcsec within the image; missing the part of the stars that the
    catalog lacks; false the part of the detections that are none; depth how many times more stars the catalog
    holds than are detected.
    """
    ny, nx = shape
    ra0 = rng.uniform(0, 360)
    dec0 = np.degrees(np.arcsin(rng.uniform(-1, 1))) if dec0 is None else dec0
    half = np.array([nx, ny]) / 2
    pad = 400.0 / scale
    density = depth * n_stars / (nx * ny)
    n_all = int(density * (nx + 2 * pad) * (ny + 2 * pad))
    u = rng.uniform(-1, 1, (n_all, 2)) * (half + pad)
    angle = np.radians(rng.uniform(-1, 1) * rotation)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    flip = np.diag([1.0 if mirrored else -1.0, 1.0])
    factor = scale * (1 + rng.uniform(-1, 1) * zoom)
    bend = rng.normal(size=(7, 2))

    def plane(pixels):
        t = pixels / half.max()
        x, y = t[:, :1], t[:, 1:]
        terms = np.concatenate([x**2, x * y, y**2, x**3, x**2 * y, x * y**2, y**3], axis=1)
        curve = distortion * np.clip(terms, -2, 2) @ bend / 7
        return factor * pixels @ flip @ turn.T + curve

    ra, dec = deproject(plane(u), ra0, dec0)
    mag = 12 + 2.2 * np.log10(rng.uniform(1, 1e4, n_all)) + rng.normal(0, 0.3, n_all)
    inside = np.flatnonzero((np.abs(u) < half).all(axis=1))
    seen = inside[np.argsort(mag[inside])][:n_stars]
    kept = np.sort(rng.permutation(n_all)[: int(n_all * (1 - missing))])
    years = (MJD - 51544.5) / 365.25 + 2000 - 2016.0
    pm = rng.normal(0, 8, (n_all, 2))
    gaia = Table()
    gaia["source_id"] = kept + 1
    gaia["ra"] = (ra - years * pm[:, 0] / 3.6e6 / np.cos(np.radians(dec)))[kept]
    gaia["dec"] = (dec - years * pm[:, 1] / 3.6e6)[kept]
    gaia["pmra"], gaia["pmdec"] = pm[kept, 0], pm[kept, 1]
    gaia["ref_epoch"] = 2016.0
    gaia["phot_g_mean_mag"] = mag[kept]
    n_false = int(len(seen) * false / (1 - false))
    flux = 10 ** (0.4 * (27 - mag[seen] + rng.normal(0, 0.2, len(seen))))
    error = np.sqrt(flux + 2000)
    positions = u[seen] + half - 0.5
    noise = np.hypot(centroid, 2.5 / 2.355 * error / flux)
    measured = positions + noise[:, None] * rng.normal(size=positions.shape)
    wrong = rng.uniform(-0.5, np.array([nx, ny]) - 0.5, (n_false, 2))
    wrong_flux = rng.choice(flux, n_false) if n_false else np.empty(0)
    order = rng.permutation(len(seen) + n_false)
    stars = Table()
    stars["x"], stars["y"] = np.concatenate([measured, wrong])[order].T
    stars["flux"] = np.concatenate([flux, wrong_flux])[order]
    stars["flux_err"] = np.sqrt(stars["flux"] + 2000)
    direction = rng.uniform(0, 2 * np.pi)
    off = shift * np.array([[np.cos(direction), np.sin(direction)]])
    guess_ra, guess_dec = deproject(off, ra0, dec0)
    grid = (
        np.stack(np.meshgrid(np.linspace(-0.9, 0.9, 7), np.linspace(-0.9, 0.9, 7)), axis=-1).reshape(-1, 2)
        * half
    )
    grid_ra, grid_dec = deproject(plane(grid), ra0, dec0)
    x, y = (grid + half - 0.5).T
    guess = nominal(shape, scale, guess_ra[0], guess_dec[0], mirrored)
    return Sky(stars, gaia, guess, x, y, grid_ra, grid_dec)


def nominal(shape, scale, ra, dec, mirrored=False):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(shape[1] + 1) / 2, (shape[0] + 1) / 2]
    wcs.wcs.cd = np.diag([scale if mirrored else -scale, scale]) / 3600
    wcs.pixel_shape = (shape[1], shape[0])
    wcs.wcs.set()
    return wcs
