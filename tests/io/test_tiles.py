"""Tile-compressed images: ours read the same everywhere, and those of others as astropy reads them."""

import shutil
import subprocess
from io import BytesIO

import numpy as np
import pytest
from astropy.io import fits

from zsds.core.errors import BadInput
from zsds.io.images import read_image
from zsds.io.tiles import compressed, read_pixels

CARDS = fits.Header([("GAIN", 1.5, "electrons per DN"), ("LONGTEXT", "a long card " * 9, "end")])
CARDS.add_history("made for a test")
SHAPE = (150, 83)


def noise(width=10.0, dtype=np.float32):
    return np.random.default_rng(4).normal(1000, width, SHAPE).astype(dtype)


def holed():
    plane = noise()
    plane[:64] = np.nan
    plane[100, 10:20] = np.nan
    return plane


def stored(hdu):
    buffer = BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(buffer)
    return buffer.getvalue()


def by_astropy(plane, **settings):
    return fits.CompImageHDU(
        plane, CARDS, **{"compression_type": "RICE_1", "tile_shape": (64, 83)} | settings
    )


@pytest.mark.parametrize(("plane", "step"), [(noise(1e6), 1e-3), (noise() + 1e30, 0.6), (noise(), 1e-46)])
def test_what_steps_cannot_tell_is_kept_as_it_is(plane, step):
    plane = plane.astype(np.float32)
    with fits.open(BytesIO(stored(compressed(plane, CARDS, step)))) as hdus:
        np.testing.assert_array_equal(read_pixels(hdus[1]), plane)


def test_pixels_of_so_many_bytes_are_refused():
    """CFITSIO's decoder ends the process on them."""
    content = bytearray(stored(by_astropy(noise(300, np.int16))))
    card = content.index(b"ZVAL2   =")
    content[card + 10 : card + 30] = f"{-4:>20}".encode()
    with fits.open(BytesIO(content)) as hdus, pytest.raises(ValueError, match="-4 bytes"):
        read_pixels(hdus[1])


def test_damaged_lossless_images_are_told_in_one_line(tmp_path):
    content = bytearray(stored(compressed(noise(), CARDS, 0)))
    content[-6000:-5000] = bytes(1000)
    path = tmp_path / "damaged.fits"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"damaged\.fits: "):
        read_image(path)


@pytest.mark.parametrize(
    ("plane", "step"),
    [
        (noise(), 0.6),
        (holed(), 0.6),
        (noise(300, np.int16), 0),
        (np.zeros(SHAPE, np.int16), 0),
        (noise(1e6, np.int32), 0),
    ],
)
def test_bits_are_those_of_astropy(plane, step):
    plane.flags.writeable = False
    ours = stored(compressed(plane, CARDS, step))
    quantised = {"quantize_level": -step, "quantize_method": 1, "dither_seed": -1} if step else {}
    theirs = stored(by_astropy(plane.copy(), **quantised))
    with fits.open(BytesIO(ours)) as mine, fits.open(BytesIO(theirs)) as other:
        np.testing.assert_array_equal(mine[1].data, other[1].data)
        assert repr(mine[1].header) == repr(other[1].header)
    opened = [fits.open(BytesIO(content), disable_image_compression=True)[1] for content in (ours, theirs)]
    heaps = [content[hdu.fileinfo()["datLoc"] :] for content, hdu in zip((ours, theirs), opened, strict=True)]
    assert heaps[0] == heaps[1]


def test_cfitsio_reads_what_is_written(tmp_path):
    if shutil.which("funpack") is None:
        pytest.skip("funpack is not installed")
    plane = noise()
    (tmp_path / "a.fits.fz").write_bytes(stored(compressed(plane, CARDS, 0.6)))
    subprocess.run(["funpack", "-O", tmp_path / "a.fits", tmp_path / "a.fits.fz"], check=True)
    np.testing.assert_array_equal(fits.getdata(tmp_path / "a.fits", 1), read_image(tmp_path / "a.fits.fz")[0])


@pytest.mark.parametrize("plane", [noise() * 1e12, np.full(SHAPE, np.nan, np.float32)])
@pytest.mark.parametrize("step", [0.6, 0])
def test_extreme_planes_come_back(plane, step):
    plane[3, 3], plane[4, 4] = np.inf, np.nan
    with fits.open(BytesIO(stored(compressed(plane, CARDS, step)))) as hdus:
        back, again = hdus[1].data.copy(), read_pixels(hdus[1])
    np.testing.assert_array_equal(back, again)
    expected = np.where(np.isfinite(plane), plane, np.nan)
    np.testing.assert_allclose(back, expected, rtol=1e-6, atol=0.31)


OTHERS = {
    "unsigned": (noise(300).astype(np.uint16), {}),
    "rows": (noise(300).astype(np.uint16), {"tile_shape": (1, 83)}),
    "signed": (noise(300).astype(np.int16), {}),
    "long": (noise(1e7).astype(np.int32), {}),
    "unsigned long": (noise(1e3).astype(np.uint32), {}),
    "bytes": (noise().astype(np.uint8), {}),
    "squares": (noise(300).astype(np.int16), {"tile_shape": (50, 40)}),
    "gzip": (noise(300).astype(np.int16), {"compression_type": "GZIP_1"}),
    "hcompress": (noise(300).astype(np.int16), {"compression_type": "HCOMPRESS_1"}),
    "no dither": (noise(), {"quantize_method": -1}),
    "second dither": (np.maximum(noise(), 1000) - 1000, {"quantize_method": 2}),
    "by noise": (noise(), {"quantize_level": 16, "quantize_method": 1, "tile_shape": (1, 83)}),
    "holes": (holed(), {"quantize_method": 1}),
    "lossless": (noise(), {"compression_type": "GZIP_2", "quantize_level": 0}),
    "doubles": (noise().astype(float), {"quantize_method": 1}),
    "constant": (np.full(SHAPE, 7, np.float32), {"quantize_method": 1}),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("rows", [slice(None), slice(60, 131), slice(149, 150), slice(5, 5)])
def test_files_of_others(name, rows):
    plane, settings = OTHERS[name]
    content = stored(by_astropy(plane, **settings))
    with fits.open(BytesIO(content)) as hdus:
        ours = read_pixels(hdus[1], rows)
    with fits.open(BytesIO(content)) as hdus:
        theirs = hdus[1].data[rows]
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kept", [0.5, 0.9])
def test_a_cut_or_damaged_file_is_named(tmp_path, kept):
    content = stored(compressed(noise(), CARDS, 0.6))
    path = tmp_path / "cut.fits.fz"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(BadInput, match=r"cut.fits.fz.*not a readable FITS file"):
        read_image(path)


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [(3, 1, "tile 2 is damaged"), (7, 100, "tile 2 is damaged"), (4, 200, "tiles lie beyond its data")],
)
def test_a_damaged_tile_is_named(tmp_path, place, value, problem):
    content = bytearray(stored(compressed(noise(), CARDS, 0.6)))
    with fits.open(BytesIO(content)) as hdus:
        content[hdus[1].fileinfo()["datLoc"] + 32 + place] ^= value  # size and place of the second tile
    path = tmp_path / "damaged.fits.fz"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"damaged.fits.fz.*{problem}"):
        read_image(path)


@pytest.mark.parametrize("card", [b"ZTILE1  ", b"ZNAXIS2 ", b"ZBITPIX "])
def test_a_header_without_a_card_is_no_traceback(tmp_path, card):
    path = tmp_path / "header.fits.fz"
    path.write_bytes(stored(compressed(noise(), CARDS, 0.6)).replace(card, b"NOTHING "))
    with pytest.raises(BadInput, match=r"header.fits.fz.*not a readable FITS file"):
        read_image(path)


def test_tiles_damaged_for_astropy_are_no_traceback(tmp_path):
    content = bytearray(stored(by_astropy(noise(300, np.int16), tile_shape=(50, 40))))
    with fits.open(BytesIO(content)) as hdus:
        content[hdus[1].fileinfo()["datLoc"] + 3] //= 2
    path = tmp_path / "squares.fits.fz"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"squares.fits.fz.*a tile is damaged"):
        read_image(path)
