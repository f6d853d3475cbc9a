"""Small images around a candidate, as gzip-compressed FITS."""

import gzip
import io
import warnings
import zlib
from functools import cache

import numpy as np
from astropy.io import fits
from isal import isal_zlib
from numpy.typing import NDArray

STAMP_SIZE = 63  # pixels, ZTF's
FITS_BLOCK = 2880
GZIP_WINDOW = 31  # zlib's code for a gzip container; it writes modification time 0
COMPRESSION = 1  # of 3; noise hardly compresses: the next takes twice the time and gains 0.2 %


def cut_stamp(
    data: NDArray[np.float32], x: float, y: float, size: int = STAMP_SIZE, scale: float = 1.0
) -> bytes:
    """Square stamp with the pixel nearest to (x, y) in its middle, NaN beyond the image.

    Parameters
    ----------
    data : ndarray of float32 [ny, nx]
    x, y : float
        Pixels, 0 at the centre of the first.
    size : int
        Side in pixels, odd.
    scale : float
        Factor on the pixels: 1 / gain makes DN of electrons, its negative turns a fading source positive.

    Returns
    -------
    bytes
        A gzip-compressed FITS file of one float32 image; equal input gives equal bytes.
    """
    pixels = np.full((size, size), np.nan, dtype=">f4")
    left, bottom = int(np.floor(x + 0.5)) - size // 2, int(np.floor(y + 0.5)) - size // 2
    top, right = min(bottom + size, data.shape[0]), min(left + size, data.shape[1])
    if top > max(bottom, 0) and right > max(left, 0):
        part = data[max(bottom, 0) : top, max(left, 0) : right]
        pixels[max(-bottom, 0) : top - bottom, max(-left, 0) : right - left] = part * np.float32(scale)
    packer = isal_zlib.compressobj(COMPRESSION, isal_zlib.DEFLATED, GZIP_WINDOW)
    padding = bytes(-pixels.nbytes % FITS_BLOCK)
    return packer.compress(_header(size) + pixels.tobytes() + padding) + packer.flush()


@cache
def _header(size: int) -> bytes:
    header = fits.PrimaryHDU(np.zeros((size, size), dtype=">f4")).header
    header["BUNIT"] = ("DN", "data numbers; not a number outside the image")
    return header.tostring(padding=True).encode("ascii")


def open_stamp(stamp: bytes) -> NDArray[np.float32]:
    """Pixels of a stamp, whoever made it (ZTF's break the rule for the first card; that is forgiven).

    Returns
    -------
    ndarray of float32 [ny, nx]
        In native byte order; a copy.

    Raises
    ------
    ValueError
        If the bytes are no gzip-compressed FITS image.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(io.BytesIO(gzip.decompress(stamp)), ignore_missing_simple=True) as hdus:
                return np.array(hdus[0].data, dtype=np.float32, ndmin=2)
    except (OSError, EOFError, zlib.error, TypeError) as error:
        raise ValueError(f"stamp is not a gzip-compressed FITS image: {error}") from error
