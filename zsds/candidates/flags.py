"""Why a candidate is doubtful: bits of the column ``flags``."""

from enum import IntFlag


class CandidateFlag(IntFlag):
    """What speaks against a candidate, or makes it special; see ``CANDIDATE_FLAG_MEANINGS``."""

    EDGE = 1 << 0
    DEFECT_PIXELS = 1 << 1
    DEFECT_CORE = 1 << 2
    NEAR_SATURATED = 1 << 3
    GHOST = 1 << 4
    STAR_RESIDUAL = 1 << 5
    DIPOLE = 1 << 6
    TRAIL = 1 << 7
    COSMIC_RAY = 1 << 8
    BLENDED = 1 << 9
    FIT_FAILED = 1 << 10
    LOW_SNR = 1 << 11
    WIDE = 1 << 12
    ELONGATED = 1 << 13
    APERTURE_MISMATCH = 1 << 14
    POOR_FIT = 1 << 15
    TOO_FAINT = 1 << 16
    NARROW = 1 << 17
    REPEATED = 1 << 18
    IN_LIGHT = 1 << 19
    SHAPELESS = 1 << 20


CANDIDATE_FLAG_MEANINGS = {
    CandidateFlag.EDGE: "nearer to the edge of the image than the PSF reaches",
    CandidateFlag.DEFECT_PIXELS: "has pixels with a defect in its central 5 x 5",
    CandidateFlag.DEFECT_CORE: "has too many of them, or the central pixel itself",
    CandidateFlag.NEAR_SATURATED: "by a saturated pixel or its bleed; cuts on shape need no significance",
    CandidateFlag.GHOST: "in a ghost, the halo of a bright star, or a marked trail",
    CandidateFlag.STAR_RESIDUAL: "a small fraction of a star in science or reference at the same place",
    CandidateFlag.DIPOLE: "two opposite lobes such as a small misplacement of a star leaves",
    CandidateFlag.TRAIL: "drawn out to a line: a fast mover, or a satellite",
    CandidateFlag.COSMIC_RAY: "sharper than the PSF in the science image",
    CandidateFlag.BLENDED: "shares its pixels with another candidate",
    CandidateFlag.FIT_FAILED: "the PSF fit found no flux of the sign of the peak, or left its place",
    CandidateFlag.LOW_SNR: "PSF flux below the limit in signal to noise",
    CandidateFlag.WIDE: "wider than a point source may be",
    CandidateFlag.ELONGATED: "more elongated than a point source may be",
    CandidateFlag.APERTURE_MISMATCH: "aperture and PSF magnitude disagree beyond the limit and the noise",
    CandidateFlag.POOR_FIT: "the PSF leaves much more than noise, beyond what its own error explains",
    CandidateFlag.TOO_FAINT: "fainter than the limit in magnitude",
    CandidateFlag.NARROW: "significantly narrower than the PSF in the difference image",
    CandidateFlag.REPEATED: "on the same trail as a more significant candidate, which stands for both",
    CandidateFlag.IN_LIGHT: "a small part of the light at its place; cuts on shape then need no significance",
    CandidateFlag.SHAPELESS: "second moments are not positive: no source, but structure around one",
}
