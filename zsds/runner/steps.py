"""What each kind of unit loads, makes and saves."""

from collections.abc import Callable, Mapping
from typing import Any

from zsds.runner.calibration import run_calibration
from zsds.runner.difference import run_difference
from zsds.runner.packets import run_packets
from zsds.runner.reference import run_reference
from zsds.runner.science import run_science

STEPS: Mapping[str, Callable[..., Mapping[str, Any]]] = {
    "calibration": run_calibration,
    "science": run_science,
    "reference": run_reference,
    "difference": run_difference,
    "packets": run_packets,
}
