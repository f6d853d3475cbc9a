"""One public subtraction of a pair of images, by the Python of the peers' environment (``make peers``).

``python public.py METHOD FOLDER OUT`` reads ``science``, ``reference``, their errors ``*_err`` (1 sigma),
``bad`` (not 0 where masked) and ``facts.json`` from the folder: same pixels, same units, no sky. It writes
``difference.fits``, ``score.fits`` where the method has one of noise 1, and ``seconds.json``.
Nothing of zsds is imported.
"""

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

INF_LOSS = 0.25  # ProperImage's default
Planes = dict[str, np.ndarray]
Facts = dict[str, Any]
SMALL_PX = 300_000  # fewer pixels hold too few stars for a kernel that varies
TILE_PX = 350  # side of the parts that are given a PSF of their own


def by_stdpipe(planes: Planes, facts: Facts, out: Path) -> Planes:
    """ZOGY of stdpipe: PSFs of PSFEx, varying over the image, one for each part."""
    from stdpipe import subtraction  # noqa: PLC0415 - each method has its own

    ny, nx = planes["science"].shape
    bad = planes["bad"] > 0
    difference, score = subtraction.run_zogy(
        planes["science"],
        planes["reference"],
        mask=bad,
        template_mask=bad,
        err=planes["science_err"],
        template_err=planes["reference_err"],
        image_fwhm=facts["fwhm"],
        template_fwhm=facts["fwhm"],
        scale=1.0,
        order=2,
        nx=max(1, round(nx / TILE_PX)),
        ny=max(1, round(ny / TILE_PX)),
        dx=facts["misplaced"][0],
        dy=facts["misplaced"][1],
        nthreads=1,
        _workdir=str(out),
    )
    return {"difference": difference, "score": score}


def by_sfft(planes: Planes, facts: Facts, out: Path) -> Planes:  # noqa: ARG001 - as the others
    """SFFT with its own choice of stars; it convolves the sharper image."""
    from sfft.EasySparsePacket import Easy_SparsePacket  # noqa: PLC0415

    for name in ("science", "reference"):
        data = np.where(planes["bad"] > 0, 0, planes[name])
        header = fits.Header([("GAIN", 1.0), ("ESATUR", float(np.nanmax(data)) + 1)])
        fits.writeto(out / f"sfft_{name}.fits", data, header)
    Easy_SparsePacket.ESP(
        str(out / "sfft_reference.fits"),
        str(out / "sfft_science.fits"),
        FITS_DIFF=str(out / "sfft_difference.fits"),
        KerPolyOrder=2 if planes["science"].size > SMALL_PX else 0,
        BACKEND_4SUBTRACT="Numpy",
        NUM_CPU_THREADS_4SUBTRACT=1,
        VERBOSE_LEVEL=0,
    )
    difference = fits.getdata(out / "sfft_difference.fits")
    for path in out.glob("sfft_*.fits"):
        path.unlink()
    return {"difference": difference}


def by_properimage(planes: Planes, facts: Facts, out: Path) -> Planes:  # noqa: ARG001
    """ProperImage with PSFs from its own stars; the noise of its score is off by orders of magnitude."""
    from properimage.operations import subtract  # noqa: PLC0415
    from properimage.single_image import SingleImage  # noqa: PLC0415

    bad = planes["bad"] > 0
    new, reference = (SingleImage(planes[name], mask=bad) for name in ("science", "reference"))
    difference = np.real(subtract(reference, new, inf_loss=INF_LOSS, fitted_psf=False)[0])
    sign = np.sign(np.sum(reference.get_variable_psf(INF_LOSS)[1][0]))  # that of a PSF is arbitrary
    return {"difference": difference * sign}


METHODS: dict[str, Callable[[Planes, Facts, Path], Planes]] = {
    "stdpipe": by_stdpipe,
    "sfft": by_sfft,
    "properimage": by_properimage,
}


def main() -> None:
    """Run the method that the command line names, and write what came out."""
    method, folder, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    names = ("science", "reference", "science_err", "reference_err", "bad")
    planes = {name: fits.getdata(folder / f"{name}.fits").astype(np.float64) for name in names}
    facts = json.loads((folder / "facts.json").read_text())
    before = core_seconds()
    found = METHODS[method](planes, facts, out)
    seconds = core_seconds() - before
    for name, plane in found.items():
        fits.writeto(out / f"{name}.fits", plane.astype(np.float32))
    (out / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


def core_seconds() -> float:
    """Core-seconds of this process and of those it started."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = os.times()
    return own.user + own.system + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
