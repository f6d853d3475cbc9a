"""Peaks of an image and the patches they stand on, by flooding from the top."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _root(parent, node):
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@njit(cache=True, nogil=True)
def count_above(image, threshold):
    """Pixels whose value (NaN never) is at least the threshold."""
    count = 0
    for row in range(image.shape[0]):
        for col in range(image.shape[1]):
            if image[row, col] >= threshold:
                count += 1
    return count


@njit(cache=True, nogil=True)
def list_above(image, threshold, rows, cols, values):
    """Fill rows, cols and values with the pixels at or above the threshold, row by row."""
    count = 0
    for row in range(image.shape[0]):
        for col in range(image.shape[1]):
            if image[row, col] >= threshold:
                rows[count] = row
                cols[count] = col
                values[count] = image[row, col]
                count += 1


@njit(cache=True, nogil=True)
def flood(order, rows, cols, values, node_of, prominence, patch):
    """Prominence of every local maximum, and the 8-connected patch of every pixel.

    Pixels are laid down from the highest to the lowest. One with no neighbour yet is a summit; where two
    summits meet, the lower one's prominence is its height above the meeting point.

    Parameters
    ----------
    order : ndarray of int64 [n]
        Pixels from the highest to the lowest.
    rows, cols : ndarray of int64 [n]
    values : ndarray of float [n]
    node_of : ndarray of int64 [ny + 2, nx + 2]
        Index of each pixel, shifted by one; -1 where there is none. Only the patches' pixels are looked at.
    prominence : ndarray of float64 [n]
        Output: 0 for pixels that are no summit, infinity for the highest of each patch.
    patch : ndarray of int64 [n]
        Output: index of the patch's highest pixel.
    """
    n = order.size
    parent = np.empty(n, np.int64)  # of the flood; roots are summits
    laid = np.zeros(n, np.bool_)
    for step in range(n):
        node = order[step]
        parent[node] = node
        laid[node] = True
        prominence[node] = np.inf
        for drow in range(-1, 2):
            for dcol in range(-1, 2):
                other = node_of[rows[node] + 1 + drow, cols[node] + 1 + dcol]
                if other < 0 or other == node or not laid[other]:
                    continue
                a = _root(parent, node)
                b = _root(parent, other)
                if a == b:
                    continue
                high, low = a, b
                if values[b] > values[a] or (values[b] == values[a] and b < a):
                    high, low = b, a
                parent[low] = high
                prominence[low] = values[low] - values[node]
    for node in range(n):
        patch[node] = _root(parent, node)
