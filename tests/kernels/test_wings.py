import numpy as np

from zsds.kernels.wings import excess_over, mark_in_wings


def plain_lost(x, y, flux, peak, limit, extent, form, reach, excess):
    """Slow twin of mark_in_wings: every source beside every other."""
    lost = np.zeros(x.size, bool)
    for star in np.argsort(-flux):
        dx, dy = x - x[star], y - y[star]
        square = form[star, 0] * dx**2 + form[star, 1] * dy**2 + form[star, 2] * dx * dy
        wing = peak[star] / (1 + (peak[star] / limit[star] - 1) * square / extent[star])
        near = (np.hypot(dx, dy) <= reach[star]) & (flux < flux[star])
        if not lost[star]:
            lost |= near & (wing > excess)
    return lost


def test_wings_hide_what_the_rule_says():
    rng = np.random.default_rng(3)
    n = 400
    x, y = rng.uniform(0, 300, n), np.sort(rng.uniform(0, 300, n))
    flux, peak = rng.pareto(1, n) + 1, rng.pareto(1, n) + 3
    form = np.column_stack([np.full(n, 0.6), np.full(n, 0.5), rng.uniform(-0.3, 0.3, n)])
    given = (
        x,
        y,
        flux,
        peak,
        np.full(n, 3.0),
        rng.uniform(5, 9, n),
        form,
        np.full(n, 30.0),
        rng.exponential(1, n),
    )
    lost = np.zeros(n, bool)
    mark_in_wings(*given, lost)
    assert 20 < lost.sum() < n - 20
    assert (lost == plain_lost(*given)).all()


def test_excess_is_that_of_the_filtered_image():
    rng = np.random.default_rng(4)
    data, noise = rng.normal(100, 10, (20, 26)).astype(np.float32), np.full((20, 26), 2, np.float32)
    hidden = rng.random(data.shape) < 0.1
    kernel = np.outer([1, 2, 1], [1, 2, 1]).astype(np.float32) / 16
    column, row, excess = np.array([0, 12, 25]), np.array([0, 9, 19]), np.empty(3)
    for rank in (1, 2, 4):
        excess_over(data, hidden, noise, kernel, 4.0, column, row, rank, excess)
        padded = np.pad(np.where(hidden, 0, data), 1)
        for k, (i, j) in enumerate(zip(row, column, strict=True)):
            rows, columns = range(max(0, i - 1), min(20, i + 2)), range(max(0, j - 1), min(26, j + 2))
            filtered = [np.sum(kernel * padded[p : p + 3, q : q + 3]) for p in rows for q in columns]
            assert np.isclose(excess[k], np.sort(filtered)[-rank] - 8, rtol=1e-5)
