"""SWarp's way to a reference on the science pixels: a co-add on a grid of its own, then moved to that."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from benchmarks.peers.programs import timed
from zsds.core.exposure import Exposure
from zsds.core.flags import is_defect

ORDER = 5  # of the polynomials that stand for the distortion


@dataclass(frozen=True)
class WarpedReference:
    """A reference on the science pixels.

    Parameters
    ----------
    data, error : ndarray of float32 [ny, nx]
        Electrons of the science exposure; 1 sigma, not finite where there is nothing.
    seconds : float
        Core-seconds of the move from the co-add's grid.
    """

    data: NDArray[np.float32]
    error: NDArray[np.float32]
    seconds: float


def warp_reference(epochs: Sequence[Exposure], science: Exposure, folder: Path) -> WarpedReference:
    """Co-add of the epochs by SWarp, on the nominal grid and from there on that of the science exposure.

    Raises
    ------
    subprocess.CalledProcessError
        If SWarp fails.
    """
    names = []
    for k, epoch in enumerate(epochs):
        scale = 10 ** (0.4 * (science.zero_point.value - epoch.zero_point.value))
        names.append(_write(epoch, folder / f"epoch{k}.fits", scale))
    grid = _plain_header(science)
    _swarp(names, "coadd", grid, folder, ("-COMBINE_TYPE", "CLIPPED"))
    (folder / "coadd.head").unlink()
    seconds = _swarp(["coadd.fits"], "moved", tpv_header(science), folder, ("-COMBINE_TYPE", "WEIGHTED"))
    data, weight = (fits.getdata(folder / f"moved{end}.fits") for end in ("", ".weight"))
    with np.errstate(divide="ignore"):
        error = np.where(weight > 0, 1 / np.sqrt(weight), np.inf)
    return WarpedReference(data.astype(np.float32), error.astype(np.float32), seconds)


def move_exposure(exposure: Exposure, science: Exposure, folder: Path) -> float:
    """Core-seconds of SWarp that moves one exposure to the pixels of another.

    Raises
    ------
    subprocess.CalledProcessError
        If SWarp fails.
    """
    name = _write(exposure, folder / "epoch.fits", 1.0)
    return _swarp([name], "moved", tpv_header(science), folder, ("-COMBINE_TYPE", "WEIGHTED"))


def _write(exposure: Exposure, path: Path, scale: float) -> str:
    bad = is_defect(exposure.mask) | ~np.isfinite(exposure.data)
    header = tpv_header(exposure)
    header["FLXSCALE"] = scale
    fits.writeto(path, np.nan_to_num(exposure.data).astype(np.float32), header, overwrite=True)
    weight = np.where(bad, 0, 1 / exposure.variance).astype(np.float32)
    fits.writeto(path.with_suffix(".weight.fits"), weight, overwrite=True)
    return path.name


def _swarp(names: Sequence[str], out: str, grid: fits.Header, folder: Path, options: Sequence[str]) -> float:
    (folder / f"{out}.head").write_text("\n".join([*(str(c).rstrip() for c in grid.cards), "END"]) + "\n")
    command = [
        "SWarp", *names, "-IMAGEOUT_NAME", f"{out}.fits", "-WEIGHTOUT_NAME", f"{out}.weight.fits",
        "-WEIGHT_TYPE", "MAP_WEIGHT", "-SUBTRACT_BACK", "N", "-RESAMPLING_TYPE", "LANCZOS3",
        "-FSCALASTRO_TYPE", "NONE", "-WRITE_XML", "N", "-NTHREADS", "1", "-VERBOSE_TYPE", "QUIET", *options,
    ]  # fmt: skip
    return timed(command, folder)


def _plain_header(exposure: Exposure) -> fits.Header:
    """The linear part of the exposure's coordinates, TAN."""
    wcs = exposure.wcs.wcs
    header = fits.Header()
    header.update({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2})
    header["NAXIS1"], header["NAXIS2"] = exposure.shape[1], exposure.shape[0]
    matrix = exposure.wcs.pixel_scale_matrix
    for axis, ctype in ((0, "RA---TAN"), (1, "DEC--TAN")):
        n = axis + 1
        header[f"CTYPE{n}"], header[f"CUNIT{n}"] = ctype, "deg"
        header[f"CRPIX{n}"], header[f"CRVAL{n}"] = wcs.crpix[axis], wcs.crval[axis]
        header[f"CD{n}_1"], header[f"CD{n}_2"] = matrix[axis]
    return header


def tpv_header(exposure: Exposure) -> fits.Header:
    """The exposure's coordinates with the distortion as PV polynomials, which SWarp reads."""
    header, (ny, nx) = _plain_header(exposure), exposure.shape
    linear, matrix = WCS(header), exposure.wcs.pixel_scale_matrix
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(0, nx - 1, 25), np.linspace(0, ny - 1, 25)))
    there = linear.all_world2pix(*exposure.wcs.all_pix2world(x, y, 0), 0)
    before, after = (matrix @ (np.array(p) + 1 - linear.wcs.crpix[:, None]) for p in ((x, y), there))
    powers = [(n - k, k) for n in range(ORDER + 1) for k in range(n + 1)]
    header["CTYPE1"], header["CTYPE2"] = "RA---TPV", "DEC--TPV"
    for axis in (0, 1):
        own, other = before[axis], before[1 - axis]
        terms = np.transpose([own**p * other**q for p, q in powers])
        size = np.abs(terms).max(axis=0)
        values = np.linalg.lstsq(terms / size, after[axis], rcond=None)[0] / size
        for k, ((p, q), value) in enumerate(zip(powers, values, strict=True)):
            header[f"PV{axis + 1}_{k + (p + q > 1) + (p + q > 3)}"] = value  # r and r^3 have numbers too
    return header
