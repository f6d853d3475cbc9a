"""Forced photometry in packets: that of whole images, true to the sky, the same whether kept or made anew."""

import numpy as np
import pytest
import sqlalchemy as sa
from survey import NIGHT

from zsds.associate.history import Epoch
from zsds.core.difference import Difference, Registration
from zsds.core.ids import QuadrantId
from zsds.core.sphere import separation_arcsec
from zsds.db.history import histories_of
from zsds.db.objects import objects_near, packets_of
from zsds.db.schema import coverage, detections, forced_fluxes
from zsds.forced import measure_forced
from zsds.io.images import read_image
from zsds.io.packets import read_packet
from zsds.io.tables import read_table
from zsds.pipeline.settings import Settings
from zsds.runner.forced import forced_histories
from zsds.runner.packets import run_packets


@pytest.fixture(scope="module")
def records(done_survey):
    archive = done_survey.open()
    with archive.database.read() as connection:
        rows = packets_of(connection, NIGHT)
    return [read_packet(archive.store.root / row["path"]).record for row in rows]


@pytest.fixture(scope="module")
def images(done_survey):
    with done_survey.open().database.read() as connection:
        return {row["pid"]: dict(row) for row in connection.execute(sa.select(coverage)).mappings()}


@pytest.fixture(scope="module")
def objects(done_survey):
    with done_survey.open().database.read() as connection:
        every = connection.execute(sa.select(sa.text("ra, dec FROM objects WHERE ipix IS NOT NULL"))).all()
        return objects_near(connection, *np.transpose(every), 1.0)


def in_memory(archive, image):
    """The whole difference of an image of the archive."""
    identifier = QuadrantId.parse(image["unit"])
    exposure = archive.store.load_exposure("difference", identifier)
    errors, _ = read_image(archive.store.path("difference_flux_error", identifier))
    errors *= np.float32(exposure.info.gain)
    facts = image["record"]["image"]
    return Difference(
        exposure, errors, errors, 1.0, 0, Registration(), own_noise=facts["own_noise"]
    )  # the score is not looked at


def test_every_flux_is_that_of_the_whole_image(done_survey, records, images, objects):
    archive, place = done_survey.open(), {row["id"]: row for row in objects}
    n_rows = 0
    for pid, image in images.items():
        whole = in_memory(archive, image)
        rows = [
            (place[record["objectId"]], row)
            for record in records
            for row in record["fp_hists"] or ()
            if row["pid"] == pid and record["objectId"] in place
        ]
        n_rows += len(rows)
        if not rows:
            continue
        at = whole.exposure.wcs.all_world2pix([(o["ra"], o["dec"]) for o, _ in rows], 0)
        found = measure_forced(whole, *at.T)
        for (_, row), twin in zip(rows, found, strict=True):
            assert row["procstatus"] == str(twin["status"])
            if np.isfinite(twin["flux"]):
                gain = whole.exposure.info.gain
                assert row["forcediffimflux"] * gain == pytest.approx(
                    twin["flux"], abs=0.02 * twin["flux_err"]
                )
                assert row["forcediffimfluxunc"] * gain == pytest.approx(twin["flux_err"], rel=0.01)
            else:
                assert row["forcediffimflux"] == row["forcediffimfluxunc"] == -99999.0
    assert n_rows > 15


def test_each_image_once_by_time_and_not_this_one(records):
    with_forced = [record for record in records if record["fp_hists"]]
    assert with_forced
    for record in with_forced:
        jds = [row["jd"] for row in record["fp_hists"]]
        assert jds == sorted(set(jds))
        assert record["candidate"]["jd"] - 30 <= jds[0]
        assert jds[-1] < record["candidate"]["jd"]


def test_fluxes_are_true(done_survey, images, objects):
    """Of transients, whose position of the first detection is good enough to force a flux at."""
    archive = done_survey.open()
    changes = read_table(done_survey.sky / "truth" / "truth_changes.parquet", "truth_changes")
    changes = changes[(changes["kind"] == "transient") & (np.abs(changes["snr"]) < 60)]
    with archive.database.read() as connection:
        rows = connection.execute(sa.select(forced_fluxes)).mappings().all()
    place = {row["id"]: row for row in objects}
    pulls = []
    for row in rows:
        if row["object_id"] not in place or row["status"] != 0:
            continue
        one, identifier = place[row["object_id"]], QuadrantId.parse(images[row["pid"]]["unit"])
        here = (changes["time"] == identifier.time) & (changes["quadrant"] == identifier.quadrant)
        near = separation_arcsec(one["ra"], one["dec"], changes["ra"], changes["dec"]) < 0.7
        change = np.asarray(changes["change"][here & near])
        pulls += (
            (row["flux"] - change) / np.hypot(row["flux_err"], 0.02 * change)
        ).tolist()  # 2 % of its PSF
    n = len(pulls)
    assert n >= 10
    assert np.median(pulls) == pytest.approx(0, abs=4 * 1.25 / np.sqrt(n))
    assert np.median(np.abs(pulls)) == pytest.approx(0.674, abs=3.5 * 0.8 / np.sqrt(n))


def points_of(archive, objects, images):
    """Forced photometry of all objects at the last exposure, as the packets unit asks for it."""
    last = max(images.values(), key=lambda row: row["jd"])
    epoch = Epoch(last["jd"], last["field"], last["channel"])
    with archive.database.read() as connection:
        histories = histories_of(connection, objects["ra"], objects["dec"], epoch)
    return forced_histories(archive, objects, [history.images for history in histories])


def test_what_is_kept_is_what_is_measured_and_gone_images_are_left_out(
    done_survey, images, objects, tmp_path
):
    survey = done_survey.copied(tmp_path / "archive")
    archive = survey.open()
    kept = points_of(archive, objects, images)
    with archive.database.write() as connection:
        connection.execute(forced_fluxes.delete())
    halves = [points_of(archive, objects[part], images) for part in (np.s_[::2], np.s_[1::2])]
    assert [halves[n % 2][n // 2] for n in range(len(objects))] == kept
    gone = QuadrantId.parse(images[min(images)]["unit"])
    archive.store.path("difference", gone).unlink()
    assert points_of(archive, objects, images) == kept  # from the database
    with archive.database.write() as connection:
        connection.execute(forced_fluxes.update().values(version="older"))
    left = points_of(archive, objects, images)
    for before, after in zip(kept, left, strict=True):
        assert after == [p for p in before if p.facts["pid"] != min(images)]
    assert left != kept


def test_public_packets_show_nothing_of_other_programs(done_survey, images, tmp_path):
    """The first exposure made proprietary: no later public packet tells that it was taken."""
    archive = done_survey.copied(tmp_path / "archive").open()
    hidden = min(row["jd"] for row in images.values())
    with archive.database.write() as connection:
        for table in (coverage, detections):
            connection.execute(table.update().where(table.c.jd == hidden).values(program_id=2))
    last = max(images.values(), key=lambda row: row["jd"])
    before = [read_packet(path).record for path in packet_files(archive, last)]
    run_packets(last["unit"], {}, archive, Settings())
    after = [read_packet(path).record for path in packet_files(archive, last)]
    for old, new in zip(before, after, strict=True):
        for name in ("prv_candidates", "fp_hists"):
            assert [row for row in old[name] or [] if row["jd"] != hidden] == (new[name] or [])
        assert new["candidate"]["ncovhist"] == old["candidate"]["ncovhist"] - 1
        assert new["candidate"]["jdstarthist"] > hidden
    assert any(old != new for old, new in zip(before, after, strict=True))


def packet_files(archive, image):
    """Packets of one quadrant of an exposure."""
    with archive.database.read() as connection:
        wanted = sa.select(detections.c.candid).where(detections.c.pid == image["pid"])
        candids = set(connection.scalars(wanted))
        rows = packets_of(connection, NIGHT)
    return [archive.store.root / row["path"] for row in rows if row["candid"] in candids]
