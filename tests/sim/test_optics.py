import numpy as np
import pytest
from astropy.table import Table

from zsds.core.camera_file import load_camera
from zsds.sim import PsfShape, frame_wcs, tabulate_psf
from zsds.sim.detector import field_radius_px, make_detector
from zsds.sim.optics import Distortion, Pointing, Reflections, add_reflections, true_wcs
from zsds.sim.trails import Trail, add_trail, satellite

CAMERA = load_camera("demo")
NONE = Distortion(0.0, (0.0,) * 6)


def test_distortion_is_one_for_the_whole_camera():
    pointing = Pointing(150.0, 20.0, 0.02, 1.0001)
    first, second = (true_wcs(CAMERA, 1, q, pointing, Distortion()) for q in (1, 2))
    plain = true_wcs(CAMERA, 1, 1, pointing, NONE)
    shift = first.wcs.crpix - second.wcs.crpix
    x, y = np.array([900.0, 20.0]), np.array([30.0, 1000.0])
    there = second.all_pix2world(x - shift[0], y - shift[1], 0)
    here = first.all_pix2world(x, y, 0)
    assert np.allclose(here, there, atol=1e-9)
    moved = np.hypot(*(np.array(first.all_world2pix(*plain.all_pix2world(x, y, 0), 0)) - [x, y]))
    assert moved.max() > 0.05


def test_distortion_reaches_its_amplitude_at_the_edge_of_the_field():
    wcs = true_wcs(CAMERA, 2, 3, Pointing(150.0, 20.0), Distortion(6.0, (0.0,) * 6))
    edge = field_radius_px(CAMERA)
    middle = wcs.wcs.crpix - 1
    plain = true_wcs(CAMERA, 2, 3, Pointing(150.0, 20.0), NONE)
    ra, dec = wcs.all_pix2world(middle[0] + edge, middle[1], 0)
    x, y = plain.all_world2pix(ra, dec, 0)
    assert np.hypot(x - middle[0] - edge, y - middle[1]) * 1.01 == pytest.approx(6.0, rel=0.01)


def test_trail_has_its_flux_and_ends():
    psf = tabulate_psf(PsfShape(2.2), (120, 150))
    light = np.zeros((120, 150), dtype=np.float32)
    assert add_trail(light, psf, Trail("streak", 40.0, 50.0, 70.0, 90.0, 300.0))
    y, x = np.mgrid[:120, :150]
    assert light.sum(dtype=float) == pytest.approx(50 * 300, rel=2e-3)
    assert (light * x).sum(dtype=float) / light.sum(dtype=float) == pytest.approx(55, abs=0.02)
    assert (light * y).sum(dtype=float) / light.sum(dtype=float) == pytest.approx(70, abs=0.02)
    assert not add_trail(np.zeros((120, 150), np.float32), psf, Trail("satellite", -90, 0, -90, 300, 1.0))


def test_satellite_crosses_an_image_without_gaps():
    psf = tabulate_psf(PsfShape(2.2), (120, 150))
    light = np.zeros((120, 150), dtype=np.float32)
    trail = satellite((75.0, 60.0), 200.0, np.random.default_rng(3), 100.0)
    assert add_trail(light, psf, trail)
    ridge = light.max(axis=0) if abs(trail.x1 - trail.x0) > abs(trail.y1 - trail.y0) else light.max(axis=1)
    on = ridge[ridge > 1]
    assert on.size > 30
    assert on[5:-5].std() < 0.15 * on.mean()


def test_ghost_lies_opposite_the_boresight():
    wcs = frame_wcs((300, 320))
    ra, dec = wcs.all_pix2world(100.0, 200.0, 0)
    star = Table({"ra": [float(ra)], "dec": [float(dec)], "flux": [1e8]})
    light = np.zeros((300, 320), dtype=np.float32)
    reflections = Reflections(halo_fraction=0.0, spike_fraction=0.0)
    rings = add_reflections(light, star, wcs, reflections)
    y, x = np.mgrid[:300, :320]
    assert light.sum(dtype=float) == pytest.approx(1e8 * reflections.ghost_fraction, rel=0.02)
    assert (light * x).sum(dtype=float) / light.sum(dtype=float) == pytest.approx(219.0, abs=0.1)
    assert (light * y).sum(dtype=float) / light.sum(dtype=float) == pytest.approx(99.0, abs=0.1)
    assert len(rings) >= 1
    star["flux"] = 1e5
    assert len(add_reflections(light, star, wcs, reflections)) == 0


def test_spikes_make_a_cross_of_their_flux():
    wcs = frame_wcs((300, 320))
    ra, dec = wcs.all_pix2world(160.3, 149.7, 0)
    star = Table({"ra": [float(ra)], "dec": [float(dec)], "flux": [1e8]})
    light = np.zeros((300, 320), dtype=np.float32)
    only = Reflections(halo_fraction=0.0, ghost_fraction=0.0, spike_angle_deg=0.0)
    add_reflections(light, star, wcs, only)
    assert light.sum(dtype=float) == pytest.approx(1e8 * only.spike_fraction, rel=0.02)
    assert light[150, 220] > 100 * light[180, 220]
    assert light[150, 220] == pytest.approx(light[90, 160], rel=0.1)


def test_detector_is_the_same_for_the_same_seed():
    first, again = (make_detector(CAMERA, 2, 2, 5) for _ in range(2))
    other = make_detector(CAMERA, 2, 2, 6)
    assert np.array_equal(first.response, again.response)
    assert not np.array_equal(first.response, other.response)
    assert np.median(first.response[:, 640]) < 0.3 * np.median(first.response)
    rough = np.diff(first.response[:, 100:600], axis=1)
    assert 0.7413 * np.subtract(*np.percentile(rough, [75, 25])) / np.sqrt(2) == pytest.approx(
        0.007, rel=0.05
    )
