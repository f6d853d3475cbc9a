"""The tie to the photometric system: calibrators, zero point, and the transparency over the image."""

from dataclasses import dataclass, replace

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zsds import astrometry, photometry
from zsds.core.camera import Band
from zsds.core.errors import UnusableData
from zsds.core.exposure import ZeroPoint
from zsds.core.flags import is_defect
from zsds.core.units import magnitude, magnitude_error
from zsds.photometry import ColourNoise, Patchiness, StarFlat, StarFlatSettings, ZeroPointSettings
from zsds.pipeline.measure import Measured


@dataclass(frozen=True)
class CalibratorSettings:
    """Which stars set the zero point."""

    match_radius_arcsec: float = 1.0  # between a star and its catalog entry
    min_snr: float = 12.0  # fainter stars are not used; the fit leaves out more, by their expected errors
    min_star_score: float = 0.5  # of the catalog's star/galaxy score, where it has one
    max_neighbour_light: float = 0.002  # of the star's own, from catalogued neighbours; more are not used
    min_isolated: int = 30  # so many of the least disturbed stars are used in any case


@dataclass(frozen=True)
class TieSettings:
    """Settings of the photometric calibration of one image."""

    calibrators: CalibratorSettings
    zero_point: ZeroPointSettings
    star_flat: StarFlatSettings
    max_rms: float  # mag of the calibrators' scatter, or of that between places, that condemns the image


@dataclass(frozen=True)
class Calibrators:
    """Places, fluxes (electrons) and errors of stars, and their catalog magnitudes and colours; all [n]."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    flux_err: NDArray[np.float64]
    mag: NDArray[np.float64]
    mag_err: NDArray[np.float64]
    colour: NDArray[np.float64]
    colour_noise: ColourNoise

    def zero_point(self, settings: ZeroPointSettings) -> ZeroPoint:
        """Fit to all of them."""
        return photometry.fit_zero_point(
            self.flux, self.flux_err, self.mag, self.mag_err, self.colour, settings, self.colour_noise
        )

    def residuals(self, zero_point: ZeroPoint) -> NDArray[np.float64]:
        """Catalog minus calibrated magnitudes; NaN where either is unknown."""
        return self.mag - magnitude(self.flux, zero_point.value) - zero_point.colour_coeff * self.colour

    def levelled(self, star_flat: StarFlat) -> "Calibrators":
        """At the mean transparency."""
        factor = star_flat.factors_at(self.x, self.y)
        return replace(self, flux=self.flux * factor, flux_err=self.flux_err * factor)


@dataclass(frozen=True)
class Tie:
    """A calibrated image.

    Parameters
    ----------
    measured : Measured
        Pixels and catalogs brought to the mean transparency where it varied over the image.
    zero_point : ZeroPoint
        Its error includes what the transparency still varies by.
    star_flat : StarFlat
        Order 0 where nothing was to be corrected.
    patchiness : Patchiness
        What is left of the variation.
    """

    measured: Measured
    zero_point: ZeroPoint
    star_flat: StarFlat
    patchiness: Patchiness


def tie_to_catalog(
    measured: Measured, catalog: Table, band: Band, fwhm_arcsec: float, settings: TieSettings
) -> Tie:
    """Zero point and colour term, with the variation of the transparency over the image taken out.

    Thin clouds and what flats leave make the zero point a function of place. A smooth surface through the
    calibrators' residuals, if they show one, is divided out of pixels and fluxes, so that one zero point
    holds all over the image and for everything measured on it later.

    Raises
    ------
    UnusableData
        If there are too few calibrators, or they scatter as under clouds.
    """
    found = find_calibrators(measured.stars, catalog, band, fwhm_arcsec, settings.calibrators)
    zero_point = found.zero_point(settings.zero_point)
    shape = measured.exposure.shape
    errors = np.hypot(magnitude_error(found.flux, found.flux_err), found.mag_err)
    star_flat = photometry.fit_star_flat(
        found.x, found.y, found.residuals(zero_point), errors, shape, settings.star_flat
    )
    if star_flat.order:
        measured, found = levelled(measured, star_flat), found.levelled(star_flat)
        zero_point = found.zero_point(settings.zero_point)
    if zero_point.rms > settings.max_rms:
        numbers = {"rms_mag": zero_point.rms, "stars": zero_point.n_stars}
        raise UnusableData("photometric residuals are too large (clouds?)", numbers)
    left = photometry.measure_patchiness(found.x, found.y, found.residuals(zero_point), errors, shape)
    if left.scatter > settings.max_rms:
        numbers = {"between_places_mag": left.scatter, "places": left.n_places}
        raise UnusableData("the zero point changes from place to place (clouds?)", numbers)
    err = float(np.hypot(zero_point.err, left.scatter / np.sqrt(left.n_places)))
    return Tie(measured, replace(zero_point, err=err), star_flat, left)


def find_calibrators(
    stars: Table, catalog: Table, band: Band, fwhm_arcsec: float, settings: CalibratorSettings
) -> Calibrators:
    """Stars that can be trusted, with their catalog entries, little disturbed by neighbours.

    A neighbour that is not seen apart brightens the star, and with it the zero point of a whole image.
    """
    mag = np.asarray(catalog[band.catalog_mag], dtype=np.float64)
    clean = (stars["snr"] > settings.min_snr) & ~is_defect(np.asarray(stars["flags"]).astype(np.uint32))
    stellar = ~(_column(catalog, "sgscore") < settings.min_star_score)
    star, entry = np.flatnonzero(clean), np.flatnonzero(stellar & np.isfinite(mag))
    pairs = astrometry.match_positions(
        stars["ra"][star],
        stars["dec"][star],
        catalog["ra"][entry],
        catalog["dec"][entry],
        settings.match_radius_arcsec,
    )
    star, entry = star[pairs.first], entry[pairs.second]
    light = photometry.neighbour_light(
        np.asarray(catalog["ra"]), np.asarray(catalog["dec"]), mag, entry, fwhm_arcsec
    )
    order = np.argsort(light, kind="stable")
    n_isolated = max(int((light <= settings.max_neighbour_light).sum()), settings.min_isolated)
    chosen = np.sort(order[:n_isolated])
    star, entry = star[chosen], entry[chosen]
    flux, flux_err = (np.asarray(stars[name][star], dtype=np.float64) for name in ("flux", "flux_err"))
    first, second = band.catalog_colour
    return Calibrators(
        np.asarray(stars["x"][star], dtype=np.float64),
        np.asarray(stars["y"][star], dtype=np.float64),
        flux - flux_err**2 / flux,  # a fit of flux and place settles where the noise helps
        flux_err,
        mag[entry],
        np.sqrt(_variance(catalog, f"{band.catalog_mag}_err")[entry]),
        np.asarray(catalog[first][entry], dtype=np.float64)
        - np.asarray(catalog[second][entry], dtype=np.float64),
        _colour_noise(catalog[entry], band),
    )


def _colour_noise(catalog: Table, band: Band) -> ColourNoise:
    """From the errors of the catalog, 0 where it has none."""
    variances = {name: _variance(catalog, f"{name}_err") for name in band.catalog_colour}
    first, second = band.catalog_colour
    shared = np.zeros(len(catalog))
    if band.catalog_mag == first:
        shared = variances[first]
    elif band.catalog_mag == second:
        shared = -variances[second]
    return ColourNoise(variances[first] + variances[second], shared)


def _variance(catalog: Table, error: str) -> NDArray[np.float64]:
    return np.nan_to_num(_column(catalog, error)) ** 2


def _column(catalog: Table, name: str) -> NDArray[np.float64]:
    """Values, NaN where the catalog has none: errors and scores need not be known."""
    if name not in catalog.colnames:
        return np.full(len(catalog), np.nan)
    values: NDArray[np.float64] = np.ma.filled(np.ma.asarray(catalog[name], dtype=np.float64), np.nan)
    return values


_FLUXES = {
    "sources": ("flux", "flux_err", "peak"),
    "stars": ("flux", "flux_err", "sky"),
    "apertures": tuple(f"{name}_{size}" for size in photometry.DIAMETERS for name in ("flux", "flux_err")),
}


def levelled(measured: Measured, star_flat: StarFlat) -> Measured:
    """Everything measured as if all places had the mean transparency."""
    exposure, factors = measured.exposure, star_flat.factors
    exposure = replace(
        exposure, data=exposure.data * factors, variance=exposure.variance * (factors * factors)
    )
    tables = {}
    for name, fluxes in _FLUXES.items():
        tables[name] = table = getattr(measured, name).copy()
        factor = star_flat.factors_at(table["x"], table["y"])
        for column in fluxes:
            table[column][:] = table[column] * factor
    return replace(measured, exposure=exposure, **tables)
