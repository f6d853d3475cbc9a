import numpy as np
import pytest
from astropy.table import Table

from zsds.core.tables import new_table
from zsds.sim import compare_with_truth
from zsds.sim.compare import ComparisonSettings

TIME = "20190110200000"


def truth(n=40, seed=1):
    rng = np.random.default_rng(seed)
    changes = new_table("truth_changes", n)
    changes["kind"] = "transient"
    changes["id"] = np.arange(n)
    changes["time"], changes["ccd"], changes["quadrant"] = TIME, 1, 2
    changes["ra"], changes["dec"] = 150 + rng.uniform(-0.1, 0.1, n), 20 + rng.uniform(-0.1, 0.1, n)
    changes["x"], changes["y"] = rng.uniform(50, 400, n), rng.uniform(50, 400, n)
    changes["change"] = np.where(np.arange(n) % 3 == 0, -500.0, 800.0)
    changes["change_mag"] = 20.0
    changes["snr"] = np.linspace(4.01, 40, n)
    exposures = new_table("truth_exposures", 1)
    exposures["time"], exposures["ccd"], exposures["quadrant"] = TIME, 1, 2
    return changes, new_table("truth_trails"), exposures


def alerts_of(changes, east=0.0, north=0.0):
    return Table(
        {
            "time": np.asarray(changes["time"]),
            "ccd": np.asarray(changes["ccd"]),
            "quadrant": np.asarray(changes["quadrant"]),
            "ra": changes["ra"] + east / 3600 / np.cos(np.radians(changes["dec"])),
            "dec": changes["dec"] + north / 3600,
            "is_positive": np.asarray(changes["change"]) > 0,
            "magpsf": np.full(len(changes), 20.1),
            "sigmapsf": np.full(len(changes), 0.05),
        }
    )


def test_perfect_alerts():
    changes, trails, exposures = truth()
    result = compare_with_truth(alerts_of(changes, 0.2, -0.1), changes, trails, exposures)
    assert result.good_fraction == 1
    assert result.false_per_quadrant == 0
    assert np.all(result.completeness["n_found"] == result.completeness["n_injected"])
    numbers = result.numbers()
    assert numbers["east_arcsec_median"] == pytest.approx(0.2, abs=1e-4)
    assert numbers["north_arcsec_median"] == pytest.approx(-0.1, abs=1e-4)
    assert numbers["mag_pull_median"] == pytest.approx(2.0)
    assert len(result.missed) == 0


def test_missed_and_false_alerts_are_counted():
    changes, trails, exposures = truth()
    alerts = alerts_of(changes[::2])
    alerts["ra"][:3] += 30 / 3600
    result = compare_with_truth(alerts, changes, trails, exposures)
    assert len(result.false) == 3
    good = np.asarray(changes["snr"]) >= 8
    kept = np.zeros(40, dtype=bool)
    kept[::2] = True
    kept[[0, 2, 4]] = False
    assert result.n_good == good.sum()
    assert result.n_good_found == (good & kept).sum()
    assert len(result.missed) == (good & ~kept).sum()


@pytest.mark.parametrize(("offset", "found"), [(1.45, True), (1.55, False)])
def test_radius_has_two_sides(offset, found):
    changes, trails, exposures = truth(1)
    result = compare_with_truth(alerts_of(changes, north=offset), changes, trails, exposures)
    assert (len(result.matches) == 1) is found


def test_sign_and_exposure_must_agree():
    changes, trails, exposures = truth(4)
    alerts = alerts_of(changes)
    alerts["is_positive"] = ~alerts["is_positive"]
    assert len(compare_with_truth(alerts, changes, trails, exposures).matches) == 0
    other = alerts_of(changes)
    other["time"] = "20190110300000"
    result = compare_with_truth(other, changes, trails, exposures)
    assert result.n_alerts == 0
    assert len(result.matches) == 0


def test_movers_and_trails_explain_alerts():
    changes, trails, exposures = truth(3)
    changes["kind"][0], changes["snr"][0], changes["motion_arcsec"][0] = "mover", 0.0, 0.5
    alerts = alerts_of(changes[:1], north=2.4)
    trail = new_table("truth_trails", 1)
    trail["time"], trail["ccd"], trail["quadrant"] = TIME, 1, 2
    trail["ra0"], trail["dec0"], trail["ra1"], trail["dec1"] = 150.0, 20.3, 150.2, 20.3
    on_trail = alerts_of(changes[:1])
    on_trail["ra"], on_trail["dec"] = 150.1, 20.3 + 5 / 3600
    assert len(compare_with_truth(alerts, changes, trails, exposures).false) == 0
    assert compare_with_truth(on_trail, changes, trail, exposures).explained["trail"] == 1
    assert len(compare_with_truth(on_trail, changes, trails, exposures).false) == 1


def test_edges_do_not_count():
    changes, trails, exposures = truth(10)
    changes["x"][9] = 498.0
    empty = alerts_of(changes[:0])
    settings = ComparisonSettings(good_snr=4.0)
    assert compare_with_truth(empty, changes, trails, exposures, settings).n_good == 10
    assert compare_with_truth(empty, changes, trails, exposures, settings, shape=(500, 500)).n_good == 9


def test_alerts_without_a_column_are_refused():
    changes, trails, exposures = truth(2)
    alerts = alerts_of(changes)
    del alerts["quadrant"]
    with pytest.raises(ValueError, match="quadrant"):
        compare_with_truth(alerts, changes, trails, exposures)
