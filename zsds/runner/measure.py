"""One image on disk, raw or calibrated, to its catalog; neither archive nor reference catalogs needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zsds import isr
from zsds.core.camera import Camera
from zsds.core.camera_file import load_camera
from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure, ZeroPoint
from zsds.core.raw import RawCcd
from zsds.core.settings import parse_overrides, with_values
from zsds.io.calibrated import read_calibrated
from zsds.io.images import write_exposure
from zsds.io.raw import read_raw
from zsds.io.tables import write_table
from zsds.isr import EdgeSettings, IsrSettings
from zsds.photometry import limiting_magnitude
from zsds.pipeline.measure import Measured, MeasureSettings, measure
from zsds.pipeline.pair import RELATIVE_ZERO_POINT
from zsds.pipeline.science import with_magnitudes, with_positions
from zsds.runner.provenance import provenance


@dataclass(frozen=True)
class FrameSettings:
    """Settings of the instrumental calibration of raw frames, and of the measurements."""

    isr: IsrSettings = field(default_factory=lambda: IsrSettings(allow_uncalibrated=True))
    edges: EdgeSettings = field(default_factory=EdgeSettings)
    measure: MeasureSettings = field(default_factory=MeasureSettings)


def run_measure(
    image: Path, out: Path, camera: str | None = None, overrides: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Measure sky, PSF and sources, and write ``NAME.fits.fz`` with its sisters and ``NAME_stars.fits``.

    A raw frame (``camera`` given) is corrected by its overscan alone; its WCS is the camera's nominal one
    about the header's pointing, wrong by the pointing error. A calibrated image keeps what its header says.
    Without a zero point magnitudes are 25 - 2.5 log10(electrons).

    Returns
    -------
    list of dict
        One row a quadrant; those that cannot be measured say why.
    """
    settings = with_values(FrameSettings(), parse_overrides(overrides))
    made_from = provenance(settings, {"image": image.name})
    rows = []
    for exposure, positions in _exposures(image, camera, settings):
        name = image.name.partition(".")[0] + _suffix(exposure, camera)
        try:
            measured = measure(isr.mark_edges(exposure, settings.edges), settings.measure)
        except UnusableData as error:
            rows.append({"name": name, "positions": str(error)})
            continue
        info = replace(measured.exposure.info, provenance=made_from)
        write_exposure(out / f"{name}.fits.fz", replace(measured.exposure, info=info))
        zero_point = exposure.zero_point or ZeroPoint(RELATIVE_ZERO_POINT)
        stars = with_magnitudes(measured.stars, zero_point)
        if exposure.wcs is not None:
            stars = with_positions(stars, exposure.wcs)
        write_table(out / f"{name}_stars.fits", stars, "stars")
        rows.append({"name": name, **_row(measured, zero_point), "positions": positions})
    return rows


def _suffix(exposure: Exposure, camera: str | None) -> str:
    """What tells the quadrants of one raw frame apart."""
    if camera is None:
        return ""
    ccd, quadrant = exposure.info.id.channel
    return f"_c{ccd:02d}_q{quadrant}" if load_camera(camera).one_file else f"_q{quadrant}"


def _exposures(image: Path, camera: str | None, settings: FrameSettings) -> Iterator[tuple[Exposure, str]]:
    """The quadrants of a raw frame, or the one calibrated image, and where their WCS comes from."""
    if camera is None:
        exposure = read_calibrated(image, require_wcs=False)
        yield exposure, "header" if exposure.wcs is not None else "none"
        return
    described = load_camera(camera)
    for ccd in described.detectors if described.one_file else (None,):
        yield from _quadrants(read_raw(image, described, ccd=ccd), described, settings)


def _quadrants(raw: RawCcd, described: Camera, settings: FrameSettings) -> Iterator[tuple[Exposure, str]]:
    for quadrant, one in sorted(raw.quadrants.items()):
        ccd = one.info.id.ccd
        exposure = isr.reduce_quadrant(raw, quadrant, described.amplifier(ccd, quadrant), None, settings.isr)
        wcs = None
        if np.isfinite([one.info.ra, one.info.dec]).all():
            wcs = described.nominal_wcs(ccd, quadrant, one.info.ra, one.info.dec)
        yield replace(exposure, wcs=wcs), "nominal" if wcs is not None else "none"


def _row(measured: Measured, zero_point: ZeroPoint) -> dict[str, Any]:
    exposure = measured.exposure
    limit = limiting_magnitude(exposure, measured.psf_fit.model, zero_point)
    return {
        "fwhm_px": measured.psf_fit.fwhm,
        "psf_stars": measured.psf_fit.n_stars,
        "sources": len(measured.sources),
        "sky_e": measured.background.median,
        "sky_sigma_e": measured.background.sigma,
        "limit_e": 10 ** (0.4 * (zero_point.value - limit)),
        "limit_mag": limit if exposure.zero_point else float("nan"),
    }
