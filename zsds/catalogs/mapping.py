"""Turns a file's columns into ours as ``refs/*.yaml`` describe them."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import astropy.units as u
import numpy as np
import yaml
from astropy.table import Table
from astropy_healpix import HEALPix
from numpy.typing import NDArray

from zsds.astrometry.epoch import julian_year
from zsds.core.errors import BadInput
from zsds.core.ids import JD_MINUS_MJD
from zsds.core.tables import columns, new_table
from zsds.resources import resource

KINDS = ("gaia", "ps1", "orbits")
ID_ORDER = 29  # HEALPix order of identifiers made from positions


@cache
def description(kind: str) -> Mapping[str, Any]:
    """What ``refs/KIND.yaml`` says.

    Raises
    ------
    BadInput
        If there is no such kind of catalog.
    """
    if kind not in KINDS:
        raise BadInput(kind, "is no kind of catalog", f"choose one of {', '.join(KINDS)}")
    text = resource("refs", f"{kind}.yaml").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = yaml.safe_load(text)
    return loaded


def to_declared(table: Table, kind: str, source: str) -> Table:
    """Table of ``kind`` with the declared columns and units, from a file's columns.

    Parameters
    ----------
    table : Table
    kind : str
    source : str
        The file, for messages.

    Raises
    ------
    BadInput
        Naming the first column that is missing and what it may be called, or a unit that does not fit.
    """
    told = description(kind)
    known = {name.lower(): name for name in table.colnames}
    result = new_table(kind, len(table))
    for column in columns(kind):
        spec = told["columns"][column.name]
        values = _first_source(table, known, spec, column.unit, source)
        if values is None and spec.get("required"):
            raise BadInput(source, f"has no column for {column.name}", _remedy(spec, table))
        if values is None:
            continue_with = spec.get("default", np.nan if column.dtype.startswith("float") else 0)
            values = np.full(len(table), continue_with)
        try:
            if column.dtype.startswith("float"):
                values = _without_missing(values, told.get("missing", ()))
                if "default" in spec:
                    values = np.where(np.isfinite(values), values, spec["default"])
            result[column.name][:] = values
        except (ValueError, OverflowError) as error:
            problem = f"column for {column.name} does not hold numbers ({error})".splitlines()[0]
            raise BadInput(source, problem, "mend the column in the file") from error
    if told["columns"][told["key"]].get("key_from_position"):
        unnamed = np.asarray(result[told["key"]]) == 0  # the file has no identifiers, or not of these rows
        result[told["key"]][unnamed] = position_id(result["ra"][unnamed], result["dec"][unnamed])
    if told["sky"]:
        result["ra"] %= 360.0
        result = result[np.isfinite(result["ra"]) & (np.abs(result["dec"]) <= 90)]
    return result


def position_id(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.int64]:
    """Identifier of a source whose catalog gives none: its HEALPix pixel of order 29 (0.4 mas)."""
    good = np.isfinite(ra) & (np.abs(dec) <= 90)
    healpix = HEALPix(nside=2**ID_ORDER, order="nested")
    identifiers = np.zeros(len(ra), dtype=np.int64)
    identifiers[good] = healpix.lonlat_to_healpix(
        np.asarray(ra)[good] % 360 * u.deg, np.asarray(dec)[good] * u.deg
    )
    return identifiers


def _first_source(
    table: Table, known: Mapping[str, str], spec: Mapping[str, Any], unit: str | None, source: str
) -> NDArray[Any] | None:
    for told in spec["sources"]:
        rule = told if isinstance(told, Mapping) else {"name": told}
        wanted = rule.get("difference") or [rule.get("name") or rule.get("mjd") or rule.get("ab_mag")]
        if not all(name.lower() in known for name in wanted):
            continue
        names = [known[name.lower()] for name in wanted]
        parts = [_values(table, name, rule, unit, source) for name in names]
        return _combined(parts, rule)
    return None


def _combined(parts: list[NDArray[Any]], rule: Mapping[str, Any]) -> NDArray[Any]:
    if "difference" in rule:
        return parts[0] - parts[1]
    if "mjd" in rule:
        return julian_year(parts[0])
    if "ab_mag" in rule:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(parts[0] > 0, 31.4 - 2.5 * np.log10(parts[0]), np.nan)
    if rule.get("jd"):
        return np.where(parts[0] > 1e6, parts[0] - JD_MINUS_MJD, parts[0])
    return parts[0]


def _values(table: Table, name: str, rule: Mapping[str, Any], unit: str | None, source: str) -> NDArray[Any]:
    """A column in our unit; text and integers as they are, masked floats as NaN."""
    column = table[name]
    values = np.ma.asarray(column)
    if values.dtype.kind in "OSU":
        return np.char.strip(np.asarray(np.ma.filled(values.astype(str), ""), dtype=str))
    if values.dtype.kind in "iu" and rule.keys() == {"name"} and unit is None:
        return np.ma.filled(values, 0)
    floats = np.ma.filled(values.astype(np.float64), np.nan)
    if unit is None or rule.keys() & {"mjd", "ab_mag", "jd"}:
        return floats
    given = str(column.unit) if column.unit is not None else rule.get("unit", unit)
    factor = _factor(given, unit)
    if factor is None:
        raise BadInput(
            source, f"column {name} has unit {given}, which is no {unit}", "mend the unit in the file"
        )
    return floats * factor


@cache
def _factor(given: str, wanted: str) -> float | None:
    """Factor between two units, 1 for units that mean nothing here, None where they contradict."""
    try:
        found, target = u.Unit(given), u.Unit(wanted)
    except (ValueError, TypeError):
        return 1.0
    for candidate in (found, found / u.yr):  # proper motions are often given as angles, meaning per year
        if candidate.is_equivalent(target):
            return float(candidate.to(target))
    return 1.0 if "mag" in given.lower() and "mag" in wanted else None


def _without_missing(values: NDArray[Any], missing: tuple[float, ...]) -> NDArray[np.float64]:
    values = np.asarray(values, dtype=np.float64)
    return np.where(np.isin(values, missing), np.nan, values)


def _remedy(spec: Mapping[str, Any], table: Table) -> str:
    names = [s if isinstance(s, str) else next(iter(s.values())) for s in spec["sources"]]
    found = ", ".join(table.colnames[:12]) + (", …" if len(table.colnames) > 12 else "")
    return f"it may be called {', '.join(map(str, names))}; the file has {found}"
