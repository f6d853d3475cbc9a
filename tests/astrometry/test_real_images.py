"""Solutions of real images against catalogs; skipped where the files are not at hand."""

import io
import tarfile
import warnings

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from zsds.astrometry import AstrometrySettings, fit_astrometry, match_positions, moved_to_epoch
from zsds.catalogs.files import read_catalog
from zsds.catalogs.mapping import to_declared


def quiet_wcs(header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(header)


def detected(data, mask=None):
    data = np.ascontiguousarray(data, dtype=np.float32)
    background = sep.Background(data, mask=mask)
    found = sep.extract(data - background, 5.0, err=background.globalrms, mask=mask, minarea=5)
    stars = Table({"x": found["x"], "y": found["y"], "flux": found["flux"]})
    stars["flux_err"] = background.globalrms * np.sqrt(found["npix"])
    stars["fwhm"] = 2.355 * np.sqrt((found["a"] ** 2 + found["b"] ** 2) / 2)
    return stars


def hsc_ccds(folder):
    with tarfile.open(folder / "ccd_source_lists.tar.gz") as archive:
        for member in archive.getmembers():
            if member.isfile():
                with fits.open(io.BytesIO(archive.extractfile(member).read())) as hdus:
                    table = Table(hdus[1].data)
                    wcs, mjd = quiet_wcs(hdus[0].header), hdus[0].header["MJD"]
                stars = Table({"x": table["x"].astype(float), "y": table["y"].astype(float)})
                stars["x_err"], stars["y_err"] = table["xErr"].astype(float), table["yErr"].astype(float)
                stars["flux"] = 1 / stars["x_err"]
                wcs.pixel_shape = (2048, 4176)
                yield stars, wcs, mjd


def test_hsc_lists_and_their_proper_motions(shared_data):
    folder = shared_data / "astrometry" / "hsc_visit1180"
    gaia = to_declared(read_catalog(folder / "gaia_refCat.parquet"), "gaia", "hsc")
    still = gaia.copy()
    still["pmra"], still["pmdec"], still["parallax"] = 0.0, 0.0, 0.0
    kept = {True: [], False: []}
    errors = {True: [], False: []}
    for stars, guess, mjd in hsc_ccds(folder):
        for moving, catalog in ((True, gaia), (False, still)):
            found = fit_astrometry(stars, catalog, guess, mjd)
            assert found.n_matches >= 14
            kept[moving].append(found)
            ra, dec = moved_to_epoch(gaia, mjd)
            world = found.wcs.all_pix2world(stars["x"], stars["y"], 0)
            pairs = match_positions(*world, ra, dec, 0.5, one_to_one=True)
            errors[moving].append(np.median(pairs.distance_arcsec))
    assert np.median([f.rms_dec for f in kept[True]]) < 0.015
    assert np.median(errors[True]) < 0.9 * np.median(errors[False])
    assert np.median(errors[True]) < 0.03


def test_decam_cutout(shared_data):
    folder = shared_data / "astrometry" / "decam_legacypipe_t8"
    gaia = to_declared(read_catalog(folder / "chunk-05483.fits.gz"), "gaia", "decam")
    with fits.open(folder / "c4d_171113_060340_ooi_r_ls9.N6.fits.gz") as hdus:
        image = next(h for h in hdus if h.data is not None)
        data, header = image.data.astype(np.float32), image.header
    guess = quiet_wcs(header)
    guess.pixel_shape = data.shape[::-1]
    found = fit_astrometry(detected(data), gaia, guess, 58070.2527)
    assert found.shift_arcsec < 1
    assert found.n_matches >= 5
    assert found.rms_ra < 0.1


def test_huntsman_frame_with_another_catalog(shared_data):
    folder = shared_data / "raw_ccd" / "huntsman"
    catalog = read_catalog(folder / "refcat_skymapper.csv.gz")
    reference = Table(
        {"ra": catalog["raj2000"], "dec": catalog["dej2000"], "phot_g_mean_mag": catalog["g_psf"]}
    )
    with fits.open(folder / "science_0.fits.gz") as hdus:
        data, header = hdus[0].data.astype(np.float32), hdus[0].header.copy()
    guess = quiet_wcs(header)
    guess.sip = None
    guess.pixel_shape = data.shape[::-1]
    found = fit_astrometry(detected(data), reference, guess, 58500.0, AstrometrySettings())
    assert found.n_matches >= 8
    assert found.rms_ra < 0.7
    guess.wcs.crval = np.add(guess.wcs.crval, [0.03, -0.02])
    guess.wcs.set()
    again = fit_astrometry(detected(data), reference, guess, 58500.0)
    middle = [np.array(f.wcs.all_pix2world(400, 400, 0)) for f in (found, again)]
    assert middle[0] == pytest.approx(middle[1], abs=0.5 / 3600)


def test_distortion_of_a_real_schmidt_telescope(shared_data):
    """Stars laid out by the coordinates that ZTF publishes, found from an undistorted guess."""
    with fits.open(next((shared_data / "ztf_images").glob("*_zg_c09_o_q1_sciimg.fits.gz"))) as hdus:
        truth = quiet_wcs(next(h.header for h in hdus if h.data is not None))
    rng = np.random.default_rng(1)
    shape, n = (3080, 3072), 3000
    corner = truth.wcs.crpix - [1536.5, 1540.5]  # of the whole quadrant, of which the file is a part
    pixels = rng.uniform(0, shape[::-1], (n, 2))
    ra, dec = truth.all_pix2world(pixels + corner, 0).T
    mag = rng.uniform(12, 20, n)
    stars = Table({"flux": 10 ** (0.4 * (27 - mag))})
    stars["flux_err"] = np.sqrt(stars["flux"] + 2000)
    noise = np.hypot(0.03, 2.5 / 2.355 * stars["flux_err"] / stars["flux"])
    stars["x"], stars["y"] = (pixels + noise[:, None] * rng.normal(size=(n, 2))).T
    guess = WCS(naxis=2)
    guess.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    guess.wcs.crval = truth.wcs.crval + np.array([0.03, -0.02])
    guess.wcs.crpix = truth.wcs.crpix - corner
    guess.wcs.cd = np.diag([-1.01, -1.01]) / 3600
    guess.pixel_shape = shape[::-1]
    guess.wcs.set()
    gaia = Table({"ra": ra, "dec": dec, "phot_g_mean_mag": mag})[rng.random(n) < 0.6]
    turned = np.sign(truth.wcs.cd if truth.wcs.has_cd() else truth.pixel_scale_matrix) * np.eye(2)
    guess.wcs.cd = np.abs(guess.wcs.cd) * turned
    guess.wcs.set()
    found = fit_astrometry(stars[rng.random(n) < 0.7], gaia, guess, 58000.0)
    grid = np.stack(np.meshgrid(np.linspace(0, 3071, 15), np.linspace(0, 3079, 15)), axis=-1).reshape(-1, 2)
    offset = (found.wcs.all_pix2world(grid, 0) - truth.all_pix2world(grid + corner, 0)) * 3600
    offset[:, 0] *= np.cos(np.radians(truth.wcs.crval[1]))
    expected = found.rms_ra * np.sqrt(2 * 15 / found.n_matches)
    assert np.median(np.hypot(*offset.T)) < 1.5 * expected
    assert np.hypot(*offset.T).max() < 8 * expected


def opened(path):
    """Detections of an image and the coordinates in its header."""
    with fits.open(path) as hdus:
        image = next(h for h in hdus if h.data is not None)
        data, wcs = image.data.astype(np.float32), quiet_wcs(image.header)
    bad = ~np.isfinite(data)
    wcs.pixel_shape = data.shape[::-1]
    return detected(np.where(bad, np.nanmedian(data), data), bad), wcs


def as_catalog(stars, wcs):
    ra, dec = wcs.all_pix2world(stars["x"], stars["y"], 0)
    return Table({"ra": ra, "dec": dec, "phot_g_mean_mag": -2.5 * np.log10(stars["flux"])})


def poor_guess(wcs, turn_deg=0.0, zoom=1.0):
    """Undistorted coordinates 2.5 arcmin off, turned and stretched."""
    nx, ny = wcs.pixel_shape
    ra, dec = wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
    guess = WCS(naxis=2)
    guess.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    guess.wcs.crval = [ra + 0.03 / np.cos(np.radians(dec)), dec - 0.03]
    guess.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2]
    cosine, sine = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    axes = np.sign(wcs.pixel_scale_matrix) * np.eye(2)
    guess.wcs.cd = np.array([[cosine, -sine], [sine, cosine]]) @ axes * 1.0125 * zoom / 3600
    guess.pixel_shape = (nx, ny)
    guess.wcs.set()
    return guess


def off_arcsec(found, header, x, y):
    ra, dec = found.all_pix2world(x, y, 0)
    there, north = header.all_pix2world(x, y, 0)
    return 3600 * np.hypot((ra - there) * np.cos(np.radians(dec)), dec - north)


@pytest.mark.parametrize(
    ("image", "other", "noise"),
    [
        ("20250521306528_000757_zg_c06_o_q4", "20250521257917_000757_zr_c06_o_q4", 0.05),
        ("20250120147292_000249_zg_c09_o_q1", "20250120170289_000250_zg_c12_o_q2", 0.15),
    ],
)
def test_ztf_cutouts_agree_with_the_headers(shared_data, image, other, noise):
    """The catalog are the stars of another exposure where its header puts them; headers err by 0.06"."""
    (stars, header), (others, coordinates) = (
        opened(shared_data / "ztf_images" / f"ztf_{name}_sciimg.fits.gz") for name in (image, other)
    )
    guess = poor_guess(header, turn_deg=0.8, zoom=1.003)
    found = fit_astrometry(stars, as_catalog(others, coordinates), guess, 60000.0)
    assert found.n_matches >= 9
    assert max(found.rms_ra, found.rms_dec) < 2 * noise
    off = off_arcsec(found.wcs, header, found.matches["x"], found.matches["y"])
    expected = np.hypot(0.06, noise * np.sqrt(2 * 3 / found.n_matches)) * np.sqrt(2)
    assert np.median(off) < 2 * expected


def test_distortion_of_a_ptf_frame(shared_data):
    """Every second star where the header's SIP puts it, found from an undistorted guess."""
    stars, header = opened(shared_data / "ztf_images" / "PTF_P48_cropped_R_1001px.fits.gz")
    found = fit_astrometry(stars, as_catalog(stars, header)[::2], poor_guess(header), 56251.38)
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 1000, 9), np.linspace(0, 1000, 9)))
    undistorted = header.deepcopy()
    undistorted.sip = None
    assert off_arcsec(undistorted, header, x, y).max() > 0.5
    assert off_arcsec(found.wcs, header, x, y).max() < 0.03
    assert abs(found.rotation_deg) > 1.3  # the camera is not straight
