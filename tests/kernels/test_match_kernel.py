import numpy as np
import pytest
from scipy.spatial import cKDTree

from zsds.kernels.match import nearest_points, vote


def plain_vote(stars, catalog, angles, scales, max_shift, bin_size):
    """Slow twin in NumPy."""
    size = int(np.ceil(2 * max_shift / bin_size)) + 1
    best = np.zeros((len(angles), len(scales), 3))
    for k, angle in enumerate(angles):
        for m, scale in enumerate(scales):
            cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
            moved = stars @ np.array([[cosine, sine], [-sine, cosine]])
            shifts = (catalog[None] - moved[:, None]).reshape(-1, 2) + max_shift
            inside = shifts[((shifts >= 0) & (shifts < 2 * max_shift)).all(axis=1)]
            votes = np.zeros((size, size), dtype=int)
            np.add.at(votes, tuple(np.floor(inside / bin_size).astype(int).T), 1)
            windows = votes[:-1, :-1] + votes[1:, :-1] + votes[:-1, 1:] + votes[1:, 1:]
            top = np.unravel_index(np.argmax(windows), windows.shape)
            if windows[top] > 0:
                best[k, m] = windows[top], *((np.array(top) + 1) * bin_size - max_shift)
    return best


@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (1, 1), (40, 60), (60, 40)])
def test_same_as_the_plain_twin(n, m):
    rng = np.random.default_rng(n + m)
    stars, catalog = rng.uniform(-100, 100, (n, 2)), rng.uniform(-130, 130, (m, 2))
    catalog = np.ascontiguousarray(catalog[np.argsort(catalog[:, 0])])
    for array in (stars, catalog):
        array.flags.writeable = False
    angles, scales = np.array([-0.02, 0.0, 3.0]), np.array([0.99, 1.0])
    found = vote(stars, catalog, angles, scales, 30.0, 4.0)
    assert np.allclose(found, plain_vote(stars, catalog, angles, scales, 30.0, 4.0), rtol=0, atol=1e-9)


def test_finds_an_exact_shift_and_turn():
    rng = np.random.default_rng(1)
    stars = rng.uniform(-500, 500, (50, 2))
    turn = np.array([[np.cos(0.01), np.sin(0.01)], [-np.sin(0.01), np.cos(0.01)]])
    catalog = 1.003 * stars @ turn + [17.3, -24.1]
    catalog = np.ascontiguousarray(catalog[np.argsort(catalog[:, 0])])
    found = vote(stars, catalog, np.array([0.0, 0.01]), np.array([1.0, 1.003]), 60.0, 4.0)
    assert found[1, 1, 0] == 50
    assert np.abs(found[1, 1, 1:] - [17.3, -24.1]).max() <= 4
    assert found[0, 0, 0] < 50


@pytest.mark.parametrize("radius", [1e-9, 0.5, 30.0, 1e4, np.inf])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (300, 2), (200, 900)])
@pytest.mark.parametrize("flat", [False, True])
def test_nearest_points_are_those_of_a_tree(radius, n, m, flat):
    rng = np.random.default_rng(n)
    first, second = rng.uniform(-150, 180, (n, 2)), rng.uniform(-100, 100, (m, 2))
    if flat:
        second[:, 1] = 7.0
    first[0] = second[0]
    neighbour, distance = np.empty(n, np.int64), np.empty(n)
    nearest_points(first, second, radius, neighbour, distance)
    expected = cKDTree(second).query(first, distance_upper_bound=np.nextafter(radius, np.inf))
    np.testing.assert_array_equal(neighbour, expected[1])
    np.testing.assert_allclose(distance, expected[0], rtol=1e-12)
