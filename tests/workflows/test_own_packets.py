"""Packets of our own schema: what ZTF's say and more, read by anybody's reader, in the command line too."""

import gzip
import io
import shutil
import warnings

import fastavro
import numpy as np
import pytest
import sqlalchemy as sa
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from survey import NIGHT, SERIAL, expect, zsds

from zsds.alerts import open_cutout, open_stamp
from zsds.core.alert_schema import OWN_VERSION, alert_schema
from zsds.core.ids import JD_MINUS_MJD, QuadrantId
from zsds.core.programs import programs_in
from zsds.core.settings import with_values
from zsds.core.stream import Stream
from zsds.db import ledger
from zsds.db.objects import packets_of
from zsds.db.publications import made_packets
from zsds.db.schema import coverage, detections, packets
from zsds.io.packets import decode_packet, encode_packet, encode_schemaless, read_packet
from zsds.pipeline.settings import Settings
from zsds.resources import resource
from zsds.runner.archive import open_archive
from zsds.runner.difference import run_difference
from zsds.runner.naming import run_naming
from zsds.runner.packets import run_packets

SETTINGS = with_values(Settings(), {"difference": {"own_packets": True}})
SENTINELS = (-999, -99999, "null")


@pytest.fixture(scope="module")
def archive(done_survey, tmp_path_factory):
    """The archive, the quadrant with most alerts of the last exposure done again with both schemas."""
    survey = done_survey.copied(tmp_path_factory.mktemp("own") / "archive")
    archive = survey.open()
    with archive.database.read() as connection:
        units = ledger.units_of(connection, survey.night, "difference")
    unit = max(units, key=lambda unit: (QuadrantId.parse(unit.key).time, unit.metrics["n_alerts"]))
    run_difference(unit.key, unit.inputs, archive, SETTINGS)
    run_naming(archive, [QuadrantId.parse(unit.key)], own_packets=True)
    run_packets(unit.key, {}, archive, SETTINGS)
    return archive


@pytest.fixture(scope="module")
def pairs(archive):
    """Our packets and ZTF's of the same candidates."""
    ours = [read_packet(path) for path in sorted((archive.store.root / "alerts_zsds").rglob("*.avro"))]
    assert len(ours) > 3
    return [(own, read_packet(archive.store.path("packet", own.candid))) for own in ours]


def numbers(value):
    """All plain values inside a record."""
    if isinstance(value, dict):
        return [one for part in value.values() for one in numbers(part)]
    return [one for part in value for one in numbers(part)] if isinstance(value, list) else [value]


def njy(mag):
    return 10 ** (-0.4 * (mag - 31.4))


def test_fluxes_are_those_of_magnitudes_and_add_up(pairs):
    pulls = []
    for own, ztf in pairs:
        candidate, sign = own.record["candidate"], 1 if ztf.value("isdiffpos") == "t" else -1
        assert candidate["flux"] == pytest.approx(sign * njy(ztf.value("magpsf")), rel=1e-5)
        assert candidate["flux_err"] == pytest.approx(
            abs(candidate["flux"]) * ztf.value("sigmapsf") / 1.0857, rel=1e-4
        )
        change = candidate["total_flux"] - candidate["reference_flux"]
        noise = [candidate[name] for name in ("flux_err", "total_flux_err", "reference_flux_err")]
        psf_err = 0.03 * candidate["total_flux"]
        pulls.append((change - candidate["flux"]) / np.linalg.norm([*noise, psf_err]))
    assert np.abs(pulls).max() < 4


def test_forced_history_includes_this_exposure_and_agrees_with_ztf(pairs):
    for own, ztf in pairs:
        forced = own.record["forced"]
        assert forced[-1]["start_mjd"] == own.record["exposure"]["start_mjd"]
        assert forced[-1]["mid_mjd"] - forced[-1]["start_mjd"] == pytest.approx(15 / 86400, abs=1e-9)
        earlier = ztf.record["fp_hists"] or []
        assert [row["pid"] for row in forced[:-1]] == [row["pid"] for row in earlier]
        for mine, theirs in zip(forced, earlier, strict=False):
            if mine["flux"] is None:
                assert (theirs["forcediffimflux"], mine["status"]) == (-99999.0, "too_many_bad_pixels")
                continue
            assert mine["flux"] == pytest.approx(
                theirs["forcediffimflux"] * njy(theirs["magzpsci"]), rel=1e-5
            )
            assert mine["limit_mag"] == pytest.approx(31.4 - 2.5 * np.log10(5 * mine["flux_err"]), abs=1e-5)
        if forced[-1]["status"] == "clean":
            candidate = own.record["candidate"]
            assert forced[-1]["flux"] == pytest.approx(candidate["flux"], abs=2 * candidate["flux_err"])


def test_object_reference_and_history(pairs):
    for own, ztf in pairs:
        about, candidate = own.record["object"], ztf.record["candidate"]
        assert (about["n_detections"], about["n_covered"]) == (candidate["ndethist"], candidate["ncovhist"])
        assert about["first_detection_mjd"] == candidate["jdstarthist"] - JD_MINUS_MJD
        seen = [row for row in ztf.history if row["candid"]]
        assert [row["candid"] for row in own.history] == [row["candid"] for row in seen]
        for mine, theirs in zip(own.history, seen, strict=True):
            assert abs(mine["flux"]) == pytest.approx(njy(theirs["magpsf"]), rel=1e-5)
        reference = own.record["reference"]
        assert reference["n_frames"] == candidate["nframesref"]
        assert reference["is_contaminated"] == (reference["end_mjd"] >= about["first_mjd"])
        assert own.program_id == ztf.program_id
    positions = {}
    for own, _ in pairs:
        place = own.record["object"]["ra"], own.record["object"]["dec"]
        assert positions.setdefault(own.object_id, place) == place


def test_missing_is_null(pairs):
    for own, _ in pairs:
        values = numbers(plain(own))
        assert not [value for value in values if value in SENTINELS]
        assert not [value for value in values if isinstance(value, float) and not np.isfinite(value)]


def test_anybodys_reader_reads_them(pairs):
    for own, _ in pairs:
        content = encode_packet(own)
        record = next(fastavro.reader(io.BytesIO(content)))
        assert record == own.record
        assert encode_packet(decode_packet(content)) == content
        bare = fastavro.schemaless_reader(io.BytesIO(encode_schemaless(own)), alert_schema(OWN_VERSION))
        assert bare == own.record
    broken = dict(pairs[0][0].record) | {"candid": "x"}
    with pytest.raises(ValueError, match="schema"):
        encode_packet(type(pairs[0][0])(broken, OWN_VERSION))


def test_cutouts_are_images_with_wcs(archive, pairs):
    for own, ztf in pairs:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyWarning)
            with fits.open(io.BytesIO(gzip.decompress(own.record["cutout"]))) as hdus:
                hdus.verify("exception")
                headers = {hdu.name: hdu.header for hdu in hdus[1:]}
        planes = open_cutout(own.record["cutout"])
        assert {plane.shape for plane in planes.values()} == {(63, 63)}
        identifier = QuadrantId.parse(own.record["exposure"]["id"])
        gain = archive.store.load_json("difference_metrics", identifier)["image"]["gain"]
        dn = own.record["exposure"]["zero_point"] - 2.5 * np.log10(gain)
        sign = 1 if ztf.value("isdiffpos") == "t" else -1
        for name, theirs, factor in (
            ("SCIENCE", "Science", 1), ("REFERENCE", "Template", 1), ("DIFFERENCE", "Difference", sign),
        ):  # fmt: skip
            expected = open_stamp(ztf.stamp(theirs)) * factor * njy(dn)
            np.testing.assert_allclose(planes[name], expected, rtol=1e-4, atol=1e-3)
            assert headers[name]["BUNIT"] == "nJy"
            known = np.isfinite(planes[f"{name}_ERR"])
            assert (planes[f"{name}_ERR"][known] > 0).all()
        candidate = own.record["candidate"]
        x, y = WCS(headers["DIFFERENCE"]).all_world2pix(candidate["ra"], candidate["dec"], 0)
        assert x - 31 == pytest.approx(candidate["x"] - np.floor(candidate["x"] + 0.5), abs=0.01)
        assert y - 31 == pytest.approx(candidate["y"] - np.floor(candidate["y"] + 0.5), abs=0.01)
        whole = archive.store.open_exposure("difference", identifier).wcs
        corner = WCS(headers["MASK"]).all_pix2world(0, 62, 0)
        place = whole.all_world2pix(*corner, 0)
        assert place[0] == pytest.approx(np.floor(candidate["x"] + 0.5) - 31, abs=0.2)
        assert place[1] == pytest.approx(np.floor(candidate["y"] + 0.5) + 31, abs=0.2)


def test_commands_read_both(archive, pairs, tmp_path):
    own, ztf = pairs[0]
    where = ("--archive", archive.store.root, "--schema", "zsds/1_0")
    listed = expect(zsds("alerts", "list", *where)).out
    assert f"{len(pairs)} packets" in listed
    assert str(own.candid) in listed
    shown = expect(zsds("alerts", "show", own.candid, *where, "--out", tmp_path / "own.png")).out
    assert "total_flux" in shown
    assert (tmp_path / "own.png").stat().st_size > 10000
    assert abs(own.value("magpsf") - ztf.value("magpsf")) < 1e-4
    assert [point.jd for point in own.light_curve()][-1] == pytest.approx(ztf.value("jd"), abs=1e-8)
    assert zsds("alerts", "list", "--archive", archive.store.root, "--schema", "other").status == 2


def test_public_packets_tell_nothing_of_an_exposure_of_another_program(archive, pairs, tmp_path):
    """The first exposure made proprietary, which found most objects: no later public packet knows of it."""
    shutil.copytree(archive.store.root, tmp_path / "archive")
    opened = open_archive(tmp_path / "archive")
    unit = pairs[0][0].record["exposure"]["id"]
    with opened.database.write() as connection:
        hidden = connection.execute(sa.select(coverage.c.jd, coverage.c.pid).order_by(coverage.c.jd)).first()
        for table in (coverage, detections):
            connection.execute(table.update().where(table.c.jd == hidden.jd).values(program_id=2))
        pids = list(connection.scalars(sa.select(coverage.c.pid).where(coverage.c.jd == hidden.jd)))
        secret = {
            *connection.scalars(sa.select(detections.c.candid).where(detections.c.pid.in_(pids))),
            *pids,
        }
    secret.add(hidden.jd - JD_MINUS_MJD)
    assert any(secret & set(numbers(plain(own))) for own, _ in pairs)
    run_packets(unit, {}, opened, SETTINGS)
    for own, _ in pairs:
        told = read_packet(opened.store.path("own_packet", own.candid))
        assert not secret & set(numbers(plain(told)))
        assert programs_in(told.record) == {1}
        assert told.record["object"]["n_covered"] == own.record["object"]["n_covered"] - 1


def plain(packet):
    """A record without its cutout."""
    return {name: value for name, value in packet.record.items() if name != "cutout"}


def test_a_night_made_with_them_has_them_in_the_outbox_and_one_made_without_withdraws_them(
    done_survey, tmp_path
):
    survey = done_survey.copied(tmp_path / "archive")
    opened, again = (
        survey.open(),
        ("reprocess", "--archive", survey.archive, "--night", NIGHT, "--quadrant", 1, *SERIAL),
    )
    expect(zsds(*again, "--from", "difference", "--set", "difference.own_packets=true"))

    def rows():
        with opened.database.read() as connection:
            return {
                row["candid"]: opened.store.root / row["path"]
                for row in made_packets(connection, Stream("ztf", NIGHT, 1, "zsds"))
            }

    made = rows()
    files = sorted((opened.store.root / "alerts_zsds" / NIGHT).rglob("*.avro"))
    assert len(made) > 3
    assert sorted(made.values()) == files
    sent = min(made)
    with opened.database.write() as connection:
        here = packets.c.candid == sent, packets.c.schema == "zsds"
        connection.execute(packets.update().where(*here).values(published=True))
        n_ztf = len(packets_of(connection, NIGHT))
    expect(zsds(*again, "--from", "difference"))
    assert rows() == {sent: made[sent]}
    assert sorted((opened.store.root / "alerts_zsds" / NIGHT).rglob("*.avro")) == [made[sent]]
    with opened.database.read() as connection:
        assert len(packets_of(connection, NIGHT)) == n_ztf


def test_sample_beside_the_schema_reads():
    file = resource("schemas", "alert", "zsds_1_0", "sample.avro")
    sample = read_packet(file)
    assert sample.schema_version == OWN_VERSION
    assert encode_packet(sample) == file.read_bytes()
    assert len(sample.record["forced"]) > 2
    assert open_cutout(sample.record["cutout"])["DIFFERENCE"][31, 31] > 0
