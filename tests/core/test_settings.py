"""Settings: defaults, YAML values, overrides; mistakes are named."""

from dataclasses import dataclass, field

import pytest

from zsds.core.errors import SettingsError
from zsds.core.settings import parse_overrides, require_positive, settings_hash, with_values


@dataclass(frozen=True)
class Inner:
    radius: float = 5.0
    order: int = 2
    names: tuple[str, ...] = ("a",)

    def __post_init__(self):
        require_positive("radius", self.radius)


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    clip: bool = True


def test_values_are_laid_over_defaults():
    settings = with_values(Outer(), {"inner": {"radius": 12, "names": ["b", "c"]}})
    assert settings == Outer(Inner(12.0, 2, ("b", "c")))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"radios": 3}}, "inner.radios"),
        ({"inner": {"order": 2.5}}, "inner.order must be int"),
        ({"inner": {"order": True}}, "inner.order must be int"),
        ({"clip": "yes"}, "clip must be bool"),
        ({"inner": {"names": "b"}}, "inner.names must be a list"),
        ({"inner": 3}, "inner is a group"),
        ({"inner": {"radius": -5}}, "setting inner.radius must be above 0, not -5"),
    ],
)
def test_mistakes_are_named(values, message):
    with pytest.raises(SettingsError, match=message):
        with_values(Outer(), values)


def test_overrides_from_the_command_line():
    assert parse_overrides(["inner.radius=3", "clip=false"]) == {"inner": {"radius": 3}, "clip": False}
    with pytest.raises(SettingsError, match=r"step\.name=value"):
        parse_overrides(["radius"])
    with pytest.raises(SettingsError, match="YAML"):
        parse_overrides(["inner.radius=["])
    with pytest.raises(SettingsError, match="another --set gives inner"):
        parse_overrides(["inner=3", "inner.radius=3"])


def test_hash_follows_the_values():
    assert settings_hash(Outer()) == settings_hash(Outer())
    assert settings_hash(Outer()) != settings_hash(with_values(Outer(), {"inner": {"order": 3}}))
