"""Pairs of real images: score on empty sky, what stars leave, a comet at its ephemeris, headers, and peers.

``python -m benchmarks.real FOLDER --out DIR`` takes the folder of ``ztf_images`` and ``subtraction``, prints
the figures, and writes ``real.json``, ``scores.png`` and ``comet.png``.
"""

import csv
import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from astropy.visualization import ZScaleInterval
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, maximum_filter

from benchmarks.peers.subtractions import METHODS, are_present, close_to, run_method, searched, write_pair
from benchmarks.plots import save_small
from zsds.core.flags import is_defect
from zsds.core.robust import central_width
from zsds.core.sphere import pixel_scale_arcsec
from zsds.io.calibrated import read_calibrated
from zsds.photometry import limiting_magnitude
from zsds.pipeline.difference import empty_sky
from zsds.pipeline.measure import MeasureSettings, measure
from zsds.pipeline.pair import PairResult, PairSettings, subtract_pair

COMET = "ztf_20250120147292_000249_zg_c09_o_q1", "ztf_20250120170289_000250_zg_c12_o_q2"
COLOURS = "ztf_20250521306528_000757_zg_c06_o_q4", "ztf_20250521257917_000757_zr_c06_o_q4"
FRAMES = (*COMET, *COLOURS, "ztf_20250409323808_000859_zr_c07_o_q1")
MISSED_ARCSEC = 5.0  # farther from its ephemeris is not the comet
BRIGHT = 30.0  # S/N of the stars at which the difference is looked at


def read_pairs(folder: Path) -> dict[str, PairResult]:
    """The pairs, subtracted as by ``zsds difference``."""
    stem = folder / "subtraction" / "eso085_pair" / "aligned_eso085-030-00"
    files = {
        "ZTF g - g, two CCDs": [_ztf(folder, name) for name in COMET],
        "ZTF g - r": [_ztf(folder, name) for name in COLOURS],
        "1.54 m": [Path(f"{stem}{n}.fit.gz") for n in (5, 4)],
    }
    made = {}
    for name, paths in files.items():
        new = read_calibrated(paths[0], require_wcs=False)
        old = read_calibrated(paths[1], require_wcs=False)
        made[name] = subtract_pair(new, old, PairSettings())
    return made


def _ztf(folder: Path, name: str) -> Path:
    return folder / "ztf_images" / f"{name}_sciimg.fits.gz"


def sky_scores(pair: PairResult) -> NDArray[np.float32]:
    """Scores of the pixels of empty sky."""
    score = pair.result.difference.score
    return score[empty_sky(pair.science.exposure, pair.result.template) & np.isfinite(score)]


def star_scores(pair: PairResult, least_snr: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """S/N of the stars of the science image, and the largest score within a pixel of each."""
    stars, difference = pair.science.stars, pair.result.difference
    x, y = (np.rint(np.asarray(stars[name], float)).astype(int) for name in ("x", "y"))
    clean = ~maximum_filter(is_defect(difference.exposure.mask) | ~np.isfinite(difference.score), 7)
    ny, nx = clean.shape
    inside = (x > 9) & (x < nx - 9) & (y > 9) & (y < ny - 9) & (stars["snr"] > least_snr)
    inside[inside] &= clean[y[inside], x[inside]]
    worst = maximum_filter(np.nan_to_num(np.abs(difference.score)), 3)
    return np.asarray(stars["snr"], float)[inside], worst[y[inside], x[inside]].astype(float)


def star_residuals(pair: PairResult) -> NDArray[np.float64]:
    """False flux of a PSF within a pixel of bright stars, over theirs, %: score times its error."""
    stars, difference = pair.science.stars, pair.result.difference
    flux = np.nan_to_num(difference.score * difference.flux_err)
    x, y = (np.rint(np.asarray(stars[name], float)).astype(int) for name in ("x", "y"))
    ny, nx = flux.shape
    clean = ~maximum_filter(is_defect(difference.exposure.mask) | ~np.isfinite(difference.score), 7)
    chosen = (x > 9) & (x < nx - 9) & (y > 9) & (y < ny - 9) & (stars["snr"] > BRIGHT)
    chosen[chosen] &= clean[y[chosen], x[chosen]]
    return 100 * np.abs(flux[y[chosen], x[chosen]]) / np.asarray(stars["flux"], float)[chosen]


def pair_numbers(pair: PairResult) -> dict[str, float]:
    """What a pair shows by itself."""
    sky, (_, stars) = sky_scores(pair), star_scores(pair, 10.0)
    metrics, left = pair.result.metrics, star_residuals(pair)
    middle = np.abs(sky) < 4
    return {
        "alerts": metrics["n_alerts"],
        "stars compared": pair.result.difference.registration.n_stars,
        "registration left, px": metrics["registration_px"],
        "score mean": float(sky[middle].mean(dtype=np.float64)),
        "score width": central_width(sky),
        "pixels beyond 4, per million": 1e6 * float((np.abs(sky) > 4).mean()),
        "stars of S/N > 10": stars.size,
        "of them beyond 5": float((stars > 5).sum()),
        f"stars of S/N > {BRIGHT:g}": left.size,
        "false flux there, % of theirs": float(np.median(left)) if left.size else np.nan,
    }


def comet_offsets(pair: PairResult, folder: Path, names: tuple[str, str]) -> dict[str, float]:
    """Distance of the candidate of each sign from the ephemeris, arcsec."""
    with (folder / "ztf_images" / "irsa_metadata_and_horizons.csv").open() as file:
        rows = {row["filefracday"]: row for row in csv.DictReader(file)}
    found, offsets = pair.result.candidates, {}
    for name, rose in zip(names, (True, False), strict=True):
        row = rows.get(name.split("_")[1])
        here = found[(found["is_positive"] == rose) & found["is_alert"]]
        if row is None or not len(here):
            continue
        place = SkyCoord(float(row["RA"]), float(row["DEC"]), unit="deg")
        apart = SkyCoord(here["ra"], here["dec"], unit="deg").separation(place).arcsec
        nearest = int(np.argmin(apart))
        if apart[nearest] > MISSED_ARCSEC:
            continue
        sign = "positive" if rose else "negative"
        offsets[f"{sign}, arcsec from the ephemeris"] = float(apart[nearest])
        offsets[f"{sign}, mag"] = float(here["magpsf"][nearest])
    return offsets


def frame_numbers(folder: Path) -> list[dict[str, Any]]:
    """FWHM and depth of single ZTF frames beside their headers'."""
    rows = []
    for name in FRAMES:
        header = fits.getheader(_ztf(folder, name))
        measured = measure(read_calibrated(_ztf(folder, name)), MeasureSettings())
        exposure = measured.exposure
        limit = limiting_magnitude(exposure, exposure.psf, exposure.zero_point)
        rows.append(
            {
                "frame": name[4:],
                "FWHM, px": measured.psf_fit.fwhm,
                "SEEING": header["SEEING"],
                "limit": limit,
                "MAGLIM": header["MAGLIM"],
                "PSF residual": measured.psf_fit.residual,
            }
        )
    return rows


def channel_difference(pair: PairResult) -> dict[str, float]:
    """Magnitudes of the same stars by the two headers' zero points."""
    tables = []
    for one in (pair.science, pair.reference):
        stars = one.stars[one.stars["snr"] > 15]
        ra, dec = one.exposure.wcs.all_pix2world(stars["x"], stars["y"], 0)
        mag = one.exposure.zero_point.value - 2.5 * np.log10(stars["flux"])
        tables.append(Table({"ra": ra, "dec": dec, "mag": mag, "err": 1.0857 / stars["snr"]}))
    places = [SkyCoord(table["ra"], table["dec"], unit="deg") for table in tables]
    row, apart, _ = places[0].match_to_catalog_sky(places[1])
    near = apart.arcsec < 1
    difference = np.asarray(tables[0]["mag"] - tables[1]["mag"][row])[near]
    error = np.hypot(tables[0]["err"], tables[1]["err"][row])[near]
    weight = 1 / (np.asarray(error) ** 2 + 0.01**2)
    return {
        "stars": int(near.sum()),
        "median, mag": float(np.median(difference)),
        "weighted mean, mag": float((weight * difference).sum() / weight.sum()),
        "its error, mag": float(1 / np.sqrt(weight.sum())),
        "scatter, mag": central_width(difference),
    }


def peer_numbers(pair: PairResult) -> dict[str, dict[str, float]]:
    """Public subtractions of the pair: peaks beyond 5 sigma, and those at the comet's two places."""
    if not are_present():
        return {}
    science, result = pair.science.exposure, pair.result
    comet = result.candidates[result.candidates["is_alert"]]
    numbers = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bad = write_pair(science, [pair.reference.exposure], folder)
        registration = result.difference.registration
        for method in METHODS:
            run = run_method(
                method, folder, pair.science.psf_fit.fwhm, (registration.dx_rms, registration.dy_rms)
            )
            if run is None:
                continue
            found = searched(*run, pair.science.psf_fit.fwhm, bad, close_to(bad))
            peaks = found.peaks[found.peaks["snr"] > 5]
            apart = [
                np.hypot(peaks["x"] - row["x"], peaks["y"] - row["y"])[
                    peaks["is_positive"] == row["is_positive"]
                ]
                for row in comet
            ]
            sky = found.score[empty_sky(science, result.template) & ~close_to(bad)]
            numbers[method] = {
                "beyond 5 sigma": len(peaks),
                "of them the comet": int(sum((distance < 2.5).any() for distance in apart)),
                "width of the score on empty sky": central_width(sky),
                "core-s": found.seconds,
            }
    return numbers


def draw_scores(pairs: dict[str, PairResult], path: Path) -> None:
    """Histograms of the score on empty sky, and the score at stars against their S/N."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    edges = np.linspace(-8, 8, 81)
    for name, pair in pairs.items():
        sky = sky_scores(pair)
        counts = np.histogram(sky, edges)[0] / (sky.size * np.diff(edges))
        left.stairs(np.where(counts > 0, counts, np.nan), edges, label=name)
        snr, worst = star_scores(pair, 10.0)
        right.plot(snr, worst, ".", ms=4, label=name)
    middle = (edges[1:] + edges[:-1]) / 2
    left.plot(middle, np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi), "k:", lw=1, label="normal")
    left.set(yscale="log", ylim=(1e-6, 1), xlabel="score on empty sky", ylabel="share per sigma")
    left.legend(fontsize=7)
    right.axhline(5, color="k", ls=":", lw=1)
    right.set(xscale="log", yscale="log", xlabel="S/N of the star", ylabel="largest score at it")
    save_small(figure, path)


def draw_comet(pair: PairResult, path: Path, half: int = 32) -> None:
    """Science, template, difference and score around the comet's two places."""
    figure = Figure(figsize=(7.6, 2.3), layout="constrained")
    found = pair.result.candidates[pair.result.candidates["is_alert"]]
    x, y = round(float(np.mean(found["x"]))), round(float(np.mean(found["y"])))
    cut = (slice(max(y - half, 0), y + half), slice(max(x - half, 0), x + half))
    difference = pair.result.difference
    planes = {
        "science": pair.science.exposure.data,
        "reference, moved": pair.result.template.data,
        "difference": gaussian_filter(np.nan_to_num(difference.exposure.data), 0.8),
        "score": difference.score,
    }
    for axis, (title, plane) in zip(figure.subplots(1, 4), planes.items(), strict=True):
        low, high = ZScaleInterval().get_limits(np.nan_to_num(plane[cut]))
        if title == "score":
            low, high = -8, 8
        axis.imshow(plane[cut], origin="lower", vmin=low, vmax=high, cmap="gray")
        for row in found:
            colour = "tab:orange" if row["is_positive"] else "tab:blue"
            axis.plot(
                row["x"] - cut[1].start, row["y"] - cut[0].start, "o", ms=14, mfc="none", mec=colour, mew=1
            )
        axis.set_title(title, fontsize=9)
        axis.set_xticks([], [])
        axis.set_yticks([], [])
    scale = pixel_scale_arcsec(pair.science.exposure.wcs)
    figure.suptitle(
        f"{2 * half * scale:.0f} arcsec a side; circles: alerts, brighter orange, fainter blue", fontsize=8
    )
    save_small(figure, path)


def main(
    folder: Annotated[Path, typer.Argument(help="Holds ztf_images and subtraction.")],
    out: Annotated[Path, typer.Option(help="Folder for the result.")] = Path("bench"),
) -> None:
    """Judge real pairs."""
    out.mkdir(parents=True, exist_ok=True)
    pairs = read_pairs(folder)
    comet, colours = list(pairs.values())[:2]
    result = {
        **{name: pair_numbers(pair) for name, pair in pairs.items()},
        "comet, g - g": comet_offsets(comet, folder, COMET),
        "comet, g - r": comet_offsets(colours, folder, COLOURS),
        "two channels, one zero point each": channel_difference(comet),
        **{f"g - g by {name}": numbers for name, numbers in peer_numbers(comet).items()},
        **{row["frame"]: row for row in frame_numbers(folder)},
    }
    draw_scores(pairs, out / "scores.png")
    draw_comet(comet, out / "comet.png")
    (out / "real.json").write_text(json.dumps(result, indent=1, default=float) + "\n", encoding="utf-8")
    for name, numbers in result.items():
        typer.echo(name)
        for label, value in numbers.items():
            typer.echo(
                f"    {label:<40}{value:>12}" if isinstance(value, str) else f"    {label:<40}{value:>12.4g}"
            )


if __name__ == "__main__":
    typer.run(main)
