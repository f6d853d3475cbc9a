import numpy as np
import pytest
from astropy.table import Table

from zsds.candidates import match_catalogs
from zsds.core.tables import check_table, new_table

ARCSEC = 1 / 3600


def candidates(ra, dec):
    table = new_table("candidates", len(ra))
    table["ra"], table["dec"] = np.asarray(ra, float), np.asarray(dec, float)
    return table


def ps1(offsets):
    n = len(offsets)
    table = Table(
        {"objid": np.arange(100, 100 + n), "ra": np.zeros(n), "dec": np.array(offsets, float) * ARCSEC}
    )
    for name in ("g", "r", "i", "z", "sgscore"):
        table[name] = np.arange(n) + 15.5
    return table


def gaia(offsets, mags):
    n = len(offsets)
    return Table(
        {
            "ra": np.zeros(n),
            "dec": np.array(offsets, float) * ARCSEC,
            "phot_g_mean_mag": np.array(mags, float),
        }
    )


def stars(offsets):
    n = len(offsets)
    table = Table({"ra": np.zeros(n), "dec": np.array(offsets, float) * ARCSEC})
    for i, name in enumerate(("mag", "mag_err", "chi", "sharp")):
        table[name] = np.full(n, float(i))
    return table


def test_three_nearest_and_their_count():
    found = match_catalogs(
        candidates([0.0, 180.0], [0.0, 0.0]), ps1([20, -5, 29.9, 30.1, 10, 12]), gaia([], []), stars([]), 1.0
    )
    check_table(found, "candidates")
    assert [found[f"objectidps{k}"][0] for k in (1, 2, 3)] == [101, 104, 105]
    assert [found[f"distpsnr{k}"][0] for k in (1, 2, 3)] == pytest.approx([5, 10, 12], rel=1e-5)
    assert found["nmtchps"].tolist() == [5, 0]
    assert found["objectidps1"][1] == -1
    assert np.isnan(found["sgmag1"][1])
    assert found["srmag1"][0] == 16.5


def test_gaia_any_and_bright_within_90_arcsec():
    table = gaia([3, -50, 89.9, 90.1], [18.0, 13.9, 10.0, 5.0])
    found = match_catalogs(candidates([0.0, 0.0], [0.0, -90.5 * ARCSEC]), ps1([]), table, stars([]), 1.0)
    assert found["neargaia"][0] == pytest.approx(3, rel=1e-5)
    assert found["maggaia"][0] == 18.0
    assert found["neargaiabright"][0] == pytest.approx(50, rel=1e-5)
    assert found["maggaiabright"].tolist() == pytest.approx([13.9, 13.9])
    assert found["neargaia"][1] == pytest.approx(40.5, rel=1e-5)


def test_gaia_exactly_14_is_not_bright():
    found = match_catalogs(candidates([0.0], [0.0]), ps1([]), gaia([1], [14.0]), stars([]), 1.0)
    assert np.isnan(found["neargaiabright"][0])


def test_reference_distance_is_in_pixels():
    found = match_catalogs(candidates([0.0, 5.0], [0.0, 0.0]), ps1([]), gaia([], []), stars([2.02]), 1.01)
    assert found["distnr"][0] == pytest.approx(2.0, rel=1e-5)
    assert (found["magnr"][0], found["sigmagnr"][0], found["chinr"][0], found["sharpnr"][0]) == (0, 1, 2, 3)
    assert found["decnr"][0] == pytest.approx(2.02 * ARCSEC)
    assert np.isnan([found["distnr"][1], found["ranr"][1], found["magnr"][1]]).all()


@pytest.mark.parametrize("dec", [0.0, 89.99, -89.99])
def test_across_zero_hours_and_near_the_poles(dec):
    scale = max(np.cos(np.radians(dec)), 1e-9)
    table = Table({"ra": [360 - 1 * ARCSEC / scale], "dec": [dec], "phot_g_mean_mag": [12.0]})
    found = match_catalogs(candidates([1 * ARCSEC / scale], [dec]), ps1([]), table, stars([]), 1.0)
    assert found["neargaia"][0] == pytest.approx(2.0, rel=0.05)


def test_empty_and_missing_positions():
    found = match_catalogs(candidates([], []), ps1([1]), gaia([1], [9]), stars([1]), 1.0)
    assert len(found) == 0
    found = match_catalogs(candidates([np.nan], [np.nan]), ps1([1]), gaia([1], [9]), stars([1]), 1.0)
    assert found["nmtchps"][0] == 0
    assert np.isnan(found["neargaia"][0])
    broken = stars([1, 2])
    broken["ra"][0] = np.nan
    found = match_catalogs(candidates([0.0], [0.0]), ps1([1]), gaia([1], [9]), broken, 1.0)
    assert found["distnr"][0] == pytest.approx(2.0)


def test_input_is_not_changed():
    table = candidates([0.0], [0.0])
    match_catalogs(table, ps1([1]), gaia([1], [9]), stars([1]), 1.0)
    assert table["nmtchps"][0] == 0
