"""Which epochs a reference is offered."""

from types import SimpleNamespace

import pytest
from zsds.workflows.references import _offered

from zsds.core.ids import QuadrantId
from zsds.runner.difference import _own_epochs

EPOCHS = [QuadrantId(f"201901{day}250000", 600, "zr", 1, 1) for day in ("10", "11", "11", "12")]


@pytest.mark.parametrize(
    "epochs, nights, days",
    [
        (EPOCHS, (), ["10", "11", "11"]),  # the newest night is left to be subtracted
        (EPOCHS[:1], (), ["10"]),  # there is no other
        (EPOCHS, ("20190112",), ["12"]),
        (EPOCHS, ("20190101",), []),
    ],
)
def test_the_newest_night_stays_out_unless_it_is_named(epochs, nights, days):
    assert [epoch.night[6:] for epoch in _offered(epochs, nights)] == days


def test_own_epochs_are_counted():
    reference = SimpleNamespace(epochs=tuple(map(str, EPOCHS)))
    assert [_own_epochs(reference, night) for night in ("20190111", "20190113")] == [2, 0]
