"""One quadrant of one exposure: the expected light of a sky, and the exposure counted from it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table, vstack
from astropy.wcs import WCS
from numpy.typing import NDArray

from zsds.core.exposure import Exposure, Info, ZeroPoint
from zsds.core.flags import Mask
from zsds.core.ids import QuadrantId, file_time
from zsds.core.tables import new_table
from zsds.kernels import render
from zsds.sim import effects
from zsds.sim.galaxies import add_galaxy, half_light_form
from zsds.sim.psf import TabulatedPsf
from zsds.sim.sky import Sky, star_mags, star_positions, transient_light

FAINT_LIGHT = 0.002  # electrons per pixel below which a stamp is cut
WING_LIGHT = 0.02  # electrons per pixel below which wings are cut
LONGEST_REACH = 700.0  # pixels
LOW_RESPONSE = 0.7  # pixels below are flagged
Clouds = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True)
class Conditions:
    """Circumstances of one exposure, as they truly were.

    Parameters
    ----------
    start_mjd, exposure_s : float
        Start (UTC) and length of the exposure.
    mag : str
        Column of the sky's magnitudes that this band sees.
    colour : tuple of str
        Columns whose difference is the colour of the colour term.
    zero_point : float
        AB mag of 1 electron for colour 0: mag = zero_point - 2.5 log10(flux) + colour_coeff * colour.
    sky_level : float
        Electrons per pixel.
    read_noise, gain, saturation : float
        Electrons, electrons per DN, electrons.
    cosmic_rays : float
        Expected number of tracks on the quadrant.
    refraction_arcsec : float
        Shift towards north per magnitude of colour (atmosphere), about colour 0.6.
    clouds : callable, optional
        Magnitudes lost at places x, y in pixels; the light of the night sky keeps its level.
    """

    start_mjd: float = 58484.2
    exposure_s: float = 30.0
    band: str = "zr"
    band_id: int = 2
    mag: str = "r"
    colour: tuple[str, str] = ("g", "r")
    zero_point: float = 28.2
    colour_coeff: float = 0.0
    sky_level: float = 800.0
    read_noise: float = 10.0
    gain: float = 6.2
    saturation: float = 350_000.0
    cosmic_rays: float = 0.0
    refraction_arcsec: float = 0.0
    clouds: Clouds | None = None
    field: int = 600
    ccd: int = 1
    quadrant: int = 1
    ra: float = float("nan")
    dec: float = float("nan")

    @property
    def mid_mjd(self) -> float:
        """Middle of the exposure."""
        return self.start_mjd + self.exposure_s / 172800

    def flux(
        self, mag: NDArray[np.float64], colour: NDArray[np.float64] | float = 0.0
    ) -> NDArray[np.float64]:
        """Expected electrons of an AB magnitude and a colour."""
        return 10 ** (-0.4 * (np.asarray(mag) - self.zero_point - self.colour_coeff * np.asarray(colour)))

    def info(self) -> Info:
        """The exposure's own words for these circumstances."""
        return Info(
            id=QuadrantId(file_time(self.start_mjd), self.field, self.band, self.ccd, self.quadrant),
            start_mjd=self.start_mjd,
            exposure_s=self.exposure_s,
            band_id=self.band_id,
            channel=4 * (self.ccd - 1) + self.quadrant - 1,
            gain=self.gain,
            read_noise=self.read_noise,
            saturation=self.saturation,
            ra=self.ra,
            dec=self.dec,
            airmass=1.2,
        )


@dataclass(frozen=True)
class Blemishes:
    """What a frame has beside the sky's sources; None where it has none.

    Parameters
    ----------
    gradient : ndarray of float32 [ny, nx]
        Expected electrons above the level of the sky.
    trail : ndarray of float32 [ny, nx]
        Expected electrons of satellites.
    response : ndarray of float32 [ny, nx]
        Of the pixels, relative; the exposure is divided by it, and what hardly responds is flagged.
    """

    gradient: NDArray[np.float32] | None = None
    trail: NDArray[np.float32] | None = None
    response: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class SimulatedQuadrant:
    """An exposure with its truth.

    Parameters
    ----------
    exposure : Exposure
        Electrons, sky included; variance is the true one (expected light plus read noise squared),
        with the true WCS, PSF and zero point; mask holds saturation, bleeds, cosmic rays, trails and
        pixels of low response.
    truth : Table
        ``truth_sources``.
    expected : ndarray of float32 [ny, nx]
        Expected electrons, sky included, before noise, cosmic rays and saturation.
    """

    exposure: Exposure
    truth: Table
    expected: NDArray[np.float32] = field(repr=False)


def render_quadrant(
    sky: Sky,
    wcs: WCS,
    shape: tuple[int, int],
    psf: TabulatedPsf,
    conditions: Conditions,
    rng: np.random.Generator,
    blemishes: Blemishes = Blemishes(),
) -> SimulatedQuadrant:
    """Calibrated-like exposure of a sky, as a perfect instrumental calibration would leave it.

    Parameters
    ----------
    sky : Sky
    wcs : WCS
        The true one; SIP distortion is honoured.
    shape : tuple of int
        (ny, nx).
    psf : TabulatedPsf
    conditions : Conditions
    rng : numpy.random.Generator
        For counting, read noise and cosmic rays.
    blemishes : Blemishes
    """
    light, truth = expected_light(sky, wcs, shape, psf, conditions)
    expected = light + np.float32(conditions.sky_level)
    mask = np.zeros(shape, dtype=np.uint32)
    if blemishes.gradient is not None:
        expected += blemishes.gradient
    if blemishes.trail is not None:
        mask[blemishes.trail > 0.3 * np.sqrt(expected)] |= np.uint32(Mask.TRAIL)
        expected += blemishes.trail
    response = np.float32(1) if blemishes.response is None else blemishes.response
    mask[np.broadcast_to(response < LOW_RESPONSE, shape)] |= np.uint32(Mask.LOW_RESPONSE)
    charge = effects.counted(expected * response, rng)
    rays = rng.poisson(conditions.cosmic_rays)
    if rays:
        hit = effects.hit_by_cosmic_rays(effects.cosmic_ray_tracks(rays, shape, rng), shape)
        charge += hit
        mask[hit > 0.5 * np.sqrt(expected + conditions.read_noise**2)] |= np.uint32(Mask.COSMIC_RAY)
    charge, spilled = effects.bled(charge, conditions.saturation)
    mask[spilled > 0] |= np.uint32(Mask.BLEED)
    mask[charge >= conditions.saturation] |= np.uint32(Mask.SATURATED)
    charge += np.float32(conditions.read_noise) * rng.standard_normal(shape, dtype=np.float32)
    exposure = Exposure(
        data=charge / response,
        variance=expected / response + np.float32(conditions.read_noise**2) / response**2,
        mask=mask,
        info=conditions.info(),
        wcs=wcs,
        psf=psf,
        zero_point=ZeroPoint(conditions.zero_point, 0.0, conditions.colour_coeff),
    )
    return SimulatedQuadrant(exposure, truth, expected)


def expected_light(
    sky: Sky,
    wcs: WCS,
    shape: tuple[int, int],
    psf: TabulatedPsf,
    conditions: Conditions,
    with_snr: bool = True,
) -> tuple[NDArray[np.float32], Table]:
    """Expected electrons [ny, nx] of everything in a sky (no sky background), and its ``truth_sources``.

    Without ``with_snr`` the ideal signal-to-noise ratios stay NaN and saturation is judged by the flux.
    """
    image = np.zeros(shape, dtype=np.float32)
    points = on_quadrant(point_sources(sky, conditions), wcs, shape, psf, conditions)
    galaxies = on_quadrant(galaxy_sources(sky, conditions), wcs, shape, psf, conditions)
    add_points(image, psf, np.stack([points["x"], points["y"], points["flux"]], axis=1))
    _add_galaxies(image, psf, wcs, galaxies, sky)
    sources = vstack([points, galaxies], metadata_conflicts="silent")
    return image, _judged(sources, image, psf, conditions, with_snr)


def add_points(image: NDArray[np.float32], psf: TabulatedPsf, stars: NDArray[np.float64]) -> None:
    """Add point sources, rows (x, y, flux), to an image in place, wings included."""
    stars = np.ascontiguousarray(stars, dtype=np.float64)
    flux = np.abs(stars[:, 2])
    faint = FAINT_LIGHT / np.maximum(flux, 1e-30)
    radii = psf.radius + 1 - np.searchsorted(psf.envelope[::-1], faint)
    radii = np.clip(radii, 2, psf.radius).astype(np.int64)
    render.add_stars(image, psf.tables, psf.powers, psf.frame, stars, radii)
    if psf.shape.wing_fraction > 0:
        inner = 0.75 * psf.radius
        reach = wing_reach(psf, flux)
        bright = reach > inner
        render.add_wings(image, stars[bright], reach[bright], psf.wing, inner, float(psf.radius))


def wing_reach(psf: TabulatedPsf, flux: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance in pixels at which the wings of a source fall below what matters."""
    amplitude, core, power = psf.wing
    reach = 1.25 * core * (flux * amplitude / WING_LIGHT) ** (1 / power)
    return np.minimum(reach, LONGEST_REACH)


def _sources(n: int, kind: str, values: dict[str, NDArray[np.float64]]) -> Table:
    table = new_table("truth_sources", n)
    table["kind"] = kind
    for name, value in values.items():
        table[name][:] = value
    return table


def point_sources(sky: Sky, conditions: Conditions) -> Table:
    """``truth_sources`` of stars, nuclei and shining transients at mid-exposure; x and y still 0."""
    mjd = conditions.mid_mjd
    blue, red = conditions.colour
    ra, dec = star_positions(sky.stars, mjd)
    colour = np.asarray(sky.stars[blue] - sky.stars[red])
    mag = star_mags(sky.stars, conditions.mag, mjd)
    stars = _sources(
        len(ra),
        "star",
        {
            "id": sky.stars["id"],
            "ra": ra,
            "dec": dec,
            "mag": mag,
            "colour": colour,
            "flux": conditions.flux(mag, colour),
        },
    )
    bright = transient_light(sky.transients, mjd)
    shining = sky.transients[bright > 1e-6]
    colour = np.asarray(shining[blue] - shining[red])
    mag = np.asarray(shining[conditions.mag]) - 2.5 * np.log10(bright[bright > 1e-6])
    transients = _sources(
        len(shining),
        "transient",
        {
            "id": shining["id"],
            "ra": shining["ra"],
            "dec": shining["dec"],
            "mag": mag,
            "colour": colour,
            "flux": conditions.flux(mag, colour),
        },
    )
    return vstack([stars, _galaxy_parts(sky, conditions, nuclei=True), transients])


def galaxy_sources(sky: Sky, conditions: Conditions) -> Table:
    """``truth_sources`` of galaxies without their nuclei; x and y still 0."""
    return _galaxy_parts(sky, conditions, nuclei=False)


def _galaxy_parts(sky: Sky, conditions: Conditions, nuclei: bool) -> Table:
    galaxies = sky.galaxies
    share = np.asarray(galaxies["nucleus_fraction"])
    if nuclei:
        galaxies, share = galaxies[share > 0], share[share > 0]
    else:
        share = 1 - share
    blue, red = conditions.colour
    colour = np.asarray(galaxies[blue] - galaxies[red])
    mag = np.asarray(galaxies[conditions.mag]) - 2.5 * np.log10(share)
    values = {
        "id": galaxies["id"],
        "ra": galaxies["ra"],
        "dec": galaxies["dec"],
        "mag": mag,
        "colour": colour,
        "flux": conditions.flux(mag, colour),
    }
    return _sources(len(galaxies), "nucleus" if nuclei else "galaxy", values)


def on_quadrant(
    sources: Table, wcs: WCS, shape: tuple[int, int], psf: TabulatedPsf, conditions: Conditions
) -> Table:
    """Those sources whose light may reach the quadrant, with their x and y, dimmed by clouds."""
    ny, nx = shape
    if len(sources) == 0:
        return sources
    dec = sources["dec"] + conditions.refraction_arcsec / 3600 * (sources["colour"] - 0.6)
    x, y = wcs.wcs_world2pix(sources["ra"], dec, 0)
    reach = np.maximum(psf.radius + 3.0, wing_reach(psf, np.asarray(sources["flux"])))
    reach = np.where(sources["kind"] == "galaxy", 150.0, reach) + 100  # distortion moves some in
    near = (x > -reach) & (x < nx + reach) & (y > -reach) & (y < ny + reach)
    chosen = sources[near]
    if len(chosen):
        chosen["x"], chosen["y"] = wcs.all_world2pix(chosen["ra"], dec[near], 0, tolerance=1e-6, quiet=True)
        if conditions.clouds is not None:
            chosen["flux"] *= 10 ** (
                -0.4 * conditions.clouds(np.asarray(chosen["x"]), np.asarray(chosen["y"]))
            )
    return chosen


def _add_galaxies(image: NDArray[np.float32], psf: TabulatedPsf, wcs: WCS, sources: Table, sky: Sky) -> None:
    pixels = np.linalg.inv(wcs.pixel_scale_matrix * 3600)
    row = {number: k for k, number in enumerate(sky.galaxies["id"])}
    for source in sources:
        galaxy = sky.galaxies[row[source["id"]]]
        form = half_light_form(galaxy["half_light_arcsec"], galaxy["axis_ratio"], galaxy["angle_deg"], pixels)
        place = (float(source["x"]), float(source["y"]))
        add_galaxy(image, psf, place, float(source["flux"]), form, float(galaxy["sersic_n"]))


def _judged(
    sources: Table, light: NDArray[np.float32], psf: TabulatedPsf, conditions: Conditions, with_snr: bool
) -> Table:
    """Sources whose centres lie on the quadrant, with their ideal S/N and whether they saturate."""
    ny, nx = light.shape
    x, y = np.asarray(sources["x"]), np.asarray(sources["y"])
    sources = sources[(x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)]
    galaxy = np.asarray(sources["kind"]) == "galaxy"
    snr, peak = np.full(len(sources), np.nan), sources["flux"] * psf.envelope[0]
    if with_snr:
        variance = light + np.float32(conditions.sky_level + conditions.read_noise**2)
        stars = np.stack([sources["x"], sources["y"], sources["flux"]], axis=1).astype(np.float64)
        peak = np.zeros(len(sources))
        render.matched_snr(variance, psf.tables, psf.powers, psf.frame, stars, snr, peak)
    sources["snr"] = np.where(galaxy, np.nan, snr)
    sources["saturated"] = ~galaxy & (np.asarray(peak) + conditions.sky_level >= conditions.saturation)
    return sources
