"""Archives with something wrong or missing: told in a line, nothing else harmed, and mended as told."""

import errno
import shutil
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
import yaml
from astropy.io import fits
from bad_frames import documented
from survey import NIGHT, SERIAL, expect, forget_frames, product_hashes, run_night, zsds

from zsds.db.ledger import State
from zsds.db.schema import metadata
from zsds.products import CalibrationId, ReferenceId

DONE = [State.DONE] * 2
LATER = documented("fail or wait")
AT_ONCE = documented("before anything runs")


@pytest.fixture
def survey(ready_survey, tmp_path):
    """One frame of two quadrants, ready to run."""
    copy = ready_survey.copied(tmp_path / "archive")
    forget_frames(copy.archive, keep=copy.frames[0])
    return copy


def states(survey, kind):
    return [unit.state for unit in survey.units(kind)]


def reasons(survey, kind):
    return [unit.reason or "" for unit in survey.units(kind)]


def one_line(called, *words):
    """The single line of an error."""
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert line.startswith("zsds: ")
    for word in words:
        assert str(word) in line
    return line


def told(called, *words):
    """Words that the closing summary must have, without a traceback."""
    assert "Traceback" not in called.out + called.err
    for word in words:
        assert str(word) in called.out


def forget(survey, table, *wheres):
    with survey.open().database.write() as connection:
        connection.execute(sa.delete(metadata.tables[table]).where(*wheres))


def test_no_calibration(survey, tmp_path):
    with survey.open().database.read() as connection:
        rows = [
            dict(row) for row in connection.execute(sa.select(metadata.tables["calibrations"])).mappings()
        ]
    forget(survey, "calibrations")
    told(expect(run_night(survey)), *LATER["no calibration"])
    assert states(survey, "science") == [State.NO_CALIBRATION] * 2
    with survey.open().database.write() as connection:
        connection.execute(metadata.tables["calibrations"].insert(), rows)
    expect(run_night(survey))
    assert states(survey, "packets") == DONE


def test_calibration_without_files(survey):
    archive = survey.open()
    path = archive.store.path("flat", CalibrationId(NIGHT, "zr", 1, 2, 1, "ztf"))
    kept = path.with_name("kept")
    path.rename(kept)
    called = run_night(survey)
    assert called.status == 1
    told(called, path, *LATER["calibration without files"])
    assert states(survey, "science") == [State.DONE, State.FAILED]
    assert states(survey, "difference") == [State.DONE, State.PENDING]
    kept.rename(path)
    expect(run_night(survey))
    assert states(survey, "packets") == DONE


def test_no_reference(survey):
    forget(survey, "reference_images")
    told(expect(run_night(survey)), *LATER["no reference"])
    assert states(survey, "science") == DONE
    assert states(survey, "difference") == [State.NO_REFERENCE] * 2


def test_reference_without_files(survey):
    path = survey.open().store.path("reference_spline", ReferenceId(600, "zr", 1, 1, 1, "ztf"))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    called = run_night(survey)
    assert called.status == 1
    told(called, path, *LATER["reference damaged"])
    assert states(survey, "science") == DONE
    assert states(survey, "difference") == [State.FAILED, State.DONE]
    path.write_bytes(content)
    expect(run_night(survey))
    assert states(survey, "packets") == DONE


def test_reference_of_another_field(survey):
    store = survey.open().store
    for product in ("reference", "reference_spline"):
        with fits.open(store.path(product, ReferenceId(600, "zr", 1, 2, 1, "ztf")), "update") as hdus:
            for hdu in hdus:
                if "CRVAL1" in hdu.header:
                    hdu.header["CRVAL1"] += 5.0
    called = run_night(survey)
    told(called, *LATER["reference of another field"])
    assert called.status == 0
    assert states(survey, "difference") == [State.DONE, State.REJECTED]
    assert "overlap 0" in reasons(survey, "difference")[1]


def test_calibrated_image_damaged(survey):
    expect(run_night(survey))
    path = sorted((survey.archive / "sci" / NIGHT[:4]).rglob("*_sciimg.fits.fz"))[0]
    path.write_bytes(b"")
    called = run_night(survey, "--set", "difference.candidates.threshold=6")
    assert called.status == 1
    told(called, path, *LATER["calibrated image gone or damaged"], NIGHT)
    assert states(survey, "difference") == [State.FAILED, State.DONE]
    expect(run_night(survey, "--again"))


@pytest.mark.parametrize("kind", ["gaia", "ps1"])
def test_catalog_never_imported(survey, kind):
    before = product_hashes(survey.archive)
    shutil.move(survey.archive / "catalogs" / kind, survey.archive / "kept")
    one_line(run_night(survey), *(w.replace("gaia", kind) for w in AT_ONCE["catalog never imported"]))
    assert survey.units("science") == []
    shutil.move(survey.archive / "kept", survey.archive / "catalogs" / kind)
    assert product_hashes(survey.archive) == before


@pytest.mark.parametrize("kind", ["gaia", "ps1"])
def test_catalog_of_elsewhere(survey, kind):
    folder = survey.archive / "catalogs" / kind
    shutil.move(folder, survey.archive / "kept")
    file = survey.archive / "far.csv"
    file.write_text(
        "source_id,ra,dec,phot_g_mean_mag\n1,10.0,-40.0,15.0\n" if kind == "gaia"
        else "objID,raMean,decMean,gMeanPSFMag,rMeanPSFMag,iMeanPSFMag,zMeanPSFMag,gMeanPSFMagErr,"
        "rMeanPSFMagErr,iMeanPSFMagErr,zMeanPSFMagErr\n1,10.0,-40.0,16,16,16,16,0.01,0.01,0.01,0.01\n"
    )  # fmt: skip
    expect(zsds("catalogs", "import", "--archive", survey.archive, kind, file))
    called = run_night(survey)
    assert called.status == 1
    told(called, *LATER["catalog without stars there"], f"zsds catalogs fetch {kind} ")
    assert states(survey, "science") == [State.FAILED] * 2
    shutil.rmtree(folder)
    shutil.move(survey.archive / "kept", folder)
    expect(run_night(survey))
    assert states(survey, "packets") == DONE


def test_catalog_that_ends_within_the_image(survey):
    folder = survey.archive / "catalogs" / "gaia"
    shutil.copytree(folder, survey.archive / "kept")
    rows = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    middle = np.median(np.concatenate([table["dec"].to_numpy() for table in rows]))
    for path, table in zip(sorted(folder.glob("*.parquet")), rows, strict=True):
        pq.write_table(table.filter(pc.field("dec") > middle), path)
    called = run_night(survey)
    assert called.status == 1
    told(called, *LATER["catalog that ends within the image"])
    assert states(survey, "science") == [State.FAILED] * 2
    shutil.rmtree(folder)
    shutil.move(survey.archive / "kept", folder)
    expect(run_night(survey))
    assert states(survey, "packets") == DONE


def test_no_orbits_is_no_mistake(survey):
    shutil.rmtree(survey.archive / "catalogs" / "orbits", ignore_errors=True)
    expect(run_night(survey))
    assert states(survey, "packets") == DONE


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS], ids=["disk full", "read-only"])
def test_disk_that_takes_nothing(survey, monkeypatch, error):
    write = Path.write_bytes

    def refuse(path, content):
        if "_q1_sciimg" in path.name:
            raise OSError(error, "refused", str(path))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        called = run_night(survey)
    assert called.status == 1
    if error == errno.ENOSPC:  # the run ends
        one_line(called, "_q1_sciimg", *LATER["disk full"])
        assert states(survey, "science") == [State.FAILED, State.PENDING]
    else:
        told(called, "_q1_sciimg", *LATER["read-only disk"])
        assert states(survey, "science") == [State.FAILED, State.DONE]
    assert not list((survey.archive / ".partial").glob("*"))
    assert not list((survey.archive / "sci" / "2019").rglob("*_q1_*"))
    expect(run_night(survey))
    assert states(survey, "packets") == DONE


def test_disk_full_while_packets_are_written(survey, monkeypatch):
    write = Path.write_bytes

    def refuse(path, content):
        if ".avro" in path.name:
            raise OSError(errno.ENOSPC, "refused", str(path))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", refuse)
        called = run_night(survey)
    one_line(called, *LATER["disk full"])
    assert set(states(survey, "packets")) <= {State.FAILED, State.DONE, State.PENDING}
    assert not list((survey.archive / "alerts").rglob("*.avro"))
    expect(run_night(survey))
    assert states(survey, "packets") == DONE
    assert list((survey.archive / "alerts").rglob("*.avro"))


def test_candidates_that_vanished(survey):
    expect(run_night(survey))
    (lost,) = survey.archive.rglob("*_q1_candidates.fits")
    lost.unlink()
    with survey.open().database.write() as connection:
        table = metadata.tables["units"]
        pending = sa.update(table).where(table.c.kind == "packets").values(state="pending")
        connection.execute(pending)
    called = run_night(survey)
    assert called.status == 1
    told(called, lost, *LATER["candidates vanished before naming"])
    assert states(survey, "packets") == [State.FAILED, State.DONE]
    expect(run_night(survey, "--again"))
    assert states(survey, "packets") == DONE


@pytest.mark.parametrize(
    "content",
    ["science: [unclosed", "\x00\xff", "- a list", "science: {no_such: 1}", "science: 3", "night: {}"],
)
def test_garbage_settings(survey, tmp_path, content):
    file = tmp_path / "settings.yaml"
    file.write_text(content, encoding="latin-1")
    called = run_night(survey, "--settings", file)
    assert called.status in (1, 2)
    (line,) = called.err.splitlines()
    assert line.startswith("zsds: ")
    assert str(file) in line
    assert survey.units("science") == []


@pytest.mark.parametrize(
    "content",
    ["name: [", "name: tiny\n", "- nothing\n", "", "\x00"],
    ids=["yaml", "keys", "list", "empty", "nul"],
)
def test_garbage_camera(survey, content):
    file = survey.archive / "camera.yaml"
    file.write_text(content)
    one_line(run_night(survey), file)
    one_line(zsds("init", survey.archive.parent / "new", "--camera", file), file)
    assert not (survey.archive.parent / "new" / "zsds.yaml").exists()


def test_camera_without_the_ccd_of_a_frame(survey):
    file = survey.archive / "camera.yaml"
    text = file.read_text()
    camera = yaml.safe_load(text)
    camera["detectors"] = {2: camera["detectors"][1]}
    file.write_text(yaml.safe_dump(camera))
    one_line(run_night(survey), survey.frames[0], *AT_ONCE["frame of a CCD that the camera file lost"])
    file.write_text(text)
    expect(run_night(survey))
    assert states(survey, "packets") == DONE


def test_products_that_others_are_made_from_are_not_pruned(survey):
    for product in ("candidates", "science", "science_psf", "psf_catalog", "stamps"):
        called = zsds("prune", "--archive", survey.archive, "--set", f"retention.products=[{product}]")
        assert called.status == 2
        (line,) = called.err.splitlines()
        assert all(words in line for words in AT_ONCE["a product to prune that others are made from"])


def test_archive_of_a_newer_layout(survey):
    file = survey.archive / "zsds.yaml"
    text = file.read_text()
    file.write_text(text.replace("layout: 1", "layout: 99"))
    one_line(run_night(survey), file, *AT_ONCE["archive of a newer zsds"])
    file.write_text("{")
    one_line(run_night(survey), file, *AT_ONCE["damaged `zsds.yaml` or database"])


def test_database_of_a_newer_zsds_or_damaged_or_gone(survey):
    file = survey.archive / "zsds.sqlite"
    with survey.open().database.write() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    one_line(run_night(survey), *AT_ONCE["archive of a newer zsds"])
    for extra in survey.archive.glob("zsds.sqlite-*"):
        extra.unlink()
    file.write_bytes(b"not a database" * 1000)
    one_line(run_night(survey), file, "backup")
    file.unlink()
    one_line(run_night(survey), file, "zsds init")


def test_a_scheduler_that_is_not_there_leaves_nothing_behind(survey, monkeypatch):
    from distributed import Client

    def nobody(*_, **__):
        raise OSError("Timed out")

    monkeypatch.setattr(Client, "__init__", nobody)
    monkeypatch.setattr(Client, "__del__", lambda *_: None)
    called = zsds("night", "--archive", survey.archive, NIGHT, "--cluster", "tcp://127.0.0.1:1")
    one_line(called, "tcp://127.0.0.1:1", *AT_ONCE["no scheduler at `--cluster tcp://...`"])
    assert State.RUNNING not in states(survey, "science")
    expect(zsds("night", "--archive", survey.archive, NIGHT, *SERIAL))


def test_the_manual_is_about_what_happens():
    assert {"disk full", "a bug", "worker killed"} <= set(LATER)
    assert len(LATER) == 16
    assert len(AT_ONCE) == 11
