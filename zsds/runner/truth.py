"""A simulated night held against its truth: alerts, positions, magnitudes, score."""

from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from zsds.astrometry import match_positions
from zsds.core.ids import QuadrantId
from zsds.core.robust import mad_width
from zsds.db import ledger
from zsds.db.ledger import State
from zsds.db.objects import packets_of
from zsds.io.packets import read_packet
from zsds.io.tables import read_table
from zsds.runner.archive import Archive
from zsds.sim.compare import TruthComparison, compare_with_truth
from zsds.sim.sky import star_positions

MATCH_ARCSEC = 1.0
BRIGHT_SNR = 100.0


def compare_night(archive: Archive, night: str, truth: Path) -> tuple[TruthComparison, dict[str, float]]:
    """Alerts of a night against what was injected, and its stars against the true ones.

    Parameters
    ----------
    archive : Archive
    night : str
        ``YYYYMMDD``.
    truth : pathlib.Path
        The simulation's folder ``truth``.

    Returns
    -------
    TruthComparison, dict
        The comparison of the alerts, and figures of astrometry, photometry and score.
    """
    with archive.database.read() as connection:
        units = ledger.units_of(connection, night, "difference", State.DONE)
        paths = [archive.store.root / row["path"] for row in packets_of(connection, night)]
    tables = {name: read_table(truth / f"truth_{name}.parquet", f"truth_{name}") for name in _TABLES}
    done = {_place(QuadrantId.parse(unit.key)) for unit in units}
    exposures = tables["exposures"]
    exposures = exposures[[_place_of(row) in done for row in exposures]]
    shape = next(iter(next(iter(archive.camera.detectors.values())).amplifiers.values())).shape
    comparison = compare_with_truth(
        _alerts([read_packet(path).record for path in paths]),
        tables["changes"],
        tables["trails"],
        exposures,
        shape=shape,
    )
    return comparison, {**_stars(archive, units, tables["stars"]), **_scores(units)}


def truth_figures(comparison: TruthComparison) -> dict[str, float]:
    """What a night's report says of a simulated night."""
    return {
        "% of transients with ideal S/N of 8 or more became alerts": 100 * comparison.good_fraction,
        "% of the alerts are explained by the truth": 100
        * (1 - len(comparison.false) / max(1, comparison.n_alerts)),
        "alerts a quadrant are explained by nothing": comparison.false_per_quadrant,
    }


_TABLES = ("changes", "trails", "exposures", "stars")


def _place(identifier: QuadrantId) -> tuple[str, int, int]:
    return identifier.time, identifier.ccd, identifier.quadrant


def _place_of(row: Any) -> tuple[str, int, int]:
    return str(row["time"]), int(row["ccd"]), int(row["quadrant"])


def _alerts(records: list[dict[str, Any]]) -> Table:
    rows = []
    for record in records:
        candidate = record["candidate"]
        identifier = QuadrantId.parse(candidate["pdiffimfilename"])
        rows.append(
            {
                "time": identifier.time,
                "ccd": identifier.ccd,
                "quadrant": identifier.quadrant,
                "is_positive": candidate["isdiffpos"] == "t",
                **{name: candidate[name] for name in ("candid", "ra", "dec", "magpsf", "sigmapsf")},
            }
        )
    names = ("time", "ccd", "quadrant", "ra", "dec", "is_positive", "magpsf", "sigmapsf", "candid")
    return Table(rows=rows, names=names) if rows else Table({name: [] for name in names})


def _stars(archive: Archive, units: list[ledger.Unit], stars: Table) -> dict[str, float]:
    """Residuals of bright stars against truth: arcsec per axis, mag after the colour term is left out."""
    east, north, mags = [], [], []
    for unit in units:
        identifier = QuadrantId.parse(unit.key)
        found = archive.store.load_table("psf_catalog", identifier, "stars")
        found = found[(found["snr"] > BRIGHT_SNR) & (found["flags"] & ~np.uint32(2 | 2048) == 0)]
        metrics = archive.store.load_json("science_metrics", identifier)
        ra, dec = star_positions(stars, metrics["start_mjd"])
        match = match_positions(found["ra"], found["dec"], ra, dec, MATCH_ARCSEC)
        steady = stars["variable"][match.second] == ""
        first, second = match.first[steady], match.second[steady]
        cosine = np.cos(np.radians(dec[second]))
        east.append((found["ra"][first] - ra[second]) * cosine * 3600)
        north.append((found["dec"][first] - dec[second]) * 3600)
        band = archive.camera.bands[identifier.band]
        colour = stars[band.catalog_colour[0]][second] - stars[band.catalog_colour[1]][second]
        true = stars[band.catalog_mag][second] - metrics["colour_coeff"] * colour
        mags.append(found["mag"][first] - true)
    return {
        "n_bright_stars": float(sum(len(values) for values in east)),
        **_figures("east_mas", east, 1000),
        **_figures("north_mas", north, 1000),
        **_figures("mag_mmag", mags, 1000),
    }


def _figures(name: str, parts: list[Any], scale: float) -> dict[str, float]:
    values = scale * np.concatenate([np.asarray(part, dtype=float) for part in parts] or [np.zeros(0)])
    middle = float(np.median(values)) if values.size else float("nan")
    return {f"{name}_median": middle, f"{name}_scatter": mad_width(values)}


def _scores(units: list[ledger.Unit]) -> dict[str, float]:
    found = {
        name: [float(unit.metrics[name]) for unit in units if unit.metrics.get(name) is not None]
        for name in ("score_mean", "score_width", "n_candidates", "n_alerts")
    }
    return {name: float(np.mean(values)) if values else float("nan") for name, values in found.items()}
