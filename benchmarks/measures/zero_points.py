"""Whether the errors of zero points and colour terms are true: many small quadrants of skies drawn at random.

Run it with ``python -m benchmarks.measures.zero_points``; 200 quadrants take some 5 minutes of one core.
"""

import logging
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.measures.skies import Calibrated, Frame, SkyCase, calibrate_blind, epoch_settings
from benchmarks.measures.stars import psf_scale, true_zero_point
from benchmarks.rows import Row, format_table, pull_rows
from zsds.core.errors import UnusableData
from zsds.pipeline.science import ReferenceSky
from zsds.sim import FAMILIES, epochs
from zsds.sim.catalogs import gaia_catalog, ps1_catalog
from zsds.sim.quadrant import Clouds

log = logging.getLogger(__name__)
FRAME = Frame((640, 660), n_epochs=0, n_transients=0)


@dataclass(frozen=True)
class Tie:
    """How one quadrant was tied to the catalog: errors as they are and as stated, mag and mag per mag.

    ``patchiness`` is what the clear sky is said to vary by, mag.
    """

    case: SkyCase
    off: float
    err: float
    colour_off: float
    colour_err: float
    n_stars: int
    patchiness: float


def drawn(seed: int) -> SkyCase:
    """A sky of random seeing, PSF and density."""
    rng = np.random.default_rng([200, seed])
    stars = 10 ** rng.uniform(np.log10(2000), np.log10(40_000))
    fwhm = rng.uniform(1.3, 4.0)
    return SkyCase(f"random {seed}", stars, fwhm, (fwhm, fwhm), str(rng.choice(FAMILIES)), 1000 + seed)


def calibrated(case: SkyCase, frame: Frame = FRAME, clouds: Clouds | None = None) -> Calibrated:
    """One exposure of a sky through the pipeline."""
    settings = epoch_settings(case, frame)
    settings = replace(settings, colour_coeff=float(case.seed % 5 - 2) * 0.03, clouds=clouds)
    truth = epochs(1, frame.shape, case.seed, settings)
    rng = np.random.default_rng([case.seed, 1])
    sky = ReferenceSky(gaia_catalog(truth.sky, rng), ps1_catalog(truth.sky, rng))
    return Calibrated(case, truth.science, calibrate_blind(truth.science, sky), sky)


def tie(one: Calibrated) -> Tie:
    """Zero point and colour term against the truth; the zero point is that of the PSF fluxes.

    A PSF that is a little wrong changes all fluxes alike, and the zero point with them, so that magnitudes
    are right: what the PSF makes of a star of known flux, without noise, is taken off.
    """
    found, true = one.result.exposure.zero_point, one.simulated.exposure.zero_point
    off = found.value - true_zero_point(one) - 2.5 * np.log10(psf_scale(one))
    colour_off = found.colour_coeff - true.colour_coeff
    patchiness = one.result.metrics["patchiness"]
    return Tie(one.case, float(off), found.err, colour_off, found.colour_err, found.n_stars, patchiness)


def tied(seed: int) -> Tie | None:
    """That of a random quadrant; None where the pipeline rejects it."""
    try:
        return tie(calibrated(drawn(seed)))
    except UnusableData as error:
        log.warning("%s: %s", drawn(seed), error)
        return None


def tie_rows(ties: list[Tie]) -> list[Row]:
    """Pulls, and how far zero points and colour terms are off."""
    values = np.array([(one.off, one.err, one.colour_off, one.colour_err) for one in ties])
    off, err, colour, colour_err = values.T
    patchy = np.array([one.patchiness for one in ties])
    share = float(np.mean(patchy > 0))
    share_err = float(np.sqrt(max(share * (1 - share), 1 / patchy.size) / patchy.size))
    return [
        *pull_rows(f"zero point of {len(ties)} quadrants", "random", off / err, (0.1, 0.1)),
        *pull_rows(f"colour term of {len(ties)} quadrants", "random", colour / colour_err, (0.1, 0.1)),
        _spread("zero points, 68 % within, mmag", off, err, None),
        _spread("colour terms, 68 % within, mmag/mag", colour, colour_err, 5.0),
        Row("clear skies called patchy, %", "random", 100 * share, 100 * share_err, 0.0, n=patchy.size),
        Row("clear skies, largest patchiness, mmag", "random", 1000 * float(patchy.max()), n=patchy.size),
    ]


def _spread(name: str, off: NDArray[np.float64], err: NDArray[np.float64], goal: float | None) -> Row:
    value = 1000 * float(np.percentile(np.abs(off), 68.27))
    bound = 1000 * float(np.median(err))
    return Row(name, "random", value, 0.9 * value / np.sqrt(off.size), bound, high=goal, n=off.size)


def main(
    quadrants: Annotated[int, typer.Option(help="Number of quadrants.")] = 200,
    first: Annotated[int, typer.Option(help="Seed of the first.")] = 0,
    verbose: Annotated[bool, typer.Option(help="A line for each.")] = False,
) -> None:
    """Tie many random quadrants to their catalogs."""
    logging.disable(logging.INFO)
    ties = []
    for seed in range(first, first + quadrants):
        one = tied(seed)
        if one is not None:
            ties.append(one)
        if verbose:
            typer.echo(str(one))
    typer.echo(format_table(tie_rows(ties)))


if __name__ == "__main__":
    typer.run(main)
