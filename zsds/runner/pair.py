"""A pair of images on disk to products in a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from zsds.alerts import ReferenceFacts, build_packet, candidate_records, exposure_facts
from zsds.core.exposure import Exposure
from zsds.core.ids import file_time, object_name
from zsds.core.settings import parse_overrides, with_values
from zsds.core.sphere import pixel_scale_arcsec
from zsds.core.tables import new_table
from zsds.io.calibrated import read_calibrated
from zsds.io.files import require_elsewhere, write_bytes
from zsds.io.images import ImageSet, write_exposure, write_plane
from zsds.io.packets import write_packets
from zsds.io.stated import Known
from zsds.io.tables import write_table
from zsds.pipeline.difference import Neighbours, cut_candidates, match_neighbours
from zsds.pipeline.measure import Measured
from zsds.pipeline.pair import PairResult, PairSettings, subtract_pair
from zsds.pipeline.science import with_magnitudes, with_positions
from zsds.report.picture import draw_pair
from zsds.runner.provenance import provenance

NOISE_OFF = 1.3  # a ratio of measured to promised noise that is told
FLUX_TILT = 0.05  # change of the flux ratio from side to side that is told
FLUX_EXCESS = 0.02  # scatter of the flux ratio between stars, noise taken off, that is told
SCORE_STEP = 0.05  # quantisation of the score image
ALERT_COLUMNS = ("candid", "is_positive", "x", "y", "ra", "dec", "magpsf", "sigmapsf", "scorr", "flags")


@dataclass(frozen=True)
class PairFiles:
    """An image and what is known of it."""

    image: Path
    mask: Path | None = None
    uncertainty: Path | None = None
    weight: Path | None = None
    psf: Path | None = None


@dataclass(frozen=True)
class PairReport:
    """What a subtraction found, for the terminal.

    Parameters
    ----------
    alerts : list of dict
        Strongest first; ``number`` is the one in the picture.
    summary : dict
        Numbers and places, in order.
    warnings : list of str
        What the user should know before believing the rest.
    """

    alerts: list[dict[str, Any]]
    summary: dict[str, Any]
    warnings: list[str]


def run_pair(
    science: PairFiles,
    reference: PairFiles,
    out: Path,
    known: Mapping[str, float | None],
    overrides: Sequence[str] = (),
) -> PairReport:
    """Subtract, and write ``difference``, ``score``, ``candidates``, ``packets/`` and ``picture.png``."""
    settings = with_values(PairSettings(), parse_overrides(overrides))
    require_elsewhere(out, [*vars(science).values(), *vars(reference).values()])
    new = _read(science, Known(**known))
    shared = {name: known.get(name) for name in ("gain", "saturation")}
    old = _read(reference, Known(**shared, default_mjd=new.info.start_mjd))
    pair = subtract_pair(new, old, settings)
    made_from = {"science": science.image.name, "reference": reference.image.name}
    warnings = [*unused_masks(science, reference), *_warnings(new, old, pair)]
    packets = _packets(pair)
    _write(pair, packets, out, provenance(settings, made_from), warnings)
    return PairReport(_alerts(pair), _summary(pair, len(packets), out), warnings)


def _read(files: PairFiles, known: Known) -> Exposure:
    return read_calibrated(
        files.image, files.mask, files.uncertainty, files.weight, files.psf, known, require_wcs=False
    )


def _alerts(pair: PairResult) -> list[dict[str, Any]]:
    found = pair.result.candidates
    rows = found[found["is_alert"]]
    rows.sort("scorr", reverse=True)
    return [
        {"number": number, **{name: row[name].item() for name in ALERT_COLUMNS}}
        for number, row in enumerate(rows, start=1)
    ]


def unused_masks(science: PairFiles, reference: PairFiles) -> list[str]:
    """Lines about masks that lie beside the images, by their names, and were not given."""
    sides = (("science", science), ("reference", reference))
    beside = [
        (name, files.image, ImageSet.of(files.image).mask) for name, files in sides if files.mask is None
    ]
    return [
        f"{mask.name} lies beside {image.name} and is not used (--{name}-mask takes it)"
        for name, image, mask in beside
        if mask.is_file()
    ]


def _warnings(science: Exposure, reference: Exposure, pair: PairResult) -> list[str]:
    """Lines about what makes the difference less than it seems."""
    told = []
    bands = science.info.id.band, reference.info.id.band
    if bands[0] != bands[1] or science.info.band_id != reference.info.band_id:
        told.append(f"the filters differ ({bands[0]} and {bands[1]}): stars of unusual colour become alerts")
    if science.zero_point is None and reference.zero_point is None:
        told.append(
            "no zero point is known: magnitudes are relative to 25 for 1 electron (--zero-point sets it)"
        )
    told += [
        f"the {name} of {known['input']} is {known[name]}"
        for known in (science.info.provenance, reference.info.provenance)
        for name in ("gain", "time")
        if name in known
    ]
    noise = pair.result.difference.metrics["score_width"]
    if noise > 0.05 and not 1 / NOISE_OFF < noise < NOISE_OFF:
        told.append(
            f"the difference has {noise:.2f} of the noise that the images promise: "
            "are uncertainties, weights and gains right?"
        )
    told += _flux_warnings(pair.result.metrics)
    if pair.alignment.n_stars == 0:
        told.append("too few stars in common to compare the two WCSs: registration rests on them alone")
    elif pair.alignment.is_applied:
        told.append(
            f"the WCSs disagree by {pair.alignment.dx:.2f}, {pair.alignment.dy:.2f} pixels: taken out"
        )
    if science.wcs is None:
        told.append("no WCS: positions are in pixels, and no packets are made")
    width = pair.result.metrics["score_width"]
    if not width > 0.05:
        told.append("the difference holds no noise: is it the same image twice?")
    return told


def _flux_warnings(metrics: Mapping[str, float]) -> list[str]:
    """Lines about a flux ratio that is not the same for all stars."""
    told, tilt = [], metrics["flux_scale_range"]
    if tilt > FLUX_TILT:
        told.append(
            f"the flux ratio of the two images changes by {tilt:.0%} from side to side "
            "(clouds, flats?): taken out of the difference, not out of magnitudes"
        )
    if metrics["flux_scale_excess"] > FLUX_EXCESS:
        told.append(
            f"the flux ratio of the two images scatters by {metrics['flux_scale_excess']:.1%} beyond noise "
            "(clouds, flats, colours?): constant stars may become alerts"
        )
    return told


def _summary(pair: PairResult, n_packets: int, out: Path) -> dict[str, Any]:
    new, old, result = pair.science, pair.reference, pair.result
    metrics, registration = result.metrics, result.difference.registration
    scale = metrics["flux_scale"]
    return {
        "FWHM, science and reference (px)": f"{new.psf_fit.fwhm:.2f}  {old.psf_fit.fwhm:.2f}",
        "PSF stars": f"{new.psf_fit.n_stars}  {old.psf_fit.n_stars}",
        "stars in both": pair.alignment.n_stars,
        "WCS disagreement (px)": f"{pair.alignment.dx:.2f}  {pair.alignment.dy:.2f}",
        "stars compared": registration.n_stars,
        "flux scale": f"{scale:.4f} +- {scale * metrics['flux_scale_err']:.4f}",
        "registration left (px)": f"{metrics['registration_px']:.3f}",
        "image covered by the reference": f"{metrics['overlap']:.1%}",
        "score on empty sky, mean and width": f"{metrics['score_mean']:.3f}  {metrics['score_width']:.3f}",
        "5-sigma limit (mag)": f"{result.limiting_mag:.2f}",
        "candidates": metrics["n_candidates"],
        "alerts": metrics["n_alerts"],
        "packets": n_packets,
        "picture": str(out / "picture.png"),
        "folder": str(out),
    }


def _write(
    pair: PairResult, packets: list[Any], out: Path, made_from: Mapping[str, str], warnings: Sequence[str]
) -> None:
    result, science = pair.result, pair.science.exposure
    exposure = result.difference.exposure
    exposure = replace(exposure, info=replace(exposure.info, provenance=dict(made_from)))
    cards = {
        "SEEING": (result.metrics["difference_fwhm"], "FWHM of the difference PSF [pixels]"),
        "MAGLIM": (result.limiting_mag, "[mag] 5-sigma limit of a point source"),
        "FLXSCALE": (result.difference.flux_scale, "science electrons per reference electron"),
        "SCORSTD": (result.metrics["score_width"], "width of the score on empty sky"),
    }
    write_exposure(out / "difference.fits.fz", exposure, cards)
    write_exposure(out / "science.fits.fz", science)
    write_exposure(out / "template.fits.fz", result.template)
    write_plane(out / "score.fits.fz", result.difference.score, SCORE_STEP, exposure=exposure)
    write_table(out / "candidates.fits", result.candidates, "candidates")
    for name, measured in (("stars", pair.science), ("reference_stars", pair.reference)):
        write_table(out / f"{name}.fits", _on_sky(measured), "stars")
    write_packets(out / "packets", packets)
    names = made_from["input_science"], made_from["input_reference"]
    note = "\n".join([f"{result.metrics['n_alerts']} alerts", *warnings])
    write_bytes(
        out / "picture.png",
        draw_pair(science, result.template, result.difference, result.candidates, names, note),
    )


def _packets(pair: PairResult) -> list[Any]:
    """One packet an alert; without a survey's history each is an object of its own, named in order."""
    result, science = pair.result, pair.science.exposure
    info = science.info
    found = result.candidates[result.candidates["is_alert"]]
    if len(found) == 0 or science.wcs is None:
        return []
    old = pair.reference.exposure.info
    facts = exposure_facts(
        science,
        ReferenceFacts(0, old.start_mjd, old.start_mjd + old.exposure_s / 86400, 1),
        result.limiting_mag,
    )
    year = int(file_time(info.start_mjd)[:4])
    stamps = cut_candidates(science, result)
    near = Neighbours(new_table("gaia"), new_table("ps1"), _on_sky(pair.reference), Table(_NO_BODIES))
    scale = pixel_scale_arcsec(science.wcs)
    rows = candidate_records(match_neighbours(found, near, info.mid_mjd, scale), facts)
    return [
        build_packet(row, object_name(i, year), (), None, stamps[int(row["candid"])])
        for i, row in enumerate(rows)
    ]


_NO_BODIES = {name: np.zeros(0) for name in ("ra", "dec", "mag")} | {"name": np.zeros(0, dtype="U40")}


def _on_sky(measured: Measured) -> Table:
    """The image's own stars with magnitudes and, where it has a WCS, positions."""
    exposure = measured.exposure
    assert exposure.zero_point is not None
    stars = measured.stars if exposure.wcs is None else with_positions(measured.stars, exposure.wcs)
    return with_magnitudes(stars, exposure.zero_point)
