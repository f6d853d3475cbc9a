"""The status service: page, JSON and metrics of a real small night, and of a database that went away."""

import json
import re
import socket
from types import SimpleNamespace

import pytest
import yaml
from fastapi.testclient import TestClient
from survey import NIGHT, expect, zsds

from zsds.core.camera_file import load_camera
from zsds.db import ledger
from zsds.db.ledger import Outcome, State
from zsds.runner.doctor import examine
from zsds.runner.status import age
from zsds.service import create_app


@pytest.fixture
def client(done_survey):
    return TestClient(create_app(done_survey.archive))


def metrics(client):
    """Values by the name with its labels."""
    lines = client.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_page_shows_the_night(client, done_survey):
    answer = client.get("/")
    assert answer.status_code == 200
    text = re.sub(r"<[^>]+>", " ", answer.text)
    n_alerts = sum(unit.metrics["n_packets"] for unit in done_survey.units("packets"))
    assert f"Night {NIGHT}" in text
    assert f"{n_alerts} alerts, 0 of them published" in text
    assert "waiting for reference" in text
    assert "http-equiv" in answer.text
    assert not re.search(r"(src|href)=", answer.text)  # nothing from elsewhere


def test_json_and_metrics_say_what_the_ledger_says(client, done_survey):
    night = client.get("/status.json").json()["nights"][0]
    assert night["night"] == NIGHT
    assert night["counts"]["packets"] == {"done": 6}
    found = metrics(client)
    assert found["zsds_database_up"] == 1
    assert found[f'zsds_units{{kind="science",night="{NIGHT}",state="done"}}'] == 6
    assert found[f'zsds_alerts{{night="{NIGHT}"}}'] == night["alerts"] > 0
    assert found[f'zsds_oldest_unfinished_seconds{{night="{NIGHT}"}}'] == 0
    assert found[f'zsds_units{{kind="difference",night="{NIGHT}",state="failed"}}'] == 0
    assert found["zsds_disk_free_bytes"] > 0


@pytest.mark.parametrize(("free", "is_little"), [(2.4e12 / 700 * 99, True), (2.4e12 / 700 * 110, False)])
def test_one_limit_of_the_disk(done_survey, monkeypatch, free, is_little):
    """An hour of the whole camera, which takes 2.4 TB in a night of 700 exposures."""
    camera = load_camera("ztf")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=int(free)))
    monkeypatch.setattr("zsds.runner.archive.load_camera", lambda _: camera)
    monkeypatch.setattr("zsds.runner.space.load_camera", lambda _: camera)
    client = TestClient(create_app(done_survey.archive))
    assert ('class="tile bad"' in client.get("/").text) == is_little
    found = metrics(client)
    assert (found["zsds_disk_free_bytes"] < found["zsds_disk_wanted_bytes"]) == is_little
    (disk,) = (finding for finding in examine(done_survey.archive) if finding.what == "disk")
    assert disk.ok != is_little


def test_what_is_unfinished_failed_and_slow_is_shown(done_survey, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    key = survey.units("science")[0].key
    with survey.open().database.write() as connection:
        failed = ledger.claim(connection, "science", key, "me", again=True)
        ledger.finish(
            connection, failed, Outcome(State.FAILED, "/raw/<b>a.fits: is truncated; fetch it again")
        )
        slow = ledger.claim(connection, "packets", key, "me", again=True)
        ledger.finish(connection, slow, Outcome(State.DONE, metrics={"latency_s": 21.5}))
        made_again = ledger.claim(connection, "packets", key, "me", again=True)
        ledger.finish(connection, made_again, Outcome(State.DONE))
        ledger.claim(connection, "difference", key, "me", again=True)
    where = ("--archive", survey.archive, "--night", NIGHT)
    client = TestClient(create_app(survey.archive))
    page = client.get("/").text
    assert "/raw/&lt;b&gt;a.fits: is truncated; fetch it again" in page
    assert f"Oldest quadrant to do: {key}" in page
    assert "22 s (median)" in page
    row = {row["kind"]: row for row in json.loads(expect(zsds("status", *where, "--json")).out)}
    assert row["packets"]["latency_s"] == [21.5, 21.5, 21.5]
    assert (row["difference"]["oldest"], row["science"]["oldest"]) == (key, None)
    assert row["difference"]["oldest_s"] > 6 * 365 * 86400
    (trouble,) = row["science"]["troubles"]
    assert (trouble["state"], trouble["units"], trouble["for example"]) == ("failed", 1, key)
    assert "latency_s" not in expect(zsds("status", *where)).out
    found = metrics(client)
    assert found[f'zsds_frame_to_packets_seconds{{night="{NIGHT}",percentile="95"}}'] == 21.5
    assert found[f'zsds_oldest_unfinished_seconds{{night="{NIGHT}"}}'] > 6 * 365 * 86400


def test_a_database_that_went_away_is_told(done_survey, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    client = TestClient(create_app(survey.archive))
    for file in survey.archive.glob("zsds.sqlite*"):
        file.unlink()
    answer = client.get("/")
    assert answer.status_code == 503
    assert "there is no such database" in answer.text
    assert metrics(client) == {"zsds_database_up": 0}


def test_rules_and_dashboard_ask_for_metrics_that_are_there(client):
    there = set(re.findall(r"^# TYPE (\w+)", client.get("/metrics").text, re.M))
    rules = yaml.safe_load(client.get("/monitoring/alerts.yaml").text)
    asked = " ".join(rule["expr"] for rule in rules["groups"][0]["rules"])
    board = json.loads(client.get("/monitoring/dashboard.json").text)
    asked += " " + " ".join(target["expr"] for panel in board["panels"] for target in panel["targets"])
    assert set(re.findall(r"zsds_\w+", asked)) <= there
    assert client.get("/monitoring/../app.py").status_code == 404
    assert client.get("/monitoring/secrets").status_code == 422


def test_no_archive(tmp_path):
    called = zsds("serve", "--archive", tmp_path / "none")
    assert called.status == 1
    assert str(tmp_path / "none") in called.err


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_cannot_be_served(done_survey, host):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        called = zsds("serve", "--archive", done_survey.archive, "--host", host, "--port", port)
    (line,) = called.err.splitlines()
    assert called.status == 1
    assert line.startswith(f"zsds: {host}:{port}: cannot be listened on (")


@pytest.mark.parametrize(("seconds", "words"), [(5, "5 seconds"), (130, "2 minutes"), (2e5, "2 days")])
def test_ages(seconds, words):
    assert age(seconds) == words
