"""Packets for human eyes: the numbers one looks at first, and a picture."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from zsds.alerts.cutouts import open_cutout
from zsds.alerts.stamps import STAMP_SIZE, open_stamp
from zsds.core.ids import JD_MINUS_MJD
from zsds.core.packet import AlertPacket, AlertPoint
from zsds.core.robust import mad_width

BAND_NAMES = {1: "g", 2: "r", 3: "i"}
BAND_COLOURS = {1: "#2a9d3a", 2: "#d1352b", 3: "#b8860b"}
STAMP_TITLES = {"Science": "science", "Template": "reference", "Difference": "difference"}
STRETCH_SIGMA = 3.0  # noise of the difference below and above which the grey scale bends

SUMMARY = (
    ("mjd", "Start of the exposure, MJD"),
    ("ra", "Right ascension, degrees"),
    ("dec", "Declination, degrees"),
    ("magpsf", "Magnitude of the difference"),
    ("sigmapsf", "Its error"),
    ("diffmaglim", "5-sigma limit"),
    ("scorr", "Significance of the peak"),
    ("fwhm", "Width, pixels"),
    ("elong", "Elongation"),
    ("rb", "Real/bogus score"),
    ("drb", "Deep-learning real/bogus score"),
    ("distpsnr1", "Distance to Pan-STARRS1 source, arcsec"),
    ("sgscore1", "Its star score"),
    ("ssdistnr", "Distance to known asteroid, arcsec"),
    ("ndethist", "Detections so far"),
)


def describe_packet(packet: AlertPacket) -> dict[str, Any]:
    """The numbers one looks at first; None where the packet has none.

    Returns
    -------
    dict
        ``candid``, ``objectId``, ``schema``, ``band``, ``sign``, the fields of `SUMMARY`, and ``n_history``.
    """
    found: dict[str, Any] = {
        "candid": packet.candid,
        "objectId": packet.object_id,
        "schema": packet.schema_version,
        "band": BAND_NAMES.get(packet.value("fid"), str(packet.value("fid"))),
        "sign": "+" if packet.value("isdiffpos") in ("t", "1") else "-",
    }
    for name, _ in SUMMARY:
        found[name] = packet.value(name)
    found["mjd"] = packet.value("jd") - JD_MINUS_MJD
    found["n_history"] = len(packet.history)
    return found


def draw_packet(packet: AlertPacket) -> Figure:
    """Three stamps on one grey scale with cross-hairs, above the light curve with its limits.

    Works on any version of ZTF's packets. A stamp that is missing or not FITS leaves its place empty.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``savefig``; it needs no display.
    """
    figure = Figure(figsize=(9, 6.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 3, height_ratios=(1.15, 1))
    stamps = _stamps(packet)
    noise = _noise(stamps)
    for column, (name, title) in enumerate(STAMP_TITLES.items()):
        axes = figure.add_subplot(grid[0, column])
        _draw_stamp(axes, stamps[name], noise, _centre(packet, stamps[name]))
        axes.set_title(title, fontsize=10)
    _draw_light_curve(figure.add_subplot(grid[1, :]), packet.light_curve())
    figure.suptitle(_heading(packet), fontsize=10)
    return figure


def _stamps(packet: AlertPacket) -> dict[str, NDArray[np.float32] | None]:
    """The three images; the difference positive at the candidate for both signs, as ZTF has it."""
    cutout = packet.record.get("cutout")
    if not cutout:
        return {name: _pixels(packet.stamp(name)) for name in STAMP_TITLES}
    planes = open_cutout(cutout)
    sign = np.float32(1 if packet.value("isdiffpos") == "t" else -1)
    return {
        "Science": planes["SCIENCE"],
        "Template": planes["REFERENCE"],
        "Difference": sign * planes["DIFFERENCE"],
    }


def _pixels(stamp: bytes | None) -> NDArray[np.float32] | None:
    try:
        return None if stamp is None else open_stamp(stamp)
    except ValueError:
        return None


def _noise(stamps: dict[str, NDArray[np.float32] | None]) -> float:
    for name in ("Difference", "Science"):
        pixels = stamps[name]
        if pixels is not None and np.isfinite(pixels).any():
            spread = mad_width(pixels)
            if spread > 0:
                return spread
    return 1.0


def _centre(packet: AlertPacket, pixels: NDArray[np.float32] | None) -> tuple[float, float]:
    """Where the candidate lies in the stamp: the middle, unless an old stamp was cut at the image's edge."""
    if pixels is None:
        return 0.0, 0.0
    middle = []
    for name, length in (("xpos", pixels.shape[1]), ("ypos", pixels.shape[0])):
        position = packet.value(name)
        cut_short = length < STAMP_SIZE and position is not None and position <= STAMP_SIZE // 2
        full_middle = min((STAMP_SIZE - 1) / 2, length - 1)
        middle.append(float(np.round(position) - 1) if cut_short else full_middle)
    return middle[0], middle[1]


def _draw_stamp(
    axes: Axes, pixels: NDArray[np.float32] | None, noise: float, centre: tuple[float, float]
) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    if pixels is None or not np.isfinite(pixels).any():
        axes.text(0.5, 0.5, "no stamp", ha="center", va="center", transform=axes.transAxes)
        return
    shown = np.arcsinh((pixels - np.nanmedian(pixels)) / (STRETCH_SIGMA * noise))
    axes.set_facecolor("#c8d4e6")  # shows through where there are no pixels
    axes.imshow(shown, cmap="gray_r", origin="lower", vmin=-1.2, vmax=3.5, interpolation="nearest")
    x, y = centre
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        axes.plot([x + 4 * dx, x + 10 * dx], [y + 4 * dy, y + 10 * dy], color="#e4572e", lw=1.2)


def _draw_light_curve(axes: Axes, points: Sequence[AlertPoint]) -> None:
    now = points[-1].jd
    for band in sorted({point.band_id for point in points}):
        colour, name = BAND_COLOURS.get(band, "#444444"), BAND_NAMES.get(band, str(band))
        mine = [point for point in points if point.band_id == band]
        for positive in (True, False):
            found = [point for point in mine if point.mag is not None and point.positive == positive]
            if found:
                axes.errorbar(
                    [point.jd - now for point in found],
                    [point.mag for point in found],
                    [point.mag_err or 0.0 for point in found],
                    fmt="o",
                    ms=5,
                    color=colour,
                    mfc=colour if positive else "white",
                    label=f"{name} {'brighter' if positive else 'fainter'} than reference",
                )
        limits = [point for point in mine if point.mag is None and point.limit is not None]
        if limits:
            axes.plot(
                [point.jd - now for point in limits],
                [point.limit for point in limits],
                "v",
                ms=5,
                color=colour,
                alpha=0.35,
                label=f"{name} limit",
            )
    axes.invert_yaxis()
    axes.set_xlabel("days from this detection")
    axes.set_ylabel("difference magnitude")
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, ncols=2)


def _heading(packet: AlertPacket) -> str:
    about = describe_packet(packet)
    text = f"{about['objectId'] or 'no name'}   candid {about['candid']}   {about['band']}{about['sign']}"
    if about["magpsf"] is not None:
        text += f"   {about['magpsf']:.3f} ± {about['sigmapsf'] or 0:.3f} mag"
    text += f"   MJD {about['mjd']:.5f}   RA {about['ra']:.5f}  Dec {about['dec']:+.5f}"
    scores = [f"{name} {about[name]:.2f}" for name in ("rb", "drb") if about[name] is not None]
    return "\n".join([text, "   ".join(scores)]) if scores else text
