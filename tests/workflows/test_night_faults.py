"""A few whole nights through faults; ``python tests/night_faults.py`` endures many."""

import pytest
import sqlalchemy as sa
from night_faults import FAULTS, trial_ground
from night_trials import holdings

from zsds.db.schema import packets


def test_a_comparison_sees_what_differs(done_survey, tmp_path):
    survey = done_survey.copied(tmp_path / "archive")
    before = holdings(survey.archive)
    assert not +before.problems(holdings(done_survey.archive))
    files = sorted((survey.archive / "alerts").rglob("*.avro"))
    files[0].unlink()
    files[1].write_bytes(b"")
    files[2].with_name("1.avro").write_bytes(b"")
    files[2].with_name(".1.avro.7.tmp").write_bytes(b"")
    (survey.archive / ".partial" / "key-science-host-7").mkdir(parents=True, exist_ok=True)
    with survey.open().database.write() as connection:
        connection.execute(sa.delete(packets).where(packets.c.candid == int(files[0].stem)))
    wrong = before.problems(holdings(survey.archive))
    assert wrong == {"missing": 1, "different": 1, "foreign": 1, "leftovers": 2, "tables": 1}


@pytest.mark.services
def test_nights_through_faults(ready_survey, tmp_path):
    chosen = ("command and workers killed at once", "followed: database away")
    assert set(chosen) <= set(FAULTS)
    with trial_ground(tmp_path, ready_survey, postgresql=True) as ground:
        tallies = {fault: ground.endure(fault, seed=2) for fault in chosen}
    for fault, tally in tallies.items():
        assert not +tally.wrong, (fault, tally.wrong)
        assert not tally.trouble, (fault, tally.trouble)
        assert tally.faults > 0, fault
