"""Instrumental calibration: raw DN to electrons with variance and mask."""

from zsds.isr.calibration import Calibration
from zsds.isr.columns import ColumnSettings, mark_columns
from zsds.isr.cosmic import mark_cosmic_rays, sharpest_ratio
from zsds.isr.edges import EdgeSettings, mark_edges
from zsds.isr.ghosts import mark_ghosts, reflected
from zsds.isr.halos import Halo, find_halos, mark_halos
from zsds.isr.masters import MasterFlat, build_bad_pixels, build_bias, build_flat, find_hot_pixels
from zsds.isr.overscan import OverscanLevel, measure_overscan
from zsds.isr.reduce import reduce_quadrant
from zsds.isr.settings import (
    CosmicRaySettings,
    GhostSettings,
    HaloSettings,
    IsrSettings,
    MasterSettings,
    TrailSettings,
)
from zsds.isr.trails import Trail, find_trails, mark_trails

__all__ = [
    "Calibration",
    "ColumnSettings",
    "CosmicRaySettings",
    "EdgeSettings",
    "GhostSettings",
    "Halo",
    "HaloSettings",
    "IsrSettings",
    "MasterFlat",
    "MasterSettings",
    "OverscanLevel",
    "Trail",
    "TrailSettings",
    "build_bad_pixels",
    "build_bias",
    "build_flat",
    "find_halos",
    "find_hot_pixels",
    "find_trails",
    "mark_columns",
    "mark_cosmic_rays",
    "mark_edges",
    "mark_ghosts",
    "mark_halos",
    "mark_trails",
    "measure_overscan",
    "reduce_quadrant",
    "reflected",
    "sharpest_ratio",
]
