"""Circular-aperture photometry, and the corrections that bring it to total flux."""

from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from zsds.core.exposure import Exposure
from zsds.core.flags import is_defect
from zsds.core.psf import PsfModel
from zsds.core.robust import mad_width
from zsds.core.tables import new_table
from zsds.kernels.aperture import sum_apertures
from zsds.psf.model import PolynomialPsf
from zsds.psf.sweep import apart

DIAMETERS = (2, 3, 4, 6, 10, 14)
NOTHING = np.zeros((0, 1, 1), np.float32)
PHASES = (-0.375, -0.125, 0.125, 0.375)  # sub-pixel places over which a PSF's growth curve is averaged


@dataclass(frozen=True)
class ApertureSettings:
    """How apertures are corrected to total flux."""

    min_snr: float = 50.0  # of the largest aperture, for stars of the growth curve
    max_stars: int = 300  # in the growth curve
    min_stars: int = 5  # fewer: the PSF's own curve is used


@dataclass(frozen=True)
class GrowthCurve:
    """Share of a star's light within each aperture.

    Parameters
    ----------
    diameters : ndarray of float64 [n]
        Pixels.
    share, err : ndarray of float64 [n]
        Flux within the aperture over total flux, and its error.
    n_stars : int
        Stars measured; 0 when it follows from the PSF alone.
    """

    diameters: NDArray[np.float64]
    share: NDArray[np.float64]
    err: NDArray[np.float64]
    n_stars: int

    @property
    def correction_mag(self) -> NDArray[np.float64]:
        """Magnitudes to add to aperture magnitudes to make them total."""
        return 2.5 * np.log10(self.share)

    @property
    def correction_err_mag(self) -> NDArray[np.float64]:
        """Errors of those."""
        return 2.5 / np.log(10) * self.err / self.share


def measure_apertures(
    exposure: Exposure,
    sources: Table,
    psf: PolynomialPsf | None = None,
    diameters: tuple[int, ...] = DIAMETERS,
) -> Table:
    """Flux in nested circles of 2, 3, 4, 6, 10 and 14 pixels diameter, without the light of neighbours.

    Parameters
    ----------
    exposure : Exposure
        Background-subtracted electrons.
    sources : Table
        With ``x`` and ``y``: sources or stars; with ``flux`` where a PSF is given.
    psf : PolynomialPsf, optional
        Each source is measured with all others subtracted; without it neighbours stay.
    diameters : tuple of int
        Those of the declared table; ascending.

    Returns
    -------
    Table
        ``apertures``. Defective pixels add nothing; ``bad_fraction`` is their share of the largest circle.
    """
    table = new_table("apertures", len(sources))
    x, y = (np.ascontiguousarray(sources[name], dtype=np.float64) for name in "xy")
    n, radii = x.size, np.asarray(diameters, dtype=np.float64) / 2
    flux, variance = np.empty((n, radii.size)), np.empty((n, radii.size))
    bad, flags = np.empty(n), np.empty(n, np.uint32)
    usable = ~is_defect(exposure.mask) & np.isfinite(exposure.data) & (exposure.variance > 0)
    data, own = exposure.data, NOTHING
    if psf is not None:
        shining = np.where(np.isfinite(sources["flux"]) & np.isfinite(x) & np.isfinite(y), sources["flux"], 0)
        data, own = apart(exposure, psf, x, y, shining, int(np.ceil(radii[-1] + 0.5)))
    sum_apertures(
        data, exposure.variance, usable, exposure.mask, x, y, own, radii, flux, variance, bad, flags
    )
    table["id"][:] = sources["id"] if "id" in sources.colnames else np.arange(n)
    table["x"][:], table["y"][:] = x, y
    for k, diameter in enumerate(diameters):
        table[f"flux_{diameter}"][:] = flux[:, k]
        table[f"flux_err_{diameter}"][:] = np.sqrt(variance[:, k])
    table["bad_fraction"][:], table["flags"][:] = bad, flags
    return table


def psf_growth(psf: PsfModel, x: float, y: float, diameters: ArrayLike = DIAMETERS) -> GrowthCurve:
    """Growth curve of a PSF at (x, y), averaged over sub-pixel places; total is all light in its stamp."""
    radii = np.asarray(diameters, dtype=np.float64) / 2
    share = np.zeros((1, radii.size))
    everything = np.ones((psf.size, psf.size), bool)
    mask = np.zeros(everything.shape, np.uint32)
    flux, variance, bad, flags = (
        np.empty_like(share),
        np.empty_like(share),
        np.empty(1),
        np.empty(1, np.uint32),
    )
    for dx in PHASES:
        for dy in PHASES:
            stamp = psf.at(x, y, dx, dy)
            place = np.array([psf.size // 2 + dx]), np.array([psf.size // 2 + dy])
            sum_apertures(stamp, stamp, everything, mask, *place, NOTHING, radii, flux, variance, bad, flags)
            share += flux / len(PHASES) ** 2
    return GrowthCurve(2 * radii, share[0], np.zeros(radii.size), 0)


def measure_growth(
    apertures: Table, stars: Table, psf: PsfModel, settings: ApertureSettings | None = None
) -> GrowthCurve:
    """Growth curve of the bright, clean, single stars of an image, relative to their PSF flux.

    The share within an aperture is the median of aperture over PSF flux; the PSF flux is all light in the
    PSF's stamp, so share 1 means the same. With too few stars it is the PSF's own curve.

    Parameters
    ----------
    apertures, stars : Table
        Of the same sources, in the same order.
    psf : PsfModel
    settings : ApertureSettings
    """
    settings = settings or ApertureSettings()
    total = np.asarray(stars["flux"])
    good = (apertures["bad_fraction"] < 1e-3) & (stars["snr"] > settings.min_snr) & (stars["flags"] == 0)
    good &= ~np.asarray(stars["is_edge"]) & (np.abs(stars["sharp"]) < 0.2)
    chosen = np.flatnonzero(good & _alone(stars))
    chosen = chosen[np.argsort(-total[chosen])][: settings.max_stars]
    if chosen.size < settings.min_stars:
        return psf_growth(psf, float(np.median(stars["x"])), float(np.median(stars["y"])))
    share, err = [], []
    for diameter in DIAMETERS:
        ratio = np.asarray(apertures[f"flux_{diameter}"])[chosen] / total[chosen]
        share.append(np.median(ratio))
        err.append(1.2533 * mad_width(ratio) / np.sqrt(chosen.size))
    return GrowthCurve(np.array(DIAMETERS, float), np.array(share), np.array(err), chosen.size)


def _alone(stars: Table, radius: float = 12.0, share: float = 0.02) -> NDArray[np.bool_]:
    """True where the light of all neighbours within the radius is below a share of the star's."""
    places = np.column_stack([stars["x"], stars["y"]])
    flux = np.maximum(np.asarray(stars["flux"]), 0)
    pairs = cKDTree(places).query_pairs(radius, output_type="ndarray")
    around = np.zeros(flux.size)
    np.add.at(around, pairs[:, 0], flux[pairs[:, 1]])
    np.add.at(around, pairs[:, 1], flux[pairs[:, 0]])
    return around < share * flux
