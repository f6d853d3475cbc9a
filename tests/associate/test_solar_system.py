import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import EarthLocation, SkyCoord, get_body_barycentric, get_body_barycentric_posvel
from astropy.table import Table
from astropy.time import Time
from astropy.utils import iers
from scipy.integrate import solve_ivp

from zsds.associate.kepler import GAUSS, OBLIQUITY, Elements, plane_positions
from zsds.associate.perturbations import MASS_RATIOS, displacement
from zsds.associate.solar_system import (
    NightOrbits,
    designations_of,
    match_solar_system,
    observer_and_sun,
    predict_positions,
)
from zsds.core.camera import Site
from zsds.core.tables import new_table

PALOMAR = Site(-116.8597, 33.3563, 1712.0, "I41")
iers.conf.auto_download = False


def orbit(**values):
    row = {"name": "1", "epoch_mjd": 60000.0, "a": 2.77, "e": 0.08, "incl": 10.6, "node": 80.0, "peri": 73.0}
    row |= {"mean_anomaly": 20.0, "H": 3.4, "G": 0.15} | values
    return Table({name: [value] for name, value in row.items()})


def many_orbits(n, seed=1):
    rng = np.random.default_rng(seed)
    table = new_table("orbits", n)
    table["name"][:] = [f"{k + 1}" for k in range(n)]
    table["epoch_mjd"] = 60000.0
    table["a"], table["e"] = rng.uniform(1.5, 3.5, n), rng.uniform(0, 0.4, n)
    table["incl"] = rng.rayleigh(6, n)
    for name in ("node", "peri", "mean_anomaly"):
        table[name] = rng.uniform(0, 360, n)
    table["H"], table["G"] = 15.0, 0.15
    return table


def to_equator():
    cosine, sine = np.cos(OBLIQUITY), np.sin(OBLIQUITY)
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])


def orbit_of_state(position, velocity, epoch):
    """Elements of a heliocentric equatorial state: textbook vectors, independent of the code tested."""
    turn = np.array(
        [[1, 0, 0], [0, np.cos(OBLIQUITY), np.sin(OBLIQUITY)], [0, -np.sin(OBLIQUITY), np.cos(OBLIQUITY)]]
    )
    r, v = turn @ position, turn @ velocity
    mu, size = GAUSS**2, np.linalg.norm(r)
    h = np.cross(r, v)
    ecc = np.cross(v, h) / mu - r / size
    e, a = np.linalg.norm(ecc), 1 / (2 / size - v @ v / mu)
    line = np.cross([0, 0, 1], h)
    node = np.arctan2(line[1], line[0])
    line = line / np.linalg.norm(line)
    peri = np.arctan2(np.cross(h, line) @ ecc / np.linalg.norm(h), line @ ecc)
    eccentric = np.arctan2(r @ v / np.sqrt(mu * a), 1 - size / a)
    names = {"epoch_mjd": epoch, "a": a, "e": e, "incl": np.degrees(np.arccos(h[2] / np.linalg.norm(h)))}
    names |= {"node": np.degrees(node), "peri": np.degrees(peri)}
    return orbit(**names, mean_anomaly=np.degrees(eccentric - e * np.sin(eccentric)))


def tt_of(mjd):
    return Time(mjd, format="mjd", scale="utc").tt.mjd


def test_place_in_the_sky_of_mars_agrees_with_astropy():
    mjd = 60321.4
    time = Time(mjd, format="mjd", scale="utc")
    body, sun = (get_body_barycentric_posvel(name, time) for name in ("mars", "sun"))
    position, velocity = ((b - s).xyz for b, s in zip(body, sun, strict=True))
    orbits = orbit_of_state(position.to_value(u.au), velocity.to_value(u.au / u.d), tt_of(mjd))
    found = predict_positions(orbits, mjd, PALOMAR)
    location = EarthLocation.from_geodetic(PALOMAR.longitude_deg, PALOMAR.latitude_deg, PALOMAR.height_m)
    gcrs, _ = location.get_gcrs_posvel(time)
    observer = (get_body_barycentric("earth", time) + gcrs).xyz.to_value(u.au)
    delay = 0.0
    for _ in range(5):
        emitted = Time(mjd - delay, format="mjd", scale="utc")
        offset = get_body_barycentric("mars", emitted).xyz.to_value(u.au) - observer
        delay = np.linalg.norm(offset) * 499.004784 / 86400
    wanted = SkyCoord(*offset, representation_type="cartesian").spherical
    assert found["dec"][0] == pytest.approx(wanted.lat.deg, abs=0.1 / 3600)
    assert found["ra"][0] == pytest.approx(wanted.lon.deg, abs=0.1 / 3600)
    assert found["distance_au"][0] == pytest.approx(wanted.distance.value, abs=1e-6)


def test_observer_stands_where_astropy_says():
    mjd = 59123.2
    time = Time(mjd, format="mjd", scale="utc")
    location = EarthLocation.from_geodetic(PALOMAR.longitude_deg, PALOMAR.latitude_deg, PALOMAR.height_m)
    wanted = (get_body_barycentric("earth", time) + location.get_gcrs_posvel(time)[0]).xyz.to_value(u.km)
    observer, sun, tt = observer_and_sun(mjd, PALOMAR)
    assert observer * 149597870.7 == pytest.approx(wanted, abs=1)
    assert sun * 149597870.7 == pytest.approx(get_body_barycentric("sun", time).xyz.to_value(u.km), abs=5)
    assert tt == pytest.approx(tt_of(mjd), abs=1e-9)


@pytest.mark.parametrize("e", [0.0, 0.3, 0.9, 0.99999, 1.0, 1.00001, 1.2, 3.5])
def test_conics_obey_energy_and_area_laws(e):
    days = np.linspace(-400, 500, 901)
    x, y = plane_positions(0.8, e, days)
    vx, vy = np.gradient(x, days, edge_order=2)[1:-1], np.gradient(y, days, edge_order=2)[1:-1]
    x, y = x[1:-1], y[1:-1]
    energy = (vx**2 + vy**2) / 2 - GAUSS**2 / np.hypot(x, y)
    assert energy == pytest.approx(-(GAUSS**2) * (1 - e) / 1.6, abs=2e-3 * GAUSS**2)
    assert x * vy - y * vx == pytest.approx(GAUSS * np.sqrt(0.8 * (1 + e)), rel=2e-3)
    assert np.hypot(*plane_positions(0.8, e, 0.0)) == pytest.approx(0.8)


def test_elements_and_states_of_horizons(shared_data):
    from zsds.catalogs.files import read_catalog
    from zsds.catalogs.mapping import to_declared
    from zsds.catalogs.orbits import read_mpc

    folder = shared_data / "solar_system"
    table = read_catalog(folder / "elements_sun_ec.csv")
    orbits = to_declared(table, "orbits", "elements")
    elements = Elements.of(orbits)
    found = elements.positions(elements.epoch)
    turn = np.array(
        [[1, 0, 0], [0, np.cos(OBLIQUITY), -np.sin(OBLIQUITY)], [0, np.sin(OBLIQUITY), np.cos(OBLIQUITY)]]
    )
    wanted = np.stack([table["x"], table["y"], table["z"]], axis=1) @ turn.T
    assert np.abs(found - wanted).max() < 1e-12
    # Pallas by the MPC's elements three years later, back to the epoch of Horizons' elements
    row = next(k for k, name in enumerate(table["targetname"]) if "Pallas" in name)
    pallas = Elements.of(read_mpc(folder / "MPCORB_excerpt.DAT")[1:2])
    then = float(elements.epoch[row])
    assert abs(then - pallas.epoch[0]) > 1000
    moved = pallas.positions(then) + displacement(pallas, then)
    assert np.linalg.norm(moved[0] - wanted[row]) * 206265 / 2 < 0.5
    assert np.linalg.norm(pallas.positions(then)[0] - wanted[row]) * 206265 / 2 > 500


def test_pull_of_the_planets_agrees_with_direct_integration():
    import erfa

    elements = Elements.of(orbit(a=2.4, e=0.2))
    start, end = 60000.0, 60250.0
    speed = (elements.positions(start + 1e-3) - elements.positions(start - 1e-3))[0] / 2e-3

    def slope(t, state):
        pull = -(GAUSS**2) * state[:3] / np.linalg.norm(state[:3]) ** 3
        for k, ratio in enumerate(MASS_RATIOS):
            planet = erfa.plan94(2400000.5, t, k + 1)["p"]
            gap = planet - state[:3]
            pull += GAUSS**2 / ratio * (gap / np.linalg.norm(gap) ** 3 - planet / np.linalg.norm(planet) ** 3)
        return np.concatenate([state[3:], pull])

    first = np.concatenate([elements.positions(start)[0], speed])
    wanted = solve_ivp(slope, (start, end), first, method="DOP853", rtol=1e-10, atol=1e-12).y[:3, -1]
    found = elements.positions(end)[0] + displacement(elements, end)[0]
    assert np.linalg.norm(found - wanted) < 1e-7
    assert np.linalg.norm(elements.positions(end)[0] - wanted) > 1e-6


def test_cone_holds_the_same_bodies_as_the_whole_sky():
    orbits = many_orbits(4000)
    everything = predict_positions(orbits, 60020.3, PALOMAR)
    ra, dec = everything["ra"][5], everything["dec"][5]
    some = predict_positions(orbits, 60020.3, PALOMAR, near=(ra, dec, 5.0))
    gap = SkyCoord(everything["ra"], everything["dec"]).separation(SkyCoord(ra * u.deg, dec * u.deg))
    assert some["name"].tolist() == everything["name"][gap.deg <= 5].tolist()
    assert len(some) > 3
    night = NightOrbits.at(orbits, 60020.1)
    few = night.near(ra, dec, 5.0, 60020.3)
    assert len(few) < 400
    again = predict_positions(few, 60020.3, PALOMAR, near=(ra, dec, 5.0))
    assert again["name"].tolist() == some["name"].tolist()
    assert np.allclose(again["ra"], some["ra"])


def test_motion_joins_two_times():
    orbits = many_orbits(50)
    first, second = (predict_positions(orbits, t, PALOMAR) for t in (60010.2, 60010.2 + 1 / 24))
    start, end = (SkyCoord(t["ra"], t["dec"]) for t in (first, second))
    assert first["motion_arcsec_per_h"] == pytest.approx(start.separation(end).arcsec, abs=0.02)
    turn = (first["position_angle_deg"] - start.position_angle(end).deg + 180) % 360 - 180
    assert np.abs(turn).max() < 0.1


def test_magnitudes():
    ring = Table(np.concatenate([orbit(e=0.0, incl=0.0, a=2.0, H=10.0, mean_anomaly=m) for m in range(360)]))
    brightest = predict_positions(ring, 60000.0, None)["mag"].min()
    assert brightest == pytest.approx(10 + 5 * np.log10(2.0 * 1.0), abs=0.15)
    comet = orbit(H=7.5)
    comet["comet_slope"] = [5.2]
    seen = predict_positions(comet, 60000.0, None)[0]
    wanted = 7.5 + 5 * np.log10(seen["distance_au"]) + 13 * np.log10(seen["sun_distance_au"])
    assert seen["mag"] == pytest.approx(wanted, abs=1e-3)
    assert np.isnan(predict_positions(orbit(H=np.nan), 60000.0, None)["mag"][0])


def test_parallax_of_the_site():
    near_earth = orbit(a=1.05, e=0.02, incl=1.0, node=0.0, peri=0.0, mean_anomaly=158.0)
    here, centre = (predict_positions(near_earth, 60000.3, site) for site in (PALOMAR, None))
    gap = SkyCoord(here["ra"], here["dec"]).separation(SkyCoord(centre["ra"], centre["dec"])).arcsec[0]
    assert 0.5 < gap <= 8.8 / centre["distance_au"][0]


def test_orbits_that_make_no_sense_are_left_out():
    orbits = many_orbits(3)
    orbits["a"][0] = np.nan
    orbits["e"][1] = -0.5
    assert predict_positions(orbits, 60010.0, PALOMAR)["name"].tolist() == ["3"]
    assert len(predict_positions(orbits[:0], 60010.0, PALOMAR)) == 0
    assert len(predict_positions(orbits[:0], 60010.0, PALOMAR, near=(1, 2, 3))) == 0


def test_nearest_body_of_each_candidate():
    predicted = Table(
        {"name": ["7", "2002MA6"], "ra": [10.0, 359.9999], "dec": [5.0, 0.0], "mag": [18.0, np.nan]}
    )
    candidates = Table(
        {"ra": [10.0, 10.0, 0.0001, 10.0], "dec": [5.0, 5.0 + 29.99 / 3600, 0.0, 5.0 + 30.01 / 3600]}
    )
    found = match_solar_system(candidates, predicted)
    assert found["ssnamenr"].tolist() == ["7", "7", "2002MA6", ""]
    assert found["ssdistnr"][:3].tolist() == pytest.approx([0.0, 29.99, 0.72], abs=1e-3)
    assert np.isnan(found["ssdistnr"][3])
    assert found["ssmagnr"][0] == 18
    assert np.isnan(found["ssmagnr"][2:]).all()


def test_nothing_to_match():
    predicted = predict_positions(many_orbits(2)[:0], 60010.0, None)
    assert len(match_solar_system(Table({"ra": [], "dec": []}), predicted)) == 0
    assert match_solar_system(Table({"ra": [1.0], "dec": [1.0]}), predicted)["ssnamenr"].tolist() == [""]


def test_a_candidate_is_a_body_only_at_its_place():
    """Of what lies near a predicted place one brightening is the body; a supernova beside it is not."""
    names = ["7", "7", "7", "9", "9", ""]
    distance = [12.0, 0.8, 0.3, 5.0, 5.01, np.nan]
    positive = [True, True, False, True, True, True]
    assert designations_of(names, distance, positive) == ["", "7", "", "9", "", ""]
    assert designations_of([], [], []) == []
