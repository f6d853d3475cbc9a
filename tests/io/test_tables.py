"""Declared tables through FITS and Parquet."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from zsds.core import tables as declared
from zsds.core.errors import BadInput
from zsds.io.tables import read_table, write_table

COLUMNS = (
    declared.Column("id", "i8", "number"),
    declared.Column("ra", "f8", "right ascension", "deg"),
    declared.Column("flux", "f4", "flux", "adu"),
    declared.Column("flags", "u4", "bits"),
    declared.Column("good", "?", "usable"),
    declared.Column("name", "U20", "name"),
    declared.Column("aperture", "6f4", "fluxes", "adu"),
    declared.Column("motion", "f4", "motion", "mas/yr"),
)


@pytest.fixture(autouse=True)
def declaration(monkeypatch):
    monkeypatch.setattr(declared, "columns", lambda name: COLUMNS)
    monkeypatch.setattr("zsds.io.tables.columns", lambda name: COLUMNS)
    monkeypatch.setattr(declared, "check_table", check)
    monkeypatch.setattr("zsds.io.tables.check_table", check)


def check(table, name):
    if table.colnames != [c.name for c in COLUMNS]:
        raise ValueError(f"table {name}: columns differ")
    return table


def make_table(n=5):
    rng = np.random.default_rng(2)
    table = Table()
    table["id"] = np.arange(n) + 2**53 + 1
    table["ra"] = rng.uniform(0, 360, n)
    table["flux"] = rng.normal(size=n).astype("f4")
    table["flags"] = np.full(n, 2**31 + 5, "u4")
    table["good"] = np.arange(n) % 2 == 0
    table["name"] = np.array([f"Åsa {i}" for i in range(n)], "U20")
    table["aperture"] = rng.normal(size=(n, 6)).astype("f4")
    table["motion"] = np.full(n, np.nan, "f4")
    for column in COLUMNS:
        table[column.name].unit = column.unit
    return table


@pytest.mark.parametrize("suffix", [".fits", ".parquet"])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_round_trip(tmp_path, suffix, n):
    table = make_table(n)
    path = tmp_path / f"t{suffix}"
    write_table(path, table, "things", {"MAGZP": (26.1, "[mag] zero point"), "FIELDID": 249, "BAD": np.nan})
    back = read_table(path, "things")
    for column in table.colnames:
        np.testing.assert_array_equal(back[column], table[column])
        assert back[column].dtype.kind == table[column].dtype.kind
        assert back[column].dtype.isnative
        assert back[column].unit == table[column].unit
    assert back.meta["MAGZP"] == 26.1
    assert back.meta["FIELDID"] == 249
    assert "BAD" not in back.meta


@pytest.mark.parametrize("suffix", [".fits", ".parquet"])
def test_same_table_gives_the_same_bytes(tmp_path, suffix):
    for name in "ab":
        write_table(tmp_path / f"{name}{suffix}", make_table(), "things")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_opens_in_astropy_with_units_and_checksum(tmp_path):
    write_table(tmp_path / "t.fits", make_table(), "things")
    with fits.open(tmp_path / "t.fits", checksum=True) as hdus:
        hdus.verify("exception")
        assert hdus[1].name == "THINGS"
    assert str(Table.read(tmp_path / "t.fits", hdu=1)["ra"].unit) == "deg"


def test_undeclared_columns_are_refused(tmp_path):
    table = make_table()
    table["extra"] = 1
    with pytest.raises(ValueError, match="differ"):
        write_table(tmp_path / "t.fits", table, "things")


@pytest.mark.parametrize("suffix", [".fits", ".parquet"])
@pytest.mark.parametrize("damage", ["missing", "text", "truncated", "other"])
def test_damaged_files_are_named(tmp_path, suffix, damage, monkeypatch):
    path = tmp_path / f"t{suffix}"
    write_table(path, make_table(500), "things")
    if damage == "missing":
        path.unlink()
    elif damage == "text":
        path.write_text("hello")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        monkeypatch.setattr("zsds.io.tables.check_table", lambda table, name: check(table[["id"]], name))
    with pytest.raises(BadInput, match="t\\.") as error:
        read_table(path, "things")
    assert "\n" not in str(error.value)
