"""What a simulated survey observes: settings, and the circumstances of every exposure drawn in advance."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from numpy.typing import NDArray

from zsds.core.camera import Band, Camera
from zsds.core.ids import mjd_at
from zsds.sim.detector import DetectorSettings, field_radius_px
from zsds.sim.optics import Distortion, Pointing
from zsds.sim.psf import PsfShape, varied_shape
from zsds.sim.quadrant import Conditions
from zsds.sim.sky import Region, SkySettings, offset_position, tangent_offset

ZERO_POINTS = {"g": 28.30, "r": 28.20, "i": 27.65, "z": 27.0}  # AB mag of 1 electron in 30 s
SKY_LEVELS = {"g": 500.0, "r": 850.0, "i": 1100.0, "z": 1400.0}  # electrons per square arcsecond in 30 s
COLOUR_TERMS = {"g": -0.04, "r": 0.08, "i": 0.05, "z": 0.02}
REFRACTION = {"g": 0.030, "r": 0.012, "i": 0.006, "z": 0.003}  # arcsec per mag of colour per airmass above 1


@dataclass(frozen=True)
class NightSettings:
    """A survey of one field: earlier nights for references, and one night to process.

    Parameters
    ----------
    night : str
        UT date of the night to process, ``YYYYMMDD``.
    bands : tuple of str
        Band codes of the camera, observed in turn.
    ra, dec : float
        Of the field, degrees.
    ccds, quadrants : tuple of int
        Which to simulate; empty: all. Other quadrants of these CCDs hold only sky.
    n_reference, reference_nights : int
        Earlier exposures per band, and over how many nights they are spread.
    n_science : int
        Exposures per band in the night.
    reference_lead_days : tuple of float
        The reference nights lie between these numbers of days before.
    n_bias, n_flat : int
        Calibration frames per calibrated night (flats also per band).
    n_dark : int
        Dark frames per calibrated night, as long as the exposures; none if the camera has no name for them.
    calibrate_every_night : bool
        False: only the first reference night and the night itself.
    seeing_arcsec : tuple of float
        Range of the PSF's width.
    families : tuple of str
        PSF families, drawn per exposure.
    transients_per_sq_deg : float
    snr_range : tuple of float
        Ideal signal-to-noise ratios of the transients in a typical exposure.
    faded_fraction : float
        Of the transients.
    asteroids_per_sq_deg, near_asteroids : float
        Slow ones, and streaks in the night over the whole camera.
    unknown_fraction : float
        Asteroids that the orbits catalog does not list.
    satellites : float
        Trails per exposure over the whole camera.
    cosmic_rays_per_mpx : float
        Tracks per million pixels and exposure.
    pointing_arcsec, rotation_deg : float
        Scatter of the pointing error and rotation.
    clouds_mag : float
        Mean extinction by clouds.
    processes : int
        Worker processes; the result does not depend on it.
    """

    night: str = "20190110"
    bands: tuple[str, ...] = ("zr",)
    ra: float = 150.0
    dec: float = 20.0
    ccds: tuple[int, ...] = ()
    quadrants: tuple[int, ...] = ()
    n_reference: int = 16
    reference_nights: int = 8
    n_science: int = 6
    reference_lead_days: tuple[float, float] = (70.0, 25.0)
    exposure_s: float = 30.0  # seconds of open shutter
    n_bias: int = 7
    n_flat: int = 7
    n_dark: int = 3
    calibrate_every_night: bool = False
    seeing_arcsec: tuple[float, float] = (1.8, 2.7)
    families: tuple[str, ...] = ("moffat",)
    transients_per_sq_deg: float = 80.0  # transients on the sky of the survey
    snr_range: tuple[float, float] = (4.0, 100.0)
    faded_fraction: float = 0.25
    asteroids_per_sq_deg: float = 25.0
    near_asteroids: int = 2
    unknown_fraction: float = 0.2
    satellites: float = 0.15
    cosmic_rays_per_mpx: float = 25.0
    pointing_arcsec: float = 15.0
    rotation_deg: float = 0.03
    clouds_mag: float = 0.05
    wing_fraction: float = 0.01  # of a star's light, in the wings beyond the core
    processes: int = 1
    sky: SkySettings = field(default_factory=SkySettings)
    detector: DetectorSettings = field(default_factory=DetectorSettings)
    distortion: Distortion = field(default_factory=Distortion)
    field: int = 600  # number of the field on the survey grid


@dataclass(frozen=True)
class Plan:
    """One exposure as it will be: what the header says and what is true.

    Parameters
    ----------
    index : int
        From 0, references first.
    role : str
        ``reference`` or ``science``.
    conditions : Conditions
        Of the whole camera; its ra and dec are what the telescope reports.
    pointing : Pointing
        True.
    psf : PsfShape
        Over the focal plane.
    asteroids : Table, optional
        Columns id, ra, dec, ra0, dec0, ra1, dec1 (middle, start and end of the exposure), mag (V).
    """

    index: int
    role: str
    conditions: Conditions
    extinction: float
    airmass: float
    pointing: Pointing
    psf: PsfShape
    sky_slope: tuple[float, float]
    asteroids: Table | None = None


def night_mjd(night: str) -> float:
    """MJD at 0h UT of a date ``YYYYMMDD``."""
    moment = datetime.strptime(night, "%Y%m%d").replace(tzinfo=UTC)
    return mjd_at(moment.timestamp())


def mag_column(band: Band) -> str:
    """Column of the sky's magnitudes that a band sees."""
    return band.catalog_mag if band.catalog_mag in ZERO_POINTS else "r"


def selected(camera: Camera, settings: NightSettings) -> list[tuple[int, int]]:
    """(ccd, quadrant) of every quadrant that is simulated in full."""
    return [
        (ccd, quadrant)
        for ccd in (settings.ccds or tuple(camera.detectors))
        for quadrant in (settings.quadrants or tuple(camera.detectors[ccd].amplifiers))
    ]


def sky_region(camera: Camera, settings: NightSettings, margin_arcsec: float = 150.0) -> Region:
    """Rectangle of sky that holds every simulated quadrant with a margin."""
    east, north = [], []
    for ccd, quadrant in selected(camera, settings):
        wcs = camera.nominal_wcs(ccd, quadrant, settings.ra, settings.dec)
        ra, dec = WCS.calc_footprint(wcs).T
        x, y = tangent_offset(settings.ra, settings.dec, ra, dec)
        east.extend(x)
        north.extend(y)
    margin = margin_arcsec / 3600
    ra, dec = offset_position(
        settings.ra,
        settings.dec,
        np.array((min(east) + max(east)) / 2),
        np.array((min(north) + max(north)) / 2),
    )
    width, height = np.ptp(east) + 2 * margin, np.ptp(north) + 2 * margin
    return Region(float(ra), float(dec), float(width), float(height))


def start_times(settings: NightSettings, rng: np.random.Generator) -> list[tuple[str, str, float]]:
    """(role, band, start_mjd) of every exposure in time order."""
    night = night_mjd(settings.night)
    days = np.unique(np.rint(np.linspace(*settings.reference_lead_days, max(1, settings.reference_nights))))
    times = []
    for k in range(settings.n_reference):
        day = night - days[::-1][k % len(days)]
        for b, band in enumerate(settings.bands):
            slot = (k // len(days)) * len(settings.bands) + b
            times.append(("reference", band, day + 0.20 + slot * 0.011 + rng.uniform(0, 0.002)))
    for k in range(settings.n_science):
        for b, band in enumerate(settings.bands):
            slot = k * len(settings.bands) + b
            times.append(("science", band, night + 0.18 + slot * 0.012 + rng.uniform(0, 0.002)))
    rounded = [(role, band, np.floor(mjd * 86400e3) / 86400e3) for role, band, mjd in times]
    return sorted(rounded, key=lambda item: item[2])


def plan_exposures(camera: Camera, settings: NightSettings, seed: int) -> list[Plan]:
    """Circumstances of all exposures; the same for the same seed."""
    rng = np.random.default_rng([seed, 1])
    optics = varied_shape(PsfShape(1.0), np.random.default_rng([seed, 2]), 0.05)
    times = start_times(settings, rng)
    return [_planned(k, *item, camera, settings, optics, [seed, 3, k]) for k, item in enumerate(times)]


def _planned(
    index: int,
    role: str,
    code: str,
    start_mjd: float,
    camera: Camera,
    settings: NightSettings,
    optics: PsfShape,
    seeds: list[int],
) -> Plan:
    rng = np.random.default_rng(seeds)
    band = camera.bands[code]
    mag = mag_column(band)
    airmass = float(rng.uniform(1.0, 1.6))
    extinction = 0.15 * (airmass - 1) + float(rng.exponential(settings.clouds_mag))
    time_factor = settings.exposure_s / 30
    scale = camera.pixel_scale_arcsec
    error = rng.normal(0, settings.pointing_arcsec, 2) / 3600
    dither = rng.uniform(-6, 6, 2) / 3600
    ra, dec = offset_position(settings.ra, settings.dec, dither[:1], dither[1:])
    true_ra, true_dec = offset_position(ra, dec, error[:1], error[1:])
    conditions = Conditions(
        start_mjd=float(start_mjd),
        exposure_s=settings.exposure_s,
        band=code,
        band_id=band.id,
        mag=mag,
        colour=band.catalog_colour,
        zero_point=ZERO_POINTS[mag] + 2.5 * np.log10(time_factor) - extinction,
        colour_coeff=COLOUR_TERMS[mag],
        sky_level=SKY_LEVELS[mag] * time_factor * scale**2 * rng.uniform(0.7, 1.4) * airmass**0.5,
        refraction_arcsec=REFRACTION[mag] * (airmass - 1),
        field=settings.field,
        ra=float(ra[0]),
        dec=float(dec[0]),
    )
    pointing = Pointing(
        float(true_ra[0]),
        float(true_dec[0]),
        float(rng.normal(0, settings.rotation_deg)),
        1 + float(rng.normal(0, 2e-5)),
    )
    shape = replace(
        optics,
        fwhm=float(rng.uniform(*settings.seeing_arcsec)) / scale,
        family=str(rng.choice(settings.families)),
        beta=float(rng.uniform(2.7, 3.8)),
        e1=float(rng.normal(0, 0.02)),
        e2=float(rng.normal(0, 0.02)),
        asymmetry=float(rng.uniform(0, 0.6)),
        angle_deg=float(rng.uniform(0, 180)),
        wing_fraction=settings.wing_fraction,
        wing_core=6.0 / scale,
    )
    slope = tuple(float(s) for s in rng.normal(0, 0.01, 2))
    return Plan(index, role, conditions, extinction, airmass, pointing, shape, slope)  # type: ignore[arg-type]


def psf_frame(camera: Camera, wcs: WCS) -> tuple[float, float, float, float]:
    """Frame of PSFs that run over the whole focal plane, in the pixels of one quadrant."""
    edge = field_radius_px(camera)
    return float(wcs.wcs.crpix[0] - 1), float(wcs.wcs.crpix[1] - 1), edge, edge


def mags_of_snr(plans: list[Plan], snr: NDArray[np.float64], noise_pixels: float) -> NDArray[np.float64]:
    """Magnitudes that reach ideal signal-to-noise ratios in the median science exposure."""
    science = [plan.conditions for plan in plans if plan.role == "science"] or [plans[-1].conditions]
    zero_point = float(np.median([c.zero_point for c in science]))
    noise = float(np.median([c.sky_level + c.read_noise**2 for c in science]))
    # the source's own noise: flux**2 / (n (noise + flux / n)) = snr**2 for a top hat of n pixels
    flux = (snr**2 + np.sqrt(snr**4 + 4 * snr**2 * noise * noise_pixels)) / 2
    return zero_point - 2.5 * np.log10(flux)
