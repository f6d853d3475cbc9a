"""Calibrated quadrant and reference to difference image and candidates."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from astropy.table import Table

from zsds.alerts import ReferenceFacts, exposure_facts
from zsds.associate.solar_system import predict_positions
from zsds.astrometry.inverse import fit_sky_map
from zsds.candidates import Numbered, number_again, numbers_of
from zsds.core.errors import BadInput
from zsds.core.exposure import Exposure, Info
from zsds.core.ids import QuadrantId, processing_id
from zsds.core.tables import new_table
from zsds.io.references import load_reference
from zsds.io.stamps import write_cutouts, write_stamps
from zsds.io.store import Store, Tree
from zsds.io.windows import write_flux_error
from zsds.pipeline.difference import (
    DifferenceResult,
    Neighbours,
    cut_candidates,
    cut_own,
    make_difference,
    match_neighbours,
)
from zsds.pipeline.settings import Settings
from zsds.products import ReferenceId
from zsds.reference import Reference, sample_reference
from zsds.runner.archive import Archive
from zsds.runner.provenance import provenance
from zsds.runner.science import reference_sky
from zsds.runner.versions import find_version, newest_kept

log = logging.getLogger(__name__)
BODY_MARGIN_DEG = 0.05


def run_difference(
    key: str, inputs: Mapping[str, Any], archive: Archive, settings: Settings
) -> Mapping[str, Any]:
    """Make the difference products of the quadrant ``key``.

    ``inputs``: ``reference`` (fields of a `ReferenceId`) and ``rfid``.
    """
    identifier = QuadrantId.parse(key)
    store = archive.store
    science, stars = _load_science(store, identifier)
    reference_id = ReferenceId(**inputs["reference"])
    log.info("with version %d of its reference", reference_id.version)
    reference = load_reference(store, reference_id)
    template = sample_reference(reference, science.wcs, science.shape)
    result = make_difference(science, template, settings.difference, stars, int(inputs["rfid"]))
    numbered = _numbered(store, science.info, result.candidates)
    near = _neighbours(archive, science, reference_id)
    scale = archive.camera.pixel_scale_arcsec
    found = match_neighbours(numbered.candidates, near, science.info.mid_mjd, scale)
    result = replace(result, candidates=found)
    n_alerts, limit = result.metrics["n_alerts"], result.limiting_mag
    log.info("%d candidates, %d of them alerts, limit %.2f mag", len(found), n_alerts, limit)
    facts = exposure_facts(science, _reference_facts(reference, int(inputs["rfid"])), result.limiting_mag)
    made_from = provenance(settings.difference, inputs)
    metrics = {
        **result.metrics,
        "difference_limiting_mag": result.limiting_mag,
        "score_counts": result.score_counts.tolist(),
        "n_own_epochs": _own_epochs(reference, identifier.night),
        "gone": {name: numbered.gone[name].tolist() for name in numbered.gone.colnames},
        "facts": facts,
        "image": image_facts(store, science, result, reference_id, made_from),
        "made_with": {name: made_from[name] for name in ("software", "settings")},
    }
    with store.unit(f"{key}-difference") as staging:
        _save(staging, identifier, science, result, metrics, made_from)
        if settings.difference.own_packets:
            write_cutouts(staging.path("cutouts", identifier), cut_own(science, result))
    return {
        name: value
        for name, value in metrics.items()
        if name not in ("facts", "image", "made_with", "gone", "score_counts")
    }


def image_facts(
    store: Store,
    science: Exposure,
    result: DifferenceResult,
    reference: ReferenceId,
    made_from: Mapping[str, str],
) -> dict[str, Any]:
    """What forced photometry on the difference image needs and tells; see `zsds.runner.forced`.

    ``version`` changes when the image does: with its inputs, its settings, or those of the science image.
    """
    measured, gain = store.load_json("science_metrics", science.info.id), science.info.gain
    told = json.dumps([made_from, dict(science.info.provenance)], sort_keys=True)
    return {
        "version": hashlib.sha256(told.encode()).hexdigest()[:12],
        "reference": asdict(reference),
        "sky": fit_sky_map(science.wcs, science.shape).to_values(),
        "gain": gain,
        "own_noise": result.difference.own_noise,
        "sciinpseeing": measured["seeing_px"],
        "scibckgnd": measured["sky_e"] / gain,
        "scisigpix": measured["sky_sigma_e"] / gain,
        "adpctdif1": measured["rms_ra_arcsec"],
        "adpctdif2": measured["rms_dec_arcsec"],
    }


def _load_science(store: Store, identifier: QuadrantId) -> tuple[Exposure, Table]:
    """The calibrated quadrant and its stars, which the science unit has made."""
    try:
        return store.load_exposure("science", identifier), store.load_table(
            "psf_catalog", identifier, "stars"
        )
    except BadInput as error:
        remedy = f"make it again with: zsds night {identifier.night} --again"
        raise BadInput(error.source, error.problem, remedy) from error


def _numbered(store: Store, info: Info, found: Table) -> Numbered:
    """The candidates; those that a version before had too with the numbers they had there."""
    kept, fresh = newest_kept(store, "difference", info.id), numbers_of(found)
    if not kept:
        return fresh
    before = find_version(store, "difference", info.id, kept)
    try:
        known = before.load_table("candidates", info.id, "candidates")
        gone = before.load_json("difference_metrics", info.id).get("gone")
    except BadInput as error:
        log.warning("candidates get new numbers, whatever they had before: %s", error)
        return fresh
    return number_again(found, processing_id(info.start_mjd, info.channel), numbers_of(known, gone))


def _neighbours(archive: Archive, science: Exposure, reference: ReferenceId) -> Neighbours:
    sky = reference_sky(archive, science.info)
    bodies = new_table("orbits")
    if "orbits" in archive.catalogs.kinds():
        bodies = archive.catalogs.table("orbits")
    ny, nx = science.shape
    ra, dec = science.wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
    radius = np.hypot(nx, ny) / 2 * archive.camera.pixel_scale_arcsec / 3600 + BODY_MARGIN_DEG
    around = float(ra), float(dec), float(radius)
    return Neighbours(
        sky.gaia,
        sky.ps1,
        archive.store.load_table("reference_psf_catalog", reference, "stars"),
        predict_positions(bodies, science.info.mid_mjd, archive.camera.site, around),
    )


def _own_epochs(reference: Reference, night: str) -> int:
    """Epochs of a night in a reference; it takes about that part of its epochs from every new source."""
    return sum(QuadrantId.parse(epoch).night == night for epoch in reference.epochs)


def _reference_facts(reference: Reference, rfid: int) -> ReferenceFacts:
    return ReferenceFacts(rfid, reference.start_mjd, reference.end_mjd, reference.n_frames)


def _save(
    staging: Tree,
    identifier: QuadrantId,
    science: Exposure,
    result: DifferenceResult,
    metrics: Mapping[str, Any],
    made_from: Mapping[str, str],
) -> None:
    exposure = result.difference.exposure
    exposure = replace(exposure, info=replace(exposure.info, provenance=dict(made_from)))
    cards = {
        "SEEING": (metrics.get("difference_fwhm", float("nan")), "FWHM of the difference PSF [pixels]"),
        "MAGLIM": (result.limiting_mag, "5-sigma limit, point source [mag]"),
        "STATUS": (1, "1: usable"),
        "INFOBITS": (0, "no anomaly recorded"),
        "OWNEPOCH": (metrics["n_own_epochs"], "epochs of this night in the reference"),
    }
    staging.save_exposure("difference", identifier, exposure, cards)
    staging.save_plane("score", identifier, result.difference.score, exposure)
    write_flux_error(staging.path("difference_flux_error", identifier), result.difference)
    staging.save_table("candidates", identifier, result.candidates, "candidates")
    write_stamps(staging.path("stamps", identifier), cut_candidates(science, result))
    staging.save_json("difference_metrics", identifier, metrics)
