import numpy as np
from scipy import ndimage

from zsds.isr.pieces import find_pieces


def test_pieces_are_those_of_all_pixels_labelled():
    mask = np.where(np.random.default_rng(1).random((60, 41)) < 0.3, 6, 2).astype(np.uint32)
    mask[:, 7] = mask[30] = 2
    mask[5, 40] = mask[6, 0] = 4  # the end of a row does not touch the start of the next
    labels, count = ndimage.label(mask & 4, np.ones((3, 3)))
    pieces = find_pieces(mask, 4)
    assert len(pieces) == count
    for number, (rows, cols) in enumerate(pieces, 1):
        np.testing.assert_array_equal([rows, cols], np.nonzero(labels == number))
    assert find_pieces(mask, 8) == []
