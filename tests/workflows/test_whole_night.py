"""One small night, raw frames to alerts, held against its truth and against the rules."""

import gzip
import io
import math
import re
import tarfile

import fastavro
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from scipy.stats import binom
from survey import NX, NY, zsds

from zsds.core.ids import QuadrantId
from zsds.db import ledger
from zsds.db.ledger import State
from zsds.db.objects import packets_of
from zsds.io.images import read_image
from zsds.io.packets import read_packet
from zsds.io.tables import read_table
from zsds.products import CalibrationId, ReferenceId
from zsds.runner.truth import compare_night


@pytest.fixture(scope="module")
def archive(done_survey):
    return done_survey.open()


@pytest.fixture(scope="module")
def units(archive):
    with archive.database.read() as connection:
        return ledger.units_of(connection)


@pytest.fixture(scope="module")
def quadrants(units, done_survey):
    night = [u for u in units if (u.kind, u.night) == ("difference", done_survey.night)]
    return [QuadrantId.parse(unit.key) for unit in night]


@pytest.fixture(scope="module")
def packets(archive, done_survey):
    with archive.database.read() as connection:
        rows = packets_of(connection, done_survey.night)
    return [read_packet(archive.store.root / row["path"]) for row in rows]


@pytest.fixture(scope="module")
def against_truth(archive, done_survey):
    return compare_night(archive, done_survey.night, done_survey.sky / "truth")


def test_every_quadrant_is_done(units, done_survey):
    counts = {}
    for unit in units:
        key = unit.night == done_survey.night, unit.kind, str(unit.state)
        counts[key] = counts.get(key, 0) + 1
    assert counts == {
        (True, "calibration", "done"): 2,
        (True, "science", "done"): 6,
        (True, "difference", "done"): 6,
        (True, "packets", "done"): 6,
        (False, "calibration", "done"): 2,
        (False, "science", "done"): 10,
        (False, "difference", "waiting for reference"): 10,
        (False, "reference", "done"): 2,
    }
    for unit in units:
        if unit.state is State.DONE:
            assert unit.seconds > 0
            assert unit.peak_memory_mb > 50
            assert unit.owner is None
            assert unit.settings_hash


def test_products_of_references_cover_all_their_epochs(archive, units):
    for unit in [unit for unit in units if unit.kind == "reference"]:
        identifier, epochs = ReferenceId(**unit.inputs["reference"]), unit.inputs["epochs"]
        image = archive.store.load_exposure("reference", identifier)
        coverage, _ = read_image(archive.store.path("reference_coverage", identifier))
        assert coverage.shape == image.shape
        assert coverage.max() == len(epochs)
        for epoch in epochs:
            corners = archive.store.load_json("science_metrics", QuadrantId.parse(epoch))["corners"]
            x, y = image.wcs.all_world2pix(*np.transpose(corners), 0)
            assert min(*x, *y) > -1
            assert (max(x) < image.shape[1]) and (max(y) < image.shape[0])


def test_transients_are_found(against_truth):
    comparison, _ = against_truth
    assert comparison.n_good >= 10
    assert comparison.n_good_found >= binom.ppf(0.001, comparison.n_good, 0.95)


def test_hardly_an_alert_is_false(against_truth):
    comparison, _ = against_truth
    assert len(comparison.false) <= 0.5 * comparison.n_quadrants


def test_positions_and_magnitudes_of_transients(against_truth):
    comparison, _ = against_truth
    found = comparison.matches[comparison.matches["kind"] == "transient"]
    n = len(found)
    pulls = np.asarray(found["mag_pull"])
    assert abs(np.median(pulls)) < 0.1 + 4 * 1.25 / np.sqrt(n)
    for axis in ("east_arcsec", "north_arcsec"):
        noise = 2.2 / 2.355 / np.asarray(found["true_snr"])  # of a centroid, arcsec
        pulls = np.asarray(found[axis]) / np.hypot(noise, 0.03)
        assert np.median(np.abs(pulls)) == pytest.approx(0.674, abs=0.15 + 3 * 0.8 / np.sqrt(n))


def test_stars_are_where_they_are_and_as_bright(against_truth):
    _, figures = against_truth
    n = figures["n_bright_stars"]
    assert n > 30
    for axis in ("east_mas", "north_mas"):
        assert figures[f"{axis}_scatter"] < 15
        assert abs(figures[f"{axis}_median"]) < 2 + 4 * 1.25 * figures[f"{axis}_scatter"] / math.sqrt(n)
    assert figures["mag_mmag_scatter"] < 20
    assert abs(figures["mag_mmag_median"]) < 10


def test_score_is_normal_on_empty_sky(units, done_survey):
    for unit in units:
        if (unit.kind, unit.night) == ("difference", done_survey.night):
            assert unit.metrics["score_mean"] == pytest.approx(0, abs=0.05)
            assert unit.metrics["score_width"] == pytest.approx(1, abs=0.05)


def test_wcs_against_truth(archive, quadrants, done_survey):
    exposures = read_table(done_survey.sky / "truth" / "truth_exposures.parquet", "truth_exposures")
    x, y = (grid.ravel() for grid in np.meshgrid([20, NX / 2, NX - 20], [20, NY / 2, NY - 20]))
    for q in quadrants:
        row = next(
            r for r in exposures if (r["time"], r["ccd"], r["quadrant"]) == (q.time, q.ccd, q.quadrant)
        )
        true = WCS(fits.Header.fromstring(row["wcs"], sep="\n"))
        ours = archive.store.load_exposure("science", q).wcs
        back_x, back_y = true.all_world2pix(*ours.all_pix2world(x, y, 0), 0)
        assert np.hypot(back_x - x, back_y - y).max() < 0.12  # corners of a frame with few stars
        assert np.hypot(back_x - x, back_y - y).mean() < 0.05


def test_products_lie_where_the_command_says(archive, quadrants, done_survey):
    where = ("where", "--archive", done_survey.archive)
    from zsds import products

    without = {"cutouts"}  # which own packets alone need
    for product in {*products.SCIENCE, *products.DIFFERENCE} - without:
        for q in quadrants:
            assert archive.store.path(product, q).is_file(), product
    called = zsds(*where, "score", quadrants[0])
    assert called.status == 0
    assert called.out.strip() == str(archive.store.path("score", quadrants[0]))
    reference = ReferenceId(600, "zr", 1, 2, 1, archive.camera.prefix)
    for product in products.REFERENCE:
        assert archive.store.path(product, reference).is_file(), product
    calibration = CalibrationId(done_survey.night, "zr", 1, 1, 1, archive.camera.prefix)
    for product in products.CALIBRATION:
        assert archive.store.path(product, calibration).is_file(), product
    for product in ("packet_tar", "report"):
        assert archive.store.path(product, done_survey.night).is_file(), product


def test_images_satisfy_outside_tools(archive, quadrants):
    """What programs for forced photometry on ZTF's images look up."""
    words = (
        "FILTERID MAGZP MAGZPUNC MAGZPRMS CLRCOEFF CLRCOUNC OBSMJD OBSJD GAIN CCDID QID RCID SEEING AIRMASS "
        "MAGLIM STATUS INFOBITS FIELDID EXPTIME"
    )
    store = archive.store
    difference = fits.getheader(store.path("difference", quadrants[0]), 1)
    assert not set(words.split()) - set(difference)
    stamp = fits.getdata(store.path("difference_psf", quadrants[0]), 0)
    assert stamp.shape == (25, 25) and stamp.sum() == pytest.approx(1, abs=0.01)
    science = fits.getheader(store.path("science", quadrants[0]), 1)
    corrections = [science[f"APCOR{n}"] for n in range(1, 7)]
    assert corrections == sorted(corrections)  # the wider the aperture, the less is missing
    assert corrections[-1] == pytest.approx(0, abs=0.05)
    assert {"PIXSCALE", "SATURATE", "READNOI", "APCORUN6"} <= set(science)


def test_packets_are_read_by_fastavro(archive, packets):
    assert len(packets) > 5
    for packet in packets:
        with archive.store.path("packet", packet.candid).open("rb") as file:
            (record,) = fastavro.reader(file)
        assert record["candid"] == packet.candid
        assert record["schemavsn"] == "4.02"
        for name in ("Science", "Template", "Difference"):
            content = record[f"cutout{name}"]["stampData"]
            with fits.open(io.BytesIO(gzip.decompress(content))) as hdus:
                assert hdus[0].data.shape == (63, 63)
                assert np.isfinite(hdus[0].data).any()


def test_names_follow_the_rules(packets):
    candids = [packet.candid for packet in packets]
    assert len(set(candids)) == len(candids)
    places = {}
    for packet in packets:
        record, candidate = packet.record, packet.record["candidate"]
        assert re.fullmatch(r"ZTF19[a-z]{7}", record["objectId"])
        assert candidate["pid"] == packet.candid // 10**6
        quadrant = QuadrantId.parse(candidate["pdiffimfilename"])
        night_number, fraction = int(candidate["jd"] - 2457754.5), quadrant.fraction
        assert str(packet.candid).startswith(f"{night_number}{fraction[:5]}")
        assert candidate["nid"] == night_number
        places.setdefault(record["objectId"], []).append((candidate["ra"], candidate["dec"]))
    for found in places.values():  # one source, one name
        spread = np.ptp(np.array(found), axis=0) * [np.cos(np.radians(20)), 1] * 3600
        assert spread.max() < 3.0
    means = np.array([np.mean(found, axis=0) for found in places.values()])
    apart = np.hypot(*((means[:, None] - means) * [np.cos(np.radians(20)), 1] * 3600).transpose(2, 0, 1))
    assert apart[np.triu_indices(len(means), 1)].min() > 1.5


def test_histories_are_sorted_and_have_limits(packets):
    by_object = {}
    for packet in packets:
        by_object.setdefault(packet.record["objectId"], []).append(packet)
    limits = 0
    for found in by_object.values():
        found.sort(key=lambda packet: packet.candid)
        for k, packet in enumerate(found):
            history = packet.record["prv_candidates"] or []
            times = [row["jd"] for row in history]
            assert times == sorted(times)
            assert all(0 < packet.record["candidate"]["jd"] - time <= 30 for time in times)
            seen = [row["candid"] for row in history if row["candid"] is not None]
            assert {other.candid for other in found[:k]} <= set(seen)
            empty = [row for row in history if row["candid"] is None]
            assert all(row["magpsf"] is None and 18 < row["diffmaglim"] < 23 for row in empty)
            limits += len(empty)
            n_earlier = len({p.record["candidate"]["jd"] for p in packets if
                             p.record["candidate"]["jd"] < packet.record["candidate"]["jd"]})  # fmt: skip
            assert len(times) == n_earlier
    assert limits > 0  # some object was not there in the first exposure


def test_tar_holds_the_public_packets(archive, packets, done_survey):
    with tarfile.open(archive.store.path("packet_tar", done_survey.night)) as tar:
        names = [member.name for member in tar.getmembers()]
    assert sorted(names) == sorted(f"{packet.candid}.avro" for packet in packets)


def test_report_can_be_read_offline(archive, packets, done_survey):
    page = archive.store.path("report", done_survey.night).read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert not re.search(r"""(src|href)=["']https?://""", page)
    assert packets[0].record["objectId"] in page or str(packets[0].candid) in page


def test_every_fits_file_opens_without_warnings(archive):
    """Warnings are errors here: units, cards, checksums, coordinates and tables must all be FITS's own."""
    files = [p for p in archive.store.root.rglob("*.fits*") if p.is_file()]
    kinds = {re.sub(r"^.*_", "", p.name) for p in files}
    assert len(kinds) > 12
    for kind in sorted(kinds):
        path = next(p for p in files if p.name.endswith("_" + kind))
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            for number, hdu in enumerate(hdus):
                if isinstance(hdu, fits.BinTableHDU) and not isinstance(hdu, fits.CompImageHDU):
                    assert len(Table.read(path, hdu=number).colnames) > 0
                elif hdu.data is not None and "CTYPE1" in hdu.header:
                    assert WCS(hdu.header).naxis == 2
