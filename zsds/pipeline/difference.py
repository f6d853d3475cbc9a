"""A calibrated exposure and its reference become a difference, candidates, and what packets need."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zsds import alerts, astrometry, candidates, forced, subtract
from zsds.candidates import CandidateSettings
from zsds.core.difference import SCORE_EDGES, Difference
from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS
from zsds.core.robust import central_width
from zsds.kernels.coverage import block_means, count_in_bins, mark_without
from zsds.subtract import SubtractSettings

EMPTY_SKY = 0.3  # sky is empty where the mean of the template is below this part of the sky noise
BLOCK = 8  # pixels a side of the squares whose mean that is
SAMPLE = 3  # every so many rows and columns suffice for a median


@dataclass(frozen=True)
class DifferenceSettings:
    """Settings of the subtraction, of the candidates, and of which packets they become."""

    subtract: SubtractSettings = field(default_factory=SubtractSettings)
    candidates: CandidateSettings = field(default_factory=CandidateSettings)
    own_packets: bool = False  # packets of our own schema zsds/1_0, beside those of ZTF's


@dataclass(frozen=True)
class Neighbours:
    """What is known to lie near the candidates.

    Parameters
    ----------
    gaia, ps1 : Table
        Of the tables ``gaia`` and ``ps1``, at the catalogs' epochs.
    reference_stars : Table
        PSF catalog of the reference (table ``stars``).
    bodies : Table
        Predicted positions of known Solar-System bodies; may be empty.
    """

    gaia: Table
    ps1: Table
    reference_stars: Table
    bodies: Table


@dataclass(frozen=True)
class DifferenceResult:
    """What a subtraction found.

    Parameters
    ----------
    difference : Difference
    template : Exposure
        The reference on the science pixels, scaled to science electrons.
    candidates : Table
        Columns of the table ``candidates``; both signs, flagged, none dropped.
    limiting_mag : float
        5-sigma limit of a point source on the difference.
    metrics : mapping
        Numbers worth plotting.
    score_counts : ndarray of int
        Histogram of the score on empty sky, bins ``SCORE_EDGES``.
    """

    difference: Difference
    template: Exposure
    candidates: Table
    limiting_mag: float
    metrics: Mapping[str, float]
    score_counts: NDArray[np.int64]


def make_difference(
    science: Exposure,
    template: Exposure,
    settings: DifferenceSettings,
    stars: Table | None = None,
    reference_id: int = 0,
) -> DifferenceResult:
    """Subtract a template on the same pixels, and find what changed.

    Parameters
    ----------
    science : Exposure
        Sky subtracted, calibrated.
    template : Exposure
        The reference sampled on the science pixels, in its own units.
    settings : DifferenceSettings
    stars : Table, optional
        Stars of the science image, for flux scale and registration.
    reference_id : int

    Raises
    ------
    UnusableData
        If the two do not belong together.
    """
    difference = subtract.subtract(science, template, settings.subtract, stars, reference_id)
    found = candidates.find_candidates(difference, science, settings.candidates, template, stars)
    scaled = scaled_template(template, difference.flux_scale)
    found = with_light(found, science, scaled)
    empty = empty_sky(science, scaled) & np.isfinite(difference.score)
    score = difference.score[empty]
    return DifferenceResult(
        difference,
        scaled,
        found,
        candidates.limiting_magnitude(difference, science.zero_point.value)
        if science.zero_point
        else float("nan"),
        _metrics(difference, found, score),
        count_scores(score),
    )


def with_light(found: Table, science: Exposure, template: Exposure) -> Table:
    """The candidates with the flux of the place of each alert in the science image and in the template."""
    found, alerts_only = found.copy(), found["is_alert"]
    for name, image in (("total", science), ("reference", template)):
        if image.psf is not None:
            light = forced.measure_exposure(image, found["x"][alerts_only], found["y"][alerts_only])
            found[f"{name}_flux"][alerts_only], found[f"{name}_flux_err"][alerts_only] = light.T
    return found


def count_scores(score: NDArray[np.float32]) -> NDArray[np.int64]:
    """Pixels in each of the bins of `SCORE_EDGES`, which are of one width."""
    counts = np.zeros(len(SCORE_EDGES) - 1, np.int64)
    count_in_bins(score, float(SCORE_EDGES[0]), float(SCORE_EDGES[-1]), counts)
    return counts


def scaled_template(template: Exposure, flux_scale: float) -> Exposure:
    """The template in science electrons."""
    scale = np.float32(flux_scale)
    return replace(template, data=template.data * scale, variance=template.variance * scale**2)


def empty_sky(science: Exposure, template: Exposure) -> NDArray[np.bool_]:
    """Pixels without defects where the template holds no source, by its means in squares of `BLOCK`.

    The science image's own brightness is not looked at: that would cut the noise it is to judge.
    """
    defects, few = np.uint32(DEFECTS), np.s_[::SAMPLE, ::SAMPLE]
    clean = ((science.mask[few] | template.mask[few]) & defects) == 0
    noise = np.sqrt(np.median(science.variance[few][clean])) if clean.any() else np.float32(0)
    dark = np.abs(block_means(template.data, BLOCK)) < EMPTY_SKY * noise
    empty = np.empty(science.shape, bool)
    mark_without(science.mask, template.mask, defects, dark, BLOCK, empty)
    return empty


def match_neighbours(found: Table, neighbours: Neighbours, mid_mjd: float, pixel_arcsec: float) -> Table:
    """The candidates with their columns of catalogs and Solar-System bodies."""
    from zsds.associate.solar_system import match_solar_system  # noqa: PLC0415 - pulls in the ephemeris

    gaia = neighbours.gaia.copy()
    gaia["ra"], gaia["dec"] = astrometry.moved_to_epoch(neighbours.gaia, mid_mjd)
    matched = candidates.match_catalogs(found, neighbours.ps1, gaia, neighbours.reference_stars, pixel_arcsec)
    bodies = match_solar_system(matched, neighbours.bodies)
    for name in bodies.colnames:
        matched[name][:] = bodies[name]
    return matched


def cut_candidates(science: Exposure, result: DifferenceResult) -> dict[int, alerts.Stamps]:
    """Cutouts of the candidates that become packets, by candid."""
    images = (science.data, result.template.data, result.difference.exposure.data)
    rows = result.candidates[result.candidates["is_alert"]]
    return {
        int(row["candid"]): alerts.cut_stamps(
            images, float(row["x"]), float(row["y"]), science.info.gain, bool(row["is_positive"])
        )
        for row in rows
    }


def cut_own(science: Exposure, result: DifferenceResult) -> dict[int, bytes]:
    """Cutouts of our own schema of the candidates that become packets, by candid."""
    images = {"SCIENCE": science, "REFERENCE": result.template, "DIFFERENCE": result.difference.exposure}
    rows = result.candidates[result.candidates["is_alert"]]
    assert science.zero_point is not None
    made = alerts.cut_planes(images, rows["x"], rows["y"], alerts.njy_of(science.zero_point.value))
    return dict(zip(rows["candid"].tolist(), made, strict=True))


def _metrics(difference: Difference, found: Table, score: NDArray[np.float32]) -> dict[str, float]:
    middle = np.abs(score) < 4  # real sources are rare, and must not count
    return {
        **difference.metrics,  # its score is that before normalising; what follows is the score as published
        "score_mean": float(score[middle].mean(dtype=np.float64)) if middle.any() else float("nan"),
        "score_width": central_width(score[:: SAMPLE**2]),
        "flux_scale": difference.flux_scale,
        "registration_px": float(np.hypot(difference.registration.dx_rms, difference.registration.dy_rms)),
        "n_candidates": len(found),
        "n_alerts": int(np.sum(found["is_alert"])),
    }
