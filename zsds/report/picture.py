"""A subtraction as one picture: science, reference, difference, score, candidates marked."""

import io
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zsds.core.difference import Difference
from zsds.core.exposure import Exposure
from zsds.core.flags import DEFECTS, Mask, is_defect
from zsds.core.robust import mad_width

PANEL_INCHES = 6.4  # longer side of one panel
DOTS_PER_INCH = 110
MOST_LABELS = 30  # alerts with a number beside them, strongest first
NOT_DATA = DEFECTS & ~Mask.EDGE & ~Mask.FILLED  # pixels that are tinted
TINT = (0.86, 0.55, 0.35, 0.55)
NOTHING = "#d9e2ec"  # where there is no number


def draw_pair(
    science: Exposure,
    template: Exposure,
    difference: Difference,
    candidates: Table,
    names: tuple[str, str] = ("science", "reference"),
    note: str = "",
) -> bytes:
    """PNG of four panels on the same pixels; circles mark alerts, crosses what was found and not sent.

    Parameters
    ----------
    science, template : Exposure
        Sky subtracted, science electrons.
    difference : Difference
    candidates : Table
        Columns of the table ``candidates``.
    names : tuple of str
        What the two images are called.
    note : str
        One line under the title.
    """
    from matplotlib.figure import Figure  # noqa: PLC0415 - takes a second to load

    ny, nx = science.shape
    width, height = _panel_size(ny, nx)
    figure = Figure(figsize=(2 * width + 2.2, 2 * height + 1.7), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.05, h_pad=0.05, wspace=0.02, hspace=0.02)
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    noise, rough = _noise(science.data), _noise(difference.exposure.data)
    panels = (
        (f"science: {names[0]}", science.data, -3 * noise, 15 * noise, science.mask),
        (f"reference: {names[1]}", _known(template), -3 * noise, 15 * noise, template.mask),
        ("difference (electrons)", difference.exposure.data, -6 * rough, 6 * rough, difference.exposure.mask),
        ("score (sigma of a point source)", difference.score, -6.0, 6.0, difference.exposure.mask),
    )
    for axis, (title, image, low, high, mask) in zip(axes.flat, panels, strict=True):
        axis.set_facecolor(NOTHING)
        shown = axis.imshow(image, vmin=low, vmax=high, cmap="gray", origin="lower", interpolation="nearest")
        axis.imshow(_tinted(mask), origin="lower", interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.set(xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5))
        axis.tick_params(labelsize=8)
        bar = figure.colorbar(shown, ax=axis, fraction=0.046 * min(ny / nx, 1), pad=0.01, aspect=30)
        bar.ax.tick_params(labelsize=8)
    for axis in axes[1]:
        axis.set_xlabel("x (pixels)", fontsize=8)
        _mark(axis, candidates)
    for axis in axes[:, 0]:
        axis.set_ylabel("y (pixels)", fontsize=8)
    _legend(figure)
    if note:
        figure.suptitle(note, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _panel_size(ny: int, nx: int) -> tuple[float, float]:
    longest = max(ny, nx)
    return max(PANEL_INCHES * nx / longest, 1.6), max(PANEL_INCHES * ny / longest, 1.6)


def _known(exposure: Exposure) -> NDArray[np.float32]:
    missing = (exposure.mask & np.uint32(Mask.NO_REFERENCE)) != 0
    return np.where(missing, np.float32(np.nan), exposure.data)


def _tinted(mask: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Transparent but for defects; pixels without a reference have no number and need no tint."""
    bad = (mask & np.uint32(NOT_DATA & ~Mask.NO_REFERENCE)) != 0
    bad &= is_defect(mask) & ((mask & np.uint32(Mask.NO_REFERENCE)) == 0)
    return np.where(bad[..., None], np.float32(TINT), np.float32(0))


def _mark(axis: Any, candidates: Table) -> None:
    alert = np.asarray(candidates["is_alert"], dtype=bool)
    positive = np.asarray(candidates["is_positive"], dtype=bool)
    x, y = np.asarray(candidates["x"]), np.asarray(candidates["y"])
    axis.scatter(x[~alert], y[~alert], s=18, c="tab:red", marker="x", linewidths=0.6)
    for chosen, colour in ((alert & positive, "tab:orange"), (alert & ~positive, "deepskyblue")):
        axis.scatter(x[chosen], y[chosen], s=110, facecolors="none", edgecolors=colour, linewidths=1.3)
    strongest = np.flatnonzero(alert)[np.argsort(-np.asarray(candidates["scorr"])[alert], kind="stable")]
    for number, row in enumerate(strongest[:MOST_LABELS], start=1):
        axis.annotate(
            str(number),
            (x[row], y[row]),
            xytext=(6, 6),
            textcoords="offset points",
            fontsize=8,
            color="tab:orange" if positive[row] else "deepskyblue",
        )


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    ring = {"linestyle": "", "marker": "o", "markerfacecolor": "none", "markersize": 9}
    handles = [
        Line2D([], [], markeredgecolor="tab:orange", **ring),
        Line2D([], [], markeredgecolor="deepskyblue", **ring),
        Line2D([], [], linestyle="", marker="x", color="tab:red", markersize=5),
        Patch(facecolor=TINT),
        Patch(facecolor=NOTHING),
    ]
    words = ("alert, brighter", "alert, fainter", "found, not sent", "masked", "no reference")
    figure.legend(handles, words, loc="outside lower center", ncols=5, fontsize=8, frameon=False)


def _noise(data: NDArray[np.float32]) -> float:
    """Robust scatter; 1 where it is 0 or nothing is known."""
    noise = mad_width(data)
    return noise if noise > 0 else 1.0
