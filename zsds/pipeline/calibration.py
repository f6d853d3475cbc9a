"""Master calibrations of a night, quadrant by quadrant."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from zsds.core.camera import Amplifier
from zsds.core.errors import UnusableData
from zsds.core.raw import RawCcd, RawQuadrant
from zsds.isr import Calibration, IsrSettings, MasterSettings
from zsds.isr.masters import build_bad_pixels, build_bias, build_flat, find_hot_pixels, version_of


@dataclass(frozen=True)
class CalibrationSettings:
    """Settings of everything that makes master calibrations."""

    masters: MasterSettings = field(default_factory=MasterSettings)
    isr: IsrSettings = field(default_factory=IsrSettings)


def calibrate_quadrant(
    frames: Iterable[RawCcd],
    quadrant: int,
    amplifier: Amplifier,
    band: str,
    settings: CalibrationSettings = CalibrationSettings(),
) -> Calibration:
    """Master calibrations of one quadrant and band from a night's bias, dark and flat frames.

    Parameters
    ----------
    frames : iterable of RawCcd
        Of one CCD; frames of other types and flats of other bands are ignored. Darks show the hot pixels;
        when there is no bias they stand in for it.
    quadrant : int
    amplifier : Amplifier
    band : str
        Code of the band.
    settings : CalibrationSettings

    Returns
    -------
    Calibration

    Raises
    ------
    UnusableData
        If there are too few bias or flat frames, or too many bad pixels.
    """
    by_type = _by_type(frames, quadrant, band)
    zero = by_type["bias"] or by_type["dark"]
    darks = by_type["dark"] if by_type["bias"] else []
    flats = by_type["flat"]
    if not flats:
        raise UnusableData(f"no flat frames in band {band}", {"bias": len(zero)})
    if not zero:
        raise UnusableData("no bias frames", {"flats": len(flats)})
    bias = build_bias(zero, amplifier, settings.masters, settings.isr)
    flat = build_flat(flats, amplifier, bias, settings.masters, settings.isr)
    hot = find_hot_pixels(darks, amplifier, bias, settings.masters, settings.isr)
    bad = build_bad_pixels(bias, flat.flat, amplifier, settings.masters, hot)
    version = version_of([*zero, *darks, *flats], amplifier, settings)
    provenance = {"calibration": version, "bias_frames": str(len(zero)), "flat_frames": str(flat.n_frames)}
    bias = replace(bias, info=replace(bias.info, provenance=provenance))
    response = replace(flat.flat, info=replace(flat.flat.info, provenance=provenance))
    return Calibration(bias, response, bad, version)


def _by_type(frames: Iterable[RawCcd], quadrant: int, band: str) -> Mapping[str, list[RawQuadrant]]:
    found: dict[str, list[RawQuadrant]] = {"bias": [], "dark": [], "flat": []}
    for frame in frames:
        if frame.frame_type not in found or quadrant not in frame.quadrants:
            continue
        one = frame.quadrants[quadrant]
        if frame.frame_type != "flat" or one.info.id.band == band:
            found[frame.frame_type].append(one)
    return {kind: sorted(ones, key=lambda one: one.info.start_mjd) for kind, ones in found.items()}
