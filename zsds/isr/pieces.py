"""Connected pieces of flagged pixels, found without a look at the others."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from zsds.kernels.coverage import find_bits


def find_pieces(mask: NDArray[np.uint32], bits: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """(rows, columns) of the pixels of each 8-connected piece of pixels with any of the bits."""
    rows, cols = find_bits(mask, np.uint32(bits))
    if rows.size == 0:
        return []
    width = mask.shape[1] + 2  # no pixel's right neighbour is another's left one
    keys = rows * width + cols
    links = []
    for step in (1, width - 1, width, width + 1):
        at = np.minimum(np.searchsorted(keys, keys + step), keys.size - 1)
        first = np.nonzero(keys[at] == keys + step)[0]
        links.append((first, at[first]))
    first, second = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(first.size, np.bool_), (first, second)), (keys.size, keys.size))
    _, label = connected_components(graph, directed=False)
    order = np.argsort(label, kind="stable")
    cuts = np.nonzero(np.diff(label[order]))[0] + 1
    return list(zip(np.split(rows[order], cuts), np.split(cols[order], cuts), strict=True))
