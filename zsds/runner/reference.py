"""Calibrated epochs to a reference."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from zsds.core.ids import QuadrantId
from zsds.io.references import save_reference
from zsds.pipeline.measure import measure
from zsds.pipeline.reference import make_reference
from zsds.pipeline.science import with_magnitudes, with_positions
from zsds.pipeline.settings import Settings
from zsds.products import ReferenceId
from zsds.reference import native_coverage, native_grid, sample_reference
from zsds.runner.archive import Archive
from zsds.runner.provenance import provenance

log = logging.getLogger(__name__)


def run_reference(
    key: str, inputs: Mapping[str, Any], archive: Archive, settings: Settings
) -> Mapping[str, Any]:
    """Make one version of a reference.

    ``inputs``: ``reference`` (fields of its `ReferenceId`), ``rfid`` and ``epochs`` (quadrant ids).
    """
    identifier = ReferenceId(**inputs["reference"])
    epochs = [
        archive.store.open_exposure("science", QuadrantId.parse(epoch)) for epoch in sorted(inputs["epochs"])
    ]
    reference = make_reference(epochs, settings.reference, int(inputs["rfid"]))
    wcs, shape = native_grid(reference)
    native = sample_reference(reference, wcs, shape)
    measured = measure(replace(native, psf=None), settings.science.measure)
    stars = with_magnitudes(with_positions(measured.stars, wcs), reference.zero_point)
    metrics = {
        "n_frames": reference.n_frames,
        "start_mjd": reference.start_mjd,
        "end_mjd": reference.end_mjd,
        "seeing_px": measured.psf_fit.fwhm,
        "n_stars": len(stars),
        "median_coverage": float(np.median(reference.coverage)),
        **reference.metrics,
    }
    offered, taken = len(epochs), reference.n_frames
    log.info("%d of %d epochs, seeing %.2f px, %d stars", taken, offered, measured.psf_fit.fwhm, len(stars))
    made_from = provenance(settings.reference, {"epochs": inputs["epochs"]})
    info = replace(native.info, provenance=made_from)
    with archive.store.unit(f"{key}-reference") as staging:
        save_reference(staging, identifier, reference)
        staging.save_exposure("reference", identifier, replace(measured.exposure, info=info))
        coverage = native_coverage(reference)
        staging.save_plane("reference_coverage", identifier, coverage, native, step=0.0)
        staging.save_psf_catalog("reference_psf_catalog", identifier, stars, native)
        staging.save_table("reference_aperture_catalog", identifier, measured.apertures, "apertures")
        staging.save_json("reference_metrics", identifier, metrics)
    return metrics
