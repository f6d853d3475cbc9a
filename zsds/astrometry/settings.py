"""Settings of the astrometric solution."""

from dataclasses import dataclass


@dataclass(frozen=True)
class AstrometrySettings:
    """How far the guess may be wrong, and what makes a solution good enough.

    Parameters
    ----------
    max_shift_arcsec, max_rotation_deg, max_scale_change : float
        Errors of the guess that the first search covers; the pointing error of the telescope.
    wide_factor : float
        The second search covers so many times more.
    try_orientations : bool
        Whether a last search tries every rotation of the guess and of its mirror image.
    distortion_arcsec : float
        Unmodelled distortion within the image beyond shift, rotation and scale.
    n_bright : int
        Stars that vote in the first search.
    match_radius_px, min_match_radius_arcsec : float
        Final radius of a match: the larger of the two.
    min_matches : int
        Fewer make no solution.
    min_log_odds : float
        Log10 of how improbable a chance match of this quality must be over the whole search.
    max_order : int
        Highest order of the distortion polynomial tried, 1 to 5.
    matches_per_term : float
        Matches needed for each coefficient of one axis.
    clip_sigma : float
        Matches further off do not take part in the fit.
    usual_error_arcsec : float
        Error per axis beyond the noise, assumed until enough precise stars tell.
    fwhm_px : float
        Used for centroid errors where the table of stars has neither errors nor ``fwhm``.
    max_stars : int
        Brightest stars that take part.
    """

    max_shift_arcsec: float = 240.0
    max_rotation_deg: float = 1.5
    max_scale_change: float = 0.008
    wide_factor: float = 3.0
    try_orientations: bool = True
    distortion_arcsec: float = 4.0
    n_bright: int = 300
    match_radius_px: float = 1.5
    min_match_radius_arcsec: float = 0.5
    min_matches: int = 4
    min_log_odds: float = 4.0
    max_order: int = 5
    matches_per_term: float = 2.2
    clip_sigma: float = 4.0
    usual_error_arcsec: float = 0.01
    fwhm_px: float = 2.5
    max_stars: int = 20000
