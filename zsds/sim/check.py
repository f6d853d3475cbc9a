"""Settings of a simulated survey that cannot be, named before anything is drawn."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from zsds.core.camera import Camera
from zsds.core.errors import BadInput, SettingsError
from zsds.sim.plan import NightSettings
from zsds.sim.psf import FAMILIES

Ranges = dict[str, tuple[float, float]]
_NUMBERS: Ranges = {
    "ra": (0, 360),
    "dec": (-89, 89),
    "n_reference": (0, 10000),
    "reference_nights": (1, 10000),
    "n_science": (0, 10000),
    "exposure_s": (0.01, 14400),
    "n_bias": (0, 1000),
    "n_flat": (0, 1000),
    "n_dark": (0, 1000),
    "transients_per_sq_deg": (0, 1e5),
    "faded_fraction": (0, 1),
    "asteroids_per_sq_deg": (0, 1e5),
    "near_asteroids": (0, 1e4),
    "unknown_fraction": (0, 1),
    "satellites": (0, 100),
    "cosmic_rays_per_mpx": (0, 1e5),
    "pointing_arcsec": (0, 3600),
    "rotation_deg": (0, 180),
    "clouds_mag": (0, 10),
    "wing_fraction": (0, 0.5),
    "field": (0, 999999),
}
_SKY: Ranges = {
    "sky.stars_per_sq_deg": (0, 1e6),
    "sky.galaxies_per_sq_deg": (0, 1e6),
    "sky.variable_fraction": (0, 1),
    "sky.fast_movers": (0, 1),
    "detector.pixel_response_rms": (0, 0.5),
    "detector.vignetting": (0, 0.9),
    "detector.dust_per_mpx": (0, 1e4),
    "detector.hot_per_mpx": (0, 1e5),
    "detector.dead_per_mpx": (0, 1e5),
    "detector.bias_dn": (0, 60000),
    "detector.bias_structure_dn": (0, 1000),
}


def check_survey(camera: Camera, seed: int, settings: NightSettings) -> None:
    """Raise if a survey of these settings cannot be simulated.

    Raises
    ------
    SettingsError
        Naming the setting, its value and what it may be.
    BadInput
        If the camera keeps all detectors in one file: the simulator writes a file per detector.
    """
    if seed < 0:
        raise SettingsError(f"seed is {seed}; give a whole number from 0")
    if camera.one_file:
        raise BadInput(camera.name, "keeps all detectors in one file", "the simulator writes one each")
    for name, (low, high) in {**_NUMBERS, **_SKY}.items():
        _check(name, _value(settings, name), lambda v: low <= v <= high, f"from {low:g} to {high:g}")  # noqa: B023
    _check("night", settings.night, _is_date, "a date YYYYMMDD")
    if settings.n_reference + settings.n_science == 0:
        raise SettingsError("settings n_reference and n_science are both 0; there is nothing to observe")
    _check_range("seeing_arcsec", settings.seeing_arcsec, 0.3 * camera.pixel_scale_arcsec, 60)
    _check_range("snr_range", settings.snr_range, 0.1, 1e6)
    _check_range("reference_lead_days", settings.reference_lead_days[::-1], 0, 1e5)
    detectors = camera.detectors
    quadrants = {q for detector in detectors.values() for q in detector.amplifiers}
    _check_members("bands", settings.bands, camera.bands)
    _check_members("families", settings.families, FAMILIES)
    _check_members("ccds", settings.ccds, detectors)
    _check_members("quadrants", settings.quadrants, quadrants)


def _value(settings: NightSettings, name: str) -> Any:
    value: Any = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _check(name: str, value: Any, good: Callable[[Any], bool], wanted: str) -> None:
    if not good(value):
        raise SettingsError(f"setting {name} is {value!r}; it must be {wanted}")


def _is_date(text: str) -> bool:
    if re.fullmatch(r"\d{8}", text) is None:
        return False
    try:
        datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return False
    return True


def _check_range(name: str, pair: tuple[float, float], low: float, high: float) -> None:
    def good(values: tuple[float, float]) -> bool:
        numbers = len(values) == 2 and all(isinstance(v, int | float) for v in values)
        return numbers and low <= values[0] <= values[1] <= high

    _check(name, tuple(pair), good, f"two numbers in order, from {low:g} to {high:g}")


def _check_members(name: str, values: tuple[Any, ...], known: Any) -> None:
    stranger = next((value for value in values if value not in known), None)
    if stranger is not None:
        wanted = ", ".join(map(str, sorted(known)))
        raise SettingsError(f"setting {name} names {stranger!r}; it may hold {wanted}")
    if not values and name in ("bands", "families"):
        raise SettingsError(f"setting {name} is empty")
