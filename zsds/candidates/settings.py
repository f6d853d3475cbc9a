"""Thresholds of the search for candidates and of what becomes a packet."""

from dataclasses import dataclass

from zsds.candidates.flags import CandidateFlag as Flag
from zsds.core.settings import require_positive

VETO = (
    Flag.EDGE
    | Flag.DEFECT_CORE
    | Flag.STAR_RESIDUAL
    | Flag.DIPOLE
    | Flag.COSMIC_RAY
    | Flag.FIT_FAILED
    | Flag.LOW_SNR
    | Flag.WIDE
    | Flag.ELONGATED
    | Flag.APERTURE_MISMATCH
    | Flag.POOR_FIT
    | Flag.TOO_FAINT
    | Flag.NARROW
    | Flag.REPEATED
    | Flag.SHAPELESS
)
TRAIL_EXCUSES = Flag.WIDE | Flag.ELONGATED | Flag.APERTURE_MISMATCH | Flag.POOR_FIT


@dataclass(frozen=True)
class CandidateSettings:
    """Every threshold; lengths in pixels."""

    threshold: float = 5.0  # of |S_corr| at a peak
    min_prominence: float = 3.0  # a second peak of a patch rises this far above the saddle, in S_corr
    max_per_sign: int = 5000  # more mean a broken subtraction (and do not fit in a candid)
    sky_inner: float = 14.0  # radii of the ring of the local background
    sky_outer: float = 22.0  # the outer one
    aperture: float = 14.0  # diameter of magap, ZTF's
    big_aperture: float = 18.0  # diameter of magapbig, ZTF's
    edge: float = 5.0  # nearer candidates are flagged
    saturated_reach: float = 15.0  # a saturated pixel nearer than this is flagged
    min_snr: float = 5.0  # of the PSF flux; packets only
    max_mag: float = 23.5  # fainter ones are flagged
    max_nbad: int = 4  # more defective pixels in the central 5 x 5 are flagged
    max_fwhm: float = 7.0  # wider ones are flagged
    max_elong: float = 1.6  # longer ones are flagged
    elong_sigma: float = 4.0  # the shape must depart from the PSF's so significantly too
    min_magdiff: float = -0.4  # aperture minus PSF magnitude: smaller is flagged
    max_magdiff: float = 0.75  # and so is larger
    magdiff_sigma: float = 3.0  # the mismatch must be significant too
    min_star_fraction: float = 0.01  # of the flux of a star at the same place
    dipole_score: float = 3.5  # opposite score next to the peak that makes a dipole worth a fit
    light_fraction: float = 0.15  # of the light at the place: below, shapes are judged without leniency
    min_shape_snr: float = 10.0  # brighter sources without positive second moments are none
    max_dipole_shift: float = 0.5  # a star misplaced by less than this explains a dipole
    dipole_chi_ratio: float = 0.8  # chi-square of the dipole over that of the point source
    trail_chi_ratio: float = 0.8  # chi-square of the trail over that of the point source
    min_trail_length: float = 2.0  # shorter lines count as points
    max_ray_gain: float = 0.0  # chi-square by which a few pixels may explain the core better than the PSF
    cosmic_ray_sigma: float = 5.0  # excess of a pixel over its neighbours beyond what the PSF allows
    max_chi: float = 4.0  # reduced chi-square of a faint source; for bright ones see model_error
    model_error: float = 0.05  # relative error of the PSF that a fit may show; more if stars do
    max_model_error: float = 0.2  # but never more than this: cosmic rays leave half of their flux
    star_snr: float = 50.0  # stars that tell the error of the PSF model are brighter
    star_share: float = 0.8  # of them show less than the error that is allowed
    veto: int = int(VETO)  # flags that keep a candidate from becoming a packet
    trail_excuses: int = int(TRAIL_EXCUSES)  # flags that a trail is forgiven

    def __post_init__(self) -> None:
        require_positive("threshold", self.threshold)
