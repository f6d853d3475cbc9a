"""Forced photometry: fluxes at positions that are given."""

from zsds.forced.exposures import measure_exposure
from zsds.forced.measure import ForcedSettings, measure_forced
from zsds.forced.windows import ForcedFlux, measure_windows, nearest_pixels

__all__ = [
    "ForcedFlux",
    "ForcedSettings",
    "measure_exposure",
    "measure_forced",
    "measure_windows",
    "nearest_pixels",
]
