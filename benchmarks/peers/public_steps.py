"""Core-seconds of one step by a public package, by the Python of the peers' environment (``make peers``).

``python public_steps.py METHOD FOLDER`` reads ``science.fits`` (no sky), its error ``science_err``, ``bad``,
``earlier`` (another exposure with its coordinates), ``grid`` (those of the science image), ``stars.fits``
(x, y, flux) and ``facts.json`` (sky, fwhm, saturation), and prints the core-seconds of the call alone.
Nothing of zsds is imported.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

DIAMETERS = (2.0, 3.0, 4.0, 6.0, 10.0, 14.0)  # of ZTF's apertures, pixels
PSF_PX = 1000  # side of the corner in which the PSFs are measured that ZOGY is given
FITTED = 500  # stars whose fits are timed; the others take as long each
Call = Callable[[], object]


def astroscrappy(folder: Path, facts: dict[str, Any]) -> tuple[Call, float]:
    """L.A.Cosmic with its defaults, four iterations."""
    from astroscrappy import detect_cosmics  # noqa: PLC0415 - each method has its own

    data, bad = _plane(folder, "science") + np.float32(facts["sky"]), _plane(folder, "bad") > 0
    variance = _plane(folder, "science_err") ** 2
    return lambda: detect_cosmics(data, bad, invar=variance, satlevel=facts["saturation"]), 1.0


def photutils_background(folder: Path, facts: dict[str, Any]) -> tuple[Call, float]:
    """Background2D, cells of 128 pixels, clipped at 3 sigma."""
    from photutils.background import Background2D  # noqa: PLC0415

    data, bad = _plane(folder, "science") + np.float32(facts["sky"]), _plane(folder, "bad") > 0
    return lambda: Background2D(data, 128, mask=bad).background, 1.0


def photutils_apertures(folder: Path, facts: dict[str, Any]) -> tuple[Call, float]:  # noqa: ARG001
    """Six nested apertures at every star, with errors."""
    from photutils.aperture import CircularAperture, aperture_photometry  # noqa: PLC0415

    data, error = _plane(folder, "science"), _plane(folder, "science_err")
    stars = Table.read(folder / "stars.fits")
    places = np.transpose([stars["x"], stars["y"]])
    circles = [CircularAperture(places, r=diameter / 2) for diameter in DIAMETERS]
    return lambda: aperture_photometry(data, circles, error=error), 1.0


def photutils_psf(folder: Path, facts: dict[str, Any]) -> tuple[Call, float]:
    """PSF fits, one by one, of some stars; a Gaussian PSF, which costs least."""
    from photutils.psf import CircularGaussianPRF, PSFPhotometry  # noqa: PLC0415

    data, error = _plane(folder, "science"), _plane(folder, "science_err")
    bad, every = _plane(folder, "bad") > 0, Table.read(folder / "stars.fits")
    some = every[:: max(1, len(every) // FITTED)]
    first = Table({"x": some["x"], "y": some["y"], "flux": some["flux"]})
    fit = PSFPhotometry(CircularGaussianPRF(fwhm=facts["fwhm"]), (11, 11))
    return lambda: fit(data, mask=bad, error=error, init_params=first), len(every) / len(some)


def reproject(folder: Path, facts: dict[str, Any]) -> tuple[Call, float]:  # noqa: ARG001
    """Another exposure onto the science pixels, cubic splines."""
    from reproject import reproject_interp  # noqa: PLC0415

    with fits.open(folder / "earlier.fits") as hdus:
        source = hdus[0].data.astype(np.float32), WCS(hdus[0].header)
    target = fits.getheader(folder / "grid.fits")
    shape = fits.getheader(folder / "science.fits")
    grid = (shape["NAXIS2"], shape["NAXIS1"])
    return lambda: reproject_interp(source, WCS(target), shape_out=grid, order="bicubic"), 1.0


def zogy(folder: Path, facts: dict[str, Any]) -> tuple[Call, float]:
    """ZOGY of stdpipe in parts of about 1100 pixels; PSFs are given, flux scale and shift are not fitted."""
    from stdpipe import psf, subtraction  # noqa: PLC0415

    names = ("science", "reference", "science_err", "reference_err")
    science, reference, err, reference_err = (_plane(folder, name).astype(np.float64) for name in names)
    bad, middle = _plane(folder, "bad") > 0, np.s_[:PSF_PX, :PSF_PX]
    shapes = [psf.run_psfex(image[middle], mask=bad[middle], order=0) for image in (science, reference)]
    return lambda: subtraction.run_zogy(
        science, reference, bad, bad, err, reference_err, *shapes, image_fwhm=facts["fwhm"],
        template_fwhm=facts["fwhm"], scale=1.0, nx=3, ny=3, fit_scale=False, fit_shift=False, nthreads=1,
    ), 1.0  # fmt: skip


METHODS = {
    "zogy": zogy,
    "astroscrappy": astroscrappy,
    "photutils-background": photutils_background,
    "photutils-apertures": photutils_apertures,
    "photutils-psf": photutils_psf,
    "reproject": reproject,
}


def _plane(folder: Path, name: str) -> np.ndarray:
    return np.ascontiguousarray(fits.getdata(folder / f"{name}.fits"), dtype=np.float32)


def main() -> None:
    """Run the method that the command line names, and print its core-seconds."""
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[2])
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    call, factor = METHODS[sys.argv[1]](folder, facts)
    before = time.process_time()
    call()
    print(factor * (time.process_time() - before))  # noqa: T201


if __name__ == "__main__":
    main()
