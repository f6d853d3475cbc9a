"""A night's bias, dark and flat frames to master calibrations."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zsds.io.calibrations import save_calibration
from zsds.pipeline.calibration import calibrate_quadrant
from zsds.pipeline.settings import Settings
from zsds.products import CalibrationId
from zsds.runner.archive import Archive
from zsds.runner.frames import read_registered

log = logging.getLogger(__name__)


def run_calibration(
    key: str, inputs: Mapping[str, Any], archive: Archive, settings: Settings
) -> Mapping[str, Any]:
    """Make the master bias, flat and bad-pixel mask of one quadrant and band.

    ``inputs``: ``calibration`` (fields of its `CalibrationId`); ``bias``, ``dark``, ``flat`` (digests by the
    path of the frame).
    """
    identifier = CalibrationId(**inputs["calibration"])
    amplifier = archive.camera.amplifier(identifier.ccd, identifier.quadrant)
    digests = {**inputs["bias"], **inputs["dark"], **inputs["flat"]}
    frames = (
        read_registered(Path(path), digest, archive.camera, identifier.ccd, [identifier.quadrant])
        for path, digest in sorted(digests.items())
    )
    calibration = calibrate_quadrant(
        frames, identifier.quadrant, amplifier, identifier.band, settings.calibration
    )
    n_bad = int((calibration.bad_pixels > 0).sum())
    log.info("%d bias, %d flat frames, %d bad pixels", len(inputs["bias"]), len(inputs["flat"]), n_bad)
    with archive.store.unit(f"{key}-calibration") as staging:
        save_calibration(staging, identifier, calibration)
    return {"n_bias": len(inputs["bias"]), "n_flat": len(inputs["flat"]), "version": calibration.version}
