"""One image on disk, raw or calibrated, to its catalog; neither archive nor reference catalogs needed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
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
from zsds.io.files import require_elsewhere
from zsds.io.images import write_exposure
from zsds.io.raw import read_raw
from zsds.io.tables import write_table
from zsds.isr import ColumnSettings, EdgeSettings, IsrSettings
from zsds.photometry import limiting_magnitude
from zsds.pipeline.measure import Measured, MeasureSettings, measure
from zsds.pipeline.pair import RELATIVE_ZERO_POINT
from zsds.pipeline.science import with_magnitudes, with_positions
from zsds.runner.provenance import provenance

Prepare = Callable[[], tuple[Exposure, str]]


@dataclass(frozen=True)
class FrameSettings:
    """Settings of the instrumental calibration of raw frames, and of the measurements."""

    isr: IsrSettings = field(default_factory=lambda: IsrSettings(allow_uncalibrated=True))
    edges: EdgeSettings = field(default_factory=EdgeSettings)
    columns: ColumnSettings = field(default_factory=ColumnSettings)
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
    require_elsewhere(out, [image])
    made_from = provenance(settings, {"image": image.name})
    rows = []
    for name, prepare in _images(image, camera, settings):
        try:
            exposure, positions = prepare()
            exposure = isr.mark_columns(isr.mark_edges(exposure, settings.edges), settings.columns)
            measured = measure(exposure, settings.measure)
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


def _images(image: Path, camera: str | None, settings: FrameSettings) -> Iterator[tuple[str, Prepare]]:
    """The one calibrated image, or the quadrants of a raw frame: name, and what makes its exposure."""
    stem = image.name.partition(".")[0]
    if camera is None:
        yield stem, partial(_calibrated, image)
        return
    described = load_camera(camera)
    for ccd in described.detectors if described.one_file else (None,):
        raw = read_raw(image, described, ccd=ccd)
        for quadrant in sorted(raw.quadrants):
            name = f"{stem}_q{quadrant}" if ccd is None else f"{stem}_c{ccd:02d}_q{quadrant}"
            yield name, partial(_reduced, raw, quadrant, described, settings)


def _calibrated(image: Path) -> tuple[Exposure, str]:
    """The image, and where its WCS comes from."""
    exposure = read_calibrated(image, require_wcs=False)
    return exposure, "header" if exposure.wcs is not None else "none"


def _reduced(raw: RawCcd, quadrant: int, camera: Camera, settings: FrameSettings) -> tuple[Exposure, str]:
    """A quadrant corrected by its overscan, and where its WCS comes from."""
    info = raw.quadrants[quadrant].info
    amplifier = camera.amplifier(info.id.ccd, quadrant)
    exposure = isr.reduce_quadrant(raw, quadrant, amplifier, None, settings.isr)
    if not np.isfinite([info.ra, info.dec]).all():
        return exposure, "none"
    return replace(exposure, wcs=camera.nominal_wcs(info.id.ccd, quadrant, info.ra, info.dec)), "nominal"


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
