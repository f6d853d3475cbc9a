"""Commands that need no archive: subtract a pair of images, measure one, simulate."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from zsds.cli.app import AsJson, Overrides, app, progress_told, show
from zsds.core.ids import parse_night


@app.command()
def difference(
    science: Annotated[Path, typer.Argument(help="Calibrated science image, FITS with a WCS.")],
    reference: Annotated[Path, typer.Argument(help="Calibrated reference image of the same sky.")],
    out: Annotated[Path, typer.Option(help="Folder for the products; made if needed.")],
    science_mask: Annotated[Path | None, typer.Option(help="Mask of the science image.")] = None,
    reference_mask: Annotated[Path | None, typer.Option(help="Mask of the reference.")] = None,
    science_uncertainty: Annotated[
        Path | None, typer.Option(help="1-sigma image of the science image.")
    ] = None,
    reference_uncertainty: Annotated[
        Path | None, typer.Option(help="1-sigma image of the reference.")
    ] = None,
    science_weight: Annotated[
        Path | None, typer.Option(help="Inverse variance of the science image, 1/DN**2.")
    ] = None,
    reference_weight: Annotated[Path | None, typer.Option(help="Inverse variance of the reference.")] = None,
    science_psf: Annotated[
        Path | None, typer.Option(help="PSF written by zsds, or a square stamp of odd side.")
    ] = None,
    reference_psf: Annotated[Path | None, typer.Option(help="The same for the reference.")] = None,
    gain: Annotated[
        float | None, typer.Option(help="Electrons per DN, of both images; overrides headers.")
    ] = None,
    zero_point: Annotated[float | None, typer.Option(help="AB mag of 1 DN of the science image.")] = None,
    saturation: Annotated[float | None, typer.Option(help="DN, of both images; overrides headers.")] = None,
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Subtract a reference from a science image: difference, score, candidates, packets and a picture.

    Masks, uncertainties, PSFs and zero point are taken where given (files, options or headers) and measured
    where not. Without a WCS in either, the two must share their pixels.

    Example: zsds difference science.fits reference.fits --out result
    """
    from zsds.runner.pair import PairFiles, run_pair  # noqa: PLC0415

    new = PairFiles(science, science_mask, science_uncertainty, science_weight, science_psf)
    old = PairFiles(reference, reference_mask, reference_uncertainty, reference_weight, reference_psf)
    report = run_pair(
        new, old, out, {"gain": gain, "zero_point": zero_point, "saturation": saturation}, override or ()
    )
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=1, default=str))
        return
    for line in report.warnings:
        typer.echo(f"note: {line}", err=True)
    show(report.alerts, as_json=False)
    width = max(len(name) for name in report.summary)
    if report.alerts:
        typer.echo("")
    for name, value in report.summary.items():
        typer.echo(f"{name.ljust(width)}  {value}")


@app.command()
def measure(
    image: Annotated[Path, typer.Argument(help="Calibrated image, or with --camera a raw frame.")],
    out: Annotated[Path, typer.Option(help="Folder for the products; made if needed.")],
    camera: Annotated[
        str | None, typer.Option(help="Of a raw frame: name of a shipped camera, or a YAML file.")
    ] = None,
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Sky, PSF and a catalog of one image, without archive, calibrations or reference catalogs.

    A raw frame is corrected by its overscan alone, and its positions rest on the header's pointing.

    Example: zsds measure frame.fits --out result --camera sinistro
    """
    from zsds.runner.measure import run_measure  # noqa: PLC0415

    rows = run_measure(image, out, camera, override or ())
    columns = max((list(row) for row in rows), key=len)
    show(rows, as_json, columns)
    if not any("sources" in row for row in rows):
        sys.exit(1)


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder for raw frames, catalogs and truth; made if needed.")],
    camera: Annotated[str, typer.Option(help="Name of a shipped camera, or a YAML file.")] = "demo",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same pixels.")] = 1,
    night: Annotated[
        str | None,
        typer.Option(metavar="NIGHT", parser=parse_night, help="UT date of the night to process, YYYYMMDD."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; one per core when not given.")
    ] = None,
    override: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Simulate earlier nights for references and one night to process, with catalogs and truth.

    Example: zsds simulate sky --camera demo --seed 3 --set n_science=4
    """
    import os  # noqa: PLC0415

    from zsds.core.camera_file import load_camera  # noqa: PLC0415
    from zsds.core.settings import parse_overrides, with_values  # noqa: PLC0415
    from zsds.sim import NightSettings, simulate_night  # noqa: PLC0415

    values = {"processes": processes or os.cpu_count() or 1, **({"night": night} if night else {})}
    settings = with_values(NightSettings(), {**values, **parse_overrides(override or ())})
    with progress_told("simulate") as told:
        made = simulate_night(out, load_camera(camera), seed, settings, told)
    rows = [
        {"what": "reference nights", "found": " ".join(made.reference_nights)},
        {"what": "night", "found": made.night},
        {"what": "science frames", "found": len(made.raw)},
        {"what": "calibration frames", "found": len(made.calibration)},
        {"what": "folder", "found": str(out)},
    ]
    show(rows, as_json)
