"""Finds and marks the long straight trails of satellites and aircraft."""

import logging
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, Mask
from zsds.core.robust import mad_width
from zsds.isr.pieces import find_pieces
from zsds.isr.settings import TrailSettings
from zsds.isr.sky import quick_sky
from zsds.kernels.lines import bin_residual, line_profile, line_sums, mark_segment

log = logging.getLogger(__name__)
_BINS = 320  # bins along the longer side for the search
_CLIP = 4.0  # sigma beyond which a bin counts no more: one star must not make a line
_BRIGHT = 50.0  # the same where the profile of a trail is measured
_TRIES = 4  # lines looked at closely before giving up
_FLANK = 14  # distance to which the flanks of a line are looked at, pixels
_SURE = 5.0  # least significance of the median along the trail
_COLUMN = 8.0  # half-width of lines along rows or columns beyond which they are no trails
_BORDER = 24.0  # distance from the border within which they are none, pixels
_FADE = 2.5  # a spike is at least so much brighter in its inner third than in its outer


@dataclass(frozen=True)
class Trail:
    """A straight trail: x cos(angle) + y sin(angle) = offset.

    Parameters
    ----------
    angle : float
        Radians, of the normal from +x.
    offset : float
        Pixels.
    first, last : float
        Ends, pixels along the line (direction (-sin, cos)) from its point nearest the origin.
    half_width : float
        Of the mask, pixels.
    significance : float
        Of the clipped sum along it, sigma.
    """

    angle: float
    offset: float
    first: float
    last: float
    half_width: float
    significance: float

    @property
    def length(self) -> float:
        """Pixels."""
        return self.last - self.first


@dataclass(frozen=True)
class _Residual:
    """The image above its sky, where it may show a trail, and the saturated stars (x, y, radius) in it."""

    data: NDArray[np.float32]
    sky: NDArray[np.float32]
    sigma: float
    usable: NDArray[np.bool_]
    stars: list[tuple[float, float, float]]

    def profile(
        self, angle: float, offset: float, reach: int, clip: float
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Sums and counts [along, across] of the residuals about a line, in sigma."""
        total, count = line_profile(self.data, self.sky, self.sigma, self.usable, angle, offset, reach, clip)
        return total, count


def find_trails(
    exposure: Exposure,
    settings: TrailSettings = TrailSettings(),  # noqa: B008
) -> list[Trail]:
    """The long straight trails of an exposure, the most significant first.

    Lines are summed in a binned, clipped image of the residuals over the noise. A trail must be long and
    bright along most of its length: the spikes and halos of bright stars are neither.
    """
    step = max(1, round(max(exposure.shape) / _BINS))
    sky = quick_sky(exposure, 48)
    stars = _saturated_stars(exposure)
    usable = _usable(exposure, stars, settings)
    sigma = float(np.sqrt(np.median(exposure.variance[::4, ::4])))
    if not sigma > 0:
        return []
    trails: list[Trail] = []
    for _ in range(settings.max_trails):
        residual = _Residual(exposure.data, sky, sigma, usable, stars)
        trail = _best(residual, step, settings)
        if trail is None:
            break
        trails.append(trail)
        usable &= _drawn(exposure.shape, [trail]) == 0
    return trails


def mark_trails(
    exposure: Exposure,
    settings: TrailSettings = TrailSettings(),  # noqa: B008
) -> Exposure:
    """The exposure with TRAIL set where `find_trails` finds a satellite or an aircraft."""
    trails = find_trails(exposure, settings)
    log.info("%d trails", len(trails))
    return replace(exposure, mask=exposure.mask | _drawn(exposure.shape, trails)) if trails else exposure


def _drawn(shape: tuple[int, int], trails: list[Trail]) -> NDArray[np.uint32]:
    mask = np.zeros(shape, np.uint32)
    half = int(np.ceil(np.hypot(*shape)))
    for t in trails:
        mark_segment(
            mask, np.uint32(Mask.TRAIL), t.angle, t.offset, t.first + half, t.last + half, t.half_width
        )
    return mask


def _saturated_stars(exposure: Exposure) -> list[tuple[float, float, float]]:
    """Centre and radius of the pieces of saturated pixels."""
    return [
        (
            float(cols.min() + cols.max()) / 2,
            float(rows.min() + rows.max()) / 2,
            float(np.sqrt(rows.size / np.pi)),
        )
        for rows, cols in find_pieces(exposure.mask, Mask.SATURATED)
        if rows.size >= 4
    ]


def _usable(
    exposure: Exposure, stars: list[tuple[float, float, float]], settings: TrailSettings
) -> NDArray[np.bool_]:
    """Pixels that may show a trail: no defects, and not around saturated stars."""
    usable: NDArray[np.bool_] = (exposure.mask & np.uint32(DEFECTS & ~Mask.EDGE & ~Mask.COSMIC_RAY)) == 0
    ny, nx = exposure.shape
    for x, y, size in stars:
        radius = settings.star_radius * size + 5
        y0, y1 = max(0, int(y - radius)), min(ny, int(y + radius) + 1)
        x0, x1 = max(0, int(x - radius)), min(nx, int(x + radius) + 1)
        rows, cols = np.ogrid[y0:y1, x0:x1]
        usable[y0:y1, x0:x1] &= (rows - y) ** 2 + (cols - x) ** 2 > radius**2
    return usable


def _best(residual: _Residual, step: int, settings: TrailSettings) -> Trail | None:
    """The most significant line that has a trail's shape; None if there is none."""
    binned = bin_residual(residual.data, residual.sky, residual.sigma, residual.usable, step, -3.0, _CLIP)
    n_angles = max(4, int(np.pi * np.hypot(*binned.shape) / 2.4))
    sums = line_sums(binned, n_angles, max(4, int(settings.min_chord / step)))
    known = np.isfinite(sums)
    if not known.any():
        return None
    middle = float(np.median(sums[known]))
    spread = mad_width(sums[known])
    significance = np.where(known, (sums - middle) / max(spread, 1e-3), -np.inf)
    half = sums.shape[1] // 2
    for _ in range(_TRIES):
        k, m = np.unravel_index(int(np.argmax(significance)), significance.shape)
        highest = float(significance[k, m])
        if highest < settings.n_sigma:
            return None
        angle = np.pi * k / n_angles
        offset = (int(m) - half) * step + (step - 1) / 2 * (np.cos(angle) + np.sin(angle))
        trail = _refined(residual, angle, offset, step, settings)
        if trail is not None:
            return replace(trail, significance=highest)
        around = (np.arange(-3, 4)[:, None] + k) % n_angles
        significance[around, np.clip(np.arange(-6, 7) + m, 0, sums.shape[1] - 1)] = -np.inf
    return None


def _refined(
    residual: _Residual, angle: float, offset: float, step: int, settings: TrailSettings
) -> Trail | None:
    """The trail near a line of the search, if it is long and filled enough and no star's spike."""
    angle, offset = _aligned(residual, angle, offset, 2 * step + 4)
    total, count = residual.profile(angle, offset, _FLANK, _CLIP)
    ends = _ends(total, count, residual.data.shape, settings)
    if ends is None:
        return None
    first, last = ends
    total, count = residual.profile(angle, offset, settings.max_half_width, _BRIGHT)
    total, count = total[first:last], count[first:last]
    half = int(np.ceil(np.hypot(*residual.data.shape)))
    if _is_spike(total, count, first - half, angle, offset, residual.stars):
        return None
    width = _half_width(total, count, settings.width_sigma)
    trail = Trail(angle, offset, first - half, last - half, width, 0.0)
    return None if width <= 1 or _is_border(trail, residual.data.shape) else trail


def _aligned(residual: _Residual, angle: float, offset: float, reach: int) -> tuple[float, float]:
    """Angle and offset, near the given ones, of the line along which the clipped sum is largest."""
    turn = 1.2 / np.hypot(*residual.data.shape)
    best, shift, highest = angle, 0, -np.inf
    for _ in range(2):
        for candidate in best + turn * np.arange(-3, 4):
            total, count = residual.profile(candidate, offset, reach, _CLIP)
            across = total.sum(axis=0) / np.sqrt(np.maximum(count.sum(axis=0), 1))
            smooth = np.convolve(across, np.ones(3), "same")
            if smooth.max() > highest:
                highest, best, shift = smooth.max(), candidate, int(np.argmax(smooth)) - reach
        turn /= 3
    return float(best), float(offset + shift)


def _is_border(trail: Trail, shape: tuple[int, ...]) -> bool:
    """Whether a line is a slope of the sky at the detector's border: near it all along, or wide."""
    along = np.array([trail.first, trail.last])
    cos, sin = np.cos(trail.angle), np.sin(trail.angle)
    x, y = trail.offset * cos - along * sin, trail.offset * sin + along * cos
    near = [x < _BORDER, y < _BORDER, x > shape[1] - 1 - _BORDER, y > shape[0] - 1 - _BORDER]
    straight = min(np.ptp(x), np.ptp(y)) < 2
    return bool(any(side.all() for side in near) or (straight and trail.half_width > _COLUMN))


def _is_spike(
    total: NDArray[np.float32],
    count: NDArray[np.float32],
    start: int,
    angle: float,
    offset: float,
    stars: list[tuple[float, float, float]],
) -> bool:
    """Whether the light fades away from a saturated star on the line, as spikes do and trails do not."""
    middle = total.shape[1] // 2
    light = total[:, middle - 2 : middle + 3].sum(axis=1)
    n = count[:, middle - 2 : middle + 3].sum(axis=1)
    cos, sin = np.cos(angle), np.sin(angle)
    for x, y, size in stars:
        if abs(x * cos + y * sin - offset) > 3 + size:
            continue
        distance = np.abs(np.arange(len(light)) + start - (y * cos - x * sin))
        seen = n > 2
        if seen.sum() < 30:
            continue
        near, far = np.quantile(distance[seen], [0.33, 0.67])
        inner = np.median((light / np.maximum(n, 1))[seen & (distance <= near)])
        outer = np.median((light / np.maximum(n, 1))[seen & (distance >= far)])
        if inner > _FADE * max(outer, 0.0):
            return True
    return False


def _ends(
    total: NDArray[np.float32], count: NDArray[np.float32], shape: tuple[int, ...], settings: TrailSettings
) -> tuple[int, int] | None:
    """First and last step of the trail along the line; None if it is too short or has too many gaps.

    The line is cut into pieces long enough to show a trail as strong as the whole line; a piece counts by its
    median above that of its flanks, so that neither stars nor slopes of the sky do.
    """
    middle = slice(_FLANK - 2, _FLANK + 3)
    line, n = total[:, middle].sum(axis=1), count[:, middle].sum(axis=1)
    beside, n_beside = (array.sum(axis=1) - array[:, 5:-5].sum(axis=1) for array in (total, count))
    inside = np.nonzero(n > 0)[0]
    shortest = max(settings.min_length * min(shape), settings.min_pixels)
    if inside.size < settings.min_chord:
        return None
    start, stop = int(inside[0]), int(inside[-1]) + 1
    strength = line[start:stop].sum() / np.sqrt(max(n[start:stop].sum(), 1))
    length = stop - start
    smallest = int(np.clip(length // 8, 8, 24))
    piece = int(np.clip(length * (3.5 / max(strength, 1e-3)) ** 2, smallest, max(smallest, length // 8)))
    edges = np.arange(start, stop, piece)
    values = np.where(n > 1, line / np.sqrt(np.maximum(n, 1)), np.nan)
    flanks = np.where(n_beside > 3, beside / np.maximum(n_beside, 1), np.nan) * np.sqrt(5.0)
    for edge in edges:
        own = flanks[edge : edge + piece]
        own = own[np.isfinite(own)]
        values[edge : min(edge + piece, stop)] -= max(np.median(own), 0.0) if own.size else 0.0
    pulls = np.array([_pull(values[edge : min(edge + piece, stop)]) for edge in edges])
    known = np.isfinite(pulls)
    a, b = _largest_run(np.where(known, np.clip(np.nan_to_num(pulls), -2, 3) - 1.0, 0.0))
    filled = pulls[a:b][known[a:b]] > 1
    least, needed = settings.min_filled, _SURE
    if a == 0 and b == len(edges) and length < 2 * shortest:  # cuts a corner from border to border
        shortest, least, needed = min(shortest, settings.min_chord), max(least, 0.9), 2 * _SURE
    if (b - a) * piece < shortest or filled.size < 4 or filled.mean() < least:
        return None
    pull = _pull(values[edges[a] : edges[a] + (b - a) * piece])
    if filled.size * piece < 0.5 * shortest or not pull > needed:
        return None
    first = start if a <= 1 else int(edges[a]) - piece // 2
    last = stop if b >= len(edges) - 1 else int(edges[b]) + piece // 2
    return max(first, start), min(last, stop)


def _pull(values: NDArray[np.float32]) -> float:
    """Significance of the median of values of unit noise; NaN if more than half are missing."""
    good = values[np.isfinite(values)]
    if 2 * good.size < values.size or good.size == 0:
        return float("nan")
    return float(np.median(good) * np.sqrt(good.size * 2 / np.pi))


def _largest_run(score: NDArray[np.float64]) -> tuple[int, int]:
    """Half-open range of the contiguous run with the largest sum."""
    sums = np.concatenate([[0.0], np.cumsum(score)])
    lowest = np.minimum.accumulate(sums)
    b = int(np.argmax(sums - lowest))
    a = int(np.argmin(sums[: b + 1]))
    return a, b


def _half_width(total: NDArray[np.float32], count: NDArray[np.float32], level: float) -> float:
    """Distance from the line at which the profile falls below the level for good.

    The profile is the median of twelve pieces' means: stars beside the trail are in few of them.
    """
    edges = np.unique(np.linspace(0, len(total), 13).astype(int)[:-1])
    n = np.add.reduceat(count, edges)
    means = np.where(n > 0, np.add.reduceat(total, edges) / np.maximum(n, 1), 0.0)
    known = n.sum(axis=1) > 0
    profile = np.median(means[known], axis=0)
    level = max(level, 4.0 / np.sqrt(max(float(np.median(count.sum(axis=0))), 1)))
    wide = len(profile) // 2
    both = np.maximum(profile[wide:], profile[wide::-1])
    below = np.nonzero((both < level) & (np.append(both[1:], 0) < level))[0]
    return float(below[0] if below.size else wide) + 1.0
