"""Raw frame to calibrated quadrant."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS

from zsds.astrometry import catalog_gaps
from zsds.core.camera import Camera
from zsds.core.camera_file import load_camera
from zsds.core.errors import BadInput
from zsds.core.exposure import Info
from zsds.core.ids import QuadrantId
from zsds.core.raw import RawCcd
from zsds.io.calibrations import load_calibration
from zsds.io.store import Tree
from zsds.photometry import measure_growth
from zsds.pipeline.measure import Measured
from zsds.pipeline.science import ReferenceSky, ScienceResult, reduce_science
from zsds.pipeline.settings import Settings
from zsds.products import CalibrationId
from zsds.runner.archive import Archive
from zsds.runner.frames import read_registered
from zsds.runner.provenance import provenance

log = logging.getLogger(__name__)
POINTING_MARGIN_DEG = 0.15  # catalogs reach this far beyond the nominal quadrant


def run_science(
    key: str, inputs: Mapping[str, Any], archive: Archive, settings: Settings
) -> Mapping[str, Any]:
    """Make the science products of the quadrant ``key``.

    ``inputs``: ``raw`` (path), ``digest`` (of its content) and ``calibration`` (fields of a `CalibrationId`,
    or None).
    """
    identifier = QuadrantId.parse(key)
    camera = archive.camera
    camera_digest = camera.digest(identifier.ccd)
    log.info("from the frame %s", inputs["raw"])
    raw = _read_ccd(inputs["raw"], inputs["digest"], archive.store.camera, camera_digest, identifier.ccd)
    version = inputs.get("calibration")
    calibration = None if version is None else load_calibration(archive.store, CalibrationId(**version))
    info = raw.quadrants[identifier.quadrant].info
    _require_same(identifier, info.id, inputs["raw"])
    sky = reference_sky(archive, info)
    result = reduce_science(raw, identifier.quadrant, camera, calibration, sky, settings.science)
    _require_coverage(archive, sky.gaia, result)
    metrics = {**result.metrics, **_facts(result, camera)}
    with archive.store.unit(f"{key}-science") as staging:
        _save(staging, identifier, result, metrics, provenance(settings.science, inputs))
    return metrics


@lru_cache(maxsize=1)
def _read_ccd(path: str, digest: str, camera: str, camera_digest: str, ccd: int) -> RawCcd:  # noqa: ARG001
    """The frame read last stays at hand: its other quadrants usually come next.

    The digests tell a file that was replaced, or a camera that was changed, from the one read before.
    """
    return read_registered(Path(path), digest, load_camera(camera), ccd)


def _require_same(wanted: QuadrantId, found: QuadrantId, path: str) -> None:
    """Make sure that the camera file still reads the frame's header as it did."""
    if found != wanted:
        problem = f"is {found} by its header and the camera file, and was registered as {wanted}"
        raise BadInput(path, problem, "restore the archive's camera file, or zsds ingest the frame again")


def reference_sky(archive: Archive, info: Info) -> ReferenceSky:
    """Gaia and PS1 around the nominal position of a quadrant.

    Raises
    ------
    BadInput
        If one of them has no rows there.
    """
    wcs = archive.camera.nominal_wcs(*info.id.channel, info.ra, info.dec)
    nx, ny = wcs.pixel_shape
    ra, dec = wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
    half = np.hypot(nx, ny) / 2 * archive.camera.pixel_scale_arcsec / 3600
    around = float(ra), float(dec), float(half) + POINTING_MARGIN_DEG
    return ReferenceSky(
        _stars_around(archive, "gaia", *around),
        _stars_around(archive, "ps1", *around),
        _ghost_makers(archive, wcs, around[2]),
    )


def _ghost_makers(archive: Archive, wcs: WCS, radius_deg: float) -> Table | None:
    """Bright stars on the other side of the optical axis, in a circle as wide as the quadrant."""
    ghosts = archive.camera.ghosts
    if ghosts is None:
        return None
    nx, ny = wcs.pixel_shape
    axis = wcs.wcs.crpix - 1
    ra, dec = wcs.wcs_pix2world(2 * axis[0] - (nx - 1) / 2, 2 * axis[1] - (ny - 1) / 2, 0)
    stars = archive.catalogs.cone("gaia", float(ra), float(dec), radius_deg + ghosts.radius_arcsec / 3600)
    return stars[stars["phot_g_mean_mag"] < ghosts.limit_mag]


def _stars_around(archive: Archive, kind: str, ra: float, dec: float, radius: float) -> Table:
    found = archive.catalogs.cone(kind, ra, dec, radius)
    if len(found) == 0:
        raise BadInput(
            str(archive.catalogs.folder(kind)),
            f"has no stars within {radius:.2f} deg of RA {ra:.4f} Dec {dec:+.4f}",
            f"mend the header's pointing if it is wrong, else: {_fetch(kind, ra, dec, radius)}",
        )
    return found


def _fetch(kind: str, ra: float, dec: float, radius: float) -> str:
    """The command that fetches what is missing."""
    return f"zsds catalogs fetch {kind} --ra {ra:.3f} --dec {dec:.3f} --radius {max(1.0, radius):.1f}"


def _require_coverage(archive: Archive, gaia: Table, result: ScienceResult) -> None:
    """Make sure that the catalog reaches all over the image: a solution must not be stretched into a gap.

    Raises
    ------
    BadInput
        If parts of the image show stars and the catalog has none there.
    """
    exposure, stars = result.exposure, result.measured.stars
    assert exposure.wcs is not None
    gaps = catalog_gaps(exposure.wcs, gaia, stars, int(result.metrics["n_astrometry"]))
    if gaps:
        middle = exposure.wcs.wcs_pix2world([[exposure.shape[1] / 2, exposure.shape[0] / 2]], 0)[0]
        raise BadInput(
            str(archive.catalogs.folder("gaia")),
            f"has no stars in {gaps} of 9 parts of the image, which shows some there",
            _fetch("gaia", *map(float, middle), 1.0),
        )


def _facts(result: ScienceResult, camera: Camera) -> dict[str, Any]:
    """What the ledger and the report want to know besides the measurements."""
    exposure = result.exposure
    assert exposure.wcs is not None
    ny, nx = exposure.shape
    corners = exposure.wcs.all_pix2world([[0, 0], [nx - 1, 0], [nx - 1, ny - 1], [0, ny - 1]], 0)
    return {
        "start_mjd": exposure.info.start_mjd,
        "corners": corners.tolist(),
        "seeing_arcsec": result.metrics["seeing_px"] * camera.pixel_scale_arcsec,
    }


def _save(
    staging: Tree,
    identifier: QuadrantId,
    result: ScienceResult,
    metrics: Mapping[str, Any],
    made_from: Mapping[str, str],
) -> None:
    exposure = replace(
        result.exposure,
        info=replace(result.exposure.info, provenance={**result.exposure.info.provenance, **made_from}),
    )
    cards = {
        "SEEING": (metrics["seeing_px"], "FWHM of the PSF [pixels]"),
        "MAGLIM": (metrics["limiting_mag"], "5-sigma limit, point source [mag]"),
        "SKY": (metrics["sky_e"], "median sky, subtracted [e-]"),
        "TRANSPRG": (metrics["transparency_range"], "transparency range taken out [mag]"),
        "PATCHY": (metrics["patchiness"], "transparency scatter left [mag]"),
        "STATUS": (1, "1: usable"),
        "INFOBITS": (0, "no anomaly recorded"),
        **_aperture_cards(result.measured),
    }
    staging.save_exposure("science", identifier, exposure, cards)
    staging.save_psf_catalog("psf_catalog", identifier, result.measured.stars, exposure)
    staging.save_table("aperture_catalog", identifier, result.measured.apertures, "apertures")
    staging.save_table("residuals", identifier, result.matches, "astrometry_matches")
    staging.save_json("science_metrics", identifier, metrics)


def _aperture_cards(measured: Measured) -> dict[str, tuple[float, str]]:
    """Corrections of aperture to total magnitudes, in ZTF's keywords."""
    growth = measure_growth(measured.apertures, measured.stars, measured.psf_fit.model)
    cards = {}
    for number, diameter in enumerate(growth.diameters, start=1):
        correction, err = growth.correction_mag[number - 1], growth.correction_err_mag[number - 1]
        cards[f"APCOR{number}"] = (
            float(correction),
            f"[mag] of aperture {diameter:.0f} px to total",
        )
        cards[f"APCORUN{number}"] = (float(err), "[mag] its error")
    return cards
