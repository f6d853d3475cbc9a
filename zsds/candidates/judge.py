"""What speaks against a candidate, and whether it becomes a packet."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zsds.candidates.flags import CandidateFlag as Flag
from zsds.candidates.settings import CandidateSettings

MIN_TRAIL_GAIN = 25.0  # chi-square a trail must save: five sigma
MAX_POINT_CHI = 1.5  # of a peak among several that is a point source by itself
NARROW_SPREAD = -0.5  # of the step to the widened PSF
MIN_PAIR_LENGTH = 0.8  # pixels; closer lobes cannot be told apart
SHIFT_LIMIT = 1.5  # pixels between peak and fit


def flags_of(found: Mapping[str, Any], settings: CandidateSettings, around: Flag) -> Flag:
    """Flags that follow from the measured numbers; a NaN raises none but FIT_FAILED.

    Parameters
    ----------
    found : mapping
        Columns of ``candidates``, and the intermediate numbers of `find_candidates`.
    settings : CandidateSettings
    around : CandidateFlag
        Flags known from the mask.

    Returns
    -------
    CandidateFlag
        ``around`` among them.
    """
    sign = 1 if found["is_positive"] else -1
    in_light = abs(found["flux"]) < settings.light_fraction * found["light"]
    strict = in_light or bool(around & Flag.NEAR_SATURATED)
    tests = {
        Flag.EDGE: found["mindtoedge"] < settings.edge,
        Flag.DEFECT_PIXELS: found["nbad"] > 0,
        Flag.DEFECT_CORE: found["nbad"] > settings.max_nbad,
        Flag.STAR_RESIDUAL: abs(found["flux"]) < settings.min_star_fraction * found["star_flux"],
        Flag.DIPOLE: _is_dipole(found, settings),
        Flag.TRAIL: _is_trail(found, settings),
        Flag.COSMIC_RAY: found["sharp_sigma"] > settings.cosmic_ray_sigma
        or found["ray_gain"] > settings.max_ray_gain,
        Flag.BLENDED: found["nblend"] > 1,
        Flag.FIT_FAILED: not sign * found["flux"] > 0 or found["fit_shift"] > SHIFT_LIMIT,
        Flag.LOW_SNR: sign * found["snr"] < settings.min_snr,
        Flag.WIDE: found["fwhm"] > settings.max_fwhm,
        Flag.ELONGATED: found["elong"] > settings.max_elong
        and (strict or found["shape_sigma"] > settings.elong_sigma),
        Flag.APERTURE_MISMATCH: _apertures_disagree(
            found, settings, 0.0 if strict else settings.magdiff_sigma
        ),
        Flag.POOR_FIT: found["chipsf"]
        > _allowed_chi(found["snr"], found["fit_pixels"], found["model_error"], settings),
        Flag.TOO_FAINT: found["magpsf"] > settings.max_mag,
        Flag.NARROW: found["spread"] + settings.cosmic_ray_sigma * found["spread_err"] < NARROW_SPREAD,
        Flag.IN_LIGHT: in_light,
        Flag.SHAPELESS: np.isnan(found["elong"]) and (strict or abs(found["snr"]) > settings.min_shape_snr),
    }
    flags = around
    for flag, raised in tests.items():
        if raised:
            flags |= flag
    return flags


def is_alert(flags: Flag, settings: CandidateSettings) -> bool:
    """Whether no vetoing flag stands; a trail is forgiven what a trail cannot help.

    Not so within another source's light or beside a saturated star, where arcs of badly subtracted wings look
    like trails.
    """
    veto = settings.veto
    if flags & Flag.TRAIL and not flags & (Flag.IN_LIGHT | Flag.NEAR_SATURATED):
        veto &= ~settings.trail_excuses
    return not int(flags) & veto


def is_pair(found: Mapping[str, Any], settings: CandidateSettings) -> bool:
    """Two sources of opposite sign side by side that no shift of a star explains, such as a mover's."""
    if "dipole_flux" not in found or not found["dipole_flux"] > 0:
        return False
    better = found["dipole_chi_ratio"] < settings.dipole_chi_ratio
    return bool(better and not _is_dipole(found, settings) and found["dipole_length"] > MIN_PAIR_LENGTH)


def mark_repeated_trails(rows: Sequence[dict[str, Any]]) -> None:
    """Flag all but the strongest of the trails that stand on one patch of the score image."""
    seen = set()
    for row in sorted(rows, key=lambda row: -row["scorr"]):
        if not row["flags"] & Flag.TRAIL:
            continue
        if row["patch"] in seen:
            row["flags"] |= Flag.REPEATED
        seen.add(row["patch"])


def _is_dipole(found: Mapping[str, Any], settings: CandidateSettings) -> bool:
    """Two lobes fit better than one, and a small shift of the star at this place makes them.

    A star of flux F misplaced by d leaves a dipole moment F d, the product of lobe flux and distance.
    """
    if "dipole_flux" not in found or not found["dipole_flux"] > 0:
        return False
    moment = found["dipole_flux"] * found["dipole_length"]
    explained = moment < settings.max_dipole_shift * found["dipole_star"]
    return bool(explained and found["dipole_chi_ratio"] < settings.dipole_chi_ratio)


def _is_trail(found: Mapping[str, Any], settings: CandidateSettings) -> bool:
    """A line fits, and better than a point; on a patch of several peaks, where no single point fits either.

    A cosmic ray's track is narrower than the PSF drawn out, and no line.
    """
    if "trail_length" not in found or _is_dipole(found, settings):
        return False
    if found["nblend"] > 1 and (found["chipsf"] < MAX_POINT_CHI or found["trail_chi"] > found["chipsf"]):
        return False
    allowed = _allowed_chi(found["trail_snr"], found["trail_pixels"], found["model_error"], settings)
    return bool(
        found["trail_chi"] < allowed
        and found["trail_thin_gain"] < 0
        and found["trail_length"] > settings.min_trail_length
        and found["trail_chi_ratio"] < settings.trail_chi_ratio
        and found["trail_gain"] > MIN_TRAIL_GAIN
        and (found["trail_flux"] > 0) == found["is_positive"]
    )


def _apertures_disagree(found: Mapping[str, Any], settings: CandidateSettings, n_sigma: float) -> bool:
    """Aperture flux outside the range of magnitude differences by so many of its errors."""
    flux, aperture = abs(found["flux"]), np.copysign(1.0, found["flux"]) * found["ap_flux"]
    least, most = flux * 10 ** (-0.4 * settings.max_magdiff), flux * 10 ** (-0.4 * settings.min_magdiff)
    noise = n_sigma * found["ap_flux_err"]
    return bool(aperture < least - noise or aperture > most + noise)


def _allowed_chi(snr: float, n_pixels: int, error: float, settings: CandidateSettings) -> float:
    """A PSF wrong by a fraction e leaves e^2 (S/N)^2 of chi-square."""
    return float(settings.max_chi + (error * snr) ** 2 / max(n_pixels - 3, 1))
