"""What was seen before at a position: previous detections, non-detections with their limits, and counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from zsds.associate.objects import RADIUS_ARCSEC
from zsds.core.sphere import chord, unit_vectors

DAYS = 30.0
MIN_SNR = 5.0


@dataclass(frozen=True)
class History:
    """The past of one position.

    Parameters
    ----------
    previous : list of mapping
        Earlier epochs of the last days in order of time. Detections are rows of the detections; a
        non-detection is a row of the coverage with ``candid`` None and ``diffmaglim`` its limit.
    n_detections : int
        Detections ever, in the same field and readout channel, the present one included (ZTF's ``ndethist``).
    n_covered : int
        Times the position was observed ever, in any field, the present one included (``ncovhist``).
    first_jd, last_jd : float
        Of the detections counted; NaN without any.
    images : list of mapping
        Rows of the coverage of the last days, the present exposure included, in order of time: where a flux
        can be forced.
    """

    previous: list[Mapping[str, Any]] = field(default_factory=list)
    n_detections: int = 0
    n_covered: int = 0
    first_jd: float = float("nan")
    last_jd: float = float("nan")
    images: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Epoch:
    """The exposure whose candidates ask: its start (JD), field and readout channel."""

    jd: float
    field: int
    channel: int


def assemble_histories(
    ra: ArrayLike,
    dec: ArrayLike,
    epoch: Epoch,
    detections: Sequence[Mapping[str, Any]],
    coverage: Sequence[Mapping[str, Any]],
    covered: NDArray[np.bool_],
    days: float = DAYS,
    radius_arcsec: float = RADIUS_ARCSEC,
    min_snr: float = MIN_SNR,
) -> list[History]:
    """One history per position.

    Parameters
    ----------
    ra, dec : array [n]
        Positions, degrees.
    epoch : Epoch
        Nothing later than it is used.
    detections : sequence of mapping
        Of the neighbourhood: ``candid jd pid ra dec field channel snr`` and whatever else is to come back.
    coverage : sequence of mapping
        Exposures that may contain a position: ``pid jd`` and whatever else is to come back.
    covered : ndarray of bool [len(coverage), n]
        Which positions each of them contains.
    days : float
        How far back ``previous`` reaches.
    radius_arcsec : float
        Of coincidence.
    min_snr : float
        Fainter detections count in ``n_detections``, but their epochs are listed as non-detections.
    """
    points = unit_vectors(np.atleast_1d(ra), np.atleast_1d(dec))
    near = _near(points, detections, radius_arcsec)
    jd = np.array([row["jd"] for row in coverage], dtype=float)
    return [
        _history(
            epoch,
            [detections[i] for i in near[n]],
            [coverage[i] for i in np.flatnonzero(covered[:, n] & (jd <= epoch.jd))],
            epoch.jd - days,
            min_snr,
        )
        for n in range(len(points))
    ]


def _near(
    points: NDArray[np.float64], rows: Sequence[Mapping[str, Any]], radius_arcsec: float
) -> list[list[int]]:
    if not rows or len(points) == 0:
        return [[] for _ in points]
    others = unit_vectors([row["ra"] for row in rows], [row["dec"] for row in rows])
    found: list[list[int]] = cKDTree(others).query_ball_point(points, chord(radius_arcsec)).tolist()
    return found


def _history(
    epoch: Epoch,
    detections: list[Mapping[str, Any]],
    coverage: list[Mapping[str, Any]],
    since_jd: float,
    min_snr: float,
) -> History:
    here = (epoch.field, epoch.channel)
    counted = [
        row["jd"] for row in detections if (row["field"], row["channel"]) == here and row["jd"] <= epoch.jd
    ]
    recent = [row for row in detections if since_jd <= row["jd"] < epoch.jd and row["snr"] >= min_snr]
    detected = {row["pid"] for row in recent}
    images = [row for row in coverage if since_jd <= row["jd"]]
    missed = [
        {**row, "candid": None} for row in images if row["jd"] < epoch.jd and row["pid"] not in detected
    ]
    return History(
        previous=sorted([*recent, *missed], key=lambda row: (row["jd"], row["pid"], row["candid"] or 0)),
        n_detections=len(counted),
        n_covered=len(coverage),
        first_jd=min(counted, default=float("nan")),
        last_jd=max(counted, default=float("nan")),
        images=sorted(images, key=lambda row: (row["jd"], row["pid"])),
    )
