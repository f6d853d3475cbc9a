"""How much space on its disk an archive should have."""

from pathlib import Path

from zsds.core.camera import Camera
from zsds.core.camera_file import load_camera
from zsds.core.errors import ZsdsError
from zsds.io.store import Store

EXPOSURES = 100  # an hour of a camera that is read out every 40 s: time to make room
BYTES_A_PIXEL = 6.0  # of a raw frame and all that is made of it, see docs/scale.md
LEAST_BYTES = 10e9  # of any archive: database, logs, references, other programs


def wanted_bytes(camera: Camera) -> float:
    """Space below which an operator is told: that of the next hour's exposures."""
    amplifiers = [a for detector in camera.detectors.values() for a in detector.amplifiers.values()]
    n_pixels = sum(ny * nx for ny, nx in (amplifier.shape for amplifier in amplifiers))
    return max(LEAST_BYTES, EXPOSURES * BYTES_A_PIXEL * n_pixels)


def wanted_in(folder: Path | None) -> float:
    """The same of an archive's folder; the least where there is no archive that can be opened."""
    try:
        return LEAST_BYTES if folder is None else wanted_bytes(load_camera(Store.open(folder).camera))
    except ZsdsError:
        return LEAST_BYTES
