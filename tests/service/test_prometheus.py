"""Rules and metrics as Prometheus itself reads them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from survey import NIGHT

from zsds.db import ledger
from zsds.db.ledger import Outcome, State
from zsds.resources import resource
from zsds.service import create_app

pytestmark = pytest.mark.services
CASES = Path(__file__).with_name("alert_rules.yaml")


def promtool(*words, given=""):
    """What Prometheus's own tool says, which must find no fault; `make services` brings it."""
    program = shutil.which("promtool") or Path(sys.executable).with_name("promtool")
    called = subprocess.run([program, *words], input=given, capture_output=True, text=True, check=False)
    assert called.returncode == 0, called.stdout + called.stderr
    assert not called.stderr, called.stderr
    return called.stdout


def test_every_rule_fires_when_it_should_and_not_before(tmp_path):
    promtool("check", "rules", resource("workflows", "monitoring", "alerts.yaml"))
    assert "SUCCESS" in promtool("test", "rules", CASES)


def test_metrics_have_no_lint(done_survey, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    client = TestClient(create_app(survey.archive))
    assert promtool("check", "metrics", given=client.get("/metrics").text) == ""
    key = survey.units("packets")[0].key
    with survey.open().database.write() as connection:
        slow = ledger.claim(connection, "packets", key, "me", again=True)
        ledger.finish(connection, slow, Outcome(State.DONE, metrics={"latency_s": 21.5}))
    found = client.get("/metrics").text
    assert f'zsds_frame_to_packets_seconds{{night="{NIGHT}",percentile="95"}} 21.5' in found
    assert promtool("check", "metrics", given=found) == ""
