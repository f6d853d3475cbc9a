"""Robust widths against normal samples with outliers."""

import numpy as np
import pytest

from zsds.core.robust import central_width, mad_width, median_and_width


def test_widths_of_a_normal_sample_with_outliers():
    rng = np.random.default_rng(3)
    values = rng.normal(7.0, 2.0, 40000)
    values[:400] = 1e6
    for width in (mad_width(values), central_width(values), median_and_width(values)[1]):
        assert width == pytest.approx(2.0, rel=0.04)  # 1 % of outliers widen it by 2 %
    assert mad_width(values, 7.0) == pytest.approx(2.0, rel=0.04)
    assert median_and_width(values)[0] == pytest.approx(7.0, abs=0.06)


def test_an_exact_case():
    assert mad_width([1.0, 2.0, 3.0, 4.0, 100.0]) == pytest.approx(1.4826)
    assert mad_width(np.array([-1.0, 3.0]), 0.0) == pytest.approx(2 * 1.4826)


def test_what_is_no_number_does_not_count():
    assert mad_width(np.array([[1.0, np.nan], [np.inf, 3.0]])) == pytest.approx(1.4826)
    for empty in (np.zeros(0), np.full(3, np.nan)):
        assert np.isnan(mad_width(empty))
    assert np.isnan(central_width(np.zeros(0)))
    assert np.isnan(median_and_width(np.zeros(0))[0])
