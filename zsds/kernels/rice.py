"""Rice coding of the tiles of a FITS image, read and written (FITS standard 4.0, 10.4.1).

Bits come and go as 32-bit words, the first bit of a stream highest. A tile starts at a whole byte.
"""

import numpy as np
from numba import njit
from numba.cpython.unsafe.numbers import leading_zeros

PADDING = 256  # words of zeros behind the last tile: a damaged block is noticed only when it has ended
UNIT, TOP = np.uint64(1), np.uint64(63)
NOTHING = np.uint64(0)


@njit(cache=True, nogil=True)
def decode_tiles(words, starts, sizes, length, block, wide, out):
    """Pixels of tiles of ``length`` pixels (the last may have fewer), one after the other, to ``out``, int32.

    ``starts`` and ``sizes`` are bytes; ``block`` pixels share a code; ``wide`` says whether pixels have 4
    bytes, else 2. Index of the first damaged tile, or -1.
    """
    for k in range(starts.size):
        tile = out[k * length : min((k + 1) * length, out.size)]
        if not _decode(words, starts[k], sizes[k], block, wide, tile):
            return k
    return -1


@njit(cache=True, nogil=True)
def decode_dithered(words, starts, sizes, length, block, levels, blank, row, randoms, out):
    """Like `decode_tiles` for quantised floats; ``levels`` [n, 2] holds scale and zero of each tile.

    ``row`` is the number of the first tile for the sequence ``randoms``; pixels ``blank`` become NaN.
    """
    scratch, shares = np.empty(length, np.int32), np.empty(length, np.float32)
    for k in range(starts.size):
        tile = out[k * length : min((k + 1) * length, out.size)]
        if not _decode(words, starts[k], sizes[k], block, True, scratch[: tile.size]):
            return k
        _fill_shares(randoms, row + k, shares[: tile.size])
        _to_floats(scratch, levels[k, 0], levels[k, 1], blank, shares, tile)
    return -1


@njit(cache=True, nogil=True)
def encode_tiles(values, length, block, wide, words, sizes):
    """Tiles of ``length`` values, coded one after the other into ``words``; ``sizes`` get their bytes."""
    at, held, filled, before = 0, NOTHING, 0, 0
    for k in range(sizes.size):
        tile = values[k * length : min((k + 1) * length, values.size)]
        at, held, filled = _encode(tile, block, wide, words, at, held, filled)
        sizes[k], before = at * 4 + filled // 8 - before, at * 4 + filled // 8
    words[at] = np.uint32(held >> np.uint64(32))


@njit(cache=True, nogil=True)
def encode_dithered(values, length, block, step, blank, row, randoms, words, sizes, zeros):
    """Like `encode_tiles` for floats in steps of ``step``; ``zeros`` get the value that 0 stands for.

    What is not finite becomes ``blank``. Number of such values; -1, with nothing usable, where a tile has too
    many steps for 32 bits.
    """
    at, held, filled, before = 0, NOTHING, 0, 0
    scratch, shares, blanks = np.empty(length, np.int32), np.empty(length, np.float32), 0
    for k in range(sizes.size):
        tile = values[k * length : min((k + 1) * length, values.size)]
        least, most = _range(tile)
        if not ((most - least) / step < 2147483647.0 - 10 and abs(least) / step < 2.0**53):
            return -1
        zeros[k] = np.int64(least / step + 0.5) * step
        _fill_shares(randoms, row + k, shares[: tile.size])
        blanks += _to_steps(tile, least, zeros[k], step, blank, shares, scratch)
        at, held, filled = _encode(scratch[: tile.size], block, True, words, at, held, filled)
        sizes[k], before = at * 4 + filled // 8 - before, at * 4 + filled // 8
    words[at] = np.uint32(held >> np.uint64(32))
    return blanks


@njit(cache=True, nogil=True)
def _decode(words, start, size, block, wide, out):
    """One tile into ``out``; whether it was whole."""
    code_bits, most, raw_bits = (5, 25, 32) if wide else (4, 14, 16)
    end = (start + size + 3) // 4
    at, skip = start // 4 + 1, 8 * (start % 4)
    if at + PADDING > words.size:
        return False
    held, left, at = _fill(words, at, np.uint64(words[at - 1]) << np.uint64(32 + skip), 32 - skip)
    last = np.int64(held >> np.uint64(64 - raw_bits))
    held, left = held << np.uint64(raw_bits), left - raw_bits
    for first in range(0, out.size, block):
        if at > end + 2:
            return False
        held, left, at = _fill(words, at, held, left)
        shift = np.int64(held >> np.uint64(64 - code_bits)) - 1
        held, left = held << np.uint64(code_bits), left - code_bits
        part = out[first : first + block]
        if shift > most:
            return False
        if shift < 0:
            part[:] = np.int32(last) if wide else np.int32(np.int16(last))
            continue
        if shift == most:
            for j in range(part.size):
                held, left, at = _fill(words, at, held, left)
                code = np.int64(held >> np.uint64(64 - raw_bits))
                held, left = held << np.uint64(raw_bits), left - raw_bits
                last += (code >> 1) ^ -(code & 1)
                part[j] = np.int32(last) if wide else np.int32(np.int16(last))
            continue
        low, rest = np.uint64(shift), np.uint64(63 - shift)
        for j in range(part.size):
            if j % 2 == 0:  # two codes seldom have more than 32 bits
                held, left, at = _fill(words, at, held, left)
            zeros = np.int64(leading_zeros(held))
            if zeros + 1 + shift > left:
                code, held, left, at = _decode_long(words, at, end, held, left, shift)
            else:
                held = (held << np.uint64(zeros)) << UNIT
                code = (zeros << shift) | np.int64((held >> UNIT) >> rest)
                held, left = held << low, left - (zeros + 1 + shift)
            last += (code >> 1) ^ -(code & 1)
            part[j] = np.int32(last) if wide else np.int32(np.int16(last))
    return -8 < (at * 32 - left) - (start + size) * 8 <= 0


@njit(cache=True, nogil=True)
def _fill(words, at, held, left):
    """More than 32 bits held, or as many as there were and 32 more: (held, left, next word)."""
    few = (left - 33) >> 63  # every bit set, or none: a branch here would be mispredicted
    new = (np.uint64(words[at]) << (np.uint64(32 - left) & TOP)) & np.uint64(few)
    return held | new, left + (32 & few), at - few


@njit(cache=True, nogil=True)
def _decode_long(words, at, end, held, left, shift):
    """A code that goes beyond the bits held."""
    zeros = 0
    while held == 0 and at <= end + 2:
        zeros += left
        held, left, at = _fill(words, at, NOTHING, 0)
    ahead = np.int64(leading_zeros(held)) if held else 0
    zeros += ahead
    held, left, at = _fill(words, at, (held << np.uint64(ahead)) << UNIT, left - ahead - 1)
    code = (zeros << shift) | np.int64((held >> UNIT) >> np.uint64(63 - shift))
    return code, held << np.uint64(shift), left - shift, at


@njit(cache=True, nogil=True)
def _encode(values, block, wide, words, at, held, filled):
    """One tile from a whole byte to a whole byte; (next word, bits held, their number)."""
    code_bits, most, raw_bits = (5, 25, 32) if wide else (4, 14, 16)
    codes = np.empty(block, np.int64)
    raw = (UNIT << np.uint64(raw_bits)) - UNIT
    at, held, filled = _put(words, at, held, filled, np.uint64(np.int64(values[0])) & raw, raw_bits)
    for first in range(0, values.size, block):
        total = _differences(values, first, wide, codes)
        n = min(block, values.size - first)
        shift = _shift((total - n // 2 - 1) // n)
        if shift >= most:
            at, held, filled = _put(words, at, held, filled, np.uint64(most + 1), code_bits)
            for j in range(n):
                at, held, filled = _put(words, at, held, filled, np.uint64(codes[j]) & raw, raw_bits)
            continue
        if total == 0:
            at, held, filled = _put(words, at, held, filled, NOTHING, code_bits)
            continue
        at, held, filled = _put(words, at, held, filled, np.uint64(shift + 1), code_bits)
        mark = UNIT << np.uint64(shift)
        rest = mark - UNIT
        for j in range(0, n - 1, 2):  # two at a time, where they fit
            one, two = np.uint64(codes[j]), np.uint64(codes[j + 1])
            n_two = np.int64(two >> np.uint64(shift)) + 1 + shift
            length = np.int64(one >> np.uint64(shift)) + 1 + shift + n_two
            if length <= 32:
                bits = ((mark | (one & rest)) << np.uint64(n_two)) | mark | (two & rest)
                at, held, filled = _put(words, at, held, filled, bits, length)
            else:
                at, held, filled = _put_long(words, at, held, filled, codes[j], shift)
                at, held, filled = _put_long(words, at, held, filled, codes[j + 1], shift)
        if n % 2:
            at, held, filled = _put_long(words, at, held, filled, codes[n - 1], shift)
    return _put(words, at, held, filled, NOTHING, -filled % 8)


@njit(cache=True, nogil=True)
def _put_long(words, at, held, filled, code, shift):
    """Append the code of one pixel, however long."""
    zeros = code >> shift
    while zeros + 1 + shift > 32:
        ahead = min(zeros, 32)
        at, held, filled = _put(words, at, held, filled, NOTHING, ahead)
        zeros -= ahead
    bits = np.uint64((1 << shift) | (code & ((1 << shift) - 1)))
    return _put(words, at, held, filled, bits, zeros + 1 + shift)


@njit(cache=True, nogil=True)
def _differences(values, first, wide, codes):
    """Differences of a block from the values before, the sign in the lowest bit; their sum."""
    total, start = 0, 1 if first == 0 else 0
    codes[0] = 0
    here, before = values[first : first + codes.size], values[first + start - 1 : first + codes.size - 1]
    for j in range(start, here.size):
        step = here[j] - before[j - start]
        step = np.int64(np.int32(step)) if wide else np.int64(np.int16(step))
        codes[j] = ((step << 1) ^ (step >> 63)) & 0xFFFFFFFF
        total += codes[j]
    return total


@njit(cache=True, nogil=True)
def _shift(mean):
    """Bits of a code that are written as they are."""
    shift, half = 0, max(mean, 0) >> 1
    while half > 0:
        shift, half = shift + 1, half >> 1
    return shift


@njit(cache=True, nogil=True)
def _put(words, at, held, filled, bits, n):
    """Append ``n`` (at most 32) bits; fewer than 32 stay held."""
    held |= bits << (np.uint64(64 - filled - n) & TOP)
    filled += n
    words[at] = np.uint32(held >> np.uint64(32))
    full = filled >= 32
    return at + (1 if full else 0), held << np.uint64(32 if full else 0), filled - (32 if full else 0)


@njit(cache=True, nogil=True)
def _range(tile):
    """Least and greatest finite value; 0 and 0 where there is none."""
    least, most = np.float32(np.inf), np.float32(-np.inf)
    for i in range(tile.size):
        known = tile[i] - tile[i] == 0
        least = min(least, tile[i] if known else least)
        most = max(most, tile[i] if known else most)
    return (np.float64(least), np.float64(most)) if least <= most else (0.0, 0.0)


@njit(cache=True, nogil=True)
def _fill_shares(randoms, row, shares):
    """The part of a step that dithering moves each pixel of the tile of number ``row`` by."""
    seed = (row - 1) % randoms.size
    first, following = 0, np.int64(randoms[seed] * 500)
    while first < shares.size:
        n = min(shares.size - first, randoms.size - following)
        shares[first : first + n] = randoms[following : following + n]
        first, seed = first + n, (seed + 1) % randoms.size
        following = np.int64(randoms[seed] * 500)


@njit(cache=True, nogil=True, error_model="numpy")
def _to_steps(tile, least, zero, step, blank, shares, out):
    """Whole numbers of steps above zero, each value moved by its share of one; number of blanks."""
    blanks = 0
    for i in range(tile.size):
        known = tile[i] - tile[i] == 0
        level = (np.float64(tile[i] if known else least) - zero) / step + shares[i] - 0.5
        nearest = np.int32(level + (0.5 if level >= 0 else -0.5))
        out[i] = nearest if known else blank
        blanks += 0 if known else 1
    return blanks


@njit(cache=True, nogil=True)
def _to_floats(tile, scale, zero, blank, shares, out):
    """The inverse of `_to_steps`."""
    for i in range(out.size):
        level = np.float32((np.float64(tile[i]) - shares[i] + 0.5) * scale + zero)
        out[i] = np.float32(np.nan) if tile[i] == blank else level
