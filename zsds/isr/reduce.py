"""One raw quadrant to electrons: overscan, bias, linearity, cross-talk, flat, variance, mask."""

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zsds.core.camera import Amplifier
from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, Mask
from zsds.core.raw import RawCcd, RawQuadrant
from zsds.core.settings import settings_hash
from zsds.isr.calibration import Calibration
from zsds.isr.overscan import measure_overscan
from zsds.isr.settings import IsrSettings
from zsds.kernels.calibrate import add_crosstalk, calibrate_pixels, mark_bleeds
from zsds.kernels.coverage import count_bits

log = logging.getLogger(__name__)
_NONE = np.zeros((0, 0), np.float32)
_NO_BITS = np.zeros((0, 0), np.uint32)


def reduce_quadrant(
    raw: RawCcd,
    quadrant: int,
    amplifier: Amplifier,
    calibration: Calibration | None,
    settings: IsrSettings = IsrSettings(),  # noqa: B008
) -> Exposure:
    """Calibrate one quadrant; the sky is not subtracted.

    The order is overscan, bias, saturation, cross-talk, linearity (true = x / (A x^2 + B x + 1)), gain, flat.
    The variance holds photon noise, read noise, and the errors of overscan, bias, cross-talk and flat.

    Parameters
    ----------
    raw : RawCcd
        With the siblings that the amplifier hears by cross-talk; absent ones are ignored.
    quadrant : int
    amplifier : Amplifier
    calibration : Calibration, optional
        None only with ``settings.allow_uncalibrated``: the overscan alone is then subtracted.
    settings : IsrSettings

    Returns
    -------
    Exposure
        Electrons; finite everywhere (pixels without a number get the median and the flag NAN).

    Raises
    ------
    UnusableData
        If calibrations are missing or too much of the quadrant is saturated, unusable or constant.
    """
    own = raw.quadrants[quadrant]
    _check(own, amplifier, calibration, settings)
    coupled, doubtful = _crosstalk(raw, own, amplifier)
    if calibration is None:
        exposure = to_electrons(own, amplifier, None, None, settings, coupled=coupled)
    else:
        bias, flat = calibration.bias, calibration.flat
        exposure = to_electrons(own, amplifier, bias, flat, settings, calibration.bad_pixels, coupled)
    mask = _mark(exposure, amplifier, doubtful, settings)
    exposure = _filled(replace(exposure, mask=mask))
    _judge(exposure, settings)
    provenance = {
        **own.info.provenance,
        "isr_settings": settings_hash(settings),
        "calibration": "none" if calibration is None else calibration.version,
        "overscan": "yes" if own.overscan.shape[1] else "none",
    }
    log.info("reduced %s, calibration %s", own.info.id, provenance["calibration"])
    return replace(exposure, info=replace(own.info, provenance=provenance))


def _check(
    own: RawQuadrant, amplifier: Amplifier, calibration: Calibration | None, settings: IsrSettings
) -> None:
    if own.data.shape != amplifier.shape:
        raise UnusableData("raw quadrant has another shape than its amplifier", {"rows": own.data.shape[0]})
    if calibration is None and not settings.allow_uncalibrated:
        raise UnusableData("no master calibration for this quadrant and band")
    if calibration is None and own.overscan.shape[1] == 0:
        raise UnusableData("neither overscan nor bias: the bias level is not known")
    if calibration is not None and calibration.bias.shape != own.data.shape:
        raise UnusableData("calibration has another shape than the raw quadrant")
    finite = float(np.isfinite(own.data).mean())
    if finite < 1 - settings.max_bad:
        raise UnusableData("too many pixels have no number", {"finite": finite})


def _crosstalk(
    raw: RawCcd, own: RawQuadrant, amplifier: Amplifier
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """DN received from siblings, and where their signal was saturated and so not known."""
    siblings = [q for q, c in amplifier.crosstalk.items() if c != 0 and q in raw.quadrants]
    if not siblings:
        return _NONE, None
    coupled = np.zeros(own.data.shape, np.float32)
    doubtful = np.zeros(own.data.shape, np.bool_)
    for other in siblings:
        sibling = raw.quadrants[other]
        if sibling.data.shape != own.data.shape:
            raise UnusableData("quadrants that share cross-talk differ in shape")
        level = _sibling_level(sibling)
        flip_y = amplifier.crosstalk_flips.get(other, (False, False))[1]
        add_crosstalk(
            coupled,
            doubtful,
            amplifier.read_with(other, sibling.data),
            level[::-1] if flip_y else level,
            amplifier.crosstalk[other],
            sibling.info.saturation / sibling.info.gain,
            amplifier.read_noise / amplifier.gain,
        )
    return coupled, doubtful


def _sibling_level(sibling: RawQuadrant) -> NDArray[np.float32]:
    """Bias level of a sibling, one number for all rows: good enough for a ten-thousandth of its signal."""
    pixels = sibling.overscan if sibling.overscan.shape[1] else sibling.data[::8, ::8]
    return np.full(sibling.data.shape[0], np.nanmedian(pixels), np.float32)


def to_electrons(
    own: RawQuadrant,
    amplifier: Amplifier,
    bias: Exposure | None,
    flat: Exposure | None,
    settings: IsrSettings,
    bad_pixels: NDArray[np.uint32] = _NO_BITS,
    coupled: NDArray[np.float32] = _NONE,
) -> Exposure:
    """Pixels in electrons with their variance, and flags NAN, SATURATED and NO_FLAT; nothing else is judged.

    Parameters
    ----------
    own : RawQuadrant
    amplifier : Amplifier
    bias, flat : Exposure, optional
    settings : IsrSettings
    bad_pixels : ndarray of uint32 [ny, nx], optional
    coupled : ndarray of float32 [ny, nx], optional
        Cross-talk received, DN.
    """
    overscan = measure_overscan(own.overscan, amplifier, settings)
    shape = own.data.shape
    data, variance = np.empty(shape, np.float32), np.empty(shape, np.float32)
    mask = np.empty(shape, np.uint32)
    a, b = amplifier.linearity
    saturation = settings.saturation_fraction * amplifier.saturation_dn
    numbers = [amplifier.gain, amplifier.read_noise, saturation, a, b, settings.min_response]
    numbers += [settings.highest_dn, settings.crosstalk_err]
    level_var = overscan.variance * np.float32(amplifier.gain**2)
    bits = np.array([Mask.NAN, Mask.SATURATED, Mask.NO_FLAT], np.uint32)
    calibrate_pixels(
        *(own.data, overscan.level, level_var, *_planes(bias), *_planes(flat), coupled, bad_pixels),
        *(np.array(numbers, np.float64), bits, data, variance, mask),
    )
    return Exposure(data, variance, mask, own.info)


def _planes(master: Exposure | None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return (_NONE, _NONE) if master is None else (master.data, master.variance)


def _mark(
    exposure: Exposure, amplifier: Amplifier, doubtful: NDArray[np.bool_] | None, settings: IsrSettings
) -> NDArray[np.uint32]:
    """The mask with bleeds, cross-talk, bad columns and edges."""
    mask = exposure.mask.copy()
    sky = float(np.nanmedian(exposure.data[::4, ::4]))
    spill = sky + settings.spill_fraction * amplifier.saturation_dn * amplifier.gain
    saturated, bleed = np.uint32(Mask.SATURATED), np.uint32(Mask.BLEED)
    mark_bleeds(exposure.data, mask, saturated, bleed, spill, settings.bleed_length, settings.bleed_margin)
    if doubtful is not None:
        mask[doubtful] |= np.uint32(Mask.CROSSTALK)
    if amplifier.bad_columns:
        mask[:, list(amplifier.bad_columns)] |= np.uint32(Mask.DEAD)
    width = settings.edge_pixels
    if width > 0:
        edge = np.ones(mask.shape, np.bool_)
        edge[width:-width, width:-width] = False
        mask[edge] |= np.uint32(Mask.EDGE)
    return mask


def _filled(exposure: Exposure) -> Exposure:
    """The exposure with the median where there is no number."""
    hole = (exposure.mask & np.uint32(Mask.NAN)) != 0
    hole |= ~np.isfinite(exposure.variance)
    if not hole.any():
        return exposure
    data = np.where(hole, np.float32(np.median(exposure.data[~hole])), exposure.data)
    variance = np.where(hole, np.max(exposure.variance[~hole]), exposure.variance)
    return replace(exposure, data=data, variance=variance, mask=exposure.mask | hole * np.uint32(Mask.NAN))


def _judge(exposure: Exposure, settings: IsrSettings) -> None:
    saturated = count_bits(exposure.mask, np.uint32(Mask.SATURATED)) / exposure.mask.size
    if saturated > settings.max_saturated:
        raise UnusableData("most of the quadrant is saturated", {"saturated": saturated})
    bad = count_bits(exposure.mask, np.uint32(DEFECTS & ~Mask.EDGE)) / exposure.mask.size
    if bad > settings.max_bad:
        raise UnusableData("most of the quadrant is unusable", {"bad": bad})
    if np.ptp(exposure.data[::4, ::4]) == 0 and np.ptp(exposure.data) == 0:
        raise UnusableData("all pixels are the same", {"electrons": float(exposure.data.flat[0])})
