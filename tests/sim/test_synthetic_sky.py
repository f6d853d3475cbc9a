import numpy as np
import pytest

from zsds import sim
from zsds.core.tables import check_table, new_table
from zsds.sim.sky import offset_position, tangent_offset

REGION = sim.Region(210.0, 55.0, 1.0, 0.8)


def test_counts_follow_the_settings():
    settings = sim.SkySettings(stars_per_sq_deg=20000.0, slope=0.3, faintest_mag=20.0, brightest_mag=14.0)
    sky = sim.make_sky(REGION, np.random.default_rng(1), settings)
    expected = 20000 * REGION.area_sq_deg
    assert len(sky.stars) == pytest.approx(expected, abs=5 * np.sqrt(expected))
    bright, faint = (np.sum((sky.stars["r"] > m) & (sky.stars["r"] < m + 1)) for m in (17, 19))
    ratio = faint / bright
    assert np.log10(ratio) / 2 == pytest.approx(0.3, abs=3 * 0.434 / 2 / np.sqrt(bright))
    check_table(sky.stars, "truth_stars")
    check_table(sky.galaxies, "truth_galaxies")


def test_colours_lie_on_a_locus():
    stars = sim.make_sky(REGION, np.random.default_rng(1), n_stars=5000, n_galaxies=0).stars
    g_r, r_i = stars["g"] - stars["r"], stars["r"] - stars["i"]
    blue = g_r < 1.1
    assert np.corrcoef(g_r[blue], r_i[blue])[0, 1] > 0.9
    assert np.median(r_i[g_r > 1.3]) > np.median(r_i[blue]) + 0.4
    assert np.corrcoef(g_r, stars["bp_rp"])[0, 1] > 0.8


def test_region_holds_what_is_scattered_in_it():
    ra, dec = REGION.scatter(1000, np.random.default_rng(2))
    assert REGION.contains(ra, dec).all()
    assert not REGION.contains([205.0, 30.0], [55.0, -55.0]).any()
    east, north = tangent_offset(210.0, 55.0, ra, dec)
    assert np.allclose(offset_position(210.0, 55.0, east, north), [ra, dec], atol=1e-9)


def test_stars_move():
    stars = new_table("truth_stars", 1)
    stars["ra"], stars["dec"], stars["pmra"], stars["pmdec"] = 10.0, 60.0, 1000.0, -500.0
    ra, dec = sim.star_positions(stars, 57388.5 + 3652.5)
    assert (ra[0] - 10) * np.cos(np.radians(60)) * 3600 == pytest.approx(10.0, rel=1e-6)
    assert (dec[0] - 60) * 3600 == pytest.approx(-5.0, rel=1e-6)


@pytest.mark.parametrize("form", ["sinusoid", "eclipse", "flare"])
def test_variables_vary_by_their_amplitude(form):
    stars = new_table("truth_stars", 2)
    stars["r"] = 15.0
    stars["variable"][0], stars["amplitude"][0], stars["period_days"][0] = form, 0.5, 2.0
    mags = np.array([sim.star_mags(stars, "r", 58000 + t) for t in np.linspace(0, 2, 2001)])
    assert np.all(mags[:, 1] == 15.0)
    assert np.abs(mags[:, 0] - 15).max() == pytest.approx(0.5, abs=0.01)


def test_light_curves_of_transients():
    table = new_table("truth_transients", 3)
    table["form"] = ["supernova", "faded", "step"]
    table["start_mjd"], table["rise_days"], table["fall_days"] = 100.0, [10.0, 0.0, 0.0], [30.0, 1.0, 1.0]
    assert sim.transient_light(table, 99.9) == pytest.approx([0, 1, 0])
    assert sim.transient_light(table, 110.0) == pytest.approx([1, np.exp(-10), 1])
    assert sim.transient_light(table, 140.0) == pytest.approx([np.exp(-1), 0, 1], abs=1e-12)


def test_transients_sit_where_they_say():
    rng = np.random.default_rng(4)
    sky = sim.make_sky(REGION, rng, n_stars=2000, n_galaxies=500)
    inner = sim.Region(210.0, 55.0, 0.5, 0.4)
    sky = sim.with_transients(sky, inner, np.full(200, 19.0), 58000.0, rng)
    table = sky.transients
    check_table(table, "truth_transients")
    assert set(table["host"]) == {"empty", "galaxy", "nucleus", "star"}
    on_star = table[table["host"] == "star"]
    hosts = sky.stars[on_star["host_id"]]
    assert np.allclose(on_star["ra"], hosts["ra"])
    off = table[table["host"] == "galaxy"]
    galaxies = sky.galaxies[off["host_id"]]
    distance = (
        np.hypot((off["ra"] - galaxies["ra"]) * np.cos(np.radians(55)), off["dec"] - galaxies["dec"]) * 3600
    )
    assert np.all(
        (distance > 0.3 * galaxies["half_light_arcsec"]) & (distance < 1.7 * galaxies["half_light_arcsec"])
    )
    assert 20 < np.sum(table["form"] == "faded") < 80
    assert len(sim.with_transients(sky, inner, [], 58000.0, rng).transients) == 200
