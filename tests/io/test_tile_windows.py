"""Windows of compressed images: to the last bit those that astropy decodes, wherever they lie."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from zsds.core.errors import BadInput
from zsds.io.images import read_image, write_plane
from zsds.io.tile_windows import open_tiles

SHAPE = (150, 701)


def plane(rng):
    """Noise with steps that need every branch of the code: constant, huge, missing."""
    data = rng.normal(0, 30, SHAPE).astype(np.float32)
    data[60:90] = 7
    data[100, 100] = 3e6
    data[101:104, 300:500] *= 1e4
    data[5:9, 5:9] = data[70:120, 520:560] = np.nan
    return data


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "plane.fits.fz"
    write_plane(path, plane(np.random.default_rng(1)), 30 / 16, columns=256)
    return path


def test_windows_are_those_of_the_whole_image(stored):
    whole = np.pad(fits.getdata(stored), 12, constant_values=np.nan)
    rng = np.random.default_rng(2)
    cols, rows = (rng.integers(-8, n + 8, 300).tolist() for n in SHAPE[::-1])
    found = open_tiles(stored).windows(cols, rows, 12)
    for window, col, row in zip(found, cols, rows, strict=True):
        expected = np.full((25, 25), np.nan, np.float32)
        part = whole[max(row, 0) : max(row + 25, 0), max(col, 0) : max(col + 25, 0)]
        top, left = max(-row, 0), max(-col, 0)
        expected[top : top + part.shape[0], left : left + part.shape[1]] = part
        np.testing.assert_array_equal(window, expected)


def test_every_reader_reads_small_tiles(stored):
    expected = plane(np.random.default_rng(1))
    np.testing.assert_allclose(fits.getdata(stored), expected, rtol=1e-6, atol=0.51 * 30 / 16)
    np.testing.assert_array_equal(read_image(stored)[0], fits.getdata(stored))


def test_no_windows(stored):
    assert open_tiles(stored).windows([], [], 12).shape == (0, 25, 25)
    assert np.isnan(open_tiles(stored).windows([-500], [3], 12)).all()


def test_files_that_cannot_be_read(stored, tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        open_tiles(tmp_path / "none.fits.fz")
    content = stored.read_bytes()
    for n_bytes, problem in (
        (0, "not a readable"),
        (3000, "not a readable"),
        (len(content) // 2, "cut short"),
    ):
        stored.write_bytes(content[:n_bytes])
        with pytest.raises(BadInput, match=problem):
            open_tiles(stored)
    write_plane(stored, np.ones((30, 40), np.float32), 0)
    with pytest.raises(BadInput, match="GZIP_2"):
        open_tiles(stored)


def test_damaged_code_is_named(stored):
    tiles = open_tiles(stored)
    for size in (0, 3, 40):
        rows = tiles.rows.copy()
        rows["code"][:, 0] = size
        with pytest.raises(BadInput, match="tile 8 of the image is damaged"):
            replace(tiles, rows=rows).windows([690], [149], 12)
