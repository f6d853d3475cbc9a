"""Our own differences of the science and template stamps of real alerts, beside the survey's stamps.

``python -m benchmarks.stamps FOLDER --out DIR`` takes the packets below a folder, writes ``stamps.json`` and
``stamps.png``, and prints a summary. Stamps without a star that tells their PSF are left out.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import sep
import typer
from astropy.table import Table
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.plots import save_small
from zsds.alerts.stamps import open_stamp
from zsds.core.difference import Difference
from zsds.core.errors import BadInput, UnusableData
from zsds.core.exposure import Exposure, Info, ZeroPoint
from zsds.core.flags import Mask
from zsds.core.ids import QuadrantId
from zsds.core.psf import effective_fwhm
from zsds.core.robust import median_and_width
from zsds.forced import measure_forced
from zsds.io.packets import read_packets
from zsds.psf.moffat import MoffatPsf, fit_moffat
from zsds.subtract import subtract

GAIN = 6.2  # electrons per DN of ZTF's detectors, within 5 %
PEAK_DN = 30000.0  # brighter pixels may be saturated
PSF_SNR = 30.0  # in both stamps, of the star that gives the PSF
STAR_SNR = 100.0  # in both stamps, of the star at which residuals are compared
WIDEST = 5.0  # FWHM in pixels; what is wider is no star
FIT = 8  # half side of what is fitted to a star, pixels
TARGET_PX = 5.0  # nearer to the middle is the candidate
PSF_SIZE = 25


@dataclass(frozen=True)
class Comparison:
    """One packet: our difference beside the survey's; pairs are (ours, theirs).

    Parameters
    ----------
    candid : int
    fwhm : tuple of float
        Science and template, pixels.
    noise : tuple of float
        Pixel scatter on empty sky over that of the two stamps added in quadrature.
    residual : tuple of float
        Light left within 3 pixels of the brightest other star, noise of the sky taken off, % of its flux;
        NaN where no other star is bright enough.
    photons : float
        What the photons of that star in both stamps leave, %.
    mag, mag_err : tuple of float
        Of the change at the candidate, and its errors; NaN without a zero point or below 3 sigma.
    on_star : bool
        The template has a source within 2 pixels of the candidate.
    planes : tuple of ndarray
        Science, template, ours, theirs, DN.
    """

    candid: int
    fwhm: tuple[float, float]
    noise: tuple[float, float]
    residual: tuple[float, float]
    photons: float
    mag: tuple[float, float]
    mag_err: tuple[float, float]
    on_star: bool
    planes: tuple[NDArray[np.float32], ...]


def compare(record: dict[str, Any]) -> Comparison:
    """Subtract a packet's template from its science stamp.

    The template is moved by the offset of the star that gives the PSFs; the survey has put it on the science
    stamp's flux scale already.

    Raises
    ------
    UnusableData
        If the stamps are cut by an edge, or hold no star for the PSF.
    ValueError
        If a stamp is no FITS image.
    """
    names = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
    science, template, theirs = (open_stamp(record[name]["stampData"]) for name in names)
    if not all(np.isfinite(plane).all() for plane in (science, template, theirs)):
        raise UnusableData("stamps reach beyond the image")
    candidate = record["candidate"]
    rises = candidate["isdiffpos"] in ("t", "1")
    theirs = theirs if rises else -theirs  # in packets it is positive at the candidate whatever the sign
    new, old = _exposure(science, candidate), _exposure(template, candidate)
    star = _psf_star(new, old)
    old = _registered(old, new, star)
    new, old = (replace(exposure, psf=_psf_of(exposure, star)) for exposure in (new, old))
    fwhm = tuple(effective_fwhm(exposure.psf.at(0, 0)) for exposure in (new, old))
    if max(fwhm) > WIDEST:
        raise UnusableData("no star for the PSF", {"fwhm": max(fwhm)})
    difference = subtract(new, old, stars=_others(old))
    ours = difference.exposure.data / np.float32(GAIN)
    empty = _empty(new) & _empty(old)
    expected = np.hypot(*(median_and_width(exposure.data[empty] / GAIN)[1] for exposure in (new, old)))
    residual, photons = _residuals((ours, theirs), new, old, empty)
    mag, mag_err = _mag(difference, rises) if candidate.get("magzpsci") else (np.nan, np.nan)
    return Comparison(
        int(record["candid"]),
        fwhm,
        tuple(median_and_width(plane[empty])[1] / expected for plane in (ours, theirs)),
        residual,
        photons,
        (mag, float(candidate["magpsf"])),
        (mag_err, float(candidate["sigmapsf"])),
        -1 < (candidate["distnr"] if candidate["distnr"] is not None else -1) < 2,
        (science, template, ours, theirs),
    )


def _exposure(stamp: NDArray[np.float32], candidate: dict[str, Any]) -> Exposure:
    """A stamp in electrons without its sky; the variance is that of its sky and of photons above it."""
    electrons = stamp * np.float32(GAIN)
    sky, width = median_and_width(electrons)
    sky, width = median_and_width(electrons[np.abs(electrons - sky) < 3 * width])
    data = electrons - np.float32(sky)
    mask = np.where(stamp > PEAK_DN, np.uint32(Mask.SATURATED), np.uint32(0))
    info = Info(QuadrantId("20200101000000", 0, "zr", 1, 1), 58849.0, 30.0, int(candidate["fid"]), 0, GAIN)
    zero = float(candidate.get("magzpsci") or np.nan) + 2.5 * np.log10(GAIN)
    variance = (np.float32(width**2) + np.maximum(data, 0)).astype(np.float32)
    return Exposure(data, variance, mask, info, zero_point=ZeroPoint(zero) if np.isfinite(zero) else None)


def _sources(exposure: Exposure) -> Table:
    return Table(sep.extract(exposure.data, 3.0, err=float(np.sqrt(exposure.variance.min())), minarea=4))


def _psf_star(new: Exposure, old: Exposure) -> tuple[float, float]:
    """Where the brightest star stands that both stamps show, round, alone and away from the edges."""
    found = _sources(old)
    found.sort("flux", reverse=True)
    for row in found[np.asarray(found["a"] < 1.3 * found["b"])]:
        x, y = float(row["x"]), float(row["y"])
        apart = np.hypot(found["x"] - x, found["y"] - y)
        near = found[(apart > 0.1) & (apart < 2 * FIT)]
        alone = not len(near) or np.max(near["flux"]) < 0.03 * row["flux"]
        if alone and _is_inside(old, x, y) and min(_snr(e, x, y) for e in (new, old)) > PSF_SNR:
            return x, y
    raise UnusableData("no star for the PSF")


def _is_inside(exposure: Exposure, x: float, y: float) -> bool:
    """Whether all that is fitted to a star lies on the stamp, and its core is not saturated."""
    ny, nx = exposure.shape
    if not (FIT + 2 < x < nx - FIT - 3 and FIT + 2 < y < ny - FIT - 3):
        return False
    return not exposure.mask[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4].any()


def _snr(exposure: Exposure, x: float, y: float) -> float:
    flux, err, _ = sep.sum_circle(exposure.data, [x], [y], 4.0, var=exposure.variance)
    return float(flux[0] / err[0])


def _place(exposure: Exposure, star: tuple[float, float]) -> tuple[float, float]:
    x, y, _ = sep.winpos(exposure.data, [star[0]], [star[1]], 1.2)
    return float(x[0]), float(y[0])


def _registered(old: Exposure, new: Exposure, star: tuple[float, float]) -> Exposure:
    """The template moved so that the star stands where the science stamp has it."""
    (x, y), (x_old, y_old) = _place(new, star), _place(old, star)
    moved = ndimage.shift(old.data, (y - y_old, x - x_old), order=3, mode="nearest")
    return replace(old, data=moved.astype(np.float32))


def _psf_of(exposure: Exposure, star: tuple[float, float]) -> MoffatPsf:
    x, y = _place(exposure, star)
    j, i = round(x), round(y)
    cut = (slice(i - FIT, i + FIT + 1), slice(j - FIT, j + FIT + 1))
    data, weight = exposure.data[cut].astype(float), 1 / exposure.variance[cut].astype(float)
    return fit_moffat(data[None], weight[None], np.array([x - j]), np.array([y - i]), 2.2, PSF_SIZE)


def _others(old: Exposure) -> Table:
    """Sources of the template that are not the candidate."""
    found = _sources(old)
    ny, nx = old.shape
    return found[np.hypot(found["x"] - nx // 2, found["y"] - ny // 2) > TARGET_PX]["x", "y", "flux"]


def _empty(exposure: Exposure) -> NDArray[np.bool_]:
    """Pixels away from the sources, the candidate and the edges."""
    ny, nx = exposure.shape
    rows, cols = np.ogrid[:ny, :nx]
    hidden = np.hypot(rows - ny // 2, cols - nx // 2) < 8
    for row in _sources(exposure):
        hidden |= np.hypot(cols - row["x"], rows - row["y"]) < 4 * row["a"] + 4
    hidden[:5], hidden[-5:], hidden[:, :5], hidden[:, -5:] = True, True, True, True
    return ~hidden


def _residuals(
    planes: Sequence[NDArray[np.float32]], new: Exposure, old: Exposure, empty: NDArray[np.bool_]
) -> tuple[tuple[float, float], float]:
    """Residuals at the brightest star that is not the candidate, and what photons leave there."""
    stars = _others(old)
    stars.sort("flux", reverse=True)
    places = [(float(row["x"]), float(row["y"])) for row in stars]
    places = [p for p in places if _is_inside(old, *p) and min(_snr(e, *p) for e in (new, old)) > STAR_SNR]
    if not places:
        return (np.nan, np.nan), np.nan
    x, y = places[0]
    rows, cols = np.ogrid[: old.shape[0], : old.shape[1]]
    disk = np.hypot(cols - x, rows - y) < 3
    flux = float(sep.sum_circle(old.data, [x], [y], 6.0)[0][0])
    skies = [float(median_and_width(plane[empty])[1]) for plane in planes]
    squares = [
        GAIN**2 * float((plane[disk] ** 2 - sky**2).sum()) for plane, sky in zip(planes, skies, strict=True)
    ]
    squares.append(sum(float((e.variance[disk] - e.variance.min()).sum()) for e in (new, old)))
    left = [float(100 * np.sqrt(disk.sum() * max(square, 0.0)) / flux) for square in squares]
    return (left[0], left[1]), left[2]


def _mag(difference: Difference, rises: bool) -> tuple[float, float]:
    """Magnitude of the change at the place near the middle at which it is most significant."""
    ny, nx = difference.exposure.shape
    step = np.arange(-1.5, 1.51, 0.25)
    dx, dy = (grid.ravel() for grid in np.meshgrid(step, step))
    fluxes = measure_forced(difference, nx // 2 + dx, ny // 2 + dy)
    snr = np.asarray(fluxes["snr"]) * (1 if rises else -1)
    best = fluxes[np.nanargmax(snr)]
    if not np.nanmax(snr) > 3 or difference.exposure.zero_point is None:
        return np.nan, np.nan
    mag = difference.exposure.zero_point.value - 2.5 * np.log10(abs(best["flux"]))
    return float(mag), float(1.0857 / np.nanmax(snr))


def comparisons(folder: Path, left_out: Counter[str] | None = None) -> Iterator[Comparison]:
    """All packets below a folder that can be compared; the others are counted by their reasons."""
    left_out = Counter() if left_out is None else left_out
    for path in [*sorted(folder.rglob("*.avro")), *sorted(folder.rglob("*.tar.gz"))]:
        for packet in read_packets(path):
            try:
                yield compare(packet.record)
            except UnusableData as error:
                left_out[error.reason] += 1
            except (BadInput, ValueError):
                left_out["stamps are no images"] += 1


def summary(found: Sequence[Comparison]) -> dict[str, float]:
    """Medians over the packets, ours and theirs."""
    noise, residual = (np.array([getattr(one, name) for one in found]) for name in ("noise", "residual"))
    photons = np.array([one.photons for one in found])
    star = np.isfinite(photons)
    numbers = {
        "packets": len(found),
        "noise on empty sky, ours": np.median(noise[:, 0]),
        "noise on empty sky, theirs": np.median(noise[:, 1]),
        "with another bright star": star.sum(),
        "left at that star, ours, %": np.median(residual[star, 0]),
        "left at that star, theirs, %": np.median(residual[star, 1]),
        "left by its photons, %": np.median(photons[star]),
    }
    for label, on_star in (("away from stars", False), ("on a star", True)):
        pairs = [one for one in found if one.on_star == on_star and np.isfinite(one.mag[0])]
        apart = np.array([one.mag[0] - one.mag[1] for one in pairs])
        pulls = apart / np.array([np.hypot(*one.mag_err) for one in pairs])
        numbers |= {
            f"magnitudes {label}": len(pairs),
            f"ours - theirs {label}, mag": np.median(apart),
            f"its scatter {label}": np.median(np.abs(apart)),
            f"in errors {label}": np.median(np.abs(pulls)),
        }
    return {name: float(value) for name, value in numbers.items()}


def draw(found: Sequence[Comparison], path: Path) -> None:
    """Three packets with their stamps, and all magnitudes."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.5, 1))
    loud = sorted((one for one in found if np.isfinite(one.photons)), key=lambda one: one.photons)[:3]
    axes = left.subplots(len(loud), 4, squeeze=False)
    for row, one in zip(axes, loud, strict=True):
        for k, (axis, plane) in enumerate(zip(row, one.planes, strict=True)):
            middle, width = median_and_width(one.planes[2 * (k > 1)])
            middle = 0.0 if k > 1 else middle
            axis.imshow(plane, origin="lower", vmin=middle - 5 * width, vmax=middle + 15 * width, cmap="gray")
            axis.set_xticks([], []), axis.set_yticks([], [])
        row[0].set_ylabel(str(one.candid), fontsize=7)
    for axis, title in zip(axes[0], ("science", "template", "ours", "the survey's"), strict=True):
        axis.set_title(title, fontsize=9)
    axis = right.subplots()
    for on_star, label, mark in ((True, "on a star of the template", "s"), (False, "elsewhere", "o")):
        pairs = [one for one in found if one.on_star == on_star and np.isfinite(one.mag[0])]
        theirs, ours = (np.array([one.mag[k] for one in pairs]) for k in (1, 0))
        error = [np.hypot(*one.mag_err) for one in pairs]
        axis.errorbar(theirs, ours - theirs, error, fmt=mark, ms=4, lw=0.8, label=label)
    axis.axhline(0, color="gray", lw=0.8)
    axis.set(xlabel="magpsf of the packet", ylabel="ours - magpsf, mag")
    axis.legend(fontsize=8)
    save_small(figure, path, dpi=76)


def main(
    folder: Annotated[Path, typer.Argument(help="Packets below it, .avro and .tar.gz.")],
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = Path("bench"),
) -> None:
    """Compare differences of real stamps."""
    left_out: Counter[str] = Counter()
    found = list(comparisons(folder, left_out))
    rows = [{name: value for name, value in vars(one).items() if name != "planes"} for one in found]
    numbers = summary(found)
    out.mkdir(parents=True, exist_ok=True)
    result = {"summary": numbers, "left_out": left_out, "packets": rows}
    draw(found, out / "stamps.png")
    (out / "stamps.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, value in [*numbers.items(), *((f"left out: {why}", n) for why, n in left_out.items())]:
        typer.echo(f"{name:<40}{value:>10.4g}")


if __name__ == "__main__":
    typer.run(main)
