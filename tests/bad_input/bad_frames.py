"""Raw frames with something wrong, each made from a good one."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits
from survey import NX

from zsds.core.ids import MJD_UNIX_EPOCH

PRIMARY = 0
PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def documented(heading: str) -> dict[str, list[str]]:
    """First cell -> the texts in backquotes of the last cell, of the table of that heading in the manual."""
    section = (
        PAGE.read_text(encoding="utf-8").partition("## When something is wrong")[2].partition("\n## ")[0]
    )
    table = section.partition(heading)[2].partition("|---")[2].partition("\n\n")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines()[1:]]
    return {row[0].strip(): re.findall("`([^`]+)`", row[-1]) for row in rows}


def altered(source: Path, target: Path, cards=None, pixels=None, shift_days: float = 0.0) -> Path:
    """Copy of a frame as plain FITS with other cards (None removes one) and pixels, taken a little later."""
    with fits.open(source) as hdus:
        header = hdus[PRIMARY].header.copy()
        images = [hdu.data for hdu in hdus[1:]]
    header["OBSMJD"] += shift_days
    for keyword, value in (cards or {}).items():
        if value is None:
            del header[keyword]
        else:
            header[keyword] = value
    made = [fits.ImageHDU(image if pixels is None else pixels(image)) for image in images]
    fits.HDUList([fits.PrimaryHDU(header=header), *made]).writeto(target)
    return target


def _sky(image):
    """Light above the bias level, that level, and the noise of the sky."""
    level = np.median(image[:, NX:])
    sky = np.median(image[:, :NX])
    return level, sky, np.sqrt((sky - level) / 6.2 + (9.5 / 6.2) ** 2)


def all_nan(image):
    return np.full(image.shape, np.nan, dtype=np.float32)


def all_saturated(image):
    image = image.copy()
    image[:, :NX] = 65535
    return image


def blank_sky(image):
    image = image.copy()
    _, sky, noise = _sky(image)
    image[:, :NX] = np.rint(np.random.default_rng(1).normal(sky, noise, (image.shape[0], NX)))
    return image


def cloudy(image):
    """Stars and galaxies 5 mag fainter, the sky as it was."""
    data = blank_sky(image).astype(float)
    _, sky, _ = _sky(image)
    data[:, :NX] += 0.01 * (image[:, :NX] - sky)
    return np.clip(np.rint(data), 0, 65535).astype(np.uint16)


def all_zero(image):
    return np.zeros_like(image)


PIXELS: dict[str, Callable] = {
    "all NaN": all_nan,
    "all saturated": all_saturated,
    "no stars": blank_sky,
    "clouds": cloudy,
    "all zero": all_zero,
}
CARDS = {
    "no time": {"OBSMJD": None},
    "no filter": {"FILTER": None},
    "no pointing": {"TELRAD": None},
    "exposure not a number": {"EXPOSURE": "nan"},
    "negative exposure": {"EXPOSURE": -30.0},
    "year 1900": {"OBSMJD": 15020.3},
    "a day ahead": {"OBSMJD": time.time() / 86400 + MJD_UNIX_EPOCH + 2},
    "RA 400": {"TELRAD": 400.0},
    "unknown filter": {"FILTER": "ZTF_u"},
    "unknown CCD": {"CCD_ID": 7},
    "unknown type": {"IMGTYPE": "focus"},
    "field not a number": {"FIELDID": "M31"},
}


def refused_frames(source: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """(what, file) of frames that ``zsds ingest`` must refuse."""
    content = source.read_bytes()
    for what, damaged in (
        ("truncated", content[: len(content) // 2]),
        ("cut short", content[:-2880]),
        ("empty", b""),
        ("not FITS", b"<html>404</html>" * 200),
    ):
        path = folder / f"{what.replace(' ', '_')}.fits.fz"
        path.write_bytes(damaged)
        yield what, path
    yield "wrong shape", altered(source, folder / "wrong_shape.fits", pixels=lambda image: image[:100])
    for number, (what, cards) in enumerate(CARDS.items()):
        name = f"{what.replace(' ', '_')}.fits"
        yield what, altered(source, folder / name, cards=cards, shift_days=0.01 * number)
    yield "same moment, other field", altered(source, folder / "same_moment.fits", cards={"FIELDID": 601})
    path = altered(source, folder / "other_content.fits", pixels=lambda image: image[::-1])
    yield "same exposure, other content", path
