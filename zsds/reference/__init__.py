"""Reference images: epochs chosen, co-added on a finer grid, sampled on science grids."""

from zsds.reference.build import ReferenceSettings, build_reference
from zsds.reference.model import Reference, native_coverage, native_grid, sample_reference
from zsds.reference.select import Selection, SelectionSettings, select_epochs

__all__ = [
    "Reference",
    "ReferenceSettings",
    "Selection",
    "SelectionSettings",
    "build_reference",
    "native_coverage",
    "native_grid",
    "sample_reference",
    "select_epochs",
]
