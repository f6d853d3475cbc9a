"""What a candidate belongs to: an object seen before, or a known body of the solar system."""

from zsds.associate.solar_system import NightOrbits, match_solar_system, predict_positions

__all__ = ["NightOrbits", "match_solar_system", "predict_positions"]
