"""Skies of the fidelity benchmark, taken through the pipeline without telling it the truth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from zsds.core.camera_file import load_camera
from zsds.core.exposure import Exposure
from zsds.core.flags import Mask
from zsds.pipeline.difference import DifferenceResult, make_difference
from zsds.pipeline.reference import make_reference
from zsds.pipeline.science import ReferenceSky, ScienceResult, ScienceSettings, calibrate
from zsds.pipeline.settings import Settings
from zsds.reference import sample_reference
from zsds.sim import Epochs, EpochSettings, SimulatedQuadrant, draw_epochs, frame_wcs
from zsds.sim.catalogs import gaia_catalog, ps1_catalog

QUADRANT_PX = 3072 * 3080


@dataclass(frozen=True)
class SkyCase:
    """One kind of sky.

    Parameters
    ----------
    name : str
    stars : float
        On a full quadrant of 3072 x 3080 pixels.
    fwhm : float
        Of the science exposure, pixels.
    reference_fwhm : tuple of float
        Range of the reference's epochs.
    family : str
        Of the PSF.
    asymmetry : float
        Length of trails and of coma's tails, in FWHM.
    crowded : bool
        Goals are those of 40,000 stars.
    blemished : bool
        With saturated stars and their bleeds, wide wings, trails, bad pixels and columns, and a sloping sky.
    """

    name: str
    stars: float
    fwhm: float
    reference_fwhm: tuple[float, float]
    family: str
    seed: int
    crowded: bool = False
    blemished: bool = False
    asymmetry: float = 0.8


SKIES = (
    SkyCase("sharp", 6000, 1.3, (1.2, 1.6), "moffat", 1),
    SkyCase("typical", 8000, 2.1, (1.9, 2.4), "kolmogorov", 2),
    SkyCase("sparse", 1000, 2.2, (1.9, 2.4), "moffat", 3),
    SkyCase("coma", 6000, 2.4, (2.1, 2.8), "coma", 4),
    SkyCase("trailed", 6000, 2.8, (2.2, 3.0), "trailed", 5),
    SkyCase("sharper", 6000, 1.8, (2.4, 2.9), "gaussian_wings", 6),
    SkyCase("wide", 6000, 4.0, (2.6, 3.4), "moffat", 7),
    SkyCase("crowded", 40000, 2.2, (1.9, 2.4), "kolmogorov", 8, crowded=True),
    SkyCase("sharp-trailed", 6000, 1.3, (1.2, 1.6), "trailed", 9, asymmetry=1.6),
)


FULL_SKIES = (  # one exposure of a full quadrant, for what needs all its stars
    SkyCase("full", 8000, 2.1, (2.1, 2.1), "moffat", 11),
    SkyCase("full-crowd", 40000, 2.1, (2.1, 2.1), "moffat", 12, crowded=True),
)


@dataclass(frozen=True)
class Frame:
    """Size of the images, and what is on each beside the stars."""

    shape: tuple[int, int] = (1000, 1020)
    n_epochs: int = 10
    n_transients: int = 200
    galaxies_per_mpx: float = 110.0
    rays_per_mpx: float = 25.0

    @property
    def mpx(self) -> float:
        """Millions of pixels."""
        return self.shape[0] * self.shape[1] / 1e6


FULL_FRAME = Frame((3080, 3072), n_epochs=0, n_transients=0)

# A full quadrant with its reference and all that makes false candidates.
WHOLE = SkyCase("whole", 6000, 2.1, (1.9, 2.6), "moffat", 13, blemished=True)
WHOLE_FRAME = Frame((3080, 3072), n_transients=300)


@dataclass(frozen=True)
class Calibrated:
    """One exposure with its truth and what the pipeline made of it."""

    case: SkyCase
    simulated: SimulatedQuadrant
    result: ScienceResult
    sky: ReferenceSky


@dataclass(frozen=True)
class Processed:
    """A sky with its truth and what the pipeline made of it.

    Parameters
    ----------
    case : SkyCase
    truth : Epochs
    science : Calibrated
        The last epoch.
    references : tuple of Calibrated
    template : Exposure or None
        The reference on the pixels of the science exposure; None where the sky has one epoch.
    difference : DifferenceResult or None
        The same.
    """

    case: SkyCase
    truth: Epochs
    science: Calibrated
    references: tuple[Calibrated, ...]
    template: Exposure | None
    difference: DifferenceResult | None


def process(case: SkyCase, frame: Frame) -> Processed:
    """Simulate a sky, calibrate every epoch, build the reference, subtract.

    Raises
    ------
    UnusableData
        If the pipeline rejects an epoch.
    """
    true_sky, quadrants = draw_epochs(frame.n_epochs + 1, frame.shape, case.seed, epoch_settings(case, frame))
    rng = np.random.default_rng([case.seed, 1])
    gaia = gaia_catalog(true_sky, rng)
    references: list[Calibrated] = []
    for k, one in enumerate(quadrants):  # PS1's errors anew, or all zero points of a sky would err alike
        sky = ReferenceSky(gaia, ps1_catalog(true_sky, rng))
        result = calibrate_blind(one, sky)
        if k < frame.n_epochs:
            references.append(slimmed(Calibrated(case, one, result, sky)))
    science = Calibrated(case, one, result, sky)
    truth = Epochs((*(reference.simulated for reference in references), one), true_sky)
    template, difference = _subtract(references, science) if references else (None, None)
    return Processed(case, truth, science, tuple(references), template, difference)


def slimmed(one: Calibrated) -> Calibrated:
    """An epoch with what the rows need, to save memory: no true counts, a sky of one level."""
    exposure, background = one.simulated.exposure, one.result.measured.background
    level = np.broadcast_to(np.float32(background.median), exposure.shape)
    exposure = replace(exposure, data=exposure.variance)
    simulated = SimulatedQuadrant(exposure, one.simulated.truth, exposure.variance)
    measured = replace(one.result.measured, background=replace(background, level=level, rms=level))
    return replace(one, simulated=simulated, result=replace(one.result, measured=measured))


def _subtract(references: list[Calibrated], science: Calibrated) -> tuple[Exposure, DifferenceResult]:
    exposure = science.result.exposure
    template = make_template([one.result.exposure for one in references], exposure)
    stars = science.result.measured.stars
    return template, make_difference(exposure, template, Settings().difference, stars, reference_id=1)


def epoch_settings(case: SkyCase, frame: Frame) -> EpochSettings:
    """What to simulate of a sky."""
    pixels = frame.shape[0] * frame.shape[1]
    settings = EpochSettings(
        n_stars=round(case.stars * pixels / QUADRANT_PX),
        n_galaxies=round(frame.galaxies_per_mpx * frame.mpx),
        n_transients=frame.n_transients,
        fwhm_range=case.reference_fwhm,
        science_fwhm=case.fwhm,
        families=(case.family,),
        asymmetry=case.asymmetry,
        colour_coeff=0.05,
        mag_range=(13.0, 21.0),
        snr_range=(3.0, 80.0),
        faded_fraction=0.25,
        host_shares=(0.65, 0.25, 0.1, 0.0),
        cosmic_rays=frame.rays_per_mpx * frame.mpx,
    )
    if not case.blemished:
        return settings
    return replace(
        settings,
        mag_range=(9.5, 21.0),
        wing_fraction=0.01,
        sky_slope=0.1,
        satellites=0.3,
        bad_columns=3,
        bad_pixels_per_mpx=100.0,
    )


def calibrate_blind(simulated: SimulatedQuadrant, sky: ReferenceSky) -> ScienceResult:
    """Calibrate an exposure from its pixels and its nominal pointing alone."""
    exposure = blind(simulated.exposure)
    info = exposure.info
    return calibrate(
        exposure, nominal_wcs(exposure), load_camera("demo").bands[info.id.band], sky, ScienceSettings()
    )


def nominal_wcs(exposure: Exposure) -> WCS:
    """Coordinates that the telescope's pointing says."""
    return frame_wcs(exposure.shape, exposure.info.ra, exposure.info.dec)


def blind(exposure: Exposure) -> Exposure:
    """The exposure as an instrumental calibration would hand it over.

    Without the true WCS, PSF and zero point; cosmic rays and trails are not marked, and the variance is that
    of the counts instead of the expected light.
    """
    mask = exposure.mask & ~np.uint32(Mask.COSMIC_RAY | Mask.TRAIL)
    variance = np.maximum(exposure.data, 0) + np.float32(exposure.info.read_noise**2)
    return replace(exposure, mask=mask, variance=variance, wcs=None, psf=None, zero_point=None)


def matched(
    x: Sequence[float], y: Sequence[float], there: tuple[np.ndarray, np.ndarray], radius: float
) -> np.ndarray:
    """Row of the nearest of ``there`` within a radius in pixels for each position, else -1."""
    if len(there[0]) == 0 or len(x) == 0:
        return np.full(len(x), -1)
    distance, row = cKDTree(np.transpose(there)).query(np.transpose([x, y]))
    return np.where(distance <= radius, row, -1)


def make_template(references: list[Exposure], science: Exposure) -> Exposure:
    settings = Settings().reference
    select = replace(settings.select, min_epochs=min(len(references), settings.select.min_epochs))
    reference = make_reference(references, replace(settings, select=select), rfid=1)
    return sample_reference(reference, science.wcs, science.shape)
