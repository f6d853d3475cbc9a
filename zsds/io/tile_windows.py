"""Small windows of tile-compressed images, by the tiles they lie in: a tenth of the time that astropy takes.

Reads what `zsds.io.images` writes: floats quantised with subtractive dither and Rice-coded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from zsds.core.errors import BadInput
from zsds.io.tiles import BLANK, DITHER, as_words, randoms
from zsds.kernels.rice import decode_dithered

SMALL_COLUMNS = 256  # of tiles of images of which small windows are read
BLOCK_BYTES, CARD_BYTES = 2880, 80
_START = np.zeros(1, np.int64)
DAMAGED = "make the product again"
_FORMATS = {"PB": ">i4", "QB": ">i8", "D": ">f8", "J": ">i4"}


@dataclass(frozen=True)
class TiledImage:
    """A compressed image whose tiles are decoded when a window needs them.

    Parameters
    ----------
    path : Path
    shape, tile_shape : (ny, nx)
    rows : structured ndarray
        The table of tiles: where the code of each lies, its scale and zero.
    code : ndarray of uint8
        The code of all tiles.
    block : int
        Pixels of one block of the Rice code.
    blank : int
        Number that stands for NaN.
    dither : int
        Row of the random numbers of the first tile.
    """

    path: Path
    shape: tuple[int, int]
    tile_shape: tuple[int, int]
    rows: NDArray[Any]
    code: NDArray[np.uint8]
    block: int
    blank: int
    dither: int

    def windows(self, cols: Sequence[int], rows: Sequence[int], half: int) -> NDArray[np.float32]:
        """Squares [n, 2 half + 1, 2 half + 1] around pixels; NaN beyond the image.

        Raises
        ------
        BadInput
            If the code of a tile is damaged.
        """
        side = 2 * half + 1
        out = np.full((len(cols), side, side), np.nan, np.float32)
        (ny, nx), (height, width) = self.shape, self.tile_shape
        wanted: dict[tuple[int, int], list[int]] = {}
        for n, (col, row) in enumerate(zip(cols, rows, strict=True)):
            for i in range(max(row - half, 0) // height, min(row + half, ny - 1) // height + 1):
                for j in range(max(col - half, 0) // width, min(col + half, nx - 1) // width + 1):
                    wanted.setdefault((i, j), []).append(n)
        for (i, j), those in wanted.items():
            bottom, left = i * height, j * width
            tile = self._tile(i, j)
            for n in those:
                _paste(out[n], rows[n] - half, cols[n] - half, tile, bottom, left)
        return out

    def _tile(self, i: int, j: int) -> NDArray[np.float32]:
        (ny, nx), (height, width) = self.shape, self.tile_shape
        number = i * -(-nx // width) + j
        tile = np.empty((min(height, ny - i * height), min(width, nx - j * width)), np.float32)
        row = self.rows[number]
        size, start = row["code"].tolist()
        if start + size > self.code.size:
            raise BadInput(str(self.path), f"tile {number} of the image is damaged", DAMAGED)
        where = as_words(self.code[start : start + size]), _START, np.array([size])
        levels = np.array([[row["scale"], row["zero"]]])
        of_row = self.dither + number
        bad = decode_dithered(
            *where, tile.size, self.block, levels, self.blank, of_row, randoms(), tile.reshape(-1)
        )
        if not size or bad >= 0:
            raise BadInput(str(self.path), f"tile {number} of the image is damaged", DAMAGED)
        return tile


def open_tiles(path: Path) -> TiledImage:
    """Open the image of a file that `zsds.io.images` wrote.

    Raises
    ------
    BadInput
        If the file is missing, cut short, or its first extension is no such image.
    """
    try:
        with path.open("rb") as file:
            _cards(file)
            header = _cards(file)
            content = np.asarray(np.memmap(file, np.uint8, "r", offset=file.tell()))
    except FileNotFoundError as error:
        raise BadInput(str(path), "no such file", "check the name, or make the product first") from error
    except (OSError, EOFError, KeyError, ValueError) as error:
        raise BadInput(str(path), "not a readable FITS file", DAMAGED) from error
    try:
        return _tiled(path, header, content)
    except (KeyError, ValueError) as error:
        raise BadInput(
            str(path), f"holds no image in tiles as zsds writes them ({error})", DAMAGED
        ) from error


def _cards(file: BinaryIO) -> dict[str, Any]:
    """Integers and short texts of the header at the place of a file, in a twentieth of astropy's time."""
    cards: dict[str, Any] = {}
    while True:
        block = file.read(BLOCK_BYTES).decode("ascii")
        if len(block) < BLOCK_BYTES:
            raise EOFError
        for start in range(0, BLOCK_BYTES, CARD_BYTES):
            key, mark, value = (
                block[start : start + 8].rstrip(),
                block[start + 8],
                block[start + 10 : start + 80],
            )
            if key == "END":
                return cards
            if mark == "=":
                text = value.partition("/")[0].strip()
                cards[key] = int(text) if text.lstrip("-").isdigit() else text.strip("' ")


def _tiled(path: Path, header: Mapping[str, Any], content: NDArray[np.uint8]) -> TiledImage:
    if (header["ZCMPTYPE"], header.get("ZQUANTIZ")) != ("RICE_1", DITHER):
        raise ValueError(f"{header['ZCMPTYPE']}, {header.get('ZQUANTIZ')}")
    n_bytes, n_rows = header["NAXIS1"], header["NAXIS2"]
    if content.size < n_bytes * n_rows + header["PCOUNT"]:
        raise ValueError("cut short")
    table = np.array(content[: n_bytes * n_rows]).view(_row_type(header))
    values = {header[f"ZNAME{n}"]: header[f"ZVAL{n}"] for n in range(1, 3)}
    if values["BYTEPIX"] != 4:
        raise ValueError(f"numbers of {values['BYTEPIX']} bytes")
    return TiledImage(
        path,
        (header["ZNAXIS2"], header["ZNAXIS1"]),
        (header["ZTILE2"], header["ZTILE1"]),
        table,
        content[header.get("THEAP", n_bytes * n_rows) :],
        values["BLOCKSIZE"],
        header.get("ZBLANK", BLANK),
        header["ZDITHER0"],
    )


def _row_type(header: Mapping[str, Any]) -> np.dtype[Any]:
    """Type of the rows of the table of tiles."""
    names = {"COMPRESSED_DATA": "code", "GZIP_COMPRESSED_DATA": "gzip", "ZSCALE": "scale", "ZZERO": "zero"}
    columns: list[Any] = []
    for n in range(1, header["TFIELDS"] + 1):
        kind = header[f"TFORM{n}"].partition("(")[0].removeprefix("1")
        name = names[header[f"TTYPE{n}"]]
        columns.append((name, _FORMATS[kind], (2,)) if kind in ("PB", "QB") else (name, _FORMATS[kind]))
    return np.dtype(columns)


def _paste(
    window: NDArray[np.float32], row: int, col: int, tile: NDArray[np.float32], bottom: int, left: int
) -> None:
    """Copy what a tile with its first pixel at (bottom, left) has of a window whose first is (row, col)."""
    low, high = max(row, bottom), min(row + window.shape[0], bottom + tile.shape[0])
    first, last = max(col, left), min(col + window.shape[1], left + tile.shape[1])
    if high > low and last > first:
        window[low - row : high - row, first - col : last - col] = tile[
            low - bottom : high - bottom, first - left : last - left
        ]
