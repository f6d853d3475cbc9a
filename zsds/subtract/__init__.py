"""Subtraction of a reference from a science image."""

from zsds.core.difference import Difference
from zsds.subtract.match import Match, MatchSettings, match_stars
from zsds.subtract.subtract import SubtractSettings, subtract

__all__ = ["Difference", "Match", "MatchSettings", "SubtractSettings", "match_stars", "subtract"]
