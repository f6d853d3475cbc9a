"""The Minor Planet Center's fixed-width files of orbital elements."""

from collections.abc import Callable
from pathlib import Path

import erfa
import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from zsds.associate.kepler import GAUSS
from zsds.catalogs.files import read_bytes
from zsds.core.errors import BadInput
from zsds.core.tables import new_table

Lines = NDArray[np.uint8]
MPCORB_WIDTH = 194
COMET_WIDTH = 158


def read_mpc(path: Path) -> Table | None:
    """Table "orbits" of an MPCORB.DAT or CometEls.txt, plain or gzipped; None if the file is neither.

    Formats: https://www.minorplanetcenter.net/iau/info/MPOrbitFormat.html and CometOrbitFormat.html.
    """
    content = read_bytes(path)
    lines = [line for line in content.split(b"\n") if len(line) > 100]
    for parse, width, looks in (
        (_asteroids, MPCORB_WIDTH, _looks_like_asteroid),
        (_comets, COMET_WIDTH, _looks_like_comet),
    ):
        records = [line for line in lines if looks(line)]
        if records and len(records) >= 0.5 * len(lines):
            return _parse(records, width, parse, path)
    return None


def _looks_like_asteroid(line: bytes) -> bool:
    return line[20:21].isalpha() and line[25:26] == b" " and line[29:30] == b"." and line[95:96] == b"."


def _looks_like_comet(line: bytes) -> bool:
    return line[14:18].isdigit() and line[18:19] == b" " and line[24:25] == b"." and line[32:33] == b"."


def _parse(records: list[bytes], width: int, parse: Callable[[Lines], Table], path: Path) -> Table:
    lines = np.array([line[:width].ljust(width) for line in records], dtype=f"S{width}")
    try:
        return parse(lines.view(np.uint8).reshape(len(records), width))
    except ValueError as error:
        raise BadInput(
            str(path), f"has a damaged record of orbital elements ({error})", "fetch it again"
        ) from error


def _text(lines: Lines, first: int, last: int) -> NDArray[np.str_]:
    """Columns first to last, counted from 1 and inclusive as the format says, without blanks around."""
    part = np.ascontiguousarray(lines[:, first - 1 : last]).view(f"S{last - first + 1}")[:, 0]
    return np.char.strip(np.char.decode(part, "latin-1"))


def _number(lines: Lines, first: int, last: int) -> NDArray[np.float64]:
    text = _text(lines, first, last)
    return np.where(text == "", "nan", text).astype(np.float64)


def _asteroids(lines: Lines) -> Table:
    orbits = new_table("orbits", len(lines))
    orbits["name"][:] = _asteroid_names(lines)
    orbits["epoch_mjd"][:] = _packed_dates(_text(lines, 21, 25))
    for name, first, last in (
        ("H", 9, 13),
        ("G", 15, 19),
        ("mean_anomaly", 27, 35),
        ("peri", 38, 46),
        ("node", 49, 57),
        ("incl", 60, 68),
        ("e", 71, 79),
        ("a", 93, 103),
    ):
        orbits[name][:] = _number(lines, first, last)
    orbits["G"][~np.isfinite(orbits["G"])] = 0.15
    return orbits


def _asteroid_names(lines: Lines) -> NDArray[np.str_]:
    """Number if there is one, else the provisional designation without blanks: as in ZTF's packets."""
    readable = _text(lines, 167, 194)
    packed = _text(lines, 1, 7)
    names = []
    for text, code in zip(readable, packed, strict=True):
        if text.startswith("("):
            names.append(text[1 : text.index(")")] if ")" in text else code)
        else:
            names.append(text.replace(" ", "") or code.lstrip("0"))
    return np.array(names, dtype=str)


def _packed_dates(text: NDArray[np.str_]) -> NDArray[np.float64]:
    """Modified Julian dates of packed dates such as K205V, 2020 May 31.0."""
    codes = np.array([[_digit(c) for c in t] if len(t) == 5 else [0, 0, 0, 0, 0] for t in text]).reshape(
        -1, 5
    )
    if np.any(codes[:, 0] < 10):
        raise ValueError(f"epoch {text[codes[:, 0] < 10][0]!r}")
    year = codes[:, 0] * 100 + codes[:, 1] * 10 + codes[:, 2]
    return erfa.cal2jd(year, codes[:, 3], codes[:, 4])[1]


def _digit(character: str) -> int:
    return int(character) if character.isdigit() else ord(character.upper()) - ord("A") + 10


def _comets(lines: Lines) -> Table:
    orbits = new_table("orbits", len(lines))
    year, month, day = _number(lines, 15, 18), _number(lines, 20, 21), _number(lines, 23, 29)
    orbits["tp_mjd"][:] = erfa.cal2jd(year.astype(int), month.astype(int), 1)[1] + day - 1
    for name, first, last in (
        ("q", 31, 39),
        ("e", 42, 49),
        ("peri", 52, 59),
        ("node", 62, 69),
        ("incl", 72, 79),
    ):
        orbits[name][:] = _number(lines, first, last)
    epoch = _text(lines, 82, 89)
    known = np.char.isdigit(epoch)
    date = np.where(known, epoch, "20000101").astype(int)
    mjd = erfa.cal2jd(date // 10000, date // 100 % 100, date % 100)[1]
    orbits["epoch_mjd"][:] = np.where(known, mjd, orbits["tp_mjd"])
    orbits["H"][:], orbits["comet_slope"][:] = _number(lines, 92, 95), _number(lines, 97, 100)
    orbits["name"][:] = [_comet_name(text) for text in _text(lines, 103, 158)]
    with np.errstate(divide="ignore"):
        orbits["a"][:] = np.where(orbits["e"] == 1, np.nan, orbits["q"] / (1 - orbits["e"]))
    motion = np.degrees(GAUSS / np.abs(orbits["a"]) ** 1.5)
    orbits["mean_anomaly"][:] = motion * (orbits["epoch_mjd"] - orbits["tp_mjd"])
    orbits["G"][:] = 0.15
    return orbits


def _comet_name(text: str) -> str:
    """Designation without the discoverers' names: C/1995O1, 1P."""
    designation = text.split("(", maxsplit=1)[0].strip()
    head, _, tail = designation.partition("/")
    return (head if head[:1].isdigit() else f"{head}/{tail}").replace(" ", "")
