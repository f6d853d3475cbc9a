"""Reads a camera from its YAML file and says, by key and line, what is wrong with it."""

import math
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

from zsds.core.camera import Amplifier, Band, Camera, Detector, Ghosts, Section, Site
from zsds.core.camera_header import NO_BAND, read_habits
from zsds.core.errors import BadInput
from zsds.core.located_yaml import Group, read_yaml
from zsds.resources import resource

CATALOG_COLUMNS = ("g", "r", "i", "z")
LAST_CHANNEL = 99  # two digits of ZTF's pid
_PATTERN_FIELDS = frozenset(("prefix", "time", "field", "band", "ccd", "type"))


def load_camera(name_or_path: str | Path) -> Camera:
    """Read and check a camera.

    Parameters
    ----------
    name_or_path : str or pathlib.Path
        Name of a camera shipped with zsds (``demo``, ``ztf``, ``sinistro``, ``huntsman``) or a YAML file.

    Returns
    -------
    Camera

    Raises
    ------
    BadInput
        Naming the file, the line and the key that is missing, unknown, of a wrong type or impossible.
    """
    path = _find(name_or_path)
    stamp = path.stat()
    return _read(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, mtime_ns: int, size: int) -> Camera:  # noqa: ARG001 - a file that was changed is read again
    """The camera of a file; workers ask for it at every unit."""
    top = read_yaml(path)
    bands = {code: _band(code, group) for code, group in _bands(top)}
    detectors = _detectors(top)
    habits = read_habits(top.group("header"), bands.values(), detectors)
    camera = Camera(
        name=top.text("name"),
        prefix=_matching(top, "prefix", r"[a-z0-9]{1,12}", "lower-case letters and digits"),
        object_prefix=_matching(top, "object_prefix", r"[A-Z]{1,6}", "capital letters"),
        pixel_scale_arcsec=top.number("pixel_scale_arcsec", 0.001, 1000),
        site=_site(top.group("site")),
        bands=bands,
        detectors=detectors,
        keywords=habits.keywords,
        frame_types=habits.frame_types,
        file_pattern=_file_pattern(top, len(detectors) > 1 and "ccd" in {*habits.keywords, *habits.defaults}),
        defaults=habits.defaults,
        ghosts=_ghosts(top),
        exposure_unit_s=habits.exposure_unit_s,
    )
    top.finish()
    _check_channels(top, camera)
    if camera.one_file:
        _check_one_file(top, camera)
    return camera


def shipped_cameras() -> list[str]:
    """Names of the cameras that come with zsds."""
    return sorted(path.stem for path in resource("calib", "cameras").glob("*.yaml"))


def _find(name_or_path: str | Path) -> Path:
    shipped = resource("calib", "cameras", f"{name_or_path}.yaml")
    if re.fullmatch(r"[A-Za-z0-9_-]+", str(name_or_path)) and shipped.is_file():
        return shipped
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(shipped_cameras())
        raise BadInput(str(name_or_path), "no such camera", f"give a YAML file or one of {known}")
    return path


def _matching(group: Group, key: str, pattern: str, wanted: str) -> str:
    text = group.text(key)
    if re.fullmatch(pattern, text) is None:
        raise group.wrong(key, f"must be {wanted}, not {text!r}")
    return text


def _ghosts(top: Group) -> Ghosts | None:
    group = top.group("ghosts", {})
    if not group.values:
        return None
    ghosts = Ghosts(group.number("radius_arcsec", 0, 3600), group.number("limit_mag", -2, 20))
    group.finish()
    return ghosts


def _site(group: Group) -> Site:
    site = Site(
        longitude_deg=group.number("longitude_deg", -180, 360),
        latitude_deg=group.number("latitude_deg", -90, 90),
        height_m=group.number("height_m", -500, 1e7),
        mpc_code=group.text("mpc_code", "500"),
    )
    group.finish()
    return site


def _bands(top: Group) -> list[tuple[str, Group]]:
    group = top.group("bands")
    if not group.values:
        raise top.wrong("bands", "is empty", "a camera needs at least one band")
    ids: dict[int, str] = {}
    names: dict[str, str] = {}
    for code in group.values:
        if not isinstance(code, str) or re.fullmatch(r"[a-z]{2}", code) is None:
            raise group.wrong(code, "is not a band code", "use two lower-case letters")
        if code in NO_BAND.values():
            raise group.wrong(code, "is the band code of bias or dark frames", "use two other letters")
        number = group.group(code).integer("id", 1, 99)
        if number in ids:
            raise group.wrong(f"{code}.id", f"{number} is already the id of {ids[number]}")
        ids[number] = code
        name = group.group(code).text("name").lower()
        if name in names:
            raise group.wrong(f"{code}.name", f"{name!r} is already the name of {names[name]}")
        names[name] = code
    return [(code, group.group(code)) for code in group.values]


def _band(code: str, group: Group) -> Band:
    colour = group.get("catalog_colour")
    pair = isinstance(colour, list) and len(colour) == 2 and colour[0] != colour[1]
    if not (pair and all(c in CATALOG_COLUMNS for c in colour)):
        raise group.wrong("catalog_colour", f"must be two of {', '.join(CATALOG_COLUMNS)}, not {colour!r}")
    mag = group.text("catalog_mag")
    if mag not in CATALOG_COLUMNS:
        raise group.wrong("catalog_mag", f"must be one of {', '.join(CATALOG_COLUMNS)}, not {mag!r}")
    band = Band(
        id=group.integer("id", 1, 99),
        code=code,
        name=group.text("name"),
        catalog_mag=mag,
        catalog_colour=(colour[0], colour[1]),
    )
    group.finish()
    return band


def _file_pattern(top: Group, needs_ccd: bool) -> str:
    pattern = top.text("file_pattern")
    try:
        fields = {name for _, name, _, _ in Formatter().parse(pattern) if name is not None}
        pattern.format(prefix="a", time="1", field=1, band="zg", ccd=1, type="o")
    except (ValueError, KeyError, IndexError) as error:
        raise top.wrong("file_pattern", f"cannot be used: {error}") from None
    if not {"time", "type"} <= fields <= _PATTERN_FIELDS:
        raise top.wrong("file_pattern", "must use {time} and {type}", "may use {prefix} {field} {band} {ccd}")
    if needs_ccd and "ccd" not in fields:
        raise top.wrong("file_pattern", "must use {ccd}", "each detector has a file of its own")
    if "/" in pattern or not pattern.endswith((".fits", ".fits.gz", ".fits.fz")):
        raise top.wrong("file_pattern", "must be a file name ending in .fits, .fits.gz or .fits.fz")
    return pattern


def _detectors(top: Group) -> dict[int, Detector]:
    common = top.group("amplifier_defaults", {})
    shared = top.numbered_groups("amplifiers")
    if not shared:
        raise top.wrong("amplifiers", "is empty", "a camera needs at least one amplifier")
    detectors: dict[int, Detector] = {}
    for ccd, group in top.numbered_groups("detectors").items():
        own = group.numbered_groups("amplifiers", {})
        stranger = next((q for q in own if q not in shared), None)
        if stranger is not None:
            raise own[stranger].wrong(None, "is not among the camera's amplifiers", "add it to amplifiers")
        place = (group.number("x_arcsec", -1e6, 1e6, 0), group.number("y_arcsec", -1e6, 1e6, 0))
        turn = group.number("rotation_deg", -360, 360, 0)
        name = _detector_name(ccd, group, detectors)
        group.finish()
        merged = {
            q: _merged(common, shared[q], own.get(q), f"detectors[{ccd}].amplifiers[{q}]") for q in shared
        }
        amplifiers = {q: _amplifier(q, merged[q], place, turn) for q in merged}
        _check_overlaps(amplifiers, merged)
        detectors[ccd] = Detector(ccd, {q: _with_flips(a, amplifiers) for q, a in amplifiers.items()}, name)
    if not detectors:
        raise top.wrong("detectors", "is empty", "a camera needs at least one detector")
    return detectors


def _detector_name(ccd: int, group: Group, others: dict[int, Detector]) -> str:
    name = group.text("name", str(ccd))
    double = next((other.ccd for other in others.values() if other.name.lower() == name.lower()), None)
    if double is not None:
        raise group.wrong("name", f"{name!r} is already the name of detector {double}")
    return name


def _merged(common: Group, shared: Group, own: Group | None, path: str) -> Group:
    """The amplifier's keys: its detector's own over those of its number over the defaults."""
    values: dict[Any, Any] = {}
    lines = dict(shared.lines)
    lines[path] = (own or shared).line()
    for layer in (common, shared, own):
        if layer is None:
            continue
        for key in layer.values:
            values[key] = layer.values[key]
            lines[f"{path}.{key}"] = layer.lines.get(layer.name(key), layer.line())
    return Group(shared.source, path, values, lines)


def _amplifier(quadrant: int, group: Group, place: tuple[float, float], turn: float) -> Amplifier:
    nx, ny = group.integers("size", 2)
    if not (1 <= nx <= 100000 and 1 <= ny <= 100000):
        raise group.wrong("size", f"is {nx} x {ny} pixels", "write [columns, rows] of the stored image")
    data = group.section("data", (ny, nx))
    extension = group.integer("extension", 0, 999)
    overscan_extension = group.integer("overscan_extension", 0, 999, extension)
    overscan = _overscan(group, data, (ny, nx) if overscan_extension == extension else None)
    flip_x, flip_y = group.truth("flip_x"), group.truth("flip_y")
    angle = math.radians(turn)
    x, y = group.number("x_arcsec", -1e6, 1e6, 0), group.number("y_arcsec", -1e6, 1e6, 0)
    amplifier = Amplifier(
        quadrant=quadrant,
        extension=extension,
        data=data,
        gain=group.number("gain", 1e-3, 1e4),
        read_noise=group.number("read_noise", 0, 1e4),
        saturation_dn=group.number("saturation_dn", 1, 1e9),
        overscan_extension=overscan_extension,
        overscan=overscan,
        flip_x=flip_x,
        flip_y=flip_y,
        read_flip_x=group.truth("read_flip_x") if "read_flip_x" in group.values else flip_x,
        read_flip_y=group.truth("read_flip_y") if "read_flip_y" in group.values else flip_y,
        stored_shape=(ny, nx),
        overscan_used=_overscan_used(group, overscan),
        linearity=_linearity(group),
        crosstalk=_crosstalk(quadrant, group),
        x_arcsec=place[0] + x * math.cos(angle) + y * math.sin(angle),
        y_arcsec=place[1] - x * math.sin(angle) + y * math.cos(angle),
        rotation_deg=turn + group.number("rotation_deg", -360, 360, 0),
        mirrored=group.truth("mirrored"),
        bad_columns=_bad_columns(group, data),
    )
    group.finish()
    return amplifier


def _overscan(group: Group, data: Section, shape: tuple[int, int] | None) -> Section | None:
    if group.get("overscan", None) is None:
        return None
    section = group.section("overscan", shape)
    if section.y1 - section.y0 != data.y1 - data.y0:
        raise group.wrong(
            "overscan", "has other rows than data", "overscan columns must span the data's rows"
        )
    if shape is not None and section.y0 != data.y0:
        raise group.wrong("overscan", "starts at another row than data")
    return section


def _overscan_used(group: Group, overscan: Section | None) -> tuple[int, int] | None:
    if group.get("overscan_used", None) is None:
        return None
    first, last = group.integers("overscan_used", 2)
    columns = 0 if overscan is None else overscan.x1 - overscan.x0
    if not 1 <= first <= last <= columns:
        raise group.wrong("overscan_used", f"[{first}, {last}] is not within 1 to {columns} overscan columns")
    return first - 1, last


def _linearity(group: Group) -> tuple[float, float]:
    a, b = group.numbers("linearity", 2, (0.0, 0.0))
    full = group.number("saturation_dn", 1, 1e9)
    factors = [a * x * x + b * x + 1 for x in (0.25 * full, 0.5 * full, full)]
    if min(factors) < 0.2 or max(factors) > 5 or a * full * full >= 1:
        problem = f"[{a:g}, {b:g}] is absurd at {full:g} DN"
        raise group.wrong("linearity", problem, "give A, B of x/(A x^2 + B x + 1)")
    return float(a), float(b)


def _crosstalk(quadrant: int, group: Group) -> dict[int, float]:
    values = group.group("crosstalk", {})
    for other in values.values:
        if not isinstance(other, int) or other < 1 or other == quadrant:
            raise values.wrong(other, "is not the number of another quadrant")
    return {other: values.number(other, -0.1, 0.1) for other in values.values}


def _bad_columns(group: Group, data: Section) -> tuple[int, ...]:
    columns = group.integers("bad_columns", None, ())
    if any(not 1 <= column <= data.x1 - data.x0 for column in columns):
        raise group.wrong("bad_columns", f"{list(columns)} reaches beyond 1 to {data.x1 - data.x0}")
    return tuple(sorted({column - 1 for column in columns}))


def _with_flips(amplifier: Amplifier, siblings: dict[int, Amplifier]) -> Amplifier:
    """The amplifier, told how the frames of the siblings it hears lie relative to its own."""
    flips = {}
    for other in amplifier.crosstalk:
        sibling = siblings[other]
        flip_x = sibling.read_flip_x != amplifier.read_flip_x
        flips[other] = (flip_x, sibling.read_flip_y != amplifier.read_flip_y)
    return replace(amplifier, crosstalk_flips=flips)


def _check_overlaps(amplifiers: dict[int, Amplifier], groups: dict[int, Group]) -> None:
    """No pixel of a file may belong to two sections, and what belongs together must have one size."""
    seen: list[tuple[int, Section, str]] = []
    for quadrant, amplifier in amplifiers.items():
        group = groups[quadrant]
        _check_siblings(amplifier, amplifiers, group)
        for key, extension, section in amplifier.sections:
            for other_extension, other, name in seen:
                if extension == other_extension and _overlap(section, other):
                    raise group.wrong(key, f"overlaps {name} in extension {extension}")
            seen.append((extension, section, group.name(key)))


def _check_siblings(amplifier: Amplifier, siblings: dict[int, Amplifier], group: Group) -> None:
    for other in amplifier.crosstalk:
        if other not in siblings:
            raise group.wrong("crosstalk", f"names quadrant {other}, which this detector lacks")
        if siblings[other].shape != amplifier.shape:
            raise group.wrong("crosstalk", f"names quadrant {other}, whose data section has another size")
    for sibling in siblings.values():
        if sibling.extension == amplifier.extension and sibling.stored_shape != amplifier.stored_shape:
            ny, nx = sibling.stored_shape or (0, 0)
            problem = f"is not the {nx} x {ny} of quadrant {sibling.quadrant} in the same extension"
            raise group.wrong("size", problem)


def _check_channels(top: Group, camera: Camera) -> None:
    last = max(camera.channel(ccd, q) for ccd, d in camera.detectors.items() for q in d.amplifiers)
    if last > LAST_CHANNEL:
        problem = f"have {last + 1} readout channels; ids hold {LAST_CHANNEL + 1}"
        raise top.wrong("detectors", problem, "number detectors and amplifiers from 1 without gaps")


def _check_one_file(top: Group, camera: Camera) -> None:
    """Detectors that share files must not share pixels."""
    seen: dict[int, list[tuple[int, Section]]] = {}
    for ccd, detector in camera.detectors.items():
        for amplifier in detector.amplifiers.values():
            for _, extension, section in amplifier.sections:
                other = next(
                    (c for c, s in seen.get(extension, []) if c != ccd and _overlap(section, s)), None
                )
                if other is not None:
                    problem = f"{other} and {ccd} use the same pixels of extension {extension}"
                    remedy = "give extensions of their own, or header.keywords.ccd if each has its own file"
                    raise top.wrong("detectors", problem, remedy)
                seen.setdefault(extension, []).append((ccd, section))


def _overlap(a: Section, b: Section) -> bool:
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1
