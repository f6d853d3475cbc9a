"""Where an image lies on the sky: pattern match, distortion fit, coordinates, proper motions."""

from zsds.astrometry.epoch import moved_to_epoch
from zsds.astrometry.offset import Offset, find_offset
from zsds.astrometry.positions import Matches, match_positions
from zsds.astrometry.residuals import catalog_gaps, uncovered_cells
from zsds.astrometry.settings import AstrometrySettings
from zsds.astrometry.solve import Astrometry, fit_astrometry

__all__ = [
    "Astrometry",
    "AstrometrySettings",
    "Matches",
    "Offset",
    "catalog_gaps",
    "find_offset",
    "fit_astrometry",
    "match_positions",
    "moved_to_epoch",
    "uncovered_cells",
]
