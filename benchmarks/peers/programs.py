"""Public programs on the same pixels, in the same run: source-extractor and PSFEx, and SCAMP.

They are judged by the functions that judge ours. Each is looked for on the machine (Debian packages
``source-extractor``, ``psfex``, ``scamp``); one that is absent has no rows.
"""

import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates, spline_filter

from zsds.core.exposure import Exposure
from zsds.core.flags import is_defect

STAMP = 35  # side of the stamps that PSFEx takes, pixels
APERTURE = 14.0  # diameter of the aperture that normalises its PSF, pixels
COLUMNS = (
    "NUMBER X_IMAGE Y_IMAGE FLUX_APER(1) FLUXERR_APER(1) FLUX_RADIUS SNR_WIN ELONGATION FLAGS XWIN_IMAGE "
    f"YWIN_IMAGE ERRAWIN_IMAGE ERRBWIN_IMAGE ERRTHETAWIN_IMAGE FLUX_AUTO FLUXERR_AUTO VIGNET({STAMP},{STAMP})"
)
CATALOG = (
    "NUMBER X_IMAGE Y_IMAGE FLUX_APER(1) FLUXERR_APER(1) FLUX_AUTO FLUXERR_AUTO FLUX_RADIUS FWHM_IMAGE "
    "XWIN_IMAGE YWIN_IMAGE ELONGATION CLASS_STAR FLAGS"
)
NO_SKY = ("-BACK_TYPE", "MANUAL", "-BACK_VALUE", "0.0")
SHARE = Path("/usr/share/source-extractor")
QUIET = ("-CHECKPLOT_TYPE", "NONE", "-WRITE_XML", "N", "-NTHREADS", "1", "-VERBOSE_TYPE", "QUIET")


@dataclass(frozen=True)
class PsfexModel:
    """The PSF that PSFEx wrote, as a `zsds.core.psf.PsfModel`.

    Parameters
    ----------
    planes : ndarray of float64 [n_terms, k, k]
        Spline coefficients of each polynomial term's image.
    zero, scale : tuple of float
        Terms are of (position - zero) / scale, position from 1.
    degree : int
    step : float
        Sampling step of the images, pixels; their values are shares of flux in a whole pixel.
    size : int
        Side of the stamps made of it, odd.
    seconds : float
        Core-seconds that PSFEx took.
    """

    planes: NDArray[np.float64]
    zero: tuple[float, float]
    scale: tuple[float, float]
    degree: int
    step: float
    size: int
    seconds: float

    def at(self, x: float, y: float, dx: float = 0.0, dy: float = 0.0) -> NDArray[np.float32]:
        """Stamp at (x, y), the star (dx, dy) from the middle pixel's centre; 0 beyond PSFEx's image."""
        u, v = (x + 1 - self.zero[0]) / self.scale[0], (y + 1 - self.zero[1]) / self.scale[1]
        terms = [u**i * v**j for j in range(self.degree + 1) for i in range(self.degree + 1 - j)]
        image = np.tensordot(terms, self.planes, axes=1)
        half, middle = self.size // 2, image.shape[0] // 2
        offset = np.arange(-half, half + 1)
        rows, cols = middle + (offset - dy) / self.step, middle + (offset - dx) / self.step
        grid = np.meshgrid(rows, cols, indexing="ij")
        return map_coordinates(image, grid, order=3, prefilter=False, mode="constant").astype(np.float32)


@dataclass(frozen=True)
class ScampStars:
    """Stars of source-extractor with the coordinates that SCAMP gives them.

    Parameters
    ----------
    x, y : ndarray of float64 [n]
        Windowed positions, pixels from 0.
    ra, dec : ndarray of float64 [n]
        Degrees.
    seconds : float
        Core-seconds that SCAMP took.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    seconds: float


def is_present(*programs: str) -> bool:
    """Whether all these programs are on this machine."""
    return all(shutil.which(program) for program in programs)


def time_source_extractor(exposure: Exposure, sky: float) -> float:
    """Core-seconds of source-extractor from an image with its sky to a catalog; its defaults.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    with tempfile.TemporaryDirectory() as name:
        return _extract(replace(exposure, data=exposure.data + np.float32(sky)), Path(name), CATALOG, ())


def run_psfex(exposure: Exposure, options: Sequence[str] = ()) -> PsfexModel:
    """PSFEx on an image from which the sky is taken; its defaults but for the options.

    Raises
    ------
    subprocess.CalledProcessError
        If one of the programs fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _extract(exposure, folder)
        defaults = _defaults(folder, "psfex")
        command = ["psfex", "stars.cat", "-c", defaults, "-CHECKIMAGE_TYPE", "NONE", *QUIET, *options]
        seconds = timed(command, folder)
        with fits.open(folder / "stars.psf") as hdus:
            header, planes = hdus[1].header, hdus[1].data["PSF_MASK"][0].astype(float)
    planes = planes.reshape(-1, *planes.shape[-2:])
    return PsfexModel(
        np.array([spline_filter(plane, order=3, mode="constant") for plane in planes]),
        (header.get("POLZERO1", 0.0), header.get("POLZERO2", 0.0)),
        (header.get("POLSCAL1", 1.0), header.get("POLSCAL2", 1.0)),
        header.get("POLDEG1", 0),
        float(header["PSF_SAMP"]),
        STAMP - 4,
        seconds,
    )


def run_scamp(exposure: Exposure, guess: fits.Header, gaia: Table) -> ScampStars:
    """SCAMP's solution of an image, from a first guess and reference stars at the image's epoch.

    Raises
    ------
    subprocess.CalledProcessError
        If one of the programs fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _extract(exposure, folder)
        _write_reference(gaia, folder / "gaia.cat")
        (folder / "stars.ahead").write_text(_head(guess))
        command = [
            "scamp", "stars.cat", "-c", _defaults(folder, "scamp"), "-ASTREF_CATALOG", "FILE",
            "-ASTREFCAT_NAME", "gaia.cat", "-ASTREFCENT_KEYS", "X_WORLD,Y_WORLD",
            "-ASTREFERR_KEYS", "ERRA_WORLD,ERRB_WORLD,ERRTHETA_WORLD", "-ASTREFMAG_KEY", "MAG",
            "-ASTREFMAGERR_KEY", "MAGERR", "-POSITION_MAXERR", "3.5", "-CROSSID_RADIUS", "2.0",
            "-SOLVE_PHOTOM", "N", *QUIET,
        ]  # fmt: skip
        seconds = timed(command, folder)
        lines = (folder / "stars.head").read_text(encoding="latin-1").splitlines()
        found = Table.read(folder / "stars.cat", hdu=2)
    cards = [line for line in lines if not line.startswith(("HISTORY", "COMMENT", "END"))]
    text = "\n".join(cards).replace("RA---TAN", "RA---TPV").replace("DEC--TAN", "DEC--TPV")
    x, y = (np.asarray(found[name], np.float64) - 1 for name in ("XWIN_IMAGE", "YWIN_IMAGE"))
    ra, dec = WCS(fits.Header.fromstring(text, sep="\n")).all_pix2world(x, y, 0)
    return ScampStars(x, y, ra, dec, seconds)


def _head(header: fits.Header) -> str:
    return "\n".join([*(str(card).rstrip() for card in header.cards), "END"]) + "\n"


def _extract(exposure: Exposure, folder: Path, columns: str = COLUMNS, sky: Sequence[str] = NO_SKY) -> float:
    """Source-extractor's catalog ``stars.cat`` of an image; its core-seconds."""
    bad = is_defect(exposure.mask)
    weight = np.where(bad | ~np.isfinite(exposure.data), 0, 1 / exposure.variance).astype(np.float32)
    fits.writeto(folder / "image.fits", np.nan_to_num(exposure.data).astype(np.float32))
    fits.writeto(folder / "weight.fits", weight)
    (folder / "stars.param").write_text("\n".join(columns.split()) + "\n")
    command = [
        "source-extractor", "image.fits", "-c", str(SHARE / "default.sex"), "-CATALOG_NAME", "stars.cat",
        "-CATALOG_TYPE", "FITS_LDAC", "-PARAMETERS_NAME", "stars.param", "-FILTER_NAME",
        str(SHARE / "default.conv"), "-STARNNW_NAME", str(SHARE / "default.nnw"),
        "-PHOT_APERTURES", str(APERTURE), "-GAIN", "1.0", *sky,
        "-WEIGHT_TYPE", "MAP_WEIGHT", "-WEIGHT_IMAGE", "weight.fits", "-WEIGHT_GAIN", "N",
        "-SATUR_LEVEL", str(exposure.info.saturation * 0.8), "-VERBOSE_TYPE", "QUIET",
    ]  # fmt: skip
    return timed(command, folder)


def _write_reference(gaia: Table, path: Path) -> None:
    """A reference catalog in the LDAC form that SCAMP reads."""
    n = len(gaia)
    error = np.full(n, 0.5e-3 / 3600)
    columns = {
        "X_WORLD": np.asarray(gaia["ra"], float),
        "Y_WORLD": np.asarray(gaia["dec"], float),
        "ERRA_WORLD": error,
        "ERRB_WORLD": error,
        "ERRTHETA_WORLD": np.zeros(n),
        "MAG": np.asarray(gaia["phot_g_mean_mag"], np.float32),
        "MAGERR": np.full(n, 0.01, np.float32),
        "OBSDATE": np.full(n, 2000.0),
    }
    units = {"X_WORLD": "deg", "Y_WORLD": "deg", "ERRA_WORLD": "deg", "ERRB_WORLD": "deg"}
    table = fits.BinTableHDU(
        Table({name: Table.Column(values, unit=units.get(name)) for name, values in columns.items()})
    )
    table.header["EXTNAME"] = "LDAC_OBJECTS"
    cards = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0)]).tostring().encode()
    block = np.frombuffer(cards, np.uint8)[None]
    head = fits.BinTableHDU.from_columns(
        [fits.Column("Field Header Card", f"{block.size}A", array=np.array([cards.decode()]))]
    )
    head.header["EXTNAME"] = "LDAC_IMHEAD"
    fits.HDUList([fits.PrimaryHDU(), head, table]).writeto(path)


def _defaults(folder: Path, program: str) -> str:
    """A file of the program's own default settings."""
    path = folder / f"{program}.conf"
    done = subprocess.run([program, "-dd"], check=True, capture_output=True, text=True)
    path.write_text(done.stdout)
    return path.name


def core_seconds(function: Callable[[], object]) -> float:
    """Core-seconds of this process that a call takes."""
    before = time.process_time()
    function()
    return time.process_time() - before


def timed(command: list[str], folder: Path) -> float:
    """Run a program; its core-seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
