"""A pair of images on disk to products in a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from zsds.alerts import ReferenceFacts, build_packet, candidate_records, exposure_facts
from zsds.core.exposure import Exposure, ZeroPoint
from zsds.core.ids import file_time, object_name
from zsds.core.settings import parse_overrides, with_values
from zsds.core.sphere import pixel_scale_arcsec
from zsds.core.tables import new_table
from zsds.io.calibrated import Known, read_calibrated
from zsds.io.files import write_bytes
from zsds.io.images import write_exposure, write_plane
from zsds.io.packets import write_packets
from zsds.io.tables import write_table
from zsds.pipeline.difference import Neighbours, cut_candidates, match_neighbours
from zsds.pipeline.pair import PairResult, PairSettings, subtract_pair
from zsds.report.picture import draw_pair
from zsds.runner.provenance import provenance

SCORE_STEP = 0.05  # quantisation of the score image
NO_ZERO_POINT = 25.0  # magnitudes are relative where no zero point is known


@dataclass(frozen=True)
class PairFiles:
    """An image and what is known of it."""

    image: Path
    mask: Path | None = None
    uncertainty: Path | None = None
    psf: Path | None = None


def run_pair(
    science: PairFiles,
    reference: PairFiles,
    out: Path,
    known: Mapping[str, float | None],
    overrides: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Subtract, and write ``difference``, ``score``, ``candidates``, ``packets/`` and ``picture.png``.

    Returns
    -------
    list of dict
        The alerts, strongest first, for the terminal.
    """
    settings = with_values(PairSettings(), parse_overrides(overrides))
    new = _read(science, Known(**known))
    old = _read(reference, Known(gain=known.get("gain"), saturation=known.get("saturation")))
    pair = subtract_pair(new, old, settings)
    made_from = {"science": science.image.name, "reference": reference.image.name}
    _write(pair, out, {**provenance(settings, made_from)})
    found = pair.result.candidates
    rows = found[found["is_alert"]]
    rows.sort("scorr", reverse=True)
    names = ("candid", "is_positive", "x", "y", "ra", "dec", "magpsf", "sigmapsf", "scorr", "flags")
    return [{name: row[name].item() for name in names} for row in rows]


def _read(files: PairFiles, known: Known) -> Exposure:
    exposure = read_calibrated(
        files.image, files.mask, files.uncertainty, psf=files.psf, known=known, require_wcs=False
    )
    return exposure if exposure.zero_point else replace(exposure, zero_point=ZeroPoint(NO_ZERO_POINT))


def _write(pair: PairResult, out: Path, made_from: Mapping[str, str]) -> None:
    result = pair.result
    exposure = result.difference.exposure
    exposure = replace(exposure, info=replace(exposure.info, provenance=dict(made_from)))
    cards = {"MAGLIM": (result.limiting_mag, "5-sigma limit, point source [mag]")}
    write_exposure(out / "difference.fits.fz", exposure, cards)
    write_exposure(out / "science.fits.fz", pair.science)
    write_exposure(out / "template.fits.fz", result.template)
    write_plane(out / "score.fits.fz", result.difference.score, SCORE_STEP)
    write_table(out / "candidates.fits", result.candidates, "candidates")
    write_packets(out / "packets", _packets(pair))
    write_bytes(
        out / "picture.png", draw_pair(pair.science, result.template, result.difference, result.candidates)
    )


def _packets(pair: PairResult) -> list[Any]:
    """One packet an alert; without a survey's history each is an object of its own, named in order."""
    result, info = pair.result, pair.science.info
    found = result.candidates[result.candidates["is_alert"]]
    if len(found) == 0 or pair.science.wcs is None:
        return []
    old = pair.reference.info
    facts = exposure_facts(
        pair.science,
        ReferenceFacts(0, old.start_mjd, old.start_mjd + old.exposure_s / 86400, 1),
        result.limiting_mag,
    )
    year = int(file_time(info.start_mjd)[:4])
    stamps = cut_candidates(pair.science, result)
    near = Neighbours(new_table("gaia"), new_table("ps1"), _on_sky(pair), Table(_NO_BODIES))
    scale = pixel_scale_arcsec(pair.science.wcs)
    rows = candidate_records(match_neighbours(found, near, info.mid_mjd, scale), facts)
    return [
        build_packet(row, object_name(i, year), (), None, stamps[int(row["candid"])])
        for i, row in enumerate(rows)
    ]


_NO_BODIES = {name: np.zeros(0) for name in ("ra", "dec", "mag")} | {"name": np.zeros(0, dtype="U40")}


def _on_sky(pair: PairResult) -> Table:
    """The reference's own stars with positions and magnitudes."""
    from zsds.pipeline.science import with_magnitudes, with_positions  # noqa: PLC0415

    assert pair.reference.wcs is not None and pair.reference.zero_point is not None
    stars = with_positions(pair.reference_stars, pair.reference.wcs)
    return with_magnitudes(stars, pair.reference.zero_point)
