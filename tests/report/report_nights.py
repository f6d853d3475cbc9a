"""Made-up nights for the report's tests."""

import gzip
import io

import numpy as np
from astropy.io import fits
from astropy.table import vstack

from zsds.core.ids import QuadrantId, file_time
from zsds.core.tables import new_table
from zsds.report import NightRecord, count_scores, empty_quadrants

FIRST_MJD = 61041.15


def quadrants_of(n_exposures=6, n_ccds=2, seed=1):
    """A cloudy, otherwise ordinary night with two bands and four quadrants per CCD."""
    rng = np.random.default_rng(seed)
    table = empty_quadrants(n_exposures * n_ccds * 4)
    for row in range(len(table)):
        exposure, channel = divmod(row, n_ccds * 4)
        ccd, quadrant, mjd = channel // 4 + 1, channel % 4 + 1, FIRST_MJD + 0.35 * exposure / n_exposures
        band = ("zg", "zr")[exposure % 2]
        cloud = 0.8 * np.exp(-(((exposure / n_exposures - 0.6) / 0.08) ** 2))
        seeing = 1.8 + 0.5 * np.sin(exposure / n_exposures * 6) + rng.normal(0, 0.05)
        depth = 20.6 - cloud - (band == "zr") * 0.2 + rng.normal(0, 0.04)
        n_candidates = rng.poisson(40)
        values = {
            "id": str(QuadrantId(file_time(mjd), 500 + exposure % 3, band, ccd, quadrant)),
            "start_mjd": mjd, "field": 500 + exposure % 3, "band": band, "ccd": ccd, "quadrant": quadrant,
            "science_state": "done", "difference_state": "done", "reason": "", "seeing_px": seeing / 1.01,
            "seeing_arcsec": seeing,
            "sky_e": 300 * (1 + 2 * (exposure / n_exposures) ** 4) * (1 + (band == "zr")),
            "limiting_mag": depth, "difference_limiting_mag": depth - 0.1,
            "zero_point": 26.2 + 0.1 * (band == "zr") - cloud + 0.03 * channel + rng.normal(0, 0.01),
            "zero_point_err": 0.004, "zero_point_rms": 0.03 + rng.normal(0, 0.004), "colour_coeff": -0.05,
            "n_calibrators": rng.poisson(300), "n_sources": rng.poisson(2500), "n_stars": rng.poisson(200),
            "n_astrometry": rng.poisson(400), "rms_ra_arcsec": 0.05 + rng.normal(0, 0.006),
            "jitter_arcsec": 0.01 + rng.normal(0, 0.001),
            "rms_dec_arcsec": 0.06 + rng.normal(0, 0.006), "shift_arcsec": 3 + rng.normal(),
            "psf_residual": 0.006 + rng.normal(0, 0.0006), "score_mean": rng.normal(0, 0.01),
            "score_width": 1 + rng.normal(0, 0.02), "flux_scale": 0.98 + rng.normal(0, 0.02),
            "registration_px": 0.04 + rng.normal(0, 0.004), "n_candidates": n_candidates,
            "n_alerts": rng.binomial(n_candidates, 0.3), "seconds": 6 + rng.gamma(2, 0.5),
            "peak_memory_mb": 900 + rng.normal(0, 40),
        }  # fmt: skip
        for name, value in values.items():
            table[name][row] = value
    return table


def spoil(table, row, science, difference, reason):
    """Let a quadrant end badly: its numbers become unknown."""
    nothing = empty_quadrants(1)
    for name in table.colnames[9:]:
        table[name][row] = nothing[name][0]
    table["science_state"][row], table["difference_state"][row] = science, difference
    table["reason"][row] = reason


def residuals_of(length=4000, seed=2):
    """Stars with noise that grows to the faint end, and a cubic distortion left over."""
    rng = np.random.default_rng(seed)
    table = new_table("residuals", length)
    x, y = rng.uniform(0, 3072, length), rng.uniform(0, 3080, length)
    mag = 14 + 6 * rng.uniform(0, 1, length) ** 0.5
    noise = 0.02 * 10 ** (0.3 * (mag - 18)) + 0.015
    table["id"] = np.full(length, "ztf_20260101500000_000500_zg_c01_o_q1", dtype="U64")
    table["x"], table["y"], table["mag"] = x, y, mag
    table["dra_arcsec"] = 0.03 * ((x - 1536) / 1536) ** 3 + rng.normal(0, noise)
    table["ddec_arcsec"] = -0.02 * ((y - 1540) / 1540) ** 3 + rng.normal(0, noise)
    return table


def histograms_of(names, seed=3):
    """Score histograms: normal with a few bright pixels left in."""
    rng = np.random.default_rng(seed)
    parts = [
        count_scores(name, np.append(rng.normal(0, 1.01, 200000), rng.normal(0, 4, 30))) for name in names
    ]
    return vstack(parts, metadata_conflicts="silent") if parts else new_table("score_histograms")


def stamp(rng, flux, size=63):
    """A gzipped FITS cutout with a star of ``flux`` and one NaN column."""
    y, x = np.indices((size, size)) - size // 2
    data = rng.normal(100, 5, (size, size)) + flux * np.exp(-(x**2 + y**2) / 4)
    data[:, 0] = np.nan
    buffer = io.BytesIO()
    fits.PrimaryHDU(data.astype(np.float32)).writeto(buffer)
    return {"fileName": "stamp.fits.gz", "stampData": gzip.compress(buffer.getvalue(), mtime=0)}


def alert_of(number, seed=4, **features):
    """A packet with the members a report reads."""
    rng = np.random.default_rng(seed + number)
    jd = FIRST_MJD + 2400000.5
    row = {
        "jd": jd, "fid": 1, "candid": 3287150000115015000 + number, "isdiffpos": "t", "magpsf": 18.5,
        "sigmapsf": 0.1, "diffmaglim": 20.5, "ra": 150.1 + number / 100, "dec": 2.2, "scorr": 8.0 + number,
        "chipsf": 1.1, "elong": 1.1,
        "nbad": 0, "nneg": 2, "sumrat": 0.95, "magdiff": 0.05, "fwhm": 2.1, "mindtoedge": 500.0, "drb": None,
        "rb": None, "distnr": 1.2, "ndethist": 3, "ssdistnr": -999.0, **features,
    }  # fmt: skip
    history = [
        {"jd": jd - 30 + 3 * i, "fid": 1 + i % 2, "magpsf": 18.5 + 0.1 * i if i > 4 else None,
         "sigmapsf": 0.1, "diffmaglim": 20.4, "isdiffpos": "t" if i > 4 else None}
        for i in range(9)
    ]  # fmt: skip
    cutouts = {
        f"cutout{kind}": stamp(rng, flux)
        for kind, flux in (("Science", 300), ("Template", 200), ("Difference", 90))
    }
    return {
        "objectId": f"ZTF26aaaaa{chr(97 + number % 26)}a",
        "candid": row["candid"],
        "candidate": row,
        "prv_candidates": history,
        **cutouts,
    }


def ordinary_night(**changes):
    """A night in which most goes well."""
    table = changes.pop("quadrants", None)
    if table is None:
        table = quadrants_of()
        spoil(table, 3, "rejected", "", "too few stars for a PSF (stars 7, needed 20)")
        spoil(table, 11, "rejected", "", "too few stars for a PSF (stars 5, needed 20)")
        spoil(table, 20, "failed", "", "IndexError: index 3072 is out of bounds")
        table["difference_state"][30] = "waiting for reference"
        table["jitter_arcsec"][5] = 0.15
    alerts = [alert_of(i) for i in range(4)] + [alert_of(9, chipsf=40.0, elong=1.9), alert_of(10, nbad=3)]
    values = {
        "night": "20260101", "camera": "demo", "software": "0.1.0", "quadrants": table,
        "residuals": residuals_of(), "score_histograms": histograms_of(list(table["id"])[:4]),
        "alerts": alerts, **changes,
    }  # fmt: skip
    return NightRecord(**values)
