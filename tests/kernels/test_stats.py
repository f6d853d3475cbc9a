import numpy as np

from zsds.kernels.stats import flags_around, grow_above, mark_unusable, remove_source_noise


def test_pairs_of_bright_pixels_grow_and_single_ones_do_not():
    data = np.zeros((30, 40), np.float32)
    data[10, 20:22] = 100
    data[25, 5] = 100
    flat = np.zeros((15, 20), np.float32), np.ones((15, 20), np.float32)
    masked = np.zeros(data.shape, bool)
    grow_above(data, *flat, 2, 5.0, 3, masked)
    assert masked[7:14, 18:25].all()
    assert masked.sum() == 49


def test_flags_are_gathered_within_the_square():
    mask = np.zeros((20, 25), np.uint32)
    mask[5, 7], mask[8, 7], mask[0, 0] = 4, 8, 16
    flags = np.full(5, 99, np.uint32)
    x, y = np.array([7.4, 7.0, 0.0, np.nan, 90.0]), np.array([5.0, 6.4, 0.0, 3.0, 3.0])
    flags_around(mask, x, y, 2, flags)
    assert flags.tolist() == [4, 12, 16, 0, 0]


def test_unusable_pixels_and_their_variance():
    data = np.array([[1, np.nan, 3, 4, 5]], np.float32)
    variance = np.array([[2, 2, 0, np.inf, 9]], np.float32)
    mask = np.array([[2, 0, 0, 0, 4]], np.uint32)
    unusable = np.empty(data.shape, bool)
    mark_unusable(data, variance, mask, np.uint32(4), unusable)
    assert unusable.tolist() == [[False, True, True, True, True]]
    left = np.empty_like(data)
    remove_source_noise(data, variance, unusable, 1.0, 0.5, left)
    assert left.tolist() == [[1, 0, 0, 0, 0]]
    remove_source_noise(data, variance, unusable, 1.9, 0.5, left)
    assert left[0, 0] == 0.5
