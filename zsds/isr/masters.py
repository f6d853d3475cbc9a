"""Master bias, flat and bad pixels of one quadrant."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainccinv

from zsds.core.camera import Amplifier
from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure, Info
from zsds.core.flags import Mask
from zsds.core.raw import RawQuadrant
from zsds.core.robust import mad_width
from zsds.core.settings import settings_hash
from zsds.isr.reduce import to_electrons
from zsds.isr.settings import IsrSettings, MasterSettings
from zsds.isr.sky import fill_holes
from zsds.kernels.cells import cell_percentiles, spread_cells
from zsds.kernels.stack import clipped_mean

_UNUSABLE = np.uint32(Mask.NAN | Mask.SATURATED)
_HOT_SIGMA = 5.0
_CHANCE = 1e-7  # how often good noise may look noisy


@dataclass(frozen=True)
class MasterFlat:
    """A flat and how bright its frames were.

    Parameters
    ----------
    flat : Exposure
        Response, median 1.
    level : float
        Mean of the frames' medians, electrons.
    n_frames : int
    """

    flat: Exposure
    level: float
    n_frames: int


def build_bias(
    frames: Sequence[RawQuadrant],
    amplifier: Amplifier,
    settings: MasterSettings = MasterSettings(),  # noqa: B008
    isr: IsrSettings = IsrSettings(),  # noqa: B008
) -> Exposure:
    """Clipped mean of bias frames, above their overscan, in electrons.

    Parameters
    ----------
    frames : sequence of RawQuadrant
    amplifier : Amplifier
    settings : MasterSettings
    isr : IsrSettings

    Returns
    -------
    Exposure
        Mask: NOISY where the frames scatter more than read noise can, NAN where no frame had a number.

    Raises
    ------
    UnusableData
        If there are too few frames of one level, or that level or their noise is not that of a bias.
    """
    _enough("bias frames", len(frames), settings.min_bias)
    plain = replace(amplifier, linearity=(0.0, 0.0))
    stack = np.empty((len(frames), *amplifier.shape), np.float32)
    for k, frame in enumerate(frames):
        _check_shape(frame, amplifier)
        stack[k] = to_electrons(frame, plain, None, None, isr).data
    stack = _of_one_level(stack, amplifier, settings)
    scatter = _typical_scatter(stack)
    _check_bias(stack, scatter, amplifier, settings, frames[0].overscan.shape[1] > 0)
    noise = max(amplifier.read_noise, 0.3 * amplifier.gain, scatter)
    mean, spread, count = _combine(stack, np.full(len(stack), noise, np.float32), False, settings.clip)
    variance = (noise**2 / np.maximum(count, 1)).astype(np.float32)
    freedom = max(len(stack) - 1, 1)
    limit = max(settings.noisy_ratio, float(np.sqrt(2 * gammainccinv(freedom / 2, _CHANCE) / freedom)))
    noisy = np.nan_to_num(spread) > limit
    return _master(mean, variance, noisy * np.uint32(Mask.NOISY), frames[0].info)


def build_flat(
    frames: Sequence[RawQuadrant],
    amplifier: Amplifier,
    bias: Exposure | None,
    settings: MasterSettings = MasterSettings(),  # noqa: B008
    isr: IsrSettings = IsrSettings(),  # noqa: B008
) -> MasterFlat:
    """Clipped, weighted mean of flat frames, each divided by its median; then median 1.

    Parameters
    ----------
    frames : sequence of RawQuadrant
        Of one band.
    amplifier : Amplifier
    bias : Exposure, optional
    settings : MasterSettings
    isr : IsrSettings

    Returns
    -------
    MasterFlat
        Mask of the flat: DEAD, LOW_RESPONSE, HIGH_RESPONSE, NAN.

    Raises
    ------
    UnusableData
        If too few frames are neither too faint nor near saturation.
    """
    stack = np.empty((len(frames), *amplifier.shape), np.float32)
    levels: list[float] = []
    for frame in frames:
        _check_shape(frame, amplifier)
        exposure = to_electrons(frame, amplifier, bias, None, isr)
        level = float(np.nanmedian(exposure.data)) if np.isfinite(exposure.data).any() else 0.0
        limit = settings.max_flat_fraction * amplifier.saturation_dn * amplifier.gain
        if settings.min_flat_electrons <= level <= limit:
            bad = (exposure.mask & _UNUSABLE) != 0
            stack[len(levels)] = np.where(bad, np.float32(np.nan), exposure.data / np.float32(level))
            levels.append(level)
    _enough("usable flat frames", len(levels), settings.min_flat, {"given": len(frames)})
    stack, brightness = stack[: len(levels)], np.array(levels)
    sigmas = np.sqrt(brightness + amplifier.read_noise**2) / brightness
    mean, _, count = _combine(stack, sigmas.astype(np.float32), True, settings.clip)
    middle = np.float32(np.nanmedian(mean))
    mean /= middle
    per_frame = float(np.mean(sigmas**2))
    variance = per_frame * np.maximum(mean, 0.01) / np.maximum(count, 1)
    if bias is not None:
        variance = variance + bias.variance / brightness.mean() ** 2
    mask = _response_bits(mean, settings)
    flat = _master(mean, variance.astype(np.float32), mask, frames[0].info)
    return MasterFlat(flat, float(brightness.mean()), len(levels))


def find_hot_pixels(
    frames: Sequence[RawQuadrant],
    amplifier: Amplifier,
    bias: Exposure,
    settings: MasterSettings = MasterSettings(),  # noqa: B008
    isr: IsrSettings = IsrSettings(),  # noqa: B008
) -> NDArray[np.uint32]:
    """NOISY where the dark current is significantly above that of other pixels; nothing if frames are few.

    Parameters
    ----------
    frames : sequence of RawQuadrant
        Dark frames, of any exposure times.
    amplifier : Amplifier
    bias : Exposure
    settings : MasterSettings
    isr : IsrSettings
    """
    if len(frames) < settings.min_dark:
        return np.zeros(amplifier.shape, np.uint32)
    stack = np.empty((len(frames), *amplifier.shape), np.float32)
    sigmas = np.empty(len(frames), np.float32)
    for k, frame in enumerate(frames):
        _check_shape(frame, amplifier)
        stack[k] = to_electrons(frame, amplifier, bias, None, isr).data / np.float32(frame.info.exposure_s)
        sigmas[k] = max(mad_width(stack[k][::4, ::4]), 1e-6)
    current = np.median(stack, axis=0)  # blind to the rays of one frame
    error = np.sqrt(np.pi / 2 / len(frames)) * float(sigmas.mean())
    excess = np.nan_to_num(current - np.nanmedian(current))
    hot = (excess > settings.hot_electrons_per_s) & (excess > _HOT_SIGMA * error)
    return (hot * np.uint32(Mask.NOISY)).astype(np.uint32)


def build_bad_pixels(
    bias: Exposure | None,
    flat: Exposure | None,
    amplifier: Amplifier,
    settings: MasterSettings = MasterSettings(),  # noqa: B008
    hot: NDArray[np.uint32] | None = None,
) -> NDArray[np.uint32]:
    """Bits of the pixels that are always bad: of bias and flat, hot ones, bad columns.

    Raises
    ------
    UnusableData
        If too much of the quadrant is bad.
    """
    bad = np.zeros(amplifier.shape, np.uint32)
    for master in (bias, flat):
        if master is not None:
            bad |= master.mask
    if hot is not None:
        bad |= hot
    column = (bad != 0).mean(axis=0)
    for j in np.nonzero(column > settings.column_fraction)[0]:
        bad[:, j] |= np.bitwise_or.reduce(bad[:, j])
    bad[:, list(amplifier.bad_columns)] |= np.uint32(Mask.DEAD)
    fraction = float((bad != 0).mean())
    if fraction > settings.max_bad:
        raise UnusableData("too many pixels are bad in the calibration frames", {"bad": fraction})
    return bad


def version_of(inputs: Sequence[RawQuadrant], *settings: object) -> str:
    """Twelve hexadecimal digits that change with the frames (in any order), the amplifier or the settings."""
    names = sorted(f"{frame.info.id} {frame.info.start_mjd!r} {frame.info.exposure_s!r}" for frame in inputs)
    parts = names + [settings_hash(one) for one in settings]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _enough(what: str, found: int, wanted: int, numbers: dict[str, float] | None = None) -> None:
    if found < wanted:
        raise UnusableData(f"too few {what}", {"found": found, "wanted": wanted, **(numbers or {})})


def _check_shape(frame: RawQuadrant, amplifier: Amplifier) -> None:
    if frame.data.shape != amplifier.shape:
        ny, nx = frame.data.shape
        raise UnusableData("calibration frame has another shape than its amplifier", {"nx": nx, "ny": ny})


def _of_one_level(
    stack: NDArray[np.float32], amplifier: Amplifier, settings: MasterSettings
) -> NDArray[np.float32]:
    """The bias frames without those at another level than most."""
    levels = np.array([np.median(np.nan_to_num(frame[::4, ::4])) for frame in stack])
    good = np.abs(levels - np.median(levels)) <= settings.max_bias_step_dn * amplifier.gain
    _enough("bias frames of one level", int(good.sum()), settings.min_bias, {"given": len(stack)})
    return stack if good.all() else stack[good]


def _check_bias(
    stack: NDArray[np.float32],
    scatter: float,
    amplifier: Amplifier,
    settings: MasterSettings,
    has_overscan: bool,
) -> None:
    """Raise if the frames saw light, or hold no readout."""
    level = float(np.median(np.nan_to_num(stack[:, ::4, ::4]))) / amplifier.gain
    if has_overscan and abs(level) > settings.max_bias_dn:
        raise UnusableData("bias frames are far from the level of their overscan", {"dn": level})
    if len(stack) < 2:
        return
    noise = {"noise": scatter, "read_noise": amplifier.read_noise}
    if scatter > settings.max_bias_noise * max(amplifier.read_noise, amplifier.gain):
        raise UnusableData("bias frames are noisier than the camera file says; did they see light?", noise)
    if scatter < 0.3 * amplifier.read_noise and amplifier.read_noise > amplifier.gain:
        raise UnusableData("bias frames do not differ as read noise would have it", noise)


def _typical_scatter(stack: NDArray[np.float32]) -> float:
    """Robust noise of one frame from the difference of the first two; 0 if there is only one."""
    if len(stack) < 2:
        return 0.0
    return mad_width((stack[1] - stack[0])[::4, ::4]) / np.sqrt(2)


def _combine(
    stack: NDArray[np.float32], sigmas: NDArray[np.float32], scale_noise: bool, clip: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]:
    shape = stack.shape[1:]
    mean, scatter, count = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.int32)
    clipped_mean(stack, sigmas, scale_noise, clip, mean, scatter, count)
    return mean, scatter, count


def _response_bits(response: NDArray[np.float32], settings: MasterSettings) -> NDArray[np.uint32]:
    """DEAD, LOW_RESPONSE and HIGH_RESPONSE by comparison with the smooth response around."""
    none = np.zeros(response.shape, np.uint32)
    grid = cell_percentiles(response, none, np.uint32(0), settings.cell, 0.5, 1)
    smooth = spread_cells(fill_holes(grid), settings.cell, *response.shape)
    relative = np.nan_to_num(response / np.maximum(smooth, 1e-6), nan=1.0)
    bits = np.where(relative < settings.low_response, np.uint32(Mask.LOW_RESPONSE), none)
    bits = np.where(relative < settings.dead_response, np.uint32(Mask.DEAD), bits)
    return np.where(relative > settings.high_response, np.uint32(Mask.HIGH_RESPONSE), bits)


def _master(
    mean: NDArray[np.float32], variance: NDArray[np.float32], mask: NDArray[np.uint32], info: Info
) -> Exposure:
    """Master exposure; holes get the median and the flag NAN."""
    hole = ~np.isfinite(mean)
    if hole.all():
        raise UnusableData("calibration frames hold no numbers")
    mask = (mask | np.where(hole, np.uint32(Mask.NAN), np.uint32(0))).astype(np.uint32)
    mean = np.where(hole, np.float32(np.median(mean[~hole])), mean).astype(np.float32)
    return Exposure(mean, variance, mask, info)
