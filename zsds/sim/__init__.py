"""Synthetic skies and nights with their truth."""

from zsds.sim.cameras import shrunken
from zsds.sim.compare import ComparisonSettings, TruthComparison, compare_with_truth
from zsds.sim.night import NightSummary, plan_survey, simulate_night
from zsds.sim.plan import NightSettings
from zsds.sim.psf import FAMILIES, PsfShape, TabulatedPsf, tabulate_psf, varied_shape
from zsds.sim.quadrant import Conditions, SimulatedQuadrant, expected_light, render_quadrant
from zsds.sim.scenes import (
    Epochs,
    EpochSettings,
    draw_epochs,
    epochs,
    frame_region,
    frame_wcs,
    simple_quadrant,
)
from zsds.sim.sky import Region, Sky, SkySettings, make_sky, star_mags, star_positions, transient_light
from zsds.sim.transients import TransientSettings, with_transients

__all__ = [
    "FAMILIES",
    "ComparisonSettings",
    "Conditions",
    "EpochSettings",
    "Epochs",
    "NightSettings",
    "NightSummary",
    "PsfShape",
    "Region",
    "SimulatedQuadrant",
    "Sky",
    "SkySettings",
    "TabulatedPsf",
    "TransientSettings",
    "TruthComparison",
    "compare_with_truth",
    "draw_epochs",
    "epochs",
    "expected_light",
    "frame_region",
    "frame_wcs",
    "make_sky",
    "plan_survey",
    "render_quadrant",
    "shrunken",
    "simple_quadrant",
    "simulate_night",
    "star_mags",
    "star_positions",
    "tabulate_psf",
    "transient_light",
    "varied_shape",
    "with_transients",
]
