"""Our rows beside those of public programs on the same pixels; programs that are absent leave no trace."""

import logging
import subprocess
from dataclasses import replace

from astropy.table import Table

from benchmarks.measures.psf import psf_rows
from benchmarks.measures.skies import Calibrated, matched, nominal_wcs
from benchmarks.measures.stars import astrometry_rows, true_stars
from benchmarks.peers.programs import core_seconds, is_present, run_psfex, run_scamp
from benchmarks.rows import Row
from zsds.astrometry.epoch import moved_to_epoch
from zsds.psf import fit_psf

# What PSFEx needs to be at its best here: images that cover the aperture, stars narrower than 2 px.
PSFEX_AT_BEST = ("-PSF_SIZE", "41,41", "-SAMPLE_FWHMRANGE", "1.0,10.0")


def beside_peers(rows: list[Row], one: Calibrated) -> list[Row]:
    """The rows with the values of PSFEx and SCAMP, where they are installed, and a row of PSF times."""
    for title, judge in (("PSFEx", _psfex_rows), ("SCAMP", _scamp_rows)):
        if not is_present("source-extractor", title.lower()):
            continue
        try:
            rows = beside(rows, judge(one), title)
        except subprocess.CalledProcessError as error:
            logging.getLogger(__name__).warning("%s: %s", one.case.name, error)
    return rows


def beside(ours: list[Row], theirs: list[Row], peer: str) -> list[Row]:
    """Values of the same name become peers; rows with a peer of their own are added."""
    values = {row.name: row.value for row in theirs if row.peer is None}
    joined = [
        replace(row, peer=values[row.name], peer_name=peer) if row.name in values else row for row in ours
    ]
    return joined + [row for row in theirs if row.peer is not None]


def _psfex_rows(one: Calibrated) -> list[Row]:
    exposure, name = one.result.exposure, one.case.name
    ours = core_seconds(lambda: fit_psf(exposure, one.result.measured.sources))
    theirs = run_psfex(exposure).seconds
    return [
        *psf_rows(one, run_psfex(exposure, PSFEX_AT_BEST)),
        Row("PSF fit, core-s", name, ours, peer=theirs, peer_name="PSFEx, defaults"),
        Row(
            "PSF fit, time over that of PSFEx",
            name,
            ours / theirs,
            high=0.1,
            peer=1.0,
            peer_name="PSFEx, defaults",
        ),
    ]


def _scamp_rows(one: Calibrated) -> list[Row]:
    exposure, sky = one.result.exposure, one.sky.gaia
    ra, dec = moved_to_epoch(sky, exposure.info.mid_mjd)
    gaia = Table({"ra": ra, "dec": dec, "phot_g_mean_mag": sky["phot_g_mean_mag"]})
    found = run_scamp(exposure, nominal_wcs(exposure).to_header(), gaia)
    truth = true_stars(one).truth
    row = matched(truth["x"], truth["y"], (found.x, found.y), 1.0)
    both = row >= 0
    return astrometry_rows(one, truth[both], found.ra[row[both]], found.dec[row[both]])
