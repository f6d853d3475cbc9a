from dataclasses import replace

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.table import Table
from scipy.spatial import cKDTree
from star_fields import INFO, draw_stars, star_field

from zsds.core.errors import UnusableData
from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.core.psf import FWHM_PER_SIGMA
from zsds.core.tables import check_table
from zsds.extract import ExtractSettings, detect_sources, measure_background, measure_seeing
from zsds.psf import MoffatPsf, profile_fwhm

PSF = MoffatPsf.of_fwhm(2.2, 3.0, 31)


@pytest.fixture(scope="module")
def field():
    return star_field(PSF, n_stars=120, seed=2)


@pytest.fixture(scope="module")
def sources(field):
    return detect_sources(field.exposure, measure_background(field.exposure))


def matched(field, sources, radius=1.5):
    distance, row = cKDTree(np.column_stack([sources["x"], sources["y"]])).query(
        np.column_stack([field.x, field.y])
    )
    return distance < radius, row


def test_finds_what_is_there(field, sources):
    check_table(sources, "sources")
    found, row = matched(field, sources)
    snr = field.flux / np.sqrt(field.flux + 1 / np.sum(PSF.at(0, 0) ** 2) * (300 + 64))
    others = cKDTree(np.column_stack([field.x, field.y])).query(np.column_stack([field.x, field.y]), k=2)[0][
        :, 1
    ]
    clear = (others > 8) & (snr > 7)
    assert found[clear].mean() > 0.97
    assert len(sources) - found.sum() < 5
    bright = clear & found & (snr > 50)
    assert np.median(np.hypot(sources["x"][row] - field.x, sources["y"][row] - field.y)[bright]) < 0.05


def test_snr_is_that_of_the_matched_filter(field, sources):
    found, row = matched(field, sources, 0.5)
    effective = 1 / np.sum(PSF.at(0, 0) ** 2)
    expected = field.flux / np.sqrt(effective * (300 + 64))
    ratio = np.asarray(sources["snr"])[row] / expected
    use = found & (expected > 20)
    assert np.median(ratio[use]) == pytest.approx(0.93, abs=0.07)


def test_blank_noise_gives_few_false_sources():
    rng = np.random.default_rng(5)
    data = rng.normal(100, 10, (500, 450)).astype(np.float32)
    exposure = Exposure(data, np.full_like(data, 100), np.zeros(data.shape, np.uint32), INFO)
    settings = ExtractSettings(min_sources=0, fwhm=2.2)
    assert len(detect_sources(exposure, measure_background(exposure), settings)) <= 8
    with pytest.raises(UnusableData, match="too few sources") as caught:
        detect_sources(exposure, measure_background(exposure), replace(settings, min_sources=50))
    assert caught.value.numbers["sigma"] == pytest.approx(10, rel=0.03)


def test_close_pair_is_split():
    image = np.full((101, 121), 200.0)
    draw_stars(image, PSF, [60.2, 65.0], [50.3, 50.1], [3e4, 2e4])
    data = np.random.default_rng(0).poisson(image).astype(np.float32)
    exposure = Exposure(data, data.copy(), np.zeros(data.shape, np.uint32), INFO)
    assert len(detect_sources(exposure, measure_background(exposure), ExtractSettings(fwhm=2.2))) == 2


def test_cleaning_is_that_of_sep():
    field = star_field(PSF, n_stars=900, seed=4)
    background = measure_background(field.exposure)
    data, noise = field.exposure.data - background.level, background.rms
    offset = np.arange(-2, 3)
    line = np.exp(-0.5 * (offset * FWHM_PER_SIGMA / 2.2) ** 2)
    kernel = np.outer(line, line).astype(np.float32)
    threshold = 1.5 * np.sqrt(np.sum(kernel.astype(float) ** 2)) / kernel.sum()
    with_all, cleaned = (
        sep.extract(data, threshold, err=noise, minarea=2, filter_kernel=kernel, filter_type="conv",
                    deblend_cont=0.003, clean=clean)
        for clean in (False, True)
    )  # fmt: skip
    ours = detect_sources(field.exposure, background, ExtractSettings(threshold=1.5, fwhm=2.2))
    assert len(with_all) - len(cleaned) > 10
    assert abs(len(ours) - len(cleaned)) < 0.4 * (len(with_all) - len(cleaned))


def test_flags_and_edges(field):
    mask = field.exposure.mask.copy()
    brightest = int(np.argmax(field.flux))
    row, col = round(field.y[brightest]), round(field.x[brightest])
    mask[row + 2, col + 2] |= Mask.BLEED
    sources = detect_sources(replace(field.exposure, mask=mask), measure_background(field.exposure))
    near = np.argmin(np.hypot(sources["x"] - col, sources["y"] - row))
    assert sources["flags"][near] & Mask.BLEED
    ny, nx = field.exposure.shape
    edge = (sources["x"] < 4.4) | (sources["x"] > nx - 5.4) | (sources["y"] < 4.4) | (sources["y"] > ny - 5.4)
    assert np.asarray(sources["is_edge"])[edge].all()
    inner = (sources["x"] > 6) & (sources["x"] < nx - 7) & (sources["y"] > 6) & (sources["y"] < ny - 7)
    assert not np.asarray(sources["is_edge"])[inner].any()


def test_buffer_overflow_is_survived_or_named(field):
    background = measure_background(field.exposure)
    low = replace(background, level=background.level - 300)
    with pytest.raises(UnusableData, match="too crowded"):
        detect_sources(field.exposure, low, ExtractSettings(fwhm=2.0, threshold=0.1, max_buffer=100_000))
    assert len(detect_sources(field.exposure, background, ExtractSettings(fwhm=2.0))) > 50


@pytest.mark.parametrize("fwhm", [1.5, 2.5, 4.0])
def test_fwhm_is_measured(fwhm):
    psf = MoffatPsf.of_fwhm(fwhm, 4.0, 41)
    field = star_field(psf, n_stars=80, seed=6, flux=(3000, 2e5))
    background = measure_background(field.exposure)
    data = field.exposure.data - background.level
    assert measure_seeing(data, background.rms, np.zeros(data.shape, bool)).fwhm == pytest.approx(
        profile_fwhm(psf, 0, 0), rel=0.1
    )


@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_short_axis_is_measured(ratio):
    psf = MoffatPsf.of_fwhm(3.0, 4.0, 41, ratio, 0.6)
    field = star_field(psf, n_stars=80, seed=6, flux=(3000, 2e5))
    background = measure_background(field.exposure)
    data = field.exposure.data - background.level
    seeing = measure_seeing(data, background.rms, np.zeros(data.shape, bool))
    assert seeing.narrow / seeing.fwhm == pytest.approx(np.sqrt(ratio), rel=0.1)
    assert (seeing.sharpness < seeing.fwhm) == (ratio < 1)


@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyWarning")
def test_agrees_with_sextractor_on_a_real_image(shared_data):
    folder = shared_data / "source_extraction"
    data = fits.getdata(folder / "sep_image.fits").astype(np.float32)
    exposure = Exposure(data, np.full_like(data, 65.4**2), np.zeros(data.shape, np.uint32), INFO)
    ours = detect_sources(exposure, measure_background(exposure))
    theirs = Table.read(folder / "sep_image.cat", format="ascii.sextractor")
    bright = theirs[theirs["FLUX_AUTO"] > 10 * theirs["FLUXERR_AUTO"]]
    places = np.column_stack([bright["X_IMAGE"] - 1, bright["Y_IMAGE"] - 1])
    distance, _ = cKDTree(np.column_stack([ours["x"], ours["y"]])).query(places)
    assert (distance < 1.5).mean() > 0.9
