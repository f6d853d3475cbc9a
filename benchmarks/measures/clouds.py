"""What clouds leave in the magnitudes of bright stars: quadrants dimmed on purpose.

Run it with ``python -m benchmarks.measures.clouds``; it takes a minute or two of one core.
"""

import logging
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from benchmarks.measures.skies import Frame, SkyCase
from benchmarks.measures.stars import true_stars
from benchmarks.measures.zero_points import calibrated
from benchmarks.rows import Row, format_table
from zsds.core.exposure import ZeroPoint
from zsds.core.robust import central_width
from zsds.sim.quadrant import Clouds

FRAME = Frame((1500, 1500), n_epochs=0, n_transients=0)
GRADIENT, EVEN, PATCHES = 0.05, 0.5, 0.05  # mag: side to side, everywhere, rms
MIN_SNR = 50.0


@dataclass(frozen=True)
class Dimmed:
    """Stars of a dimmed quadrant.

    Parameters
    ----------
    x, y : ndarray [n]
        From -0.5 to 0.5 over the image.
    off, lost : ndarray [n]
        Calibrated minus true magnitudes, colour terms applied, and what the clouds took, mag.
    zero_point : ZeroPoint
    patchiness : float
        As the pipeline states it, mag.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    off: NDArray[np.float64]
    lost: NDArray[np.float64]
    zero_point: ZeroPoint
    patchiness: float


def gradient(rng: np.random.Generator) -> Clouds:
    """A plane of `GRADIENT` from side to side."""
    angle = rng.uniform(0, 2 * np.pi)
    ny, nx = FRAME.shape
    return lambda x, y: GRADIENT * (0.5 + np.cos(angle) * (x / nx - 0.5) + np.sin(angle) * (y / ny - 0.5))


def even(_: np.random.Generator) -> Clouds:
    """The same `EVEN` everywhere."""
    return lambda x, _y: np.full(x.shape, EVEN)


def patches(rng: np.random.Generator, size: float) -> Clouds:
    """Patches of rms `PATCHES` and a size (sigma) in sides of the quadrant."""
    nodes = 96
    grid = gaussian_filter(rng.standard_normal((3 * nodes, 3 * nodes)), size * nodes)[
        nodes:-nodes, nodes:-nodes
    ]
    grid *= PATCHES / grid.std()
    grid -= grid.min()
    ny, nx = FRAME.shape
    return lambda x, y: map_coordinates(
        grid, [y / ny * (nodes - 1), x / nx * (nodes - 1)], order=1, mode="nearest"
    )


def dimmed(clouds: Clouds, seed: int) -> Dimmed:
    """A quadrant under clouds through the pipeline."""
    case = SkyCase("clouds", 8000, 2.1, (2.1, 2.1), "kolmogorov", 700 + seed)
    one = calibrated(case, FRAME, clouds)
    pairs = true_stars(one)
    bright = np.asarray(pairs.truth["snr"]) > MIN_SNR
    stars, truth = pairs.stars[bright], pairs.truth[bright]
    found, (ny, nx) = one.result.exposure.zero_point, FRAME.shape
    off = stars["mag"] + found.colour_coeff * truth["colour"] - truth["mag"]
    return Dimmed(
        np.asarray(truth["x"]) / nx - 0.5,
        np.asarray(truth["y"]) / ny - 0.5,
        np.asarray(off, dtype=np.float64),
        clouds(np.asarray(truth["x"]), np.asarray(truth["y"])),
        found,
        one.result.metrics["patchiness"],
    )


def cloud_rows(n: int = 6) -> list[Row]:
    """Rows of each kind of cloud, of n quadrants each."""
    rngs = [np.random.default_rng([9, seed]) for seed in range(n)]
    planes = [dimmed(gradient(rng), seed) for seed, rng in enumerate(rngs)]
    flat = [dimmed(even(rng), seed) for seed, rng in enumerate(rngs)]
    broad = [dimmed(patches(rng, 0.2), seed) for seed, rng in enumerate(rngs)]
    fine = [dimmed(patches(rng, 0.05), seed) for seed, rng in enumerate(rngs)]
    slopes = np.array([1000 * _slope(one) for one in planes])
    least = np.mean([_least_slope(one.zero_point) for one in planes])
    middle = np.array([1000 * np.median(one.off) for one in flat])
    return [
        Row(
            f"gradient of {1000 * GRADIENT:.0f} mmag, left, mmag",
            "clouds",
            *_mean(slopes),
            least,
            high=5.0,
            n=n,
        ),
        Row(f"dimmed by {EVEN:g} mag, magnitudes off, mmag", "clouds", *_mean(middle), 0.0, -2.0, 2.0, n=n),
        _left("broad patches", broad, 0.33),
        _left("fine patches", fine, None),
        *_stated("broad patches", broad),
        *_stated("fine patches", fine),
    ]


def _mean(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size))


def _slope(one: Dimmed) -> float:
    """Gradient of the magnitudes over a side, by the median of its clipped residuals."""
    design = np.stack([np.ones(one.x.size), one.x, one.y], axis=1)
    kept = np.abs(one.off - np.median(one.off)) < 0.1
    return float(np.hypot(*np.linalg.lstsq(design[kept], one.off[kept], rcond=None)[0][1:]))


def _least_slope(zero_point: ZeroPoint) -> float:
    """Mean length of the slope that noise alone gives a plane through the calibrators, mmag over a side."""
    return 1250 * zero_point.rms * float(np.sqrt(12 / zero_point.n_stars))


def _between(one: Dimmed, values: NDArray[np.float64], per_side: int = 6) -> float:
    """Scatter between the medians of cells, less what the stars' own scatter gives, mag."""
    cell = (np.floor((one.y + 0.5) * per_side) * per_side + np.floor((one.x + 0.5) * per_side)).astype(int)
    groups = [values[cell == k] for k in np.unique(cell) if (cell == k).sum() >= 8]
    medians = [np.median(group) for group in groups]
    noise = np.mean([1.57 * central_width(group) ** 2 / group.size for group in groups])
    return float(np.sqrt(max(np.var(medians) - noise, 0.0)))


def _left(name: str, quadrants: list[Dimmed], goal: float | None) -> Row:
    share = [_between(one, one.off) / _between(one, one.lost) for one in quadrants]
    return Row(
        f"{name}, left in the magnitudes over lost",
        "clouds",
        *_mean(np.array(share)),
        high=goal,
        n=len(share),
    )


def _stated(name: str, quadrants: list[Dimmed]) -> list[Row]:
    """What the pipeline says is left over what is, and zero points in units of their stated errors."""
    ratio = np.array([one.patchiness / max(_between(one, one.off), 1e-3) for one in quadrants])
    pulls = np.array([np.median(one.off) / one.zero_point.err for one in quadrants])
    rms, n = float(np.sqrt(np.mean(pulls**2))), len(quadrants)
    return [
        Row(f"{name}, patchiness stated over left", "clouds", *_mean(ratio), n=n),
        Row(f"{name}, zero point, rms pull", "clouds", rms, rms / np.sqrt(2 * n), high=1.1, n=n),
    ]


def main(quadrants: Annotated[int, typer.Option(help="Of each kind of cloud.")] = 6) -> None:
    """Calibrate quadrants under clouds."""
    logging.disable(logging.INFO)
    typer.echo(format_table(cloud_rows(quadrants)))


if __name__ == "__main__":
    typer.run(main)
