"""Alert stamps and light curves as pictures."""

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from zsds.core.errors import UnusableData
from zsds.core.robust import mad_width
from zsds.report.drawing import GREY, INK, band_style, grid_of, label
from zsds.report.record import FloatArray

MAX_STAMP_BYTES = 4_000_000  # unpacked; a stamp of 63 x 63 has 20 kB
MAX_STAMP_SIDE = 127
_NO_DATA = 255  # palette entry of pixels that are NaN


def read_stamp(packed: bytes) -> FloatArray:
    """Pixels [ny, nx] of a cutout: FITS bytes, gzipped or not.

    Raises
    ------
    UnusableData
        If the bytes are no image of reasonable size.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(io.BytesIO(_unpacked(bytes(packed))), memmap=False) as hdus:
                data = np.asarray(hdus[0].data, dtype=np.float64)
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, zlib.error) as error:
        raise UnusableData(f"stamp cannot be read: {type(error).__name__}") from error
    if data.ndim != 2 or 0 in data.shape:
        raise UnusableData("stamp is not an image", {"axes": data.ndim})
    return _middle(data)


def _unpacked(packed: bytes) -> bytes:
    if packed[:2] != b"\x1f\x8b":
        return packed
    return zlib.decompressobj(wbits=31).decompress(packed, MAX_STAMP_BYTES)


def _middle(data: FloatArray) -> FloatArray:
    ny, nx = data.shape
    y0, x0 = max(0, (ny - MAX_STAMP_SIDE) // 2), max(0, (nx - MAX_STAMP_SIDE) // 2)
    return data[y0 : y0 + MAX_STAMP_SIDE, x0 : x0 + MAX_STAMP_SIDE]


def stamp_png(data: FloatArray, symmetric: bool = False) -> bytes:
    """The stamp as a grey PNG, first row at the bottom; NaNs are blue.

    Parameters
    ----------
    data : array of float [ny, nx]
    symmetric : bool
        For difference stamps: the grey scale is centred on the median, which shows as mid grey.
    """
    low, high = _grey_limits(data, symmetric)
    grey = np.clip((np.nan_to_num(data, nan=low) - low) / (high - low), 0, 1) * (_NO_DATA - 1)
    pixels = np.where(np.isfinite(data), np.round(grey), _NO_DATA).astype(np.uint8)
    return _palette_png(pixels[::-1])


def _grey_limits(data: FloatArray, symmetric: bool) -> tuple[float, float]:
    finite = data[np.isfinite(data)]
    if not finite.size:
        return 0.0, 1.0
    middle = float(np.median(finite))
    noise = max(mad_width(finite), 1e-6 * max(abs(middle), 1e-6))
    peak = _peak(data - middle)
    if symmetric:
        reach = max(5 * noise, peak / 2)
        return middle - reach, middle + reach
    return middle - 2 * noise, middle + max(8 * noise, peak / 2)


def _peak(data: FloatArray) -> float:
    """Largest size within the middle third, where the alert is: a bright neighbour must not dim it."""
    ny, nx = data.shape
    third = np.abs(data[ny // 3 : ny - ny // 3, nx // 3 : nx - nx // 3])
    return float(np.nanmax(third)) if np.isfinite(third).any() else 0.0


def _palette_png(pixels: NDArray[np.uint8]) -> bytes:
    """PNG of palette indices (PNG specification, third edition): greys, and blue for no data."""
    ny, nx = pixels.shape
    palette = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[:, None], 3, axis=1)
    palette[_NO_DATA - 1], palette[_NO_DATA] = 255, (80, 120, 190)
    rows = np.hstack([np.zeros((ny, 1), np.uint8), pixels]).tobytes()
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", nx, ny, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette.tobytes()),
            _chunk(b"IDAT", zlib.compress(rows, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def number(row: Mapping[str, Any], name: str) -> float:
    """A value of a packet as float; NaN for null, for ZTF's -999 and for anything that is no number."""
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return float("nan")
    return float(value) if np.isfinite(value) and value > -999 else float("nan")


@dataclass(frozen=True, order=True)
class Epoch:
    """One point of a light curve; ``mag`` is NaN where only the limit is known."""

    jd: float
    fid: int
    mag: float
    mag_err: float
    limit: float
    is_positive: bool


def light_curve(alert: Mapping[str, Any]) -> list[Epoch]:
    """The alert's history and itself, in time order; rows without time or filter are left out."""
    epochs = []
    for row in (*(alert.get("prv_candidates") or ()), alert["candidate"]):
        jd, fid = number(row, "jd"), number(row, "fid")
        if np.isfinite(jd) and np.isfinite(fid):
            mags = (number(row, "magpsf"), number(row, "sigmapsf"), number(row, "diffmaglim"))
            epochs.append(Epoch(jd, int(fid), *mags, is_positive(row)))
    return sorted(epochs, key=lambda epoch: (epoch.jd, epoch.fid))


def is_positive(row: Mapping[str, Any]) -> bool:
    """Whether the source is brighter than in the reference (``isdiffpos``)."""
    return str(row.get("isdiffpos")).lower() in ("t", "1", "true")


def paint_light_curve(figure: Figure, alert: Mapping[str, Any], band_names: Mapping[int, str]) -> None:
    """Detections with errors (hollow when fainter than the reference) and upper limits, by band."""
    (axes,) = grid_of(figure, 1, 1, left=0.16, right=0.98, bottom=0.21, top=0.87)
    epochs = light_curve(alert)
    now = number(alert["candidate"], "jd")
    bands = sorted({str(band_names.get(epoch.fid, epoch.fid)) for epoch in epochs})
    axes.axvline(0, color=GREY, lw=0.8, ls=":")
    for band in bands:
        members = [epoch for epoch in epochs if str(band_names.get(epoch.fid, epoch.fid)) == band]
        _paint_band(axes, members, now, band_style(band, bands), label(band))
    _widen(axes)
    axes.invert_yaxis()
    axes.locator_params(nbins=5)
    axes.set_xlabel("days from the alert", color=INK)
    axes.set_ylabel("mag")
    if bands:
        axes.legend(ncols=6, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.1, handletextpad=0.2)


def _widen(axes: Axes) -> None:
    """At least 0.2 mag from bottom to top, so that noise does not look like a change."""
    low, high = axes.get_ylim()
    room = max(0.0, 0.2 - (high - low)) / 2
    axes.set_ylim(low - room, high + room)


def _paint_band(axes: Axes, epochs: list[Epoch], now: float, style: tuple[str, str], name: str) -> None:
    colour, marker = style
    limits = [e for e in epochs if not np.isfinite(e.mag) and np.isfinite(e.limit)]
    axes.plot(
        [e.jd - now for e in limits], [e.limit for e in limits], "v", ms=3.5, color=colour, alpha=0.45, mew=0
    )
    axes.plot([], [], marker, ms=4, color=colour, label=name)
    for positive, face in ((True, colour), (False, "white")):
        seen = [e for e in epochs if np.isfinite(e.mag) and e.is_positive == positive]
        days, mags = [e.jd - now for e in seen], [e.mag for e in seen]
        errors = [max(float(np.nan_to_num(e.mag_err)), 0.0) for e in seen]
        axes.errorbar(days, mags, errors, fmt=marker, ms=4, color=colour, mfc=face, lw=0, elinewidth=0.8)
