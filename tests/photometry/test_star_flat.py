import numpy as np
import pytest

from zsds.photometry import fit_star_flat, measure_patchiness

SHAPE = (3080, 3072)


def calibrators(n, amplitude, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 3072, (2, n))
    surface = amplitude * ((x / 1536 - 1) * (y / 1540 - 1) + 0.5 * (x / 1536 - 1))
    residual = surface + rng.normal(0, 0.02, n)
    residual[: n // 20] += rng.normal(0, 1, n // 20)
    return x, y, residual, np.full(n, 0.02), surface


def test_surface_is_found_despite_outliers():
    x, y, residual, err, surface = calibrators(800, 0.04)
    flat = fit_star_flat(x, y, residual, err, SHAPE)
    assert flat.order == 2
    assert np.std(flat.at(x, y) - surface) < 0.004
    assert flat.rms_after == pytest.approx(0.02, rel=0.15)
    assert flat.rms_before > flat.rms_after
    assert abs(np.mean(flat.at(x, y))) < 1e-3


def test_noise_is_not_followed():
    x, y, residual, err, _ = calibrators(800, 0.0)
    flat = fit_star_flat(x, y, residual, err, SHAPE)
    assert np.abs(flat.at(x, y)).max() < 0.008


@pytest.mark.parametrize("n", [0, 1, 44])
def test_few_stars_give_no_correction(n):
    x, y, residual, err, _ = calibrators(n, 0.05)
    assert np.all(fit_star_flat(x, y, residual, err, SHAPE).at([5.0, 3000.0], [1.0, 2.0]) == 0)


@pytest.mark.parametrize("spread", [0.0, 1e-9])
def test_calibrators_on_a_line_say_nothing_of_the_rest(spread):
    x, y, residual, err, _ = calibrators(200, 0.05)
    flat = fit_star_flat(x, 1000 + spread * y, residual, err, SHAPE)
    assert flat.order == 0


def test_factors_of_pixels_are_those_of_their_places():
    x, y, residual, err, _ = calibrators(800, 0.04)
    flat = fit_star_flat(x * 70 / 3072, y * 40 / 3080, residual, err, (40, 70))
    assert flat.order == 2
    column, row = np.meshgrid(np.arange(70), np.arange(40))
    assert flat.factors == pytest.approx(
        flat.factors_at(column.ravel(), row.ravel()).reshape(40, 70), rel=1e-6
    )
    assert -2.5 * np.log10(flat.factors_at(3.0, 5.0)) == pytest.approx(flat.at(3.0, 5.0))
    assert flat.range == pytest.approx(2.5 * np.log10(flat.factors.max() / flat.factors.min()), rel=0.05)


def test_noise_of_few_stars_is_rarely_followed():
    orders = [fit_star_flat(*calibrators(60, 0.0, seed)[:4], SHAPE).order for seed in range(60)]
    assert np.count_nonzero(orders) <= 2


@pytest.mark.parametrize("seed", range(3))
def test_patches_are_noticed_and_noise_is_not(seed):
    x, y, residual, err, _ = calibrators(800, 0.0, seed)
    assert measure_patchiness(x, y, residual, err, SHAPE).scatter == 0
    patches = 0.02 * np.sqrt(2) * np.sign(np.sin(x / 3072 * 8 * np.pi) * np.sin(y / 3080 * 8 * np.pi))
    residual[5] = np.nan
    found = measure_patchiness(x, y, residual + patches, err, SHAPE)
    assert 60 <= found.n_places <= 64  # some of 12 stars on average have fewer than 6
    assert found.scatter == pytest.approx(0.02 * np.sqrt(2), rel=0.2)


@pytest.mark.parametrize("n", [0, 1, 39])
def test_few_stars_say_nothing_of_patches(n):
    x, y, residual, err, _ = calibrators(n, 0.0)
    assert measure_patchiness(x, y, residual, err, SHAPE).scatter == 0


def test_a_corner_without_calibrators_is_not_extrapolated():
    x, y, residual, err, _ = calibrators(900, 0.0, 7)
    residual += 0.1 * np.sin(x / 500) * np.sin(y / 500)
    known = (x < 2000) | (y < 2000)
    flat = fit_star_flat(x[known], y[known], residual[known], err[known], SHAPE)
    assert flat.order >= 4
    values = flat.at(x[known], y[known])
    assert flat.at(3071.0, 3079.0)[0] <= values.max() + 0.01
    assert flat.factors.min() > 10 ** (-0.4 * 0.2)


@pytest.mark.parametrize(("share", "dimmed"), [(0.5, 1.0), (0.2, 0.3)])
def test_edge_of_a_cloud_is_noticed_although_all_stars_behind_it_are_far_off(share, dimmed):
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 3072, (2, 640))
    lost = np.where(x > 3072 * (1 - share), dimmed, 0)
    found = measure_patchiness(x, y, lost + rng.normal(0, 0.02, 640), np.full(640, 0.02), SHAPE)
    expected = dimmed * np.sqrt(share * (1 - share))
    assert found.scatter == pytest.approx(expected, rel=3 / np.sqrt(2 * found.n_places))


def test_noise_is_rarely_called_patchy():
    noise = [measure_patchiness(*calibrators(n, 0.0, n)[:4], SHAPE).scatter for n in range(100, 160)]
    assert np.count_nonzero(noise) <= 6  # 3 sigma of a chi-square are exceeded in 2 %


def test_places_of_faint_calibrators_are_not_called_patchy():
    """Their means scatter more than those of bright ones, as their errors say."""
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x, y = rng.uniform(0, 3072, (2, 700))
        err = 10 ** rng.uniform(-2.3, -1, 700)
        found.append(measure_patchiness(x, y, rng.normal(0, err), err, SHAPE).scatter)
    assert np.count_nonzero(found) <= 6


def test_equal_residuals_are_not_patchy():
    x, y, _, err, _ = calibrators(100, 0.0)
    assert measure_patchiness(x, y, np.zeros(100), err, SHAPE).scatter == 0


def test_scatter_of_single_stars_is_not_called_patchy():
    rng = np.random.default_rng(8)
    found = []
    for _ in range(60):
        x, y = rng.uniform(0, 3072, (2, 400))
        err = 10 ** rng.uniform(-2.7, -0.7, 400)  # as stated; colours and flats add 0.02 mag
        found.append(measure_patchiness(x, y, rng.normal(0, np.hypot(err, 0.02)), err, SHAPE).scatter)
    assert np.mean(np.array(found) > 0) < 0.3
    assert np.mean(found) < 0.003
