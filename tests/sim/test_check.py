"""Surveys that cannot be are refused in one line before anything is drawn."""

import pytest

from zsds.core.camera_file import load_camera
from zsds.core.errors import BadInput, SettingsError
from zsds.core.settings import parse_overrides, with_values
from zsds.sim import NightSettings, simulate_night

MISTAKES = [
    ("night='20261301'", "setting night is '20261301'; it must be a date"),
    ("n_science=-1", "setting n_science is -1; it must be from 0"),
    ("dec=95", "setting dec is 95"),
    ("exposure_s=0", "setting exposure_s is 0"),
    ("bands=[zq]", "setting bands names 'zq'; it may hold zg, zi, zr"),
    ("bands=[]", "setting bands is empty"),
    ("families=[sharp]", "setting families names 'sharp'"),
    ("ccds=[9]", "setting ccds names 9; it may hold 1, 2"),
    ("quadrants=[7]", "setting quadrants names 7"),
    ("seeing_arcsec=[3,1]", "setting seeing_arcsec is"),
    ("seeing_arcsec=[0,1]", "setting seeing_arcsec is"),
    ("reference_lead_days=[5,10]", "setting reference_lead_days is"),
    ("sky.stars_per_sq_deg=-5", "setting sky.stars_per_sq_deg is -5"),
    ("field=99999999", "setting field is"),
]


@pytest.mark.parametrize(("override", "message"), MISTAKES)
def test_impossible_settings_are_named(tmp_path, override, message):
    settings = with_values(NightSettings(), parse_overrides([override]))
    with pytest.raises(SettingsError) as caught:
        simulate_night(tmp_path / "sky", load_camera("demo"), 1, settings)
    assert str(caught.value).startswith(message)
    assert not (tmp_path / "sky").exists()


def test_two_surveys_do_not_mix(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(BadInput, match="holds raw frames already"):
        simulate_night(tmp_path, load_camera("demo"))


def test_nothing_to_observe_and_negative_seed(tmp_path):
    with pytest.raises(SettingsError, match="nothing to observe"):
        simulate_night(tmp_path, load_camera("demo"), 1, NightSettings(n_reference=0, n_science=0))
    with pytest.raises(SettingsError, match="seed is -1"):
        simulate_night(tmp_path, load_camera("demo"), -1, NightSettings())
