import numpy as np
import pytest

from zsds import sim
from zsds.core.flags import Mask
from zsds.core.tables import check_table, new_table
from zsds.sim.effects import bled, counted, hit_by_cosmic_rays

SHAPE = (150, 190)


def one_source(mag=16.0, kind="star", **galaxy):
    wcs = sim.frame_wcs(SHAPE)
    ra, dec = wcs.all_pix2world(90.3, 70.8, 0)
    sky = sim.Sky(new_table("truth_stars"), new_table("truth_galaxies"), new_table("truth_transients"))
    table = new_table("truth_stars" if kind == "star" else "truth_galaxies", 1)
    table["ra"], table["dec"] = ra, dec
    for band in "griz":
        table[band] = mag
    for name, value in galaxy.items():
        table[name] = value
    stars, galaxies = (table, sky.galaxies) if kind == "star" else (sky.stars, table)
    return sim.Sky(stars, galaxies, sky.transients), wcs


def moments(light):
    y, x = np.mgrid[: light.shape[0], : light.shape[1]]
    total = light.sum(dtype=float)
    mx, my = (light * x).sum(dtype=float) / total, (light * y).sum(dtype=float) / total
    xx = (light * (x - mx) ** 2).sum(dtype=float) / total
    return total, mx, my, xx, (light * (y - my) ** 2).sum(dtype=float) / total


def test_star_has_its_flux_and_place():
    sky, wcs = one_source()
    psf = sim.tabulate_psf(sim.PsfShape(2.3), SHAPE)
    conditions = sim.Conditions(zero_point=28.0)
    light, truth = sim.expected_light(sky, wcs, SHAPE, psf, conditions)
    total, x, y, _, _ = moments(light)
    flux = 10 ** (0.4 * 12)
    assert truth["flux"][0] == pytest.approx(flux, rel=1e-9)
    assert total == pytest.approx(flux, rel=1e-4)
    assert (x, y) == pytest.approx((90.3, 70.8), abs=2e-3)
    assert (truth["x"][0], truth["y"][0]) == pytest.approx((90.3, 70.8), abs=1e-5)
    check_table(truth, "truth_sources")


def test_wings_of_a_bright_star_hold_the_rest_of_its_flux():
    sky, wcs = one_source(mag=10.0)
    psf = sim.tabulate_psf(sim.PsfShape(2.3, wing_fraction=0.02, wing_core=3.0), SHAPE)
    light, truth = sim.expected_light(sky, wcs, SHAPE, psf, sim.Conditions())
    r = np.hypot(*(np.indices(SHAPE) - np.array([70.8, 90.3])[:, None, None]))
    wide = psf.wing[0] * (1 + (r / psf.wing[1]) ** 2) ** -1.5 * truth["flux"][0]
    ring = (r > psf.radius + 1) & (r < 60)
    assert np.allclose(light[ring], wide[ring], rtol=1e-3)
    profile = [light[(r > k) & (r < k + 1)].mean() for k in range(2, 60)]
    assert np.all(np.diff(profile) < 0)


@pytest.mark.parametrize("index", [1.0, 4.0])
@pytest.mark.parametrize("size", [0.4, 3.0])
def test_galaxy_has_its_flux_place_and_half_light(index, size):
    sky, wcs = one_source(kind="galaxy", mag=15.0, sersic_n=index, half_light_arcsec=size, axis_ratio=0.999)
    psf = sim.tabulate_psf(sim.PsfShape(1.5), SHAPE)
    light, truth = sim.expected_light(sky, wcs, SHAPE, psf, sim.Conditions())
    total, x, y, _, _ = moments(light)
    assert total == pytest.approx(truth["flux"][0], rel=2e-3)
    assert (x, y) == pytest.approx((90.3, 70.8), abs=0.003)
    if size == 3.0:
        r = np.hypot(*(np.indices(SHAPE) - np.array([70.8, 90.3])[:, None, None]))
        inside = (
            light[r < size / 1.01].sum() / total
        )  # the profile ends, so slightly more than half; seeing takes some
        assert inside == pytest.approx(0.48, abs=0.06)


def test_galaxy_lies_along_its_position_angle():
    sky, wcs = one_source(
        kind="galaxy", mag=15.0, sersic_n=1.0, half_light_arcsec=4.0, axis_ratio=0.3, angle_deg=90.0
    )
    psf = sim.tabulate_psf(sim.PsfShape(1.5), SHAPE)
    light, _ = sim.expected_light(sky, wcs, SHAPE, psf, sim.Conditions())
    _, _, _, xx, yy = moments(light)
    assert xx > 5 * yy  # east-west is along x where north is up


def test_noise_agrees_with_the_variance_plane():
    quadrant = sim.simple_quadrant((400, 420), 300, n_galaxies=20, variation=0.05, seed=3)
    exposure = quadrant.exposure
    good = exposure.mask == 0
    pull = ((exposure.data - quadrant.expected) / np.sqrt(exposure.variance))[good]
    assert pull.mean() == pytest.approx(0, abs=4 / np.sqrt(pull.size))
    assert pull.std() == pytest.approx(1, abs=4 / np.sqrt(2 * pull.size))


@pytest.mark.parametrize("mean", [0.3, 20.0, 99.0, 101.0, 5000.0])
def test_counts_are_poisson(mean):
    n = 200_000
    counts = counted(np.full((400, 500), mean, dtype=np.float32), np.random.default_rng(5)).astype(float)
    assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / n))
    spread = np.sqrt((2 + 1 / mean) / n) * mean
    assert counts.var() == pytest.approx(mean + 1 / 12 * (mean > 100), abs=4 * spread)
    assert np.all(counts == np.rint(counts))


def test_same_seed_same_pixels():
    first = sim.simple_quadrant((90, 110), 40, n_galaxies=5, seed=9, conditions=sim.Conditions(cosmic_rays=5))
    again = sim.simple_quadrant((90, 110), 40, n_galaxies=5, seed=9, conditions=sim.Conditions(cosmic_rays=5))
    other = sim.simple_quadrant((90, 110), 40, n_galaxies=5, seed=10)
    assert np.array_equal(first.exposure.data, again.exposure.data)
    assert not np.array_equal(first.exposure.data, other.exposure.data)


def test_saturated_star_bleeds_along_columns_and_keeps_its_charge():
    charge = np.zeros((101, 51), dtype=np.float32)
    charge[48:53, 24:27] = 5000
    spilled, where = bled(charge, 1000.0)
    assert spilled.sum() == pytest.approx(charge.sum(), rel=1e-5)
    assert spilled.max() <= 1000
    assert where[:, 24:27].sum() >= 70
    assert not where[:, :24].any()
    rows = np.flatnonzero(spilled[:, 25])
    assert rows.mean() == pytest.approx(50, abs=1)  # half each way


def test_bright_star_is_flagged_and_faint_one_is_not():
    psf = sim.tabulate_psf(sim.PsfShape(2.3), SHAPE)
    for mag, saturated in ((11.0, True), (18.0, False)):
        sky, wcs = one_source(mag)
        made = sim.render_quadrant(sky, wcs, SHAPE, psf, sim.Conditions(), np.random.default_rng(1))
        assert bool(made.exposure.mask[71, 90] & Mask.SATURATED) is saturated
        assert bool(made.truth["saturated"][0]) is saturated


def test_cosmic_rays_deposit_their_charge():
    tracks = np.array([[20.0, 30.0, 8.0, 0.0, 900.0], [50.0, 50.0, 0.0, 0.0, 500.0]])
    image = hit_by_cosmic_rays(tracks, (80, 90))
    assert image.sum() == pytest.approx(1400, rel=1e-5)
    assert image[50, 50] == pytest.approx(460)


def test_empty_sky_is_flat():
    sky = sim.Sky(new_table("truth_stars"), new_table("truth_galaxies"), new_table("truth_transients"))
    psf = sim.tabulate_psf(sim.PsfShape(2.0), SHAPE)
    made = sim.render_quadrant(
        sky, sim.frame_wcs(SHAPE), SHAPE, psf, sim.Conditions(), np.random.default_rng(2)
    )
    assert len(made.truth) == 0
    assert np.all(made.expected == 800)


def test_epochs_hold_transients_of_both_signs():
    settings = sim.EpochSettings(n_stars=60, n_galaxies=20, n_transients=24, dither_px=3.0)
    series = sim.epochs(3, (200, 220), seed=2, settings=settings)
    science = series.science.truth
    new = science[science["kind"] == "transient"]
    before = [q.truth[q.truth["kind"] == "transient"] for q in series.references]
    faded = series.sky.transients[series.sky.transients["form"] == "faded"]
    assert len(new) + len(faded) == 24
    assert all(set(table["id"]) <= set(faded["id"]) for table in before)
    empty = series.sky.transients["id"][series.sky.transients["host"] == "empty"]
    snr = new["snr"][np.isin(new["id"], empty)]
    assert snr.min() > 3
    assert snr.max() < 65
    assert len({q.exposure.psf.shape.fwhm for q in series.quadrants}) == 3
