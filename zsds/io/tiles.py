"""Images in Rice-coded tiles: written by kernels of our own and, where tiles are whole rows, read by them.

Astropy reads all others; windows of small tiles are read by `zsds.io.tile_windows`.

What is written is, bit for bit, what CFITSIO and astropy write, so every reader of FITS opens it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits.hdu.compressed._compression import CfitsioException
from numpy.typing import NDArray

from zsds.kernels.rice import PADDING, decode_dithered, decode_tiles, encode_dithered, encode_tiles

TILE_ROWS = 64
BLOCK = 32  # pixels with one code
BLANK = -(2**31)  # stands for NaN
DITHER = "SUBTRACTIVE_DITHER_1"
N_RANDOMS = 10_000
ALL_ROWS = slice(None)
_FITS_BLOCK = 2880


def read_pixels(hdu: Any, rows: slice = ALL_ROWS) -> NDArray[Any]:
    """Some rows of an image HDU of an open file, in native byte order; integers may come in 32 bits.

    Raises
    ------
    ValueError
        If a tile is damaged or lies beyond the end of the file.
    """
    if len(getattr(hdu, "shape", ())) == 0:
        raise ValueError("holds no image")
    first, stop, _ = rows.indices(hdu.shape[0])
    tiles = _tiles_of(hdu) if isinstance(hdu, fits.CompImageHDU) else None
    if tiles is not None:
        return tiles.decode(first, stop)
    try:
        pixels: NDArray[Any] = hdu.data if (first, stop) == (0, hdu.shape[0]) else hdu.section[rows]
    except CfitsioException as error:  # is neither a ValueError nor an OSError
        raise ValueError(f"a tile is damaged: {error}") from error
    return pixels


@dataclass(frozen=True)
class _Tiles:
    """Where the tiles of an image lie, and how they are coded.

    Parameters
    ----------
    file : file object
    heap : int
        Place in the file that ``starts`` count from.
    length : int
        Bytes from there.
    starts, sizes : ndarray of int
        Bytes.
    shape : (int, int)
        Of the image.
    rows : int
        Of a tile.
    block, wide
        See `zsds.kernels.rice`.
    levels : ndarray of float [n, 2], optional
        Scale and zero of the tiles of an image of floats.
    blank : int
        Stands for NaN.
    seed : int
        Of the dithering of floats.
    zero : int
        Of all integers.
    """

    file: Any
    heap: int
    length: int
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    shape: tuple[int, int]
    rows: int
    block: int
    wide: bool
    levels: NDArray[np.float64] | None
    blank: int
    seed: int
    zero: int

    def decode(self, first: int, stop: int) -> NDArray[Any]:
        """Rows ``first`` to ``stop``."""
        of, to = first // self.rows, -(-stop // self.rows)
        top = of * self.rows
        shape = (max(min(to * self.rows, self.shape[0]) - top, 0), self.shape[1])
        out = np.empty(shape, np.int32 if self.levels is None else np.float32)
        if out.size:
            words, starts = self._words(of, to)
            given = words, starts, self.sizes[of:to], self.rows * self.shape[1], self.block
            if self.levels is None:
                bad = decode_tiles(*given, self.wide, out.reshape(-1))
            else:
                row = of + self.seed
                levels = self.levels[of:to]
                bad = decode_dithered(*given, levels, self.blank, row, randoms(), out.reshape(-1))
            if bad >= 0:
                raise ValueError(f"tile {of + bad + 1} is damaged")
        if self.zero:
            out += np.int32(self.zero)
        return out[first - top : stop - top]

    def _words(self, of: int, to: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """The bytes of some tiles as 32-bit words, and where each tile starts among them."""
        starts, ends = self.starts[of:to], self.starts[of:to] + self.sizes[of:to]
        low, high = int(starts.min()), int(ends.max())
        if low < 0 or high > self.length:
            raise ValueError("tiles lie beyond its data")
        self.file.seek(self.heap + low)
        content = self.file.read(high - low)
        if len(content) < high - low:
            raise ValueError("the file is truncated")
        return as_words(np.frombuffer(content, np.uint8)), starts - low


def as_words(code: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """The bytes of some tiles as the words that `zsds.kernels.rice` reads, with its padding."""
    words = np.zeros(-(-code.size // 4) + PADDING, np.uint32)
    words.view(np.uint8)[: code.size] = code
    return words.byteswap(inplace=True)


def _tiles_of(hdu: fits.CompImageHDU) -> _Tiles | None:
    """The tiles of an image HDU; None where they are of a kind that is left to astropy."""
    info = hdu.fileinfo()
    if info is None:
        return None
    file = info["file"]
    file.seek(info["hdrLoc"])
    header = fits.Header.fromstring(file.read(info["datLoc"] - info["hdrLoc"]))
    table = hdu.compressed_data.view(np.ndarray)
    settings = {header[f"ZNAME{i}"]: header.get(f"ZVAL{i}") for i in (1, 2) if f"ZNAME{i}" in header}
    if settings.get("BYTEPIX", 4) not in (1, 2, 4, 8):  # astropy's decoder would end the process
        raise ValueError(f"says that pixels have {settings['BYTEPIX']} bytes")
    bits, wide = header["ZBITPIX"], settings.get("BYTEPIX", 4) == 4
    zero = header.get("BZERO", 0)
    dithered = header.get("ZQUANTIZ") == DITHER and header.get("ZDITHER0", 0) > 0
    is_float = bits == -32 and wide and dithered and "ZBLANK" not in table.dtype.names
    is_whole = bits == (32 if wide else 16) and abs(zero) < 2**16 and zero == int(zero)
    is_scaled = header.get("BSCALE", 1) != 1 or (zero != 0 and (is_float or wide))
    if (
        header["ZCMPTYPE"] not in ("RICE_1", "RICE_ONE")
        or header["ZNAXIS"] != 2
        or header.get("ZTILE1", header["ZNAXIS1"]) != header["ZNAXIS1"]
        or settings.get("BLOCKSIZE", BLOCK) not in (16, 32)
        or settings.get("BYTEPIX", 4) not in (2, 4)
        or not (is_float or (is_whole and "ZBLANK" not in header and "BLANK" not in header))
        or is_scaled
        or is_float != {"ZSCALE", "ZZERO"}.issubset(table.dtype.names)
        or not header["TFORM1"].removeprefix("1").startswith(("PB", "QB"))
        or not table["COMPRESSED_DATA"][:, 0].all()
        or header.get("ZTILE2", 1) < 1
        or len(table) != -(-header["ZNAXIS2"] // header.get("ZTILE2", 1))
    ):
        return None
    sizes, starts = table["COMPRESSED_DATA"].astype(np.int64).T.copy()
    table_bytes = header["NAXIS1"] * header["NAXIS2"]
    heap = header.get("THEAP", table_bytes)
    return _Tiles(
        file,
        info["datLoc"] + heap,
        table_bytes + header["PCOUNT"] - heap,
        starts,
        sizes,
        (header["ZNAXIS2"], header["ZNAXIS1"]),
        header.get("ZTILE2", 1),
        settings.get("BLOCKSIZE", BLOCK),
        wide,
        np.stack([table["ZSCALE"], table["ZZERO"]], axis=1).astype(np.float64) if is_float else None,
        header.get("ZBLANK", BLANK),
        header.get("ZDITHER0", 0),
        int(zero),
    )


@cache
def randoms() -> NDArray[np.float32]:
    """The random numbers of all dithered FITS images (FITS standard 4.0, appendix I)."""
    numbers, state = np.empty(N_RANDOMS, np.float32), 1
    for i in range(N_RANDOMS):
        state = 16807 * state % (2**31 - 1)
        numbers[i] = state / (2**31 - 1)
    return numbers


def compressed(
    plane: NDArray[Any], header: fits.Header, step: float, columns: int | None = None
) -> fits.BinTableHDU:
    """A tile-compressed image of float32, int16 or int32 for writing.

    Floats are quantised to ``step`` (0: lossless), and what is not finite comes back as NaN; integers are
    lossless. Tiles of floats that are quantised have ``columns``, all others whole rows.
    """
    rows = min(TILE_ROWS, plane.shape[0])
    is_float = plane.dtype.kind == "f"
    if is_float and not np.float32(step) > 0:
        return _lossless(plane, header, rows)
    tile = rows, min(columns or plane.shape[1], plane.shape[1])
    return _quantised(plane, header, step, tile) if is_float else _coded(plane, header, rows)


def _coded(plane: NDArray[Any], header: fits.Header, rows: int) -> fits.BinTableHDU:
    n, wide = -(-plane.shape[0] // rows), plane.dtype.itemsize == 4
    sizes, words = np.empty(n, np.int64), _space(plane.size, n, wide)
    encode_tiles(np.ascontiguousarray(plane).reshape(-1), rows * plane.shape[1], BLOCK, wide, words, sizes)
    table = np.zeros(n, [("COMPRESSED_DATA", ">i4", 2)])
    return _table_hdu(plane, header, (rows, plane.shape[1]), table, _heap(words, sizes), sizes, {})


def _quantised(
    plane: NDArray[np.float32], header: fits.Header, step: float, tile: tuple[int, int]
) -> fits.BinTableHDU:
    n, step32 = -(-plane.shape[0] // tile[0]) * -(-plane.shape[1] // tile[1]), float(np.float32(step))
    plane = np.ascontiguousarray(plane, np.float32)
    seed = int(np.sum(plane[: tile[0]].view(np.uint8), dtype=np.uint64) % N_RANDOMS) + 1
    sizes, zeros, heap, at, blanks = np.empty(n, np.int64), np.empty(n), [], 0, 0
    for strip, length in _strips(plane, tile):
        stop = at + -(-strip.size // length)
        words = _space(strip.size, stop - at, wide=True)
        levels = zeros[at:stop]
        found = encode_dithered(
            strip, length, BLOCK, step32, BLANK, seed + at, randoms(), words, sizes[at:stop], levels
        )
        if found < 0:  # too many steps
            return _lossless(plane, header, tile[0])
        heap.append(_heap(words, sizes[at:stop]))
        at, blanks = stop, blanks + found
    table = np.zeros(
        n,
        [
            ("COMPRESSED_DATA", ">i4", 2),
            ("GZIP_COMPRESSED_DATA", ">i4", 2),
            ("ZSCALE", ">f8"),
            ("ZZERO", ">f8"),
        ],
    )
    table["ZSCALE"], table["ZZERO"] = step32, zeros
    cards: dict[str, Any] = {
        "ZNAME3": ("NOISEBIT", "floating point quantization level"),
        "ZVAL3": (-float(step), "floating point quantization level"),
        "ZQUANTIZ": (DITHER, "Pixel Quantization Algorithm"),
        "ZDITHER0": (seed, "dithering offset when quantizing floats"),
    }
    if blanks:
        cards["ZBLANK"] = (BLANK, "stands for NaN")
    return _table_hdu(plane, header, tile, table, np.concatenate(heap), sizes, cards)


def _strips(plane: NDArray[np.float32], tile: tuple[int, int]) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Pixels of tiles of one size that follow each other in the order of tiles, and the pixels of a tile."""
    (rows, columns), (ny, nx) = tile, plane.shape
    if columns == nx:
        yield plane.reshape(-1), rows * nx
        return
    whole = nx // columns * columns
    for start in range(0, ny, rows):
        part = plane[start : start + rows]
        squares = part[:, :whole].reshape(len(part), -1, columns).swapaxes(0, 1)
        yield np.ascontiguousarray(squares).reshape(-1), len(part) * columns
        if whole < nx:
            yield np.ascontiguousarray(part[:, whole:]).reshape(-1), len(part) * (nx - whole)


def _lossless(plane: NDArray[Any], header: fits.Header, rows: int) -> fits.BinTableHDU:
    """Floats that are not quantised, or that 32 bits do not hold in such steps."""
    image = fits.CompImageHDU(
        np.where(np.isfinite(plane), plane, plane.dtype.type(np.nan)),
        header,
        compression_type="GZIP_2",
        tile_shape=(rows, plane.shape[1]),
        quantize_level=0.0,
    )
    buffer = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(buffer)
    return fits.BinTableHDU.fromstring(buffer.getvalue()[_FITS_BLOCK:])  # behind the bare primary header


def _space(n_pixels: int, n_tiles: int, wide: bool) -> NDArray[np.uint32]:
    """Words for the worst of images; those never written take no memory."""
    return np.empty(n_pixels * (4 if wide else 2) * 9 // 32 + 4 * n_tiles + 64, np.uint32)


def _heap(words: NDArray[np.uint32], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The bytes of tiles that lie one after the other in words."""
    n_bytes = int(sizes.sum())
    return words[: -(-n_bytes // 4)].byteswap().view(np.uint8)[:n_bytes]


def _table_hdu(
    plane: NDArray[Any],
    header: fits.Header,
    tile: tuple[int, int],
    table: NDArray[Any],
    heap: NDArray[np.uint8],
    sizes: NDArray[np.int64],
    cards: dict[str, Any],
) -> fits.BinTableHDU:
    """The table that stands for a compressed image; ``table`` has its scales, if there are any."""
    ends = np.cumsum(sizes)
    table["COMPRESSED_DATA"] = np.stack([sizes, ends - sizes], axis=1)
    content = table.tobytes() + heap.tobytes()
    forms = [f"1PB({sizes.max()})", "1PB(0)", "1D", "1D"]
    whole = fits.Header(
        [
            ("XTENSION", "BINTABLE", "binary table extension"),
            ("BITPIX", 8, "array data type"),
            ("NAXIS", 2, "number of array dimensions"),
            ("NAXIS1", table.itemsize, "width of table in bytes"),
            ("NAXIS2", table.size, "number of rows in table"),
            ("PCOUNT", heap.size, "number of group parameters"),
            ("GCOUNT", 1, "number of groups"),
            ("TFIELDS", len(table.dtype.names or ()), "number of fields in each row"),
        ]
    )
    for i, (name, form) in enumerate(zip(table.dtype.names or (), forms, strict=False), start=1):
        whole[f"TTYPE{i}"], whole[f"TFORM{i}"] = name, form
    whole.update(_image_cards(plane, tile) | cards)
    text = "".join(part.tostring(endcard=False, padding=False) for part in (whole, header)) + f"{'END':80}"
    text += " " * (-len(text) % _FITS_BLOCK)
    content += bytes(-len(content) % _FITS_BLOCK)
    return fits.BinTableHDU.fromstring(text.encode("ascii") + content)


def _image_cards(plane: NDArray[Any], tile: tuple[int, int]) -> dict[str, Any]:
    """What the table's header says of the image and its tiles."""
    size = plane.dtype.itemsize
    return {
        "ZIMAGE": (True, "extension contains compressed image"),
        "ZTENSION": ("IMAGE", "Image extension"),
        "ZBITPIX": (-8 * size if plane.dtype.kind == "f" else 8 * size, "array data type"),
        "ZNAXIS": (2, "number of array dimensions"),
        "ZNAXIS1": plane.shape[1],
        "ZNAXIS2": plane.shape[0],
        "ZPCOUNT": (0, "number of parameters"),
        "ZGCOUNT": (1, "number of groups"),
        "ZTILE1": (tile[1], "size of tiles to be compressed"),
        "ZTILE2": (tile[0], "size of tiles to be compressed"),
        "ZCMPTYPE": ("RICE_1", "compression algorithm"),
        "ZNAME1": ("BLOCKSIZE", "compression block size"),
        "ZVAL1": (BLOCK, "pixels per block"),
        "ZNAME2": ("BYTEPIX", "bytes per pixel (1, 2, 4, or 8)"),
        "ZVAL2": (size, "bytes per pixel (1, 2, 4, or 8)"),
    }
