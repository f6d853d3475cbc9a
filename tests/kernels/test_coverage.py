import numpy as np
from scipy.ndimage import binary_dilation, uniform_filter

from zsds.kernels.coverage import (
    block_means,
    box_mean,
    count_bits,
    count_in_bins,
    find_bits,
    hide_changes,
    keep_known,
    loud_blocks,
    mark_both,
    mark_clean,
    mark_edges,
    mark_known,
    mark_undefined,
    mark_without,
)

BIT = np.uint32(4)


def _known(shape=(23, 31), share=0.1, seed=1):
    return np.random.default_rng(seed).random(shape) > share


def test_known_are_finite_numbers_without_bits():
    data, variance = np.ones((2, 6), np.float32), np.ones((2, 6), np.float32)
    mask = np.zeros((2, 6), np.uint32)
    data[0, 0], data[0, 1], variance[0, 2], variance[0, 3], variance[0, 4] = np.nan, np.inf, np.nan, np.inf, 0
    mask[0, 5], mask[1, 5] = 4, 2
    known = np.empty((2, 6), bool)
    mark_known(data, variance, mask, BIT, np.float32(0), known)
    assert not known[0].any() and known[1].all()
    mark_known(data, variance, mask, BIT, np.float32(-np.inf), known)
    assert known[0].tolist() == [False, False, False, False, True, False]
    both = np.empty((2, 6), bool)
    mark_both(known, np.ones((2, 6), bool), mask, np.uint32(2), both)
    assert both.sum() == 6 and not both[1, 5]


def test_bits_are_found_in_order():
    mask = np.where(_known(), 2, 6).astype(np.uint32)
    rows, cols = find_bits(mask, BIT)
    np.testing.assert_array_equal([rows, cols], np.nonzero(mask & BIT))


def test_clean_is_without_bits_and_gaps_nearby():
    data, mask = np.zeros((20, 30), np.float32), np.zeros((20, 30), np.uint32)
    data[5, 5], mask[10, 20] = np.nan, 4
    clean = np.empty(4, bool)
    mark_clean(data, mask, BIT, np.array([8, 7, 22, 23]), np.array([8, 7, 12, 12]), 2, clean)
    assert clean.tolist() == [True, False, False, True]


def test_mean_of_a_box():
    image = np.random.default_rng(2).normal(size=(19, 25)).astype(np.float32)
    used = _known(image.shape)
    image[~used] = np.nan
    out = np.empty_like(image)
    for width in (1, 2, 3, 4):
        box_mean(image, used, width, out)
        slow = uniform_filter(np.where(used, image, 0), width, mode="constant")
        np.testing.assert_allclose(out, slow, atol=1e-6)


def test_changes_hide_their_block_and_those_beside_it():
    smooth = np.zeros((30, 44), np.float32)
    smooth[12, 18] = -5
    away = np.ones(smooth.shape, bool)
    hide_changes(smooth, (0, 30, 0, 44), np.float32(0), np.float32(4), 8, away)
    slow = np.ones(smooth.shape, bool)
    slow[0:24, 8:32] = False
    np.testing.assert_array_equal(away, slow)
    away[:] = True
    hide_changes(smooth, (11, 20, 10, 23), np.float32(0), np.float32(4), 8, away)
    slow[:] = True
    slow[11:20, 10:23] = False
    np.testing.assert_array_equal(away, slow)


def test_unknown_values_are_zero():
    values = np.random.default_rng(3).normal(size=(23, 31)).astype(np.float32)
    known = _known()
    values[~known] = np.nan
    out = np.empty_like(values)
    for less in (np.zeros((1, 1), np.float32), np.full((23, 31), 2, np.float32)):
        keep_known(values, less, known, out)
        np.testing.assert_array_equal(out, np.where(known, values - less, 0))


def test_undefined_without_reference_or_amid_filled_pixels():
    both, reference = np.zeros((9, 11), bool), np.ones((9, 11), bool)
    both[4, 5], reference[0, 0] = True, False
    undefined = np.empty((9, 11), bool)
    mark_undefined(both, reference, undefined)
    assert {tuple(place) for place in np.argwhere(~undefined)} == {(4, 5), (2, 5), (6, 5), (4, 3), (4, 7)}
    mark_undefined(np.ones((9, 11), bool), reference, undefined)
    assert undefined.sum() == 1 and undefined[0, 0]


def test_edges_reach_as_many_steps():
    known = _known(share=0.03)
    known[5:15, 8:20] = False
    for reach in (1, 4):
        mask = np.ones(known.shape, np.uint32)
        mark_edges(known, reach, BIT, mask)
        grown = binary_dilation(~known, iterations=reach)
        np.testing.assert_array_equal(mask, np.where(grown, 5, 1))


def test_block_means_and_pixels_without_bits():
    image = np.random.default_rng(4).normal(size=(13, 18)).astype(np.float32)
    padded = np.zeros((16, 24))
    padded[:13, :18] = image
    padded[3, 4], image[3, 4] = 0, np.nan
    means = block_means(image, 8)
    np.testing.assert_allclose(means, padded.reshape(2, 8, 3, 8).mean(axis=(1, 3)), rtol=1e-5)
    first, second = (np.where(_known(image.shape, 0.2, seed), 3, 5).astype(np.uint32) for seed in (1, 2))
    blocks, marked = means > 0, np.empty(image.shape, bool)
    mark_without(first, second, BIT, blocks, 8, marked)
    there = np.kron(blocks, np.ones((8, 8), bool))[:13, :18]
    np.testing.assert_array_equal(marked, there & (first == 3) & (second == 3))
    assert count_bits(first, BIT) == (first == 5).sum()


def test_bins_hold_both_ends():
    values = np.array([-2, -1.5, 0, 1.99, 2, 2.1, np.nan], np.float32)
    counts = np.zeros(4, np.int64)
    count_in_bins(values, -2.0, 2.0, counts)
    assert counts.tolist() == [2, 0, 1, 2]


def test_loud_blocks_hold_a_high_or_low_value():
    image = np.zeros((20, 29), np.float32)
    image[0, 0], image[8, 26], image[19, 3], image[10, 10] = 5, -6, 9, np.nan
    loud = loud_blocks(image, 9, np.float32(5))
    assert loud.shape == (2, 3) and loud[0, 0] and loud[0, 2] and loud.sum() == 2
