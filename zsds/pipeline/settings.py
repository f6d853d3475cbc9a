"""All settings of a run, from defaults, a YAML file and the command line."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from zsds.core.cluster import ClusterSettings
from zsds.core.errors import BadInput, SettingsError
from zsds.core.retention import RetentionSettings
from zsds.core.settings import parse_overrides, with_values
from zsds.pipeline.calibration import CalibrationSettings
from zsds.pipeline.difference import DifferenceSettings
from zsds.pipeline.reference import ReferencePipelineSettings
from zsds.pipeline.science import ScienceSettings


@dataclass(frozen=True)
class Settings:
    """Settings of every kind of unit, of the cluster they run on, and of what is kept."""

    calibration: CalibrationSettings = field(default_factory=CalibrationSettings)
    science: ScienceSettings = field(default_factory=ScienceSettings)
    reference: ReferencePipelineSettings = field(default_factory=ReferencePipelineSettings)
    difference: DifferenceSettings = field(default_factory=DifferenceSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)


def load_settings(file: Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Defaults, with the values of a YAML file and then those of ``--set`` laid over them.

    Raises
    ------
    BadInput
        If the file cannot be read.
    SettingsError
        For an unknown key or a value of the wrong type.
    """
    settings = Settings()
    if file is not None:
        try:
            values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            first = str(error).splitlines()[0]
            raise BadInput(
                str(file), f"cannot be read as YAML ({first})", "mend it or leave it out"
            ) from error
        if not isinstance(values, dict):
            raise BadInput(str(file), "is not a mapping of steps to settings", "see docs/operations.md")
        try:
            settings = with_values(settings, values)
        except SettingsError as error:
            raise SettingsError(f"{file}: {error}") from error
    return with_values(settings, parse_overrides(overrides))
