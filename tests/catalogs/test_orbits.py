import numpy as np
import pytest
from astropy.table import Table

from zsds.catalogs import CatalogStore
from zsds.catalogs.orbits import read_mpc
from zsds.core.errors import BadInput
from zsds.core.tables import check_table

CERES = (
    "00001    3.4   0.15 K205V 162.68631   73.73161   80.28698   10.58862  0.0775571  0.21406009   2.7676569"
    "  0 MPO492748  6751 115 1801-2019 0.60 M-v 30h Williams   0000      (1) Ceres              20190915"
)
UNNUMBERED = CERES.replace("00001  ", "K02M06A").replace("3.4", "   ").replace("(1) Ceres", "2002 MA6 ")


def test_asteroid_records(tmp_path):
    head = "MINOR PLANET CENTER ORBIT DATABASE\n" + "-" * 160 + "\n"
    (tmp_path / "MPCORB.DAT").write_text(head + CERES + "\n\n" + UNNUMBERED + "\n")
    orbits = check_table(read_mpc(tmp_path / "MPCORB.DAT"), "orbits")
    assert orbits["name"].tolist() == ["1", "2002MA6"]
    assert orbits["epoch_mjd"].tolist() == [59000.0, 59000.0]
    assert orbits["a"][0] == 2.7676569
    assert orbits["mean_anomaly"][0] == 162.68631
    assert orbits["H"][0] == 3.4
    assert np.isnan(orbits["H"][1])


def test_damaged_record_is_bad_input(tmp_path):
    (tmp_path / "MPCORB.DAT").write_text(CERES.replace("162.68631", "1x2.68631") + "\n")
    with pytest.raises(BadInput, match="damaged record"):
        read_mpc(tmp_path / "MPCORB.DAT")


def test_tables_of_elements(tmp_path):
    table = Table({"name": ["433"], "epoch_mjd": [60000.0], "a": [1.458], "e": [0.2], "incl": [10.8]})
    table["node"], table["peri"], table["mean_anomaly"], table["H"] = [304.3], [178.9], [320.0], [10.4]
    table.write(tmp_path / "orbits.csv")
    store = CatalogStore(tmp_path / "store")
    for _ in range(2):
        store.import_table("orbits", tmp_path / "orbits.csv")
    orbits = store.table("orbits")
    assert orbits["name"].tolist() == ["433"]
    assert orbits["G"].tolist() == [0.15]
    with pytest.raises(BadInput, match="no positions"):
        store.cone("orbits", 0, 0, 1)
    table[:0].write(tmp_path / "none.csv")
    assert store.import_table("orbits", tmp_path / "none.csv") == 0
    assert store.count("orbits") == 1
    no_bodies = CatalogStore(tmp_path / "other")
    for file, count in (("none.csv", 0), ("orbits.csv", 1)):
        no_bodies.import_table("orbits", tmp_path / file)
        assert no_bodies.kinds() == ["orbits"]
        assert len(no_bodies.table("orbits")) == no_bodies.count("orbits") == count
    table.remove_column("incl")
    table.write(tmp_path / "bad.csv")
    with pytest.raises(BadInput, match="no column for incl"):
        store.import_table("orbits", tmp_path / "bad.csv")


def test_real_records(tmp_path, shared_data):
    folder = shared_data / "solar_system"
    store = CatalogStore(tmp_path)
    assert store.import_table("orbits", folder / "MPCORB_excerpt.DAT") == 4
    assert store.import_table("orbits", folder / "CometEls_excerpt.txt") == 3
    assert store.import_table("orbits", folder / "elements_sun_ec.csv") >= 27
    orbits = store.table("orbits")
    halley = orbits[orbits["name"] == "1P"][0]
    assert halley["q"] == 0.604387
    assert halley["a"] == pytest.approx(0.604387 / (1 - 0.96618))
    assert halley["tp_mjd"] == pytest.approx(46450.4321)
    assert "C/2020F3" in orbits["name"]
