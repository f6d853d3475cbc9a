"""Cutouts of our own schema: several planes about a candidate in one gzip-compressed FITS file with WCS."""

import gzip
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from isal import isal_zlib
from numpy.typing import NDArray

from zsds.alerts.stamps import COMPRESSION, FITS_BLOCK, GZIP_WINDOW, STAMP_SIZE
from zsds.core.exposure import Exposure

IMAGES = ("SCIENCE", "REFERENCE", "DIFFERENCE")
NOISE_BITS = 8  # of the mantissa of noise: 0.2 %, and a third of the size
Card = tuple[str, str | int | float | bool]


@dataclass(frozen=True)
class LocalWcs:
    """A tangent plane that is the image's WCS within a stamp: in ZTF's to a hundredth of a pixel.

    Parameters
    ----------
    ra, dec : float
        Of the middle pixel, degrees.
    matrix : ndarray of float64 [2, 2]
        Degrees east and north (rows) a pixel in x and y (columns).
    """

    ra: float
    dec: float
    matrix: NDArray[np.float64]


def local_wcs(wcs: WCS, x: NDArray[np.int64], y: NDArray[np.int64]) -> list[LocalWcs]:
    """The tangent planes at pixels, from the places of their neighbours a quarter of a stamp away."""
    step = STAMP_SIZE // 4
    ra, dec = wcs.all_pix2world(x, y, 0)
    matrices = np.empty((len(x), 2, 2))
    for axis, (dx, dy) in enumerate(((step, 0), (0, step))):
        (east, north), (west, south) = (
            _offsets(*wcs.all_pix2world(x + sign * dx, y + sign * dy, 0), ra, dec) for sign in (1, -1)
        )
        matrices[:, 0, axis], matrices[:, 1, axis] = (east - west) / (2 * step), (north - south) / (2 * step)
    return [LocalWcs(float(a), float(d), m) for a, d, m in zip(ra, dec, matrices, strict=True)]


def _offsets(
    ra: NDArray[np.float64], dec: NDArray[np.float64], ra0: NDArray[np.float64], dec0: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gnomonic coordinates in degrees of each direction about its own centre."""
    a, d, d0 = np.radians(ra - ra0), np.radians(dec), np.radians(dec0)
    depth = np.sin(d0) * np.sin(d) + np.cos(d0) * np.cos(d) * np.cos(a)
    north = np.cos(d0) * np.sin(d) - np.sin(d0) * np.cos(d) * np.cos(a)
    return np.degrees(np.cos(d) * np.sin(a) / depth), np.degrees(north / depth)


def cut_planes(
    images: Mapping[str, Exposure], x: NDArray[np.float64], y: NDArray[np.float64], njy: float
) -> list[bytes]:
    """One cutout for each place.

    Parameters
    ----------
    images : mapping
        Exposures in electrons on the same pixels by the names `IMAGES`; the difference is science minus
        reference and has the WCS and the mask.
    x, y : ndarray [n]
        Pixels, 0 at the centre of the first; the nearest pixel becomes the middle one.
    njy : float
        nJy of one electron.

    Returns
    -------
    list of bytes
        Gzip-compressed FITS; equal input gives equal bytes.
    """
    column, row = np.floor(x + 0.5).astype(int), np.floor(y + 0.5).astype(int)
    wcs = images["DIFFERENCE"].wcs
    assert wcs is not None
    at = zip(column.tolist(), row.tolist(), local_wcs(wcs, column, row), strict=True)
    return [_cutout(images, col, line, local, njy) for col, line, local in at]


def _cutout(images: Mapping[str, Exposure], column: int, row: int, wcs: LocalWcs, njy: float) -> bytes:
    parts = [_header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("EXTEND", True)])]
    factor = np.float32(njy)
    for name in IMAGES:
        parts += _plane(name, _window(images[name].data, column, row, np.nan) * factor, wcs)
    for name in IMAGES:
        variance = _window(images[name].variance, column, row, np.nan)
        noise = np.sqrt(np.where(variance > 0, variance, np.float32(np.nan))) * factor
        parts += _plane(f"{name}_ERR", _rounded(noise), wcs)
    mask = _window(images["DIFFERENCE"].mask.view(np.int32), column, row, 0)
    parts += _plane("MASK", mask, wcs)
    packer = isal_zlib.compressobj(COMPRESSION, isal_zlib.DEFLATED, GZIP_WINDOW)
    return packer.compress(b"".join(parts)) + packer.flush()


def _window(plane: NDArray, column: int, row: int, beyond: float) -> NDArray:
    half = STAMP_SIZE // 2
    window = np.full((STAMP_SIZE, STAMP_SIZE), beyond, plane.dtype)
    bottom, left, top, right = max(row - half, 0), max(column - half, 0), row + half + 1, column + half + 1
    part = plane[bottom : max(top, 0), left : max(right, 0)]
    window[bottom - row + half :, left - column + half :][: part.shape[0], : part.shape[1]] = part
    return window


def _rounded(noise: NDArray[np.float32]) -> NDArray[np.float32]:
    """Numbers whose last bits are zero, which compress; those not finite stay."""
    dropped = 23 - NOISE_BITS
    bits = noise.view(np.uint32)
    kept = (bits + np.uint32(1 << (dropped - 1))) & np.uint32(0xFFFFFFFF << dropped & 0xFFFFFFFF)
    return np.where(np.isfinite(noise), kept.view(np.float32), noise)


def _plane(name: str, pixels: NDArray, wcs: LocalWcs) -> list[bytes]:
    """Header and pixels of one extension."""
    is_mask = pixels.dtype.kind == "i"
    middle, (ny, nx) = STAMP_SIZE // 2 + 1.0, pixels.shape
    cards: list[Card] = [
        ("XTENSION", "IMAGE"),
        ("BITPIX", 32 if is_mask else -32),
        ("NAXIS", 2),
        ("NAXIS1", nx),
        ("NAXIS2", ny),
        ("PCOUNT", 0),
        ("GCOUNT", 1),
        ("EXTNAME", name),
    ]
    if not is_mask:
        cards.append(("BUNIT", "nJy"))
    cards += [
        ("CTYPE1", "RA---TAN"),
        ("CTYPE2", "DEC--TAN"),
        ("CUNIT1", "deg"),
        ("CUNIT2", "deg"),
    ]
    cards += [("CRPIX1", middle), ("CRPIX2", middle), ("CRVAL1", wcs.ra), ("CRVAL2", wcs.dec)]
    cards += [(f"CD{i + 1}_{j + 1}", float(wcs.matrix[i, j])) for i in range(2) for j in range(2)]
    cards.append(("RADESYS", "ICRS"))
    content = pixels.astype(">i4" if is_mask else ">f4").tobytes()
    return [_header(cards), content, bytes(-len(content) % FITS_BLOCK)]


def _header(cards: list[Card]) -> bytes:
    """A FITS header in fixed format, its block filled up with blanks."""
    text = "".join([f"{key:<8}= {_value(value)}".ljust(80) for key, value in cards]) + f"{'END':<80}"
    return text.ljust(-(-len(text) // FITS_BLOCK) * FITS_BLOCK).encode("ascii")


def _value(value: str | int | float | bool) -> str:
    if isinstance(value, bool):
        return f"{'T' if value else 'F':>20}"
    if isinstance(value, str):
        return f"'{value:<8}'"
    return f"{value:>20d}" if isinstance(value, int) else f"{value:>20.13E}"


def open_cutout(content: bytes) -> dict[str, NDArray]:
    """Planes of a cutout by name, in native byte order.

    Raises
    ------
    ValueError
        If the bytes are no gzip-compressed FITS file.
    """
    try:
        with fits.open(io.BytesIO(gzip.decompress(content))) as hdus:
            return {
                hdu.name: np.ascontiguousarray(hdu.data, hdu.data.dtype.newbyteorder("=")) for hdu in hdus[1:]
            }
    except (OSError, EOFError, zlib.error, TypeError) as error:
        raise ValueError(f"cutout is not a gzip-compressed FITS file: {error}") from error
