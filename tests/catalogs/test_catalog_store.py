import gzip
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from zsds.catalogs import CatalogStore
from zsds.core.errors import BadInput
from zsds.core.tables import check_table


def stars(n=200, seed=1, ra0=10.0, dec0=20.0, size=3.0):
    rng = np.random.default_rng(seed)
    table = Table()
    table["source_id"] = np.arange(n, dtype=np.int64) + 10**15
    table["ra"] = (ra0 + rng.uniform(-size, size, n) / np.cos(np.radians(dec0))) % 360
    table["dec"] = np.clip(dec0 + rng.uniform(-size, size, n), -90, 90)
    for name in ("ra_error", "dec_error", "pmra", "pmdec", "parallax", "bp_rp"):
        table[name] = rng.normal(size=n)
    table["ref_epoch"] = 2016.0
    table["phot_g_mean_mag"] = rng.uniform(12, 20, n)
    return table


def filled(tmp_path, table, name="gaia.fits"):
    table.write(tmp_path / name)
    store = CatalogStore(tmp_path / "catalogs")
    store.import_table("gaia", tmp_path / name)
    return store


@pytest.mark.parametrize(
    "name", ["gaia.fits", "gaia.fits.gz", "gaia.csv", "gaia.csv.gz", "gaia.vot", "gaia.pq", "gaia.ecsv"]
)
def test_any_format_gives_the_same_rows(tmp_path, name):
    table = stars()
    file = tmp_path / name
    if name.endswith(".vot"):
        table.write(file, format="votable")
    elif name.endswith(".pq"):
        pq.write_table(pa.table({c: np.asarray(table[c]) for c in table.colnames}), file)
    elif name == "gaia.csv.gz":
        table.write(tmp_path / "plain.csv")
        file.write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    elif name == "gaia.ecsv":
        table.write(file, delimiter=",")
    else:
        table.write(file)
    store = CatalogStore(tmp_path / "catalogs")
    assert store.import_table("gaia", file) == 200
    found = check_table(store.cone("gaia", 10, 20, 10), "gaia")
    found.sort("source_id")
    assert found["source_id"].tolist() == table["source_id"].tolist()
    for column in ("ra", "pmra", "phot_g_mean_mag"):
        assert np.allclose(found[column], table[column], rtol=1e-6)
    assert str(found["pmra"].unit) == "mas / yr"


def test_importing_again_changes_nothing(tmp_path):
    store = filled(tmp_path, stars())
    files = {p: p.stat().st_mtime_ns for p in (tmp_path / "catalogs" / "gaia").glob("*.parquet")}
    assert len(files) > 5
    store.import_table("gaia", tmp_path / "gaia.fits")
    assert store.count("gaia") == 200
    assert {p: p.stat().st_mtime_ns for p in files} == files
    assert not [p for p in (tmp_path / "catalogs" / "gaia").iterdir() if p.suffix not in (".parquet", "")]


def test_new_values_replace_old_ones_but_missing_values_do_not(tmp_path):
    table = stars(3)
    store = filled(tmp_path, table)
    changed = table[:2].copy()
    changed["pmra"] = [5.0, np.nan]
    changed.write(tmp_path / "more.fits")
    store.cone("gaia", 10, 20, 10)  # what is in memory must not hide the change
    store.import_table("gaia", tmp_path / "more.fits")
    found = store.cone("gaia", 10, 20, 10)
    found.sort("source_id")
    assert found["pmra"].tolist() == pytest.approx([5.0, table["pmra"][1], table["pmra"][2]])


@pytest.mark.parametrize(
    ("ra0", "dec0"), [(0.0, 0.0), (359.9, -35.0), (123.0, 89.5), (200.0, -89.9), (45.0, 41.8)]
)
def test_cones_hold_exactly_the_stars_within(tmp_path, ra0, dec0):
    table = stars(3000, 2, ra0, dec0, 1.5)
    if abs(dec0) > 85:
        table["ra"] = np.random.default_rng(3).uniform(0, 360, len(table))
    store = filled(tmp_path, table)
    rng = np.random.default_rng(4)
    for radius in (0.0, 0.05, 0.4, 1.3, 170.0):
        row = table[rng.integers(len(table))]
        found = store.cone("gaia", row["ra"], row["dec"], radius)
        a, b = (np.radians([table["ra"], table["dec"]]), np.radians([row["ra"], row["dec"]]))
        haversine = (
            np.sin((a[1] - b[1]) / 2) ** 2 + np.cos(a[1]) * np.cos(b[1]) * np.sin((a[0] - b[0]) / 2) ** 2
        )
        distance = np.degrees(2 * np.arcsin(np.sqrt(np.clip(haversine, 0, 1))))
        wanted = table["source_id"][distance <= radius + 1e-9]
        assert sorted(found["source_id"]) == sorted(wanted)
        assert row["source_id"] in found["source_id"]


def test_nothing_there_is_an_empty_table(tmp_path):
    store = filled(tmp_path, stars())
    check_table(store.cone("gaia", 190, -20, 1), "gaia")
    assert len(store.cone("gaia", 190, -20, 1)) == 0


def test_missing_catalog_says_how_to_get_it(tmp_path):
    with pytest.raises(BadInput, match="zsds catalogs import ps1"):
        CatalogStore(tmp_path).cone("ps1", 0, 0, 1)
    with pytest.raises(BadInput, match="no kind of catalog"):
        CatalogStore(tmp_path).cone("sdss", 0, 0, 1)
    assert CatalogStore(tmp_path).kinds() == []


def test_missing_column_is_named_with_what_it_may_be_called(tmp_path):
    table = stars()
    table.remove_column("dec")
    table.write(tmp_path / "bad.fits")
    with pytest.raises(
        BadInput, match=r"has no column for dec; it may be called dec, DE_ICRS.*source_id"
    ) as error:
        CatalogStore(tmp_path).import_table("gaia", tmp_path / "bad.fits")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"SIMPLE  = nonsense",
        b"PAR1xxxx",
        b"<html></html>",
        b"\x1f\x8bzz",
        gzip.compress(b"ra,dec", mtime=0)[:12] + b"\xff" * 20,
    ],
)
def test_damaged_files_are_bad_input(tmp_path, content):
    (tmp_path / "x.dat").write_bytes(content)
    with pytest.raises(BadInput):
        CatalogStore(tmp_path).import_table("gaia", tmp_path / "x.dat")
    with pytest.raises(BadInput, match="cannot be read"):
        CatalogStore(tmp_path).import_table("gaia", tmp_path / "absent.fits")


def test_names_of_the_archives(tmp_path):
    vizier = Table(
        {"RA_ICRS": [1.0], "DE_ICRS": [2.0], "Source": [7], "Plx": [3.0], "pmRA": [4.0], "pmDE": [5.0]}
    )
    vizier["Gmag"], vizier["BPmag"], vizier["RPmag"] = [15.0], [15.5], [14.5]
    vizier.write(tmp_path / "vizier.csv")
    store = CatalogStore(tmp_path / "catalogs")
    store.import_table("gaia", tmp_path / "vizier.csv")
    row = store.cone("gaia", 1, 2, 0.1)[0]
    assert (row["source_id"], row["pmdec"], row["bp_rp"], row["ref_epoch"]) == (7, 5.0, 1.0, 2016.0)
    mast = Table(
        {"objID": [9], "raMean": [1.0], "decMean": [2.0], "gMeanPSFMag": [-999.0], "rMeanPSFMag": [18.0]}
    )
    mast.write(tmp_path / "mast.csv")
    store.import_table("ps1", tmp_path / "mast.csv")
    scores = Table({"objid": [9], "raStack": [1.0], "decStack": [2.0], "ps_score": [0.9]})
    scores.write(tmp_path / "scores.csv")
    store.import_table("ps1", tmp_path / "scores.csv")
    row = store.cone("ps1", 1, 2, 0.1)[0]
    assert np.isnan(row["g"])
    assert row["r"] == 18
    assert row["sgscore"] == pytest.approx(0.9)
    assert store.kinds() == ["gaia", "ps1"]


def test_units_of_the_file_are_converted(tmp_path):
    table = Table(
        {"id": [5], "coord_ra": np.radians([30.0]), "coord_dec": np.radians([-10.0]), "pm_ra": [1e-8]}
    )
    table["coord_ra"].unit = table["coord_dec"].unit = "rad"
    table["pm_ra"].unit = "rad / yr"
    table["epoch"] = [57388.5]
    store = filled(tmp_path, table)
    row = store.cone("gaia", 30, -10, 0.001)[0]
    assert row["pmra"] == pytest.approx(2.0626, rel=1e-4)
    assert row["ref_epoch"] == pytest.approx(2016.0, abs=1e-3)
    table["coord_ra"].unit = "kg"
    table.write(tmp_path / "wrong.fits")
    with pytest.raises(BadInput, match="has unit kg"):
        store.import_table("gaia", tmp_path / "wrong.fits")


def test_ldac_and_positions_as_identifiers(tmp_path):
    head = fits.BinTableHDU.from_columns(
        [fits.Column("Field Header Card", "80A", array=["x"])], name="LDAC_IMHEAD"
    )
    names = {"X_WORLD": 203.9, "Y_WORLD": 37.2, "ERRA_WORLD": 1e-7, "MAG": 16.0, "OBSDATE": 2015.0}
    columns = [fits.Column(name, "D", array=[value]) for name, value in names.items()]
    objects = fits.BinTableHDU.from_columns(columns, name="LDAC_OBJECTS")
    fits.HDUList([fits.PrimaryHDU(), head, objects]).writeto(tmp_path / "x.ldac")
    store = CatalogStore(tmp_path / "catalogs")
    for _ in range(2):
        store.import_table("gaia", tmp_path / "x.ldac")
    found = store.cone("gaia", 203.9, 37.2, 0.01)
    assert len(found) == 1
    assert found["source_id"][0] > 0
    assert found["ra_error"][0] == pytest.approx(0.36)


def test_store_can_be_sent_to_workers(tmp_path):
    store = filled(tmp_path, stars())
    store.cone("gaia", 10, 20, 1)
    assert len(pickle.loads(pickle.dumps(store)).cone("gaia", 10, 20, 10)) == 200


def test_real_files(tmp_path, shared_data):
    folder = shared_data / "astrometry"
    store = CatalogStore(tmp_path)
    n = store.import_table("gaia", folder / "hsc_visit1180" / "gaia_refCat.parquet")
    assert n == 10278  # the others have no position
    found = store.cone("gaia", np.degrees(2.6369525420738356), np.degrees(0.039603322261048284), 0.0001)
    assert found["pmdec"][0] == pytest.approx(-26.23, abs=0.01)
    assert found["phot_g_mean_mag"][0] == pytest.approx(16.67, abs=0.01)
    assert store.import_table("gaia", folder / "decam_legacypipe_t8" / "chunk-05483.fits.gz") == 884
    assert store.import_table("gaia", folder / "GAIA-DR1_1334+3754_r46_ldac.cat.gz") == 4403
    assert store.count("gaia") == 10278 + 884 + 4327  # 76 rows come twice


@pytest.mark.parametrize("name", ["source_id", "ra", "pmra"])
def test_text_where_numbers_belong_is_bad_input(tmp_path, name):
    table = stars(3)
    table[name] = ["Gaia DR3 1", "x", "3"]
    table.write(tmp_path / "text.csv")
    with pytest.raises(BadInput, match=f"column for {name} does not hold numbers"):
        CatalogStore(tmp_path / "catalogs").import_table("gaia", tmp_path / "text.csv")


def test_missing_values_come_back_as_nan(tmp_path):
    (tmp_path / "gaps.csv").write_text(
        "source_id,ra,dec,pmra,parallax,ref_epoch\n1,10,20,null,,2015.5\n2,10,20.1,3.5,,\n3,,20,1,1,2016\n"
    )
    store = CatalogStore(tmp_path / "catalogs")
    assert store.import_table("gaia", tmp_path / "gaps.csv") == 2
    found = store.cone("gaia", 10, 20, 1)
    assert np.isnan(found["pmra"]).tolist() == [True, False]
    assert np.isnan(found["parallax"]).all()
    assert found["ref_epoch"].tolist() == [2015.5, 2016.0]


@pytest.mark.parametrize("ending", ["fits", "parquet", "csv", "vot"])
def test_masked_values_are_missing_and_rows_without_identifier_stay_apart(tmp_path, ending):
    table = stars(6)
    table["pmra"] = MaskedColumn(table["pmra"], mask=[True] + 5 * [False])
    table["source_id"] = MaskedColumn(table["source_id"], mask=[True, True] + 4 * [False])
    file = tmp_path / f"gaia.{ending}"
    table.write(file, format={"vot": "votable"}.get(ending))
    store = CatalogStore(tmp_path / "catalogs")
    assert store.import_table("gaia", file) == store.import_table("gaia", file) == 6
    found = store.cone("gaia", 10, 20, 10)
    assert len(set(found["source_id"].tolist())) == len(found) == 6
    gone = np.isnan(found["pmra"])
    assert found["ra"][gone].tolist() == pytest.approx([table["ra"][0]])
