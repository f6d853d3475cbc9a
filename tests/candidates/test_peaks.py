import numpy as np

from zsds.candidates.peaks import find_peaks


def surface(ny=40, nx=50):
    return np.zeros((ny, nx), np.float32)


def test_threshold_is_inclusive_and_both_signs_count():
    score = surface()
    score[5, 7], score[20, 30], score[30, 5], score[12, 40] = 5.0, -6.0, 4.999, -4.999
    score.flags.writeable = False
    peaks = find_peaks(score, 5.0, 3.0)
    assert sorted(zip(peaks.row, peaks.col, peaks.score, peaks.is_positive, strict=True)) == [
        (5, 7, 5.0, True),
        (20, 30, -6.0, False),
    ]


def test_second_peak_needs_prominence():
    for dip, expected in ((3.01, 2), (2.99, 1)):
        score = surface()
        score[10, 10:15] = [12, 9.5, 10 - dip, 9.5, 10]
        peaks = find_peaks(score, 5.0, 3.0)
        assert len(peaks) == expected
        assert (peaks.nblend == expected).all()
        assert (peaks.npix == 5).all()


def test_prominence_is_over_the_higher_saddle():
    """Two ways between the summits: the higher one counts."""
    score = surface()
    score[10:13, 10:17] = [
        [20, 15, 14, 13, 14, 15, 18],
        [0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]
    score[11, 11:16] = 17
    assert len(find_peaks(score, 5.0, 3.0)) == 1
    assert len(find_peaks(score, 5.0, 0.9)) == 2


def test_diagonal_pixels_touch():
    score = surface()
    score[10, 10], score[11, 11] = 8, 7.5
    assert len(find_peaks(score, 5.0, 3.0)) == 1


def test_plateau_gives_one_peak():
    score = surface()
    score[10:13, 10:14] = 9
    assert len(find_peaks(score, 5.0, 3.0)) == 1


def test_subpixel_position_of_a_parabola():
    y, x = np.mgrid[:40, :50]
    score = (20 - (x - 24.3) ** 2 - (y - 17.8) ** 2).astype(np.float32)
    peaks = find_peaks(score, 5.0, 3.0)
    np.testing.assert_allclose([peaks.x[0], peaks.y[0]], [24.3, 17.8], atol=1e-5)


def test_corners_and_nan():
    score = surface()
    score[0, 0], score[-1, -1], score[0, 20] = 9, -9, np.nan
    score[0, 21] = 8
    peaks = find_peaks(score, 5.0, 3.0)
    assert len(peaks) == 3
    assert np.isfinite(peaks.x).all()
    assert len(find_peaks(np.full((7, 9), np.nan, np.float32), 5.0, 3.0)) == 0


def test_patch_direction():
    score = surface()
    for k in range(12):
        score[10 + k, 10 + k : 12 + k] = 7
    peaks = find_peaks(score, 5.0, 3.0)
    assert len(peaks) == 1
    assert abs(np.degrees(peaks.angle[0]) - 45) < 2
    np.testing.assert_allclose([peaks.patch_x[0], peaks.patch_y[0]], [16.0, 15.5])
    assert 4.5 < peaks.extent[0] < 5.5


def test_every_pixel_above_belongs_to_a_peak_as_in_a_plain_twin():
    from scipy import ndimage

    rng = np.random.default_rng(4)
    score = ndimage.gaussian_filter(rng.normal(0, 1, (90, 70)), 1.5)
    score = (score / score.std() * 4).astype(np.float32)
    peaks = find_peaks(score, 5.0, np.inf)  # only the top of each patch
    for sign in (1, -1):
        label, n = ndimage.label(sign * score >= 5, structure=np.ones((3, 3)))
        mine = peaks.is_positive == (sign > 0)
        assert mine.sum() == n
        tops = ndimage.maximum(sign * score, label, range(1, n + 1))
        np.testing.assert_allclose(sorted(sign * peaks.score[mine]), sorted(tops))
        assert sorted(peaks.npix[mine]) == sorted(ndimage.sum_labels(label > 0, label, range(1, n + 1)))
