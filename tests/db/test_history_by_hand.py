"""Histories of random skies, at the meridian, a pole and elsewhere, against loops over everything stored."""

import numpy as np
import pytest
from astropy.table import vstack
from matplotlib.path import Path

from zsds.associate.history import Epoch
from zsds.core.sphere import deproject, project, separation_arcsec
from zsds.core.tables import new_table
from zsds.db.history import Coverage, histories_of, save_coverage, save_detections

JD = 2460695.5
N_OBJECTS, N_EXPOSURES = 30, 60


def random_sky(rng, ra0, dec0):
    """Objects within a degree of a place, and exposures that are shifted and turned about it."""
    ra, dec = deproject(3600 * rng.uniform(-1, 1, (N_OBJECTS, 2)), ra0, dec0)
    covers = []
    for pid in range(1, N_EXPOSURES + 1):
        middle, turn = rng.uniform(-0.8, 0.8, 2), rng.uniform(0, np.pi)
        angles = turn + np.pi / 4 + np.pi / 2 * np.arange(4)
        square = middle + 0.6 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        corners = np.stack(deproject(3600 * square, ra0, dec0), axis=1).tolist()
        jd = JD - rng.choice([0.0, 3.0, 29.999, 30.001, 200.0]) - rng.integers(0, 3) / 100
        field, program = int(rng.choice([5, 6])), int(rng.choice([1, 1, 2]))
        covers.append(Coverage(pid, f"u{pid}", jd, 1, field, 9, program, 20.0 + pid / 100, corners))
    return ra, dec, covers


def contains(cover, ra, dec):
    """Whether a footprint holds positions: great circles are straight in a gnomonic projection."""
    corners = np.array(cover.corners)
    plane = project(*corners.T, *corners[0])
    return Path(plane).contains_points(project(ra, dec, *corners[0]))


def make_detections(rng, cover, ra, dec):
    seen = np.flatnonzero(contains(cover, ra, dec) & (rng.uniform(size=N_OBJECTS) < 0.4))
    table = new_table("detections", len(seen))
    angle = rng.uniform(0, 2 * np.pi, len(seen))
    apart = rng.choice([0.3, 1.45, 1.55], len(seen)) / 3600
    for name, value in (
        ("candid", cover.pid * 1000 + seen), ("pid", cover.pid), ("jd", cover.jd), ("band_id", 1),
        ("field", cover.field), ("channel", 9), ("program_id", cover.program_id), ("positive", True),
        ("ra", (ra[seen] + apart * np.cos(angle) / np.cos(np.radians(dec[seen]))) % 360),
        ("dec", dec[seen] + apart * np.sin(angle)), ("snr", rng.choice([3.5, 5.0, 9.0], len(seen))),
    ):  # fmt: skip
        table[name][:] = value
    return table


def by_hand(place, epoch, covers, detections, programs):
    """(previous as pairs of jd and candid, counts) of one position."""
    shown = [c for c in covers if c.program_id in programs and c.jd <= epoch.jd and contains(c, *place)[0]]
    apart = separation_arcsec(*np.ravel(place), detections["ra"], detections["dec"])
    near = [
        row for row in detections[apart <= 1.5] if row["program_id"] in programs and row["jd"] <= epoch.jd
    ]
    counted = [row["jd"] for row in near if row["field"] == epoch.field]
    recent = [row for row in near if epoch.jd - 30 <= row["jd"] < epoch.jd and row["snr"] >= 5]
    detected = {row["pid"] for row in recent}
    previous = [(row["jd"], row["pid"], row["candid"]) for row in recent]
    previous += [
        (c.jd, c.pid, None) for c in shown if epoch.jd - 30 <= c.jd < epoch.jd and c.pid not in detected
    ]
    images = sorted((c.jd, c.pid) for c in shown if c.jd >= epoch.jd - 30)
    bounds = (min(counted), max(counted)) if counted else ()
    order = sorted(previous, key=lambda row: (row[0], row[1], row[2] or 0))
    return order, len(counted), len(shown), bounds, images


@pytest.mark.parametrize(("ra0", "dec0"), [(0.1, -30.0), (200.0, 89.3), (150.0, 20.0)])
@pytest.mark.parametrize("programs", [(1,), (1, 2)])
def test_histories_are_those_of_loops(database, ra0, dec0, programs):
    rng = np.random.default_rng(int(ra0) + len(programs))
    ra, dec, covers = random_sky(rng, ra0, dec0)
    tables = [make_detections(rng, cover, ra, dec) for cover in covers]
    with database.write() as connection:
        for cover, table in zip(covers, tables, strict=True):
            save_coverage(connection, cover)
            save_detections(connection, cover.pid, table)
    epoch, everything = Epoch(JD - 0.005, 5, 9), vstack(tables)
    with database.read() as connection:
        found = histories_of(connection, ra, dec, epoch, program_ids=programs)
    n_rows = 0
    for n, history in enumerate(found):
        place = ra[n : n + 1], dec[n : n + 1]
        previous, counted, covered, bounds, images = by_hand(place, epoch, covers, everything, programs)
        shown = [(row["jd"], row["pid"], row["candid"]) for row in history.previous]
        assert shown == previous
        assert (history.n_detections, history.n_covered) == (counted, covered)
        assert not counted or (history.first_jd, history.last_jd) == bounds
        assert [(row["jd"], row["pid"]) for row in history.images] == images
        n_rows += len(shown)
    assert n_rows > 50
