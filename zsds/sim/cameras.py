"""Smaller versions of a camera, for tests that need a whole one in seconds."""

from dataclasses import replace

from zsds.core.camera import Amplifier, Camera, Section


def shrunken(camera: Camera, nx: int, ny: int, ccds: tuple[int, ...] = ()) -> Camera:
    """Copy of a camera whose quadrants have nx columns and ny rows and stand as close as before.

    Overscan stays as wide as it is; bad columns outside the smaller quadrant are dropped.

    Parameters
    ----------
    ccds : tuple of int
        CCDs to keep; all when empty.
    """
    detectors = {}
    for ccd, detector in camera.detectors.items():
        if not ccds or ccd in ccds:
            amplifiers = {q: _small(a, nx, ny) for q, a in detector.amplifiers.items()}
            detectors[ccd] = replace(detector, amplifiers=amplifiers)
    return replace(camera, detectors=detectors)


def _small(amplifier: Amplifier, nx: int, ny: int) -> Amplifier:
    old_ny, old_nx = amplifier.shape
    data = Section(0, nx, 0, ny)
    overscan, stored = None, (ny, nx)
    if amplifier.overscan is not None:
        width = amplifier.overscan.x1 - amplifier.overscan.x0
        apart = amplifier.overscan_extension not in (None, amplifier.extension)
        overscan = Section(0, width, 0, ny) if apart else Section(nx, nx + width, 0, ny)
        stored = (ny, nx) if apart else (ny, nx + width)
    return replace(
        amplifier,
        data=data,
        overscan=overscan,
        stored_shape=stored,
        x_arcsec=amplifier.x_arcsec * nx / old_nx,
        y_arcsec=amplifier.y_arcsec * ny / old_ny,
        bad_columns=tuple(column for column in amplifier.bad_columns if column < nx),
    )
