"""A subtraction as one picture: science, reference, difference, score, candidates marked."""

import io

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zsds.core.difference import Difference
from zsds.core.exposure import Exposure
from zsds.core.robust import mad_width

WIDTH_INCHES = 14.0
DOTS_PER_INCH = 110


def draw_pair(science: Exposure, template: Exposure, difference: Difference, candidates: Table) -> bytes:
    """PNG of four panels on the same pixels; circles mark alerts, crosses what was found and not sent.

    Parameters
    ----------
    science, template : Exposure
        Sky subtracted, science electrons.
    difference : Difference
    candidates : Table
        Columns of the table ``candidates``.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes a second to load

    ny, nx = science.shape
    figure = Figure(figsize=(WIDTH_INCHES, WIDTH_INCHES * ny / nx + 0.8), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    noise = _noise(science.data)
    panels = (
        ("science", science.data, -3 * noise, 15 * noise),
        ("reference on its pixels", template.data, -3 * noise, 15 * noise),
        ("difference", difference.exposure.data, -5 * noise, 5 * noise),
        ("score (sigma)", difference.score, -5.0, 5.0),
    )
    for axis, (title, image, low, high) in zip(axes.flat, panels, strict=True):
        shown = axis.imshow(image, vmin=low, vmax=high, cmap="gray", origin="lower", interpolation="nearest")
        axis.set_title(title)
        figure.colorbar(shown, ax=axis, shrink=0.8)
    for axis in axes[1]:
        _mark(axis, candidates)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _mark(axis, candidates: Table) -> None:
    alert = np.asarray(candidates["is_alert"], dtype=bool)
    positive = np.asarray(candidates["is_positive"], dtype=bool)
    x, y = np.asarray(candidates["x"]), np.asarray(candidates["y"])
    for chosen, colour in ((alert & positive, "tab:orange"), (alert & ~positive, "tab:cyan")):
        axis.scatter(x[chosen], y[chosen], s=120, facecolors="none", edgecolors=colour)
    axis.scatter(x[~alert], y[~alert], s=25, c="tab:red", marker="x", linewidths=0.7)


def _noise(data: NDArray[np.float32]) -> float:
    noise = mad_width(data)
    return noise if np.isfinite(noise) else 1.0
