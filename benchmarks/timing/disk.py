"""Bytes that the camera leaves on the disk: of each product of a quadrant, a night, a year."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.timing.camera import ALERTS, EXPOSURES, QUADRANTS
from benchmarks.timing.quadrant import Prepared, open_archive
from zsds.core.ids import QuadrantId
from zsds.products import DIFFERENCE, SCIENCE, path

PER_ALERT = ("stamps", "cutouts")  # files of a quadrant that grow with its alerts
GB = 1e9


def disk_use(prepared: Prepared, identifier: QuadrantId) -> dict[str, Any]:
    """Bytes of a quadrant that was run.

    Returns
    -------
    dict
        ``raw``: of the quadrant's part of its frame; ``products``: of each; ``per_alert``: of each product
        that grows with the alerts, and of packets; ``calibrations``, ``reference``: what it is made with.
    """
    archive = open_archive(prepared.archive)
    sizes = {
        product: file.stat().st_size
        for product in (*SCIENCE, *DIFFERENCE)
        if (file := archive.store.root / path(product, identifier)).is_file()
    }
    packets = [file.stat().st_size for file in _packets(archive, identifier)]
    n_alerts = max(1, len(packets))
    sharing = len(archive.camera.detectors[identifier.ccd].amplifiers)
    per_alert = {name: sizes[name] / n_alerts for name in PER_ALERT if name in sizes}
    return {
        "raw": prepared.frames[-1].stat().st_size / sharing,
        "products": {name: size for name, size in sizes.items() if name not in PER_ALERT},
        "per_alert": {**per_alert, "packet": sum(packets) / n_alerts},
        "calibrations": _below(archive.store.root / "cal"),  # of this quadrant alone
        "reference": _below(archive.store.root / "ref"),
    }


def _below(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _packets(archive: Any, identifier: QuadrantId) -> list[Any]:
    rows = archive.store.load_table("candidates", identifier, "candidates")
    candids = rows["candid"][rows["is_alert"]].tolist()
    return [file for candid in candids if (file := archive.store.path("packet", candid)).is_file()]


def night_gb(use: Mapping[str, Any], database_bytes: float = 0.0) -> dict[str, float]:
    """GB of a night of the camera, by what there is; ``database_bytes`` are those of one exposure."""
    quadrants = EXPOSURES * QUADRANTS / GB
    return {
        "raw frames": quadrants * use["raw"],
        "calibrated images and catalogs": quadrants * sum(use["products"].get(name, 0) for name in SCIENCE),
        "difference images and candidates": quadrants
        * sum(use["products"].get(name, 0) for name in DIFFERENCE),
        "stamps kept for packets": ALERTS / GB * sum(use["per_alert"].get(name, 0.0) for name in PER_ALERT),
        "packets": ALERTS / GB * use["per_alert"]["packet"],
        "database": EXPOSURES / GB * database_bytes,
    }
