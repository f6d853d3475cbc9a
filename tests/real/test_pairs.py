"""Pairs of real images through ``zsds difference``, judged without truth."""

import csv
import warnings
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from zsds.core.errors import BadInput, UnusableData
from zsds.core.exposure import ZeroPoint
from zsds.core.flags import is_defect
from zsds.io.calibrated import clipped_level, read_calibrated
from zsds.io.images import read_exposure, read_image
from zsds.io.packets import read_packet
from zsds.io.psf import read_psf
from zsds.io.tables import read_table
from zsds.pipeline.pair import PairSettings, align, subtract_pair
from zsds.pipeline.science import with_magnitudes, with_positions
from zsds.runner.pair import PairFiles, run_pair

COMET = "ztf_20250120147292_000249_zg_c09_o_q1", "ztf_20250120170289_000250_zg_c12_o_q2"
COLOURS = "ztf_20250521306528_000757_zg_c06_o_q4", "ztf_20250521257917_000757_zr_c06_o_q4"
NOTHING_KNOWN = {"gain": None, "zero_point": None, "saturation": None}


def ztf(shared_data, name):
    return shared_data / "ztf_images" / f"{name}_sciimg.fits.gz"


@pytest.fixture(scope="session")
def comet(shared_data, tmp_path_factory):
    """Products of two exposures 33 minutes apart, between which a comet moved."""
    out = tmp_path_factory.mktemp("comet")
    report = run_pair(*(PairFiles(ztf(shared_data, name)) for name in COMET), out, NOTHING_KNOWN)
    return report, out


def ephemeris(shared_data):
    """Position of the comet at each exposure, by JPL Horizons, degrees."""
    with (shared_data / "ztf_images" / "irsa_metadata_and_horizons.csv").open() as file:
        rows = {row["filefracday"]: row for row in csv.DictReader(file)}
    return [(float(rows[n.split("_")[1]]["RA"]), float(rows[n.split("_")[1]]["DEC"])) for n in COMET]


def test_comet_comes_out_in_both_signs_at_its_ephemeris(comet, shared_data):
    report, _ = comet
    assert len(report.alerts) == 2  # it, twice, and nothing else
    for positive, (ra, dec) in zip((True, False), ephemeris(shared_data), strict=True):
        (found,) = [row for row in report.alerts if row["is_positive"] is positive]
        dx = (found["ra"] - ra) * np.cos(np.radians(dec)) * 3600
        assert np.hypot(dx, (found["dec"] - dec) * 3600) < 2.5, "coma and ephemeris leave an arcsecond or two"
        assert 19 < found["magpsf"] < 20.5


def test_score_is_normal_on_the_sky_of_the_comet_pair(comet):
    _, out = comet
    score, _ = read_image(out / "score.fits.fz")
    difference = read_exposure(out / "difference.fits.fz")
    template, _ = read_image(out / "template.fits.fz")
    sky = (difference.mask == 0) & np.isfinite(score) & (np.abs(template) < 10)
    values = score[sky]
    low, high = np.percentile(values, [15.87, 84.13])
    assert abs(np.median(values)) < 0.1
    assert (high - low) / 2 == pytest.approx(1, abs=0.05)
    assert np.mean(np.abs(values) > 4) < 5e-4  # the comet's own pixels, and 6e-5 by chance


def test_products_open_without_warnings_and_packets_decode(comet):
    report, out = comet
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in sorted(out.glob("*.fits*")):
            with fits.open(path, checksum=True) as hdus:
                for hdu in hdus:
                    hdu.verify("exception")
                    assert hdu.data is None or hdu.data.size
        assert WCS(fits.getheader(out / "difference.fits.fz", 1)).has_celestial
    packets = [read_packet(path) for path in sorted((out / "packets").glob("*.avro"))]
    assert {p.record["candid"] for p in packets} == {row["candid"] for row in report.alerts}
    assert all(p.record["candidate"]["rb"] is None for p in packets)
    assert (out / "picture.png").read_bytes()[:4] == b"\x89PNG"
    assert len(read_table(out / "candidates.fits", "candidates")) >= 2


def test_same_stars_have_the_same_magnitudes_by_two_headers(comet):
    """PSF fluxes with each header's MAGZP: two CCDs agree within the stars' errors and 2 %."""
    _, out = comet
    new, old = (read_table(out / f"{name}.fits", "stars") for name in ("stars", "reference_stars"))
    distance = np.hypot(
        (new["ra"][:, None] - old["ra"]) * np.cos(np.radians(-23.2)), new["dec"][:, None] - old["dec"]
    )
    nearest = distance.argmin(axis=1)
    pair = (distance.min(axis=1) * 3600 < 1) & (np.asarray(new["snr"]) > 15)
    assert pair.sum() >= 6
    apart = np.asarray(new["mag"] - old["mag"][nearest])[pair]
    assert abs(np.median(apart)) < 0.04


@pytest.mark.parametrize("name", [*COMET, *COLOURS, "ztf_20250409323808_000859_zr_c07_o_q1"])
def test_seeing_and_depth_against_the_header(shared_data, name):
    from zsds.photometry import limiting_magnitude, measure_growth
    from zsds.pipeline.measure import MeasureSettings, measure

    path = ztf(shared_data, name)
    measured = measure(read_calibrated(path), MeasureSettings())
    header = fits.getheader(path)
    assert measured.psf_fit.fwhm == pytest.approx(header["SEEING"], rel=0.12)
    assert measured.psf_fit.residual < 0.003
    growth = measure_growth(measured.apertures, measured.stars, measured.psf_fit.model)
    given = [header[f"APCOR{n}"] for n in range(1, 7)]  # of the whole quadrant, over which the PSF varies
    assert growth.correction_mag == pytest.approx(given, abs=0.08)
    exposure = measured.exposure
    limit = limiting_magnitude(exposure, exposure.psf, exposure.zero_point)
    assert limit == pytest.approx(header["MAGLIM"], abs=0.3)


def test_depth_of_a_frame_of_the_earlier_camera_against_its_header(shared_data):
    from zsds.photometry import limiting_magnitude
    from zsds.pipeline.measure import MeasureSettings, measure

    path = shared_data / "ztf_images" / "PTF_P48_cropped_R_1001px.fits.gz"
    header = fits.getheader(path)
    measured = measure(read_calibrated(path), MeasureSettings())
    fwhm_arcsec = measured.psf_fit.fwhm * header["PIXSCALE"]
    assert 0.9 * header["FWHMSEX"] < fwhm_arcsec < header["MEDFWHM"]
    one_a_second = ZeroPoint(header["IMAGEZPT"] + 2.5 * np.log10(header["EXPTIME"] * header["GAIN"]))
    limit = limiting_magnitude(measured.exposure, measured.exposure.psf, one_a_second)
    assert limit == pytest.approx(header["LMGAPCZP"], abs=0.3)


def test_different_filters_work_and_are_told(colours):
    report, _ = colours
    assert any("filters differ (zg and zr)" in line for line in report.warnings)
    assert float(report.summary["score on empty sky, mean and width"].split()[1]) == pytest.approx(1, abs=0.1)
    assert report.summary["stars in both"] >= 20
    brighter = [row for row in report.alerts if row["is_positive"]]
    ra, dec = 207.25184, 46.73918  # the comet at the time of the g exposure, by JPL Horizons
    apart = [np.hypot((r["ra"] - ra) * np.cos(np.radians(dec)), r["dec"] - dec) * 3600 for r in brighter]
    assert min(apart) < 1.5


@pytest.mark.parametrize("bend", [0.02, 0.01])
def test_pair_without_wcs_of_integers(shared_data, tmp_path, bend):
    folder = shared_data / "subtraction" / "eso085_pair"
    new, old = (PairFiles(folder / f"aligned_eso085-030-00{n}.fit.gz") for n in "54")
    report = run_pair(new, old, tmp_path, NOTHING_KNOWN, [f"difference.subtract.max_bend={bend}"])
    assert report.alerts == []  # 300 stars, three of them saturated, and nothing happened in a minute
    assert any("no WCS" in line for line in report.warnings)
    assert float(report.summary["score on empty sky, mean and width"].split()[1]) == pytest.approx(1, abs=0.1)
    assert float(report.summary["registration left (px)"]) < 0.05


def test_a_wrong_wcs_is_taken_out(shared_data):
    """The frame against itself with a WCS 6 pixels off: the stars say so, and nothing remains."""
    image = read_calibrated(shared_data / "ztf_images" / "PTF_P48_cropped_R_1001px.fits.gz")
    part = (slice(300, 812), slice(200, 660))
    cut = replace(
        image,
        data=image.data[part].copy(),
        variance=image.variance[part].copy(),
        mask=image.mask[part].copy(),
        wcs=image.wcs[part],
    )
    wrong = cut.wcs.deepcopy()
    wrong.wcs.crval = np.asarray(wrong.wcs.crval) + np.array([0, 6.0 / 3600])
    result = subtract_pair(cut, replace(cut, wcs=wrong), PairSettings())
    assert result.alignment.is_applied
    assert np.hypot(result.alignment.dx, result.alignment.dy) == pytest.approx(6 / 1.01, abs=0.2)
    assert result.result.difference.registration.dx == pytest.approx(0, abs=0.1)
    assert result.result.metrics["n_alerts"] == 0
    assert np.nanstd(result.result.difference.score) < 0.3


def test_wrong_pairs_end_in_one_line(shared_data, tmp_path):
    comet_frame, other = ztf(shared_data, COMET[0]), ztf(shared_data, COLOURS[0])
    with pytest.raises(UnusableData, match="another part of the sky"):
        run_pair(PairFiles(comet_frame), PairFiles(other), tmp_path, NOTHING_KNOWN)
    plain = shared_data / "subtraction" / "eso085_pair" / "aligned_eso085-030-004.fit.gz"
    with pytest.raises(BadInput, match=r"aligned_eso085-030-004.*has no WCS"):
        run_pair(PairFiles(comet_frame), PairFiles(plain), tmp_path, NOTHING_KNOWN)
    small = shared_data / "source_extraction" / "sep_image.fits"
    with pytest.raises(BadInput, match="must share their pixels"):
        run_pair(PairFiles(plain), PairFiles(small), tmp_path, NOTHING_KNOWN)
    assert not list(tmp_path.iterdir())


def test_saturation_is_seen_where_no_header_tells(shared_data):
    plain = shared_data / "subtraction" / "eso085_pair" / "aligned_eso085-030-004.fit.gz"
    assert clipped_level(fits.getdata(plain).astype(np.float32)) == pytest.approx(0.9 * 65535)
    sky = np.random.default_rng(1).normal(100, 5, (50, 50)).astype(np.float32)
    assert clipped_level(sky) == np.inf
    sky[:4, 0] = 9000  # a few equal values are chance
    assert clipped_level(sky) == np.inf
    sky[4, 0] = 9000
    assert clipped_level(sky) == pytest.approx(8100)


def test_no_stars_in_common_is_no_alignment(shared_data):
    from zsds.pipeline.measure import MeasureSettings, measure

    new = measure(read_calibrated(ztf(shared_data, COMET[0])), MeasureSettings())
    empty = replace(new, stars=new.stars[:0])
    assert align(new, empty, PairSettings()).n_stars == 0
    assert (
        with_magnitudes(with_positions(new.stars, new.exposure.wcs), new.exposure.zero_point)["mag"].min()
        > 10
    )


def test_artificial_stars_come_back_with_their_flux(comet, shared_data):
    """Stars of both signs and S/N 12, drawn with the image's own PSF on real pixels."""
    _, out = comet
    psf, clean = read_psf(out / "science_psf.fits"), read_exposure(out / "difference.fits.fz")
    image, reference = (read_calibrated(ztf(shared_data, name)) for name in COMET)
    rng, data, placed = np.random.default_rng(8), image.data.copy(), []
    while len(placed) < 40:
        x, y = rng.uniform(25, image.shape[1] - 45), rng.uniform(25, image.shape[0] - 25)
        i, j = round(y), round(x)
        hidden = is_defect(clean.mask[i - 3 : i + 4, j - 3 : j + 4]).any()
        if hidden or any(np.hypot(x - a, y - b) < 25 for a, b, _ in placed):
            continue
        model = clean.psf.at(x, y).astype(float)
        noise = np.sqrt(np.median(clean.variance[i - 9 : i + 10, j - 9 : j + 10]) / (model**2).sum())
        flux = rng.choice([-12, 12]) * noise
        half = psf.size // 2
        data[i - half : i + half + 1, j - half : j + half + 1] += flux * psf.at(x, y, x - j, y - i)
        placed.append((x, y, flux))
    found = subtract_pair(replace(image, data=data), reference, PairSettings()).result.candidates
    found = found[found["is_alert"]]
    pulls = []
    for x, y, flux in placed:
        near = found[(np.hypot(found["x"] - x, found["y"] - y) < 1.5) & (found["is_positive"] == (flux > 0))]
        pulls += ((near["flux"] - flux) * np.sign(flux) / near["flux_err"]).tolist()
    assert len(pulls) >= 38
    assert np.mean(pulls) == pytest.approx(0, abs=4 / np.sqrt(40))
    assert np.std(pulls) == pytest.approx(1, abs=4 / np.sqrt(2 * 40))
