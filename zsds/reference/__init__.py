"""Reference images: epochs chosen, co-added on a finer grid, sampled on science grids."""

from zsds.reference.build import ReferenceSettings, build_reference
from zsds.reference.model import Reference, sample_reference
from zsds.reference.select import Selection, SelectionSettings, select_epochs

__all__ = [
    "Reference",
    "ReferenceSettings",
    "Selection",
    "SelectionSettings",
    "build_reference",
    "sample_reference",
    "select_epochs",
]
