"""Ready-made quadrants and series of epochs for tests and benchmarks."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from astropy.wcs import WCS, Sip
from numpy.typing import NDArray

from zsds.sim.psf import PsfShape, TabulatedPsf, tabulate_psf, varied_shape
from zsds.sim.quadrant import Blemishes, Clouds, Conditions, SimulatedQuadrant, render_quadrant
from zsds.sim.sky import Region, Sky, SkySettings, make_sky
from zsds.sim.trails import add_trail, satellite
from zsds.sim.transients import TransientSettings, with_transients


def frame_wcs(
    shape: tuple[int, int],
    ra: float = 150.0,
    dec: float = 20.0,
    scale_arcsec: float = 1.01,
    rotation_deg: float = 0.0,
    distortion_px: float = 0.0,
    mirrored: bool = False,
) -> WCS:
    """WCS centred on a frame, north up and east left, with a cubic distortion.

    Parameters
    ----------
    distortion_px : float
        Radial displacement at the frame's corner; some shear of quadratic order comes with it.
    """
    ny, nx = shape
    angle = np.radians(rotation_deg)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [(nx + 1) / 2, (ny + 1) / 2]
    wcs.wcs.cd = scale_arcsec / 3600 * turn @ np.diag([1.0 if mirrored else -1.0, 1.0])
    wcs.wcs.radesys = "ICRS"
    if distortion_px:
        cubic = distortion_px / np.hypot(nx / 2, ny / 2) ** 3
        square = 0.2 * distortion_px / np.hypot(nx / 2, ny / 2) ** 2
        a, b, none = np.zeros((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
        a[3, 0] = a[1, 2] = b[0, 3] = b[2, 1] = cubic
        a[2, 0], a[1, 1], b[0, 2], b[1, 1] = square, -0.5 * square, -square, 0.7 * square
        wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
        wcs.sip = Sip(a, b, none, none, wcs.wcs.crpix)
    wcs.pixel_shape = (nx, ny)
    wcs.wcs.set()
    return wcs


def frame_region(wcs: WCS, shape: tuple[int, int], margin: float = 1.15) -> Region:
    """The part of the sky that a frame covers, widened by a factor."""
    ny, nx = shape
    ra, dec = wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0)
    scale = np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix)))
    diagonal = np.hypot(nx, ny) if np.any(np.abs(wcs.wcs.cd[0, 1]) > 0.2 * scale) else 0
    width, height = max(nx, diagonal) * scale, max(ny, diagonal) * scale
    return Region(float(ra), float(dec), margin * width, margin * height)


def simple_quadrant(
    shape: tuple[int, int] = (500, 520),
    n_stars: int = 300,
    fwhm: float = 2.3,
    psf: str | PsfShape = "moffat",
    seed: int = 1,
    n_galaxies: int = 0,
    variation: float = 0.0,
    distortion_px: float = 0.0,
    rotation_deg: float = 0.0,
    mag_range: tuple[float, float] = (14.0, 21.0),
    conditions: Conditions | None = None,
) -> SimulatedQuadrant:
    """One exposure of a random sky.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx).
    n_stars, n_galaxies : int
        About as many centres lie on the frame.
    psf : str or PsfShape
        A family of `zsds.sim.psf.FAMILIES` of width ``fwhm``, or a whole shape.
    variation : float
        Run of the PSF's width (relative) and ellipticity over the frame.
    mag_range : tuple of float
        Of the stars, in r.
    conditions : Conditions, optional
        Sky level, zero point, noise, cosmic rays, time.
    """
    rng = np.random.default_rng(seed)
    wcs = frame_wcs(shape, rotation_deg=rotation_deg, distortion_px=distortion_px)
    region = frame_region(wcs, shape)
    share = region.area_sq_deg / frame_region(wcs, shape, 1.0).area_sq_deg
    settings = SkySettings(
        brightest_mag=mag_range[0], faintest_mag=mag_range[1], variable_fraction=0.0, fast_movers=0.0
    )
    sky = make_sky(region, rng, settings, round(n_stars * share), round(n_galaxies * share))
    shape_of_psf = psf if isinstance(psf, PsfShape) else _family(psf, fwhm)
    if variation:
        shape_of_psf = varied_shape(shape_of_psf, rng, variation)
    return render_quadrant(
        sky, wcs, shape, tabulate_psf(shape_of_psf, shape), conditions or Conditions(), rng
    )


def _family(family: str, fwhm: float, asymmetry: float = 0.8) -> PsfShape:
    if family not in ("trailed", "coma"):
        return PsfShape(fwhm, family)
    return PsfShape(fwhm, family, asymmetry=asymmetry, angle_deg=35.0)


@dataclass(frozen=True)
class EpochSettings:
    """How the epochs of a series differ from one another.

    Parameters
    ----------
    n_stars, n_galaxies, n_transients : int
        On the frame.
    fwhm_range : tuple of float
        Pixels; each epoch draws its own.
    science_fwhm : float, optional
        Of the last epoch.
    families : tuple of str
        Each epoch draws one.
    asymmetry : float
        Length of trails and of coma's tails, in FWHM.
    variation : float
        Run of the PSF over the frame.
    dither_px, rotation_deg, distortion_px : float
        Largest shift, rotation and distortion.
    sky_range, zero_point_range : tuple of float
        Electrons per pixel; AB mag of an electron.
    snr_range : tuple of float
        Ideal signal-to-noise ratios of the transients in the last epoch, spread evenly in the logarithm.
    faded_fraction : float
        Transients that shine in all epochs but the last.
    wing_fraction : float
        Of a star's light, in wide wings.
    sky_slope : float
        Largest change of the sky from the middle to an edge, as a part of its level.
    satellites : float
        Expected number of trails in each exposure; the last has one at least if this is above 0.
    bad_columns : int
        Columns of low response, the same in all epochs.
    bad_pixels_per_mpx : float
        Single pixels of low response, the same in all epochs.
    """

    n_stars: int = 300
    n_galaxies: int = 30
    n_transients: int = 0
    fwhm_range: tuple[float, float] = (2.0, 2.8)
    science_fwhm: float | None = None
    families: tuple[str, ...] = ("moffat",)
    asymmetry: float = 0.8
    variation: float = 0.03
    dither_px: float = 8.0
    rotation_deg: float = 0.05
    distortion_px: float = 0.5
    sky_range: tuple[float, float] = (600.0, 1200.0)
    zero_point_range: tuple[float, float] = (28.05, 28.25)
    colour_coeff: float = 0.0  # colour term of the zero point
    mag_range: tuple[float, float] = (13.0, 21.5)  # of the stars, in r
    snr_range: tuple[float, float] = (5.0, 60.0)
    faded_fraction: float = 0.3
    host_shares: tuple[float, float, float, float] = (0.5, 0.3, 0.1, 0.1)  # as in TransientSettings
    cosmic_rays: float = 0.0  # expected tracks per exposure
    scale_arcsec: float = 1.01  # side of a pixel
    clouds: Clouds | None = None  # as in Conditions, the same in all epochs
    wing_fraction: float = 0.0
    sky_slope: float = 0.0
    satellites: float = 0.0
    bad_columns: int = 0
    bad_pixels_per_mpx: float = 0.0


@dataclass(frozen=True)
class Epochs:
    """A series of exposures of one sky; the transients' ideal S/N stand in the last epoch's truth.

    Parameters
    ----------
    quadrants : tuple of SimulatedQuadrant
        In time order; the last is the science exposure.
    sky : Sky
        With the table of transients.
    """

    quadrants: tuple[SimulatedQuadrant, ...]
    sky: Sky

    @property
    def references(self) -> tuple[SimulatedQuadrant, ...]:
        """All but the last."""
        return self.quadrants[:-1]

    @property
    def science(self) -> SimulatedQuadrant:
        """The last."""
        return self.quadrants[-1]


def epochs(
    n: int = 15,
    shape: tuple[int, int] = (400, 420),
    seed: int = 1,
    settings: EpochSettings | None = None,
) -> Epochs:
    """Dithered exposures of one sky, each with its own seeing, sky, rotation, distortion and zero point."""
    sky, quadrants = draw_epochs(n, shape, seed, settings or EpochSettings())
    return Epochs(tuple(quadrants), sky)


def draw_epochs(
    n: int, shape: tuple[int, int], seed: int, settings: EpochSettings
) -> tuple[Sky, Iterator[SimulatedQuadrant]]:
    """The sky of `epochs` and its exposures, each drawn when it is asked for."""
    rng = np.random.default_rng(seed)
    region = frame_region(frame_wcs(shape, scale_arcsec=settings.scale_arcsec), shape, 1.3)
    stars = SkySettings(
        brightest_mag=settings.mag_range[0],
        faintest_mag=settings.mag_range[1],
        variable_fraction=0.0,
        fast_movers=0.0,
    )
    sky = make_sky(region, rng, stars, round(1.69 * settings.n_stars), round(1.69 * settings.n_galaxies))
    draws = [_epoch(k, n, shape, rng, settings) for k in range(n)]
    if settings.n_transients:
        wcs, psf, conditions = draws[-1]
        inner = frame_region(wcs, shape, 0.92)
        mags = _transient_mags(psf, conditions, settings, rng)
        how = TransientSettings(settings.host_shares, settings.faded_fraction, steps=True)
        start = conditions.start_mjd - 0.5
        sky = with_transients(sky, inner, mags, start, rng, how)
    blemished = np.random.default_rng([seed, 3])
    response = _response(shape, blemished, settings)

    def quadrants() -> Iterator[SimulatedQuadrant]:
        for k, (wcs, psf, conditions) in enumerate(draws):
            blemishes = _blemishes(shape, psf, conditions, blemished, settings, k == n - 1)
            yield render_quadrant(
                sky, wcs, shape, psf, conditions, rng, replace(blemishes, response=response)
            )

    return sky, quadrants()


def _response(
    shape: tuple[int, int], rng: np.random.Generator, settings: EpochSettings
) -> NDArray[np.float32] | None:
    """Response of the pixels, 0.02 to 0.5 where it is low."""
    n = rng.poisson(settings.bad_pixels_per_mpx * shape[0] * shape[1] / 1e6)
    if n + settings.bad_columns == 0:
        return None
    response = np.ones(shape, np.float32)
    response[rng.integers(0, shape[0], n), rng.integers(0, shape[1], n)] = rng.uniform(0.02, 0.5, n)
    response[:, rng.integers(0, shape[1], settings.bad_columns)] *= np.float32(0.15)
    return response


def _blemishes(
    shape: tuple[int, int],
    psf: TabulatedPsf,
    conditions: Conditions,
    rng: np.random.Generator,
    settings: EpochSettings,
    is_last: bool,
) -> Blemishes:
    """Gradient of the sky and satellites of one exposure."""
    ny, nx = shape
    gradient = trail = None
    if settings.sky_slope:
        slope = conditions.sky_level * rng.uniform(-1, 1, 2) * settings.sky_slope
        y, x = np.linspace(-1, 1, ny), np.linspace(-1, 1, nx)
        gradient = (slope[0] * x[None, :] + slope[1] * y[:, None]).astype(np.float32)
    if settings.satellites:
        trail = np.zeros(shape, np.float32)
        for _ in range(max(int(rng.poisson(settings.satellites)), int(is_last))):
            flux = float(np.exp(rng.uniform(np.log(300), np.log(20000))))
            add_trail(trail, psf, satellite((nx / 2, ny / 2), nx / 2, rng, flux))
    return Blemishes(gradient, trail)


def _epoch(
    k: int, n: int, shape: tuple[int, int], rng: np.random.Generator, settings: EpochSettings
) -> tuple[WCS, TabulatedPsf, Conditions]:
    """True WCS, PSF and conditions of epoch k; the last comes three days after the one before."""
    shift = rng.uniform(-1, 1, 2) * settings.dither_px * settings.scale_arcsec / 3600
    wcs = frame_wcs(
        shape,
        150.0 + shift[0],
        20.0 + shift[1],
        settings.scale_arcsec,
        settings.rotation_deg * rng.uniform(-1, 1),
        settings.distortion_px * rng.uniform(0.8, 1.2),
    )
    fwhm = rng.uniform(*settings.fwhm_range)
    if k == n - 1 and settings.science_fwhm is not None:
        fwhm = settings.science_fwhm
    drawn = _family(str(rng.choice(settings.families)), fwhm, settings.asymmetry)
    drawn = replace(
        drawn, e1=rng.normal(0, 0.02), e2=rng.normal(0, 0.02), wing_fraction=settings.wing_fraction
    )
    psf = tabulate_psf(varied_shape(drawn, rng, settings.variation), shape)
    conditions = Conditions(
        start_mjd=58484.2 - 3.0 * (n - 1 - k),
        zero_point=rng.uniform(*settings.zero_point_range),
        sky_level=rng.uniform(*settings.sky_range),
        colour_coeff=settings.colour_coeff,
        cosmic_rays=settings.cosmic_rays,
        clouds=settings.clouds,
        ra=150.0,
        dec=20.0,
    )
    return wcs, psf, conditions


def _transient_mags(
    psf: TabulatedPsf, conditions: Conditions, settings: EpochSettings, rng: np.random.Generator
) -> np.ndarray:
    """Magnitudes of the wanted signal-to-noise ratios, sources' own noise included, on empty sky."""
    low, high = np.log(settings.snr_range)
    snr = np.exp(rng.uniform(low, high, settings.n_transients))
    stamp = psf.at(psf.frame[0], psf.frame[1]).astype(np.float64)
    noise = conditions.sky_level + conditions.read_noise**2
    flux = snr * np.sqrt(noise / np.sum(stamp**2))
    for _ in range(20):
        flux = snr / np.sqrt(np.sum(stamp**2 / (noise + flux[:, None, None] * stamp), axis=(1, 2)))
    return conditions.zero_point - 2.5 * np.log10(flux)
