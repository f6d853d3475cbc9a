"""Rice coding gives the bits that CFITSIO gives, and takes back what it wrote; damage is noticed."""

import numpy as np
import pytest
from astropy.io.fits.hdu.compressed._codecs import Rice1

from zsds.kernels.rice import PADDING, decode_tiles, encode_tiles


def random_values(rng, dtype):
    """Noise of any width, bare or sparse, with jumps as wide as the type."""
    limits = np.iinfo(dtype)
    n, width = int(rng.integers(1, 2000)), 10 ** rng.uniform(-1, 10)
    values = rng.normal(0, width, n) * (rng.random(n) < rng.choice([0.01, 0.5, 1]))
    values[rng.random(n) < rng.choice([0, 0.02])] = limits.min
    return np.clip(values, limits.min, limits.max).astype(dtype)


def encoded(values, length, block):
    words, sizes = np.zeros(2 * values.size + 64, np.uint32), np.empty(-(-values.size // length), np.int64)
    encode_tiles(values, length, block, values.itemsize == 4, words, sizes)
    return words.byteswap().tobytes(), sizes


def decoded(content, starts, sizes, length, block, dtype, n):
    words = np.zeros(-(-len(content) // 4) + PADDING, np.uint32)
    words.view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)
    out = np.empty(n, np.int32)
    wide = np.dtype(dtype).itemsize == 4
    return decode_tiles(words.byteswap(), starts, sizes, length, block, wide, out), out


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
@pytest.mark.parametrize("block", [16, 32])
def test_same_bits_as_cfitsio(dtype, block):
    rng = np.random.default_rng(block)
    for _ in range(100):
        values = random_values(rng, dtype)
        codec = Rice1(blocksize=block, bytepix=values.itemsize, tilesize=values.size)
        theirs = bytes(codec.encode(values))
        ours, sizes = encoded(values, values.size, block)
        assert ours[: sizes[0]] == theirs
        where = np.array([0]), np.array([len(theirs)])
        bad, back = decoded(theirs, *where, values.size, block, dtype, values.size)
        assert bad == -1
        np.testing.assert_array_equal(back, values)


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_tiles_start_at_any_byte_and_the_last_may_be_short(dtype):
    values = np.random.default_rng(2).normal(0, 90, 1000).astype(dtype)
    content, sizes = encoded(values, 77, 32)
    starts = np.cumsum(sizes) - sizes
    assert set(starts % 4) == {0, 1, 2, 3}
    bad, back = decoded(b"\xff\xff\xff" + content, starts + 3, sizes, 77, 32, dtype, values.size)
    assert bad == -1
    np.testing.assert_array_equal(back, values)


def test_damage_never_reads_beyond_the_words_and_a_cut_tile_is_named():
    rng = np.random.default_rng(3)
    values = rng.normal(0, 1000, 3000).astype(np.int32)
    content, sizes = encoded(values, 1000, 32)
    starts = np.cumsum(sizes) - sizes
    cut = np.array([sizes[0], sizes[1] // 2, sizes[2]])
    assert decoded(content, starts, cut, 1000, 32, np.int32, 3000)[0] == 1
    beyond = starts + np.array([0, 0, 10**6])
    assert decoded(content, beyond, sizes, 1000, 32, np.int32, 3000)[0] == 2
    for _ in range(200):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[rng.integers(0, sizes.sum(), 20)] = rng.choice([0, 255, 37])
        damaged[-int(rng.integers(1, 300)) :] = 0
        bad, _ = decoded(damaged.tobytes(), starts, sizes, 1000, 32, np.int32, 3000)
        assert -1 <= bad < 3
