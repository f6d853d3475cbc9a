"""A simulated pair on disk: wrong WCS, missing zero point, one transient, weak border."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from tests.star_fields import INFO, VaryingMoffat, draw_stars
from zsds.cli import main
from zsds.core.errors import BadInput, UnusableData
from zsds.core.exposure import Exposure
from zsds.pipeline.pair import PairSettings, subtract_pair
from zsds.runner.pair import PairFiles, unused_masks

SHAPE = (260, 300)
GAIN = 2.0
NEW = (150.3, 120.6, 9000.0)


def wcs(dx=0.0, dy=0.0):
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval = [150.0, 20.0]
    made.wcs.crpix = [150.5 + dx, 130.5 + dy]
    made.wcs.cd = np.array([[-1.0, 0.0], [0.0, 1.0]]) / 3600
    made.wcs.set()
    return made


def image(seed, shift=(0.0, 0.0), scale=1.0, new=(), n_stars=40, fwhm=2.6):
    """Electrons with sky: the same stars at every seed, moved by ``shift``."""
    sky = np.random.default_rng(0)
    x, y = sky.uniform(15, SHAPE[1] - 15, n_stars), sky.uniform(15, SHAPE[0] - 15, n_stars)
    flux = 10 ** sky.uniform(3.6, 5.2, n_stars)
    truth = np.full(SHAPE, 400.0)
    psf = VaryingMoffat(fwhm, 3.0, 31)
    draw_stars(truth, psf, x + shift[0], y + shift[1], scale * flux)
    for a, b, f in new:
        draw_stars(truth, psf, [a], [b], [f])
    rng = np.random.default_rng(seed)
    return (rng.poisson(truth) + rng.normal(0, 5, SHAPE)).astype(np.float32)


def write(path, electrons, solution, **cards):
    header = solution.to_header() if solution is not None else fits.Header()
    header.update({"GAIN": GAIN, "MJD-OBS": 60000.0, "EXPTIME": 30.0, "FILTER": "g", **cards})
    fits.writeto(path, electrons / np.float32(GAIN), header)
    return path


def run(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["zsds", "difference", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0, capsys.readouterr()


def test_transient_is_found_although_the_wcs_is_wrong_and_a_zero_point_missing(tmp_path, monkeypatch, capsys):
    science = image(1, new=[NEW], scale=1.3)
    science[:, :3] *= 0.4
    new = write(tmp_path / "new.fits", science, wcs(), MAGZP=25.0)
    # the reference's pixels are moved by (4, -3), its WCS does not know
    old = write(tmp_path / "old.fits", image(2, shift=(4.0, -3.0), fwhm=2.3), wcs())
    code, told = run(monkeypatch, capsys, new, old, "--out", tmp_path / "out", "--json")
    assert code == 0
    report = json.loads(told.out)
    (alert,) = report["alerts"]
    assert (alert["x"], alert["y"]) == pytest.approx(NEW[:2], abs=0.15)
    assert alert["is_positive"]
    assert alert["magpsf"] == pytest.approx(25 - 2.5 * np.log10(NEW[2] / GAIN), abs=4 * alert["sigmapsf"])
    dx, dy = (float(part) for part in report["summary"]["WCS disagreement (px)"].split())
    assert (dx, dy) == pytest.approx((-4, 3), abs=0.1)
    assert float(report["summary"]["flux scale"].split()[0]) == pytest.approx(1.3, rel=0.01)
    assert len(list((tmp_path / "out" / "packets").glob("*.avro"))) == 1
    mean, width = (float(v) for v in report["summary"]["score on empty sky, mean and width"].split())
    assert abs(mean) < 0.15 and abs(width - 1) < 0.1


def exposure(seed, solution, **options):
    data = image(seed, **options)
    variance = np.maximum(data, 1) + np.float32(25)
    return Exposure(data, variance, np.zeros(SHAPE, np.uint32), INFO, solution)


def test_wrong_pairs_are_refused():
    new = exposure(1, wcs())
    with pytest.raises(BadInput, match="has no WCS, the other image has one"):
        subtract_pair(new, replace(new, wcs=None), PairSettings())
    far = wcs()
    far.wcs.crval = [151.0, 20.0]
    with pytest.raises(UnusableData, match="another part of the sky"):
        subtract_pair(new, replace(new, wcs=far), PairSettings())
    wrong = wcs(dx=60, dy=20)
    with pytest.raises(UnusableData, match="stars of the two images do not match"):
        subtract_pair(new, exposure(2, wrong), PairSettings())
    with pytest.raises(UnusableData, match="too few s"):
        subtract_pair(exposure(1, wcs(), n_stars=0), new, PairSettings())


def test_flux_scale_is_off_by_no_more_than_its_error():
    """The PSFs of forty stars are wrong by parts in a thousand, and the scale of all stars with them."""
    pulls = []
    for seed in (11, 21, 31):
        new, old = exposure(seed, None), exposure(seed + 1, None, fwhm=2.2)
        metrics = subtract_pair(new, old, PairSettings()).result.metrics
        pulls.append((metrics["flux_scale"] - 1) / metrics["flux_scale_err"])
    assert np.sum(np.square(pulls)) < 11.3  # 1 % of chi-squares of 3 are above


@pytest.mark.parametrize(("factor", "told"), [(0.85, "scatters by"), (1.0, "")])
def test_clouds_are_told(tmp_path, monkeypatch, capsys, factor, told):
    science = image(1)
    science[80:180] = 400 + factor * (science[80:180] - 400)
    new = write(tmp_path / "new.fits", science, wcs(), MAGZP=25.0)
    old = write(tmp_path / "old.fits", image(2, fwhm=2.3), wcs(), MAGZP=25.0)
    code, text = run(monkeypatch, capsys, new, old, "--out", tmp_path / "out")
    assert code == 0
    notes = [line for line in (text.out + text.err).splitlines() if "flux ratio of the two" in line]
    assert len(notes) == bool(told) and all(told in line for line in notes)


def test_without_wcs_the_stars_give_the_shift():
    result = subtract_pair(exposure(1, None), exposure(2, None, shift=(0.6, 0.3)), PairSettings())
    registration = result.result.difference.registration
    assert (registration.dx, registration.dy) == pytest.approx((0.6, 0.3), abs=0.03)
    assert not result.alignment.is_applied
    assert result.result.metrics["n_alerts"] == 0


def test_given_psfs_need_no_stars():
    pair = (exposure(1, wcs(), n_stars=0, new=[NEW]), exposure(2, wcs(), n_stars=0))
    psf = VaryingMoffat(2.6, 3.0, 31)
    result = subtract_pair(*(replace(one, psf=psf) for one in pair), PairSettings())
    (found,) = result.result.candidates[result.result.candidates["is_alert"]]
    assert found["flux"] == pytest.approx(NEW[2], abs=4 * float(found["flux_err"]))
    assert result.science.psf_fit.n_stars == 0


def test_doubts_about_noise_and_gain_are_told(tmp_path, monkeypatch, capsys):
    new = write(tmp_path / "new.fits", image(1), wcs(), GAIN=None)
    old = write(tmp_path / "old.fits", image(2), wcs(), **{"MJD-OBS": None})
    promised = write(tmp_path / "unc.fits", 4 * np.sqrt(image(1) + 25), wcs())
    words = (new, old, "--out", tmp_path / "out", "--json", "--science-uncertainty", promised)
    code, told = run(monkeypatch, capsys, *words)
    assert code == 0
    notes = "\n".join(json.loads(told.out)["warnings"])
    assert "the gain of new.fits is not known" in notes
    assert "the gain of old.fits" not in notes
    assert "the time of old.fits is not known" in notes
    assert "are uncertainties, weights and gains right?" in notes


def test_a_file_where_the_folder_should_be_is_named(tmp_path, monkeypatch, capsys):
    new, old = (write(tmp_path / f"{seed}.fits", image(seed), wcs()) for seed in (1, 2))
    code, told = run(monkeypatch, capsys, new, old, "--out", new)
    assert code == 1
    assert "a file stands where its folder should be; name another folder" in told.err.splitlines()[-1]


@pytest.mark.parametrize("n_stars", [5, 12])
def test_few_stars_are_enough(n_stars):
    new = exposure(1, wcs(), n_stars=n_stars, new=[NEW])
    result = subtract_pair(new, exposure(2, wcs(), n_stars=n_stars), PairSettings())
    found = result.result.candidates
    assert result.result.metrics["n_alerts"] == 1
    assert (found["x"][0], found["y"][0]) == pytest.approx(NEW[:2], abs=0.2)


def test_masks_that_lie_beside_the_images_are_told(tmp_path):
    image, mask = (
        tmp_path / f"ztf_20250120147292_000249_zg_c09_o_q1_{end}.fits" for end in ("sciimg", "mskimg")
    )
    plain = PairFiles(tmp_path / "plain.fits")
    assert unused_masks(PairFiles(image), plain) == []
    mask.touch()
    (line,) = unused_masks(PairFiles(image), plain)
    assert mask.name in line
    assert "--science-mask" in line
    assert "--reference-mask" in unused_masks(plain, PairFiles(image))[0]
    assert unused_masks(PairFiles(image, mask), plain) == []
