"""How all figures of a report look, and how they become PNG."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

from zsds.report.record import FloatArray

INK, GREY, BLUE, ORANGE, RED = "#1d2733", "#8a94a0", "#2563a8", "#c46a11", "#b3261e"
_BAND_COLOURS = {
    "u": "#7b3fa0",
    "g": "#2a8a3e",
    "r": "#c0392b",
    "i": "#8a5a12",
    "z": "#4a4a4a",
    "y": "#1b7f8c",
}
_CYCLE = ("#2563a8", "#c46a11", "#0f8a7e", "#a83279", "#6b7a12", "#5a4fc4")
_MARKERS = "osD^vP"
_LOOK = {
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.edgecolor": "#5b6672",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "grid.color": "#e3e7eb",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
}


@contextmanager
def look() -> Iterator[None]:
    """The report's own plot settings, whatever the user's matplotlib is set to."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_LOOK)
        yield


def draw(paint: Callable[[Figure], None], size: tuple[float, float], dots_per_inch: int) -> bytes:
    """PNG of what ``paint`` puts on a new figure of ``size`` inches; the same input gives the same bytes."""
    with look():
        figure = Figure(figsize=size, dpi=dots_per_inch, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        paint(figure)
        place_axes(figure)
        canvas.draw()
        buffer = io.BytesIO()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]
        imsave(buffer, pixels, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
    return buffer.getvalue()


def place_axes(figure: Figure) -> None:
    """Lay the figure out once, if its painter has not; matplotlib itself would do so at every drawing."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def grid_of(figure: Figure, rows: int, columns: int, **margins: float) -> list[Axes]:
    """Axes at known places, which is much faster than letting them be laid out; row by row."""
    figure.set_layout_engine("none")
    return list(figure.subplots(rows, columns, squeeze=False, gridspec_kw=margins).flat)


def label(text: str) -> str:
    """Untrusted text as a plot may show it: plain ASCII, no formulas, not hidden from legends."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in str(text)[:40]).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


def band_style(band: str, bands: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of a band among the night's ``bands``."""
    place = sorted(bands).index(band)
    named = [_BAND_COLOURS.get(b[-1:].lower()) for b in sorted(bands)]
    unique = len(set(named)) == len(named) and None not in named
    colour = named[place] if unique else _CYCLE[place % len(_CYCLE)]
    return colour or INK, _MARKERS[place % len(_MARKERS)]


def thinned(length: int, most: int) -> slice:
    """Every n-th row, so that at most ``most`` remain."""
    return slice(None, None, max(1, -(-length // most)))


def nice_number(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above ``value``."""
    if not np.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(power * digit for digit in (5, 2, 1) if power * digit <= value * (1 + 1e-9)))


def limits_of(values: FloatArray, floor: float) -> tuple[float, float]:
    """Axis limits that show the bulk: 1 to 99 per cent with a margin, at least ``floor`` wide."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [1, 99]) if finite.size else (0.0, 1.0)
    margin = max(0.15 * (high - low), floor / 2)
    return float(low - margin), float(high + margin)


def note(axes: Axes, text: str) -> None:
    """Small grey words in the upper left corner."""
    axes.text(0.02, 0.98, text, transform=axes.transAxes, va="top", ha="left", color=GREY, fontsize=8)
