"""Forced photometry: fluxes at positions that are given."""

from zsds.forced.measure import ForcedSettings, measure_forced

__all__ = ["ForcedSettings", "measure_forced"]
