"""Rows about fluxes forced at known positions: transients, and what did not change."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.measures.added import add_stars
from benchmarks.measures.changes import EDGE_PX, Injected, bias_row
from benchmarks.measures.skies import Processed
from benchmarks.rows import Row, pull_rows
from zsds.core.difference import Difference
from zsds.forced import measure_forced

N_PLACES = 2000  # positions without any source, a megapixel
APART_PX = 15.0  # of a position from a transient, so that neither's light reaches the other
N_ROUNDS = 3  # of added stars
STRONG = 20  # S/N
GOALS = (0.02, 0.03)  # of the mean and of the width of pulls
KINDS = ("added stars", "transients", "constant galaxies", "constant stars", "no source")


@dataclass(frozen=True)
class ForcedFluxes:
    """Fluxes of one kind of position beside the truth.

    Parameters
    ----------
    flux, err : ndarray of float64 [n]
        Electrons.
    true : ndarray of float64 [n]
        Change of the light in the PSF's stamp; 0 where nothing changed.
    """

    flux: NDArray[np.float64]
    err: NDArray[np.float64]
    true: NDArray[np.float64]

    @property
    def pulls(self) -> NDArray[np.float64]:
        """(Measured - true) / error."""
        return (self.flux - self.true) / self.err


def force(done: Processed, injected: Injected) -> dict[str, ForcedFluxes]:
    """Force fluxes at the true coordinates of all that is or is not on a sky."""
    truth = done.science.simulated.truth
    ny, nx = done.science.simulated.exposure.shape
    rng = np.random.default_rng([done.case.seed, 7])
    n = round(N_PLACES * nx * ny / 1e6)
    anywhere = Table({"x": rng.uniform(0, nx, n), "y": rng.uniform(0, ny, n)})
    galaxies = truth[truth["kind"] == "galaxy"]
    stars = truth[(truth["kind"] == "star") & ~truth["saturated"] & (truth["snr"] > 10)]
    still = {"constant galaxies": galaxies, "constant stars": stars, "no source": anywhere}
    difference, alone = done.difference.difference, injected.alone
    transients = _forced(done, difference, injected.x[alone], injected.y[alone])
    fluxes = {"transients": _known(transients, injected.flux[alone])}
    for kind, table in still.items():
        x, y = _quiet(table, injected, (ny, nx))
        fluxes[kind] = _known(_forced(done, difference, x, y), np.zeros(x.size))
    added = [add_stars(done, injected, seed) for seed in range(N_ROUNDS)]
    fluxes["added stars"] = _joined([_known(_forced(done, one, x, y), flux) for one, x, y, flux in added])
    return fluxes


def forced_rows(sky: str, parts: Sequence[dict[str, ForcedFluxes]]) -> list[Row]:
    """Bias of strong transients, and pulls of everything, of one sky or of several together."""
    rows = []
    for kind in KINDS:
        whole = _joined([part[kind] for part in parts])
        rows += pull_rows(f"forced flux, {kind}", sky, whole.pulls, GOALS)
        strong = np.abs(whole.true) > STRONG * whole.err
        if strong.sum() >= 8:
            flux, true, err = whole.flux[strong], whole.true[strong], whole.err[strong]
            rows.append(bias_row(f"forced flux, {kind} of S/N >= {STRONG}, bias, %", sky, flux, true, err))
    return rows


def _forced(done: Processed, difference: Difference, x: NDArray[np.float64], y: NDArray[np.float64]) -> Table:
    """At true pixel coordinates, given as those of a request: by the sky, which our WCS puts on the image."""
    ra, dec = done.science.simulated.exposure.wcs.all_pix2world(x, y, 0)
    return measure_forced(difference, *done.science.result.exposure.wcs.all_world2pix(ra, dec, 0))


def _quiet(
    table: Table, injected: Injected, shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positions off the edges and away from all transients."""
    x, y = np.asarray(table["x"], dtype=np.float64), np.asarray(table["y"], dtype=np.float64)
    kept = (x > EDGE_PX) & (x < shape[1] - EDGE_PX) & (y > EDGE_PX) & (y < shape[0] - EDGE_PX)
    x, y = x[kept], y[kept]
    near = cKDTree(np.transpose([injected.x, injected.y])).query(np.transpose([x, y]))[0]
    return x[near > APART_PX], y[near > APART_PX]


def _known(found: Table, true: NDArray[np.float64]) -> ForcedFluxes:
    clean = np.asarray(found["status"]) == 0
    flux, err = (np.asarray(found[name], dtype=np.float64)[clean] for name in ("flux", "flux_err"))
    return ForcedFluxes(flux, err, true[clean])


def _joined(parts: Sequence[ForcedFluxes]) -> ForcedFluxes:
    names = ("flux", "err", "true")
    return ForcedFluxes(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
