"""Candidates: peaks of a difference's score image, measured, flagged and matched with catalogs."""

from zsds.candidates.field import limiting_magnitude
from zsds.candidates.find import find_candidates
from zsds.candidates.flags import CANDIDATE_FLAG_MEANINGS, CandidateFlag
from zsds.candidates.match import match_catalogs
from zsds.candidates.numbers import Numbered, number_again, numbers_of
from zsds.candidates.settings import CandidateSettings

__all__ = [
    "CANDIDATE_FLAG_MEANINGS",
    "CandidateFlag",
    "CandidateSettings",
    "Numbered",
    "find_candidates",
    "limiting_magnitude",
    "match_catalogs",
    "number_again",
    "numbers_of",
]
