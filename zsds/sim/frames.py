"""Raw frames of a simulated survey: science, bias, dark and flat, one CCD at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from astropy.table import Table, vstack
from astropy.wcs import WCS
from numpy.typing import NDArray

from zsds.core.camera import Camera
from zsds.core.camera_header import NO_BAND
from zsds.core.exposure import Info
from zsds.core.ids import QuadrantId, file_time
from zsds.core.raw import RawCcd, RawQuadrant
from zsds.core.tables import new_table
from zsds.sim import effects
from zsds.sim.changes import ReferenceLight, asteroid_flux, changed_sources, seen_changes
from zsds.sim.detector import (
    DetectorSettings,
    QuadrantDetector,
    collect,
    field_radius_px,
    full_well,
    make_detector,
    read_out,
)
from zsds.sim.optics import Reflections, add_reflections, true_wcs
from zsds.sim.plan import NightSettings, Plan, psf_frame, selected
from zsds.sim.psf import PsfShape, TabulatedPsf, tabulate_psf
from zsds.sim.quadrant import Conditions, add_points, expected_light
from zsds.sim.sky import Sky
from zsds.sim.trails import Trail, add_trail, satellite

FLAT_ELECTRONS = 90_000.0
TRAILED_PX = 0.3  # motion during the exposure from which an asteroid is drawn as a trail
STREAK_PX = 3.0  # and from which the truth calls it a streak


@dataclass(frozen=True)
class Survey:
    """Everything that is true of a survey before a pixel is drawn.

    Parameters
    ----------
    reference_light : mapping of str to ReferenceLight
        By band.
    """

    camera: Camera
    seed: int
    settings: NightSettings
    sky: Sky
    plans: tuple[Plan, ...]
    reference_light: Mapping[str, ReferenceLight]


@dataclass(frozen=True)
class _Lit:
    """The light on one quadrant, and what is true of it."""

    light: NDArray[np.float32]
    psf: TabulatedPsf
    wcs: WCS
    conditions: Conditions
    sources: Table
    trails: list[Trail]


@lru_cache(maxsize=8)
def _detector(
    key: tuple[str, int, int, int], settings: DetectorSettings, holder: "_CameraHolder"
) -> QuadrantDetector:
    _, ccd, quadrant, seed = key
    return make_detector(holder.camera, ccd, quadrant, seed, settings)


@dataclass(frozen=True)
class _CameraHolder:
    """A camera that hashes by its name, for the cache."""

    camera: Camera

    def __hash__(self) -> int:
        return hash(self.camera.name)


def survey_detector(survey: Survey, ccd: int, quadrant: int) -> QuadrantDetector:
    """The detector of a quadrant of this survey; made once per process."""
    key = (survey.camera.name, ccd, quadrant, survey.seed)
    return _detector(key, survey.settings.detector, _CameraHolder(survey.camera))


@lru_cache(maxsize=2)
def _focal_plane_psf(shape: PsfShape, edge: float) -> TabulatedPsf:
    """PSF over the whole focal plane, made once per exposure and process."""
    side = round(2 * edge)
    return tabulate_psf(shape, (side, side), (edge, edge, edge, edge))


def frame_info(
    camera: Camera,
    ccd: int,
    quadrant: int,
    start_mjd: float,
    exposure_s: float,
    code: str,
    field: int = 0,
    place: tuple[float, float] = (float("nan"), float("nan")),
    airmass: float = float("nan"),
) -> Info:
    """What the header of a raw frame says, with the amplifier's numbers."""
    amplifier = camera.amplifier(ccd, quadrant)
    band = camera.bands.get(code)
    return Info(
        id=QuadrantId(file_time(start_mjd), field, code, ccd, quadrant, camera.prefix),
        start_mjd=start_mjd,
        exposure_s=exposure_s,
        band_id=0 if band is None else band.id,
        channel=camera.channel(ccd, quadrant),
        gain=amplifier.gain,
        read_noise=amplifier.read_noise,
        saturation=amplifier.saturation_dn * amplifier.gain,
        ra=place[0],
        dec=place[1],
        program_id=1,
        program_pi="simulation",
        airmass=airmass,
    )


def calibration_frame(survey: Survey, frame_type: str, ccd: int, start_mjd: float, band: str) -> RawCcd:
    """A bias frame, a dark frame, or a flat frame of an evenly lit screen."""
    camera = survey.camera
    seconds = {"bias": 0.0, "dark": survey.settings.exposure_s, "flat": 5.0}[frame_type]
    code = NO_BAND.get(frame_type, band)
    stamp = int(file_time(start_mjd))
    kind = {"bias": 0, "dark": 100}[frame_type] if frame_type in NO_BAND else 1 + camera.bands[band].id
    charges, generators = {}, {}
    for quadrant, amplifier in camera.detectors[ccd].amplifiers.items():
        rng = np.random.default_rng([survey.seed, 30, kind, stamp, ccd, quadrant])
        generators[quadrant] = rng
        level = min(FLAT_ELECTRONS, 0.5 * full_well(amplifier)) if frame_type == "flat" else 0.0
        light = np.full(amplifier.shape, level * rng.normal(1, 0.01), dtype=np.float32)
        tracks = _tracks(survey, light.shape, rng) if frame_type == "dark" else None
        detector = survey_detector(survey, ccd, quadrant)
        charges[quadrant] = collect(light, detector, amplifier, seconds, rng, tracks)
    quadrants = {}
    for quadrant, rng in generators.items():
        info = frame_info(camera, ccd, quadrant, start_mjd, seconds, code)
        quadrants[quadrant] = _read(survey, charges, ccd, quadrant, info, rng)
    return RawCcd(quadrants, frame_type)


def _tracks(survey: Survey, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Cosmic rays of one exposure of a quadrant."""
    expected = survey.settings.cosmic_rays_per_mpx * shape[0] * shape[1] / 1e6
    return effects.cosmic_ray_tracks(int(rng.poisson(expected)), shape, rng)


def science_frame(survey: Survey, plan: Plan, ccd: int) -> tuple[RawCcd, dict[str, Table]]:
    """One CCD of one science exposure, with the rows it adds to the truth tables."""
    camera, conditions = survey.camera, plan.conditions
    wanted = set(selected(camera, survey.settings))
    changes = changed_sources(survey.sky, plan, survey.reference_light[conditions.band])
    charges, generators, truth = {}, {}, {}
    for quadrant, amplifier in camera.detectors[ccd].amplifiers.items():
        rng = np.random.default_rng([survey.seed, 40, plan.index, ccd, quadrant])
        generators[quadrant] = rng
        lit = _lit(survey, plan, ccd, quadrant, empty=(ccd, quadrant) not in wanted)
        tracks = _tracks(survey, lit.light.shape, rng)
        detector = survey_detector(survey, ccd, quadrant)
        charges[quadrant] = collect(lit.light, detector, amplifier, conditions.exposure_s, rng, tracks)
        if (ccd, quadrant) in wanted:
            truth[quadrant] = _truth(survey, plan, ccd, quadrant, lit, len(tracks), changes)
    quadrants = {}
    for quadrant, rng in generators.items():
        info = frame_info(
            camera, ccd, quadrant, conditions.start_mjd, conditions.exposure_s, conditions.band,
            conditions.field, (conditions.ra, conditions.dec), plan.airmass,
        )  # fmt: skip
        quadrants[quadrant] = _read(survey, charges, ccd, quadrant, info, rng)
    names = ("truth_exposures", "truth_changes", "truth_trails")
    tables = {
        name: vstack([new_table(name), *(rows[name] for rows in truth.values())], metadata_conflicts="silent")
        for name in names
    }
    return RawCcd(quadrants, "science"), tables


def _read(
    survey: Survey,
    charges: Mapping[int, NDArray[np.float32]],
    ccd: int,
    quadrant: int,
    info: Info,
    rng: np.random.Generator,
) -> RawQuadrant:
    detector = survey_detector(survey, ccd, quadrant)
    data, overscan = read_out(charges, quadrant, survey.camera, ccd, detector, rng)
    return RawQuadrant(data, overscan, info)


def _lit(survey: Survey, plan: Plan, ccd: int, quadrant: int, empty: bool) -> _Lit:
    """Expected light of one quadrant: sky, stars, galaxies, moving objects, reflections and trails."""
    camera, amplifier = survey.camera, survey.camera.amplifier(ccd, quadrant)
    conditions = replace(
        plan.conditions,
        gain=amplifier.gain,
        read_noise=amplifier.read_noise,
        saturation=full_well(amplifier),
        ccd=ccd,
        quadrant=quadrant,
    )
    wcs = true_wcs(camera, ccd, quadrant, plan.pointing, survey.settings.distortion)
    frame = psf_frame(camera, wcs)
    psf = replace(_focal_plane_psf(plan.psf, frame[2]), frame=np.array(frame))
    if empty:
        light = np.zeros(amplifier.shape, dtype=np.float32)
        return _Lit(light + _sky(plan, conditions, frame, light.shape), psf, wcs, conditions,
                    new_table("truth_sources"), [])  # fmt: skip
    light, sources = expected_light(survey.sky, wcs, amplifier.shape, psf, conditions, with_snr=False)
    trails = _moving(light, plan, wcs, psf)
    trails += _satellites(light, survey, plan, wcs, psf)
    bright = survey.sky.stars[survey.sky.stars[conditions.mag] < 12]
    bright["flux"] = conditions.flux(np.asarray(bright[conditions.mag]))
    add_reflections(light, bright, wcs, Reflections())
    light += _sky(plan, conditions, frame, light.shape)
    return _Lit(light, psf, wcs, conditions, sources, trails)


def _sky(
    plan: Plan, conditions: Conditions, frame: tuple[float, float, float, float], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Sky with a slope over the field, electrons per pixel [ny, nx]."""
    x = (np.arange(shape[1]) - frame[0]) / frame[2] * plan.sky_slope[0]
    y = (np.arange(shape[0]) - frame[1]) / frame[3] * plan.sky_slope[1]
    return (conditions.sky_level * (1 + x[None, :] + y[:, None])).astype(np.float32)


def _moving(light: NDArray[np.float32], plan: Plan, wcs: WCS, psf: TabulatedPsf) -> list[Trail]:
    """Draw the asteroids; those that move far during the exposure come back as streaks."""
    table = plan.asteroids
    if table is None or len(table) == 0:
        return []
    flux = asteroid_flux(plan)
    ny, nx = light.shape
    rough = np.array(wcs.wcs_world2pix(table["ra"], table["dec"], 0))
    near = np.all((rough > -200) & (rough < np.array([[nx + 200], [ny + 200]])), axis=0)
    if not near.any():
        return []
    some = table[near]
    start = np.array(wcs.all_world2pix(some["ra0"], some["dec0"], 0, tolerance=1e-6, quiet=True)).T
    end = np.array(wcs.all_world2pix(some["ra1"], some["dec1"], 0, tolerance=1e-6, quiet=True)).T
    streaks = []
    for first, last, total in zip(start, end, flux[near], strict=True):
        length = float(np.hypot(*(last - first)))
        if length < TRAILED_PX:
            add_points(light, psf, np.array([[*(first + last) / 2, total]]))
            continue
        trail = Trail("streak", *map(float, (*first, *last)), float(total / length))
        if add_trail(light, psf, trail) and length > STREAK_PX:
            streaks.append(trail)
    return streaks


def _satellites(
    light: NDArray[np.float32], survey: Survey, plan: Plan, wcs: WCS, psf: TabulatedPsf
) -> list[Trail]:
    """Draw the satellites of an exposure; the same ones whichever quadrant asks."""
    rng = np.random.default_rng([survey.seed, 50, plan.index])
    radius = field_radius_px(survey.camera)
    middle = (float(wcs.wcs.crpix[0] - 1), float(wcs.wcs.crpix[1] - 1))
    trails = [
        satellite(middle, radius, rng, float(np.exp(rng.uniform(np.log(300), np.log(20000)))))
        for _ in range(rng.poisson(survey.settings.satellites))
    ]
    return [trail for trail in trails if add_trail(light, psf, trail)]


def _truth(
    survey: Survey, plan: Plan, ccd: int, quadrant: int, lit: _Lit, n_tracks: int, changes: Table
) -> dict[str, Table]:
    variance = lit.light + np.float32(lit.conditions.read_noise**2)
    return {
        "truth_exposures": _exposure_row(survey, plan, ccd, quadrant, lit, n_tracks),
        "truth_changes": seen_changes(changes, plan, ccd, quadrant, lit.wcs, variance, lit.psf),
        "truth_trails": _trail_rows(plan, ccd, quadrant, lit),
    }


def _exposure_row(survey: Survey, plan: Plan, ccd: int, quadrant: int, lit: _Lit, n_tracks: int) -> Table:
    row = new_table("truth_exposures", 1)
    conditions = lit.conditions
    ny, nx = lit.light.shape
    noise_pixels = lit.psf.noise_pixels(nx / 2, ny / 2)
    response = float(np.median(survey_detector(survey, ccd, quadrant).response))
    zero_point = conditions.zero_point + 2.5 * np.log10(response)
    sky = conditions.sky_level * response
    variance = sky + conditions.read_noise**2
    limit = zero_point - 2.5 * np.log10(5 * np.sqrt(variance * noise_pixels))
    north = (plan.pointing.dec - conditions.dec) * 3600
    east = (plan.pointing.ra - conditions.ra) * 3600 * np.cos(np.radians(conditions.dec))
    values = {
        "time": file_time(conditions.start_mjd),
        "start_mjd": conditions.start_mjd,
        "role": plan.role,
        "field": conditions.field,
        "band": conditions.band,
        "ccd": ccd,
        "quadrant": quadrant,
        "fwhm_px": plan.psf.fwhm,
        "noise_pixels": noise_pixels,
        "sky": sky,
        "zero_point": zero_point,
        "colour_coeff": conditions.colour_coeff,
        "extinction": plan.extinction,
        "limit_mag": limit,
        "pointing_east_arcsec": east,
        "pointing_north_arcsec": north,
        "rotation_deg": plan.pointing.rotation_deg,
        "n_cosmic_rays": n_tracks,
        "n_sources": len(lit.sources),
        "n_saturated": int(np.sum(lit.sources["saturated"])),
        "wcs": "\n".join(str(card).rstrip() for card in lit.wcs.to_header(relax=True).cards),
    }
    for name, value in values.items():
        row[name][0] = value
    return row


def _trail_rows(plan: Plan, ccd: int, quadrant: int, lit: _Lit) -> Table:
    table = new_table("truth_trails", len(lit.trails))
    for row, trail in zip(table, lit.trails, strict=True):
        ra, dec = lit.wcs.all_pix2world([trail.x0, trail.x1], [trail.y0, trail.y1], 0)
        row["kind"], row["time"] = trail.kind, file_time(plan.conditions.start_mjd)
        row["ccd"], row["quadrant"] = ccd, quadrant
        row["x0"], row["y0"], row["x1"], row["y1"] = trail.x0, trail.y0, trail.x1, trail.y1
        row["ra0"], row["ra1"], row["dec0"], row["dec1"] = ra[0], ra[1], dec[0], dec[1]
        row["flux_per_px"] = trail.flux_per_px
    return table
