"""Fluxes of stars, and what they mean in magnitudes."""

from zsds.photometry.apertures import (
    DIAMETERS,
    ApertureSettings,
    GrowthCurve,
    measure_apertures,
    measure_growth,
    psf_growth,
)
from zsds.photometry.neighbours import neighbour_light
from zsds.photometry.star_flat import (
    Patchiness,
    StarFlat,
    StarFlatSettings,
    fit_star_flat,
    measure_patchiness,
)
from zsds.photometry.stars import (
    StarSettings,
    fit_first,
    fit_stars,
    freed_of_place,
    missed_sky,
    without_stars,
)
from zsds.photometry.zero_point import ColourNoise, ZeroPointSettings, fit_zero_point, limiting_magnitude

__all__ = [
    "DIAMETERS",
    "ApertureSettings",
    "ColourNoise",
    "GrowthCurve",
    "Patchiness",
    "StarFlat",
    "StarFlatSettings",
    "StarSettings",
    "ZeroPointSettings",
    "fit_first",
    "fit_star_flat",
    "fit_stars",
    "fit_zero_point",
    "freed_of_place",
    "limiting_magnitude",
    "measure_apertures",
    "measure_growth",
    "measure_patchiness",
    "missed_sky",
    "neighbour_light",
    "psf_growth",
    "without_stars",
]
