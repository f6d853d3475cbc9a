"""Real raw frames of two other makes, from the shutter to a catalog."""

import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from zsds.astrometry import match_positions
from zsds.catalogs import CatalogStore
from zsds.cli import main
from zsds.io.tables import read_table
from zsds.runner.measure import run_measure

FEW = ("min_bias=1", "min_flat=1", "min_flat_electrons=500")


def zsds(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["zsds", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


@pytest.fixture(scope="module")
def archive(shared_data, tmp_path_factory):
    """An archive of one camera: bias, flat and science frame of three nights, and a catalog of the sky."""
    folder = shared_data / "raw_ccd" / "huntsman"
    root = tmp_path_factory.mktemp("huntsman") / "archive"
    catalog = folder / "refcat_skymapper.csv.gz"
    few = [word for setting in FEW for word in ("--set", f"calibration.masters.{setting}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSDS_ARCHIVE", str(root))
        assert zsds(patch, "init", root, "--camera", "huntsman") == 0
        assert zsds(patch, "ingest", folder) == 0
        for kind in ("gaia", "ps1"):
            assert zsds(patch, "catalogs", "import", kind, catalog) == 0
        assert zsds(patch, "calibrate", "--night", "20210112", "--cluster", "serial", *few) == 0
        assert zsds(patch, "night", "20210118", "--cluster", "serial") == 0
    return root


def product(root, ending):
    (path,) = root.glob(f"sci/**/*_{ending}")
    return path


def test_raw_frame_becomes_a_calibrated_image_with_a_wcs(archive):
    header = fits.getheader(product(archive, "sciimg.fits.fz"), 1)
    wcs = WCS(header)
    scale = np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600
    assert scale == pytest.approx(1.2607, abs=0.003)
    assert 2 < header["SEEING"] < 4
    assert 25.5 < header["MAGZP"] < 26.5 and header["NMATCHES"] >= 5


def test_catalog_prefers_our_wcs_to_the_one_the_frame_came_with(archive, shared_data):
    """The header has a quick solution made at the telescope: 1.7 pixels off the catalog, ours a tenth."""
    theirs = fits.getheader(shared_data / "raw_ccd" / "huntsman" / "science_0.fits.gz")
    theirs["CTYPE1"], theirs["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    ours = fits.getheader(product(archive, "sciimg.fits.fz"), 1)
    used = read_table(product(archive, "residuals.fits"), "astrometry_matches")
    used = used[used["used"]]
    apart = []
    for header in (ours, theirs):
        x, y = WCS(header).all_world2pix(used["ra"], used["dec"], 0)
        apart.append(np.median(np.hypot(x - used["x"], y - used["y"])))
    assert apart[0] < 0.2 and apart[0] < apart[1] < 2.5


def test_catalog_stars_are_at_their_places(archive):
    used = read_table(product(archive, "residuals.fits"), "astrometry_matches")
    used = used[used["used"]]
    assert len(used) >= 10
    for name in ("residual_ra", "residual_dec"):
        assert np.std(used[name]) < 0.25  # arcsec; the catalog's own positions are good to 0.05 to 0.15


def test_magnitudes_are_those_of_the_catalog(archive):
    sky = CatalogStore(archive / "catalogs").cone("ps1", 65.16, -54.935, 0.25)
    found = Table.read(product(archive, "psfcat.fits"), hdu=1)
    header = fits.getheader(product(archive, "sciimg.fits.fz"), 1)
    pairs = match_positions(found["ra"], found["dec"], sky["ra"], sky["dec"], 1.5)
    bright = np.asarray(found["snr"])[pairs.first] > 20
    apart = np.asarray(found["mag"])[pairs.first] + header["MAGZP"] - np.asarray(sky["g"])[pairs.second]
    apart = apart[bright & np.isfinite(apart)]
    assert len(apart) >= 5
    error = (
        1.25 * np.std(apart) / np.sqrt(len(apart))
    )  # of a median; the zero point rests on few of the stars
    assert abs(np.median(apart)) < 3 * np.hypot(error, header["MAGZPUNC"])
    assert error < 0.1 and header["MAGZPUNC"] < 0.1


def test_frame_of_four_amplifiers_gives_four_catalogs(shared_data, tmp_path):
    frame = shared_data / "raw_ccd" / "lco_sinistro_mef_4amp.fits.gz"
    rows = run_measure(frame, tmp_path, "sinistro")
    assert len(rows) == 4
    widths = [row["fwhm_px"] for row in rows]
    assert np.ptp(widths) < 0.15 and 2.5 < np.mean(widths) < 4  # one telescope, one focus
    for row in rows:
        assert row["positions"] == "nominal" and np.isnan(row["limit_mag"])
        photon = np.sqrt(row["sky_e"] + 7.0**2)
        assert row["sky_sigma_e"] == pytest.approx(
            photon, rel=0.06
        )  # sky noise is that of gain and read noise
        assert row["psf_stars"] >= 20
    stars = read_table(tmp_path / "lco_sinistro_mef_4amp_q1_stars.fits", "stars")
    assert np.isfinite(stars["ra"]).all() and abs(np.median(stars["dec"]) - 59.55) < 0.1


def test_what_cannot_be_calibrated_says_so(shared_data, tmp_path):
    frame = shared_data / "raw_ccd" / "huntsman" / "science_0.fits.gz"
    (row,) = run_measure(frame, tmp_path, "huntsman")
    assert "neither overscan nor bias" in row["positions"]
    (row,) = run_measure(shared_data / "raw_ccd" / "kast" / "b1020.fits.gz", tmp_path)
    assert "too few stars" in row["positions"]
