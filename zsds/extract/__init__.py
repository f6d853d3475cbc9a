"""Sky and sources of one image."""

from zsds.extract.background import (
    Background,
    BackgroundSettings,
    measure_background,
    missed_level,
    residual_sky,
    subtract_background,
)
from zsds.extract.detection import (
    ExtractSettings,
    detect_hidden,
    detect_sources,
    measure_seeing,
    share_with_neighbours,
    stellar_size,
)
from zsds.extract.noise import SkyNoise, measure_sky_noise, unusable_pixels

__all__ = [
    "Background",
    "BackgroundSettings",
    "ExtractSettings",
    "SkyNoise",
    "detect_hidden",
    "detect_sources",
    "measure_background",
    "measure_seeing",
    "measure_sky_noise",
    "missed_level",
    "residual_sky",
    "share_with_neighbours",
    "stellar_size",
    "subtract_background",
    "unusable_pixels",
]
